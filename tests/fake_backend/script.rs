//! What the fake backend can be told to do.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// A backend that misbehaves as told.
#[derive(Debug, Clone, Parser)]
#[command(name = "symphony-fake-backend")]
pub struct Script {
    /// Address to serve on; without it no socket is served
    #[arg(long)]
    pub ipc_endpoint: Option<String>,
    /// Name told in answers to get_info
    #[arg(long, default_value = "")]
    pub model_name: String,
    /// Protocols of the handshake
    #[arg(long, value_delimiter = ',', default_value = "l4m,ping")]
    pub protocols: Vec<String>,
    /// Offers everything but ping
    #[arg(long)]
    pub no_ping: bool,

    /// Loads this long before it binds
    #[arg(long, value_parser = humantime::parse_duration)]
    pub load_time: Option<Duration>,
    /// Prints a line every 100 ms while loading
    #[arg(long)]
    pub load_output: bool,
    /// Burns CPU time while loading
    #[arg(long)]
    pub load_busy: bool,

    /// Exit code of every end that is not asked for by a signal
    #[arg(long)]
    pub exit_code: Option<u8>,
    /// Exits this long after it became ready
    #[arg(long, value_parser = humantime::parse_duration)]
    pub exit_after: Option<Duration>,
    /// Exits after loading, without having been ready
    #[arg(long)]
    pub exit_before_ready: bool,
    /// Crashes in each of its first starts, counted in the state file
    #[arg(long, default_value_t = 0, requires = "state_file")]
    pub crash_at_start: u64,
    /// Where starts are counted
    #[arg(long)]
    pub state_file: Option<PathBuf>,
    /// Aborts at its n-th request after handshakes
    #[arg(long)]
    pub crash_on_request: Option<u64>,

    /// Stops answering after n answered requests
    #[arg(long)]
    pub hang_after_requests: Option<u64>,
    /// Stops answering this long after it became ready
    #[arg(long, value_parser = humantime::parse_duration)]
    pub hang_after: Option<Duration>,
    /// Burns CPU time while it hangs
    #[arg(long)]
    pub busy_hang: bool,
    /// Waits this long before each answer to a request
    #[arg(long, value_parser = humantime::parse_duration)]
    pub slow_ping: Option<Duration>,
    /// What it claims falsely
    #[arg(long)]
    pub lie: Option<Lie>,
    /// Takes no notice of TERM
    #[arg(long)]
    pub ignore_term: bool,

    /// Starts so many children that sleep
    #[arg(long, default_value_t = 0)]
    pub fork: u32,
    /// These children take no notice of TERM
    #[arg(long)]
    pub grandchild_ignores_term: bool,
    /// Writes its pid and the monotonic nanosecond at which its main() began to this file
    #[arg(long)]
    pub stamp: Option<PathBuf>,

    /// Does nothing but sleep (what the children of --fork do)
    #[arg(long)]
    pub sleep: bool,

    /// Writes so many bytes to its output at the start
    #[arg(long, default_value_t = 0)]
    pub flood: u64,
    /// As one line without an end
    #[arg(long)]
    pub flood_no_newline: bool,
    /// Writes bytes that are no UTF-8
    #[arg(long)]
    pub non_utf8: bool,
    /// Prints its environment, a line `env KEY=VALUE` each
    #[arg(long)]
    pub print_env: bool,
    /// Prints its arguments, a line `arg VALUE` each
    #[arg(long)]
    pub print_args: bool,

    /// Serves GET on this loopback port: 503 while loading, then 200
    #[arg(long)]
    pub http: Option<u16>,
    /// How HTTP fails when it is ready
    #[arg(long, requires = "http")]
    pub http_fail: Option<HttpFault>,
    /// Good answers before HTTP fails
    #[arg(long, default_value_t = 0, requires = "http_fail")]
    pub http_fail_after: u64,
    /// Takes connections on this loopback port when it is ready
    #[arg(long)]
    pub tcp: Option<u16>,
    /// Sends STATUS= while loading and READY=1 to $NOTIFY_SOCKET
    #[arg(long)]
    pub notify: bool,
    /// Writes a newline to this descriptor when it is ready
    #[arg(long)]
    pub ready_fd: Option<i32>,
}

impl Script {
    /// The protocols of the handshake.
    pub fn offered(&self) -> Vec<String> {
        let offered = self.protocols.iter().filter(|name| !(self.no_ping && *name == "ping"));
        offered.cloned().collect()
    }
}

/// A false claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lie {
    /// Answers handshakes, never a request.
    Ready,
}

/// A way for an HTTP server to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HttpFault {
    /// Answers 500.
    Status,
    /// Answers 404 and prints a line for it, as a server without that path does.
    NotFound,
    /// Takes the request and never answers.
    Hang,
    /// Closes without an answer.
    Close,
    /// Answers with bytes that are no HTTP.
    Garbage,
    /// Answers 200 with a body that never ends.
    Endless,
    /// Answers with a header that never ends.
    EndlessHeader,
}
