//! A small HTTP server, honest or not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::output;
use crate::script::{HttpFault, Script};

/// Whether loading is over.
#[derive(Clone, Default)]
pub struct State(Arc<AtomicBool>);

impl State {
    pub fn set_ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves on a thread of its own, one request after the other.
pub fn serve(port: u16, script: &Script, state: State) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let (fault, fail_after) = (script.http_fail, script.http_fail_after);
    std::thread::Builder::new().spawn(move || {
        let mut good = 0;
        // connections that are never answered are kept open
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if read_request(&mut stream).is_err() {
                continue;
            }
            let answered = match fault {
                _ if !state.is_ready() => answer(&mut stream, "503 Service Unavailable"),
                Some(fault) if good >= fail_after => fail(fault, &mut stream),
                _ => {
                    good += 1;
                    answer(&mut stream, "200 OK")
                }
            };
            // the other end may go away at any time
            let _ = answered;
            if fault == Some(HttpFault::Hang) {
                kept.push(stream);
            }
        }
    })?;
    Ok(())
}

fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut bytes = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 * 1024 {
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&bytes[..count]),
        }
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, status: &str) -> io::Result<()> {
    let body = "{\"status\":\"as the status line says\"}";
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    write!(stream, "{head}Content-Type: application/json\r\nConnection: close\r\n\r\n{body}")
}

fn fail(fault: HttpFault, stream: &mut TcpStream) -> io::Result<()> {
    match fault {
        HttpFault::Status => answer(stream, "500 Internal Server Error"),
        HttpFault::NotFound => {
            output::line("GET 404 Not Found");
            answer(stream, "404 Not Found")
        }
        HttpFault::Hang | HttpFault::Close => Ok(()),
        HttpFault::Garbage => stream.write_all(&[0x00, 0xff, b'\r', b'\n'].repeat(100)),
        HttpFault::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            forever(stream)
        }
        HttpFault::EndlessHeader => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
            forever(stream)
        }
    }
}

/// Until the other end has had enough.
fn forever(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(&[b'x'; 8192])?;
    }
}
