//! Bad input at the real service: 10,000 messages of every bad kind, hostile names, hostile arguments.

use prost::Message;
use serde_json::json;
use symphony::limits;
use symphony::protocols::handshake::Request;

use crate::support::backend::{FAKE, until};
use crate::support::client::Client;
use crate::support::{Place, fake, runs, service_with};

/// Memory in use by a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("told");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// One bad message, made of one with the shape of a command that does nothing.
fn bad_message(rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let shaped =
        json!({"command": "dance", "params": {"model_name": "tiny"}, "correlation_id": "c"});
    let shaped = shaped.to_string().into_bytes();
    let random = |rng: &mut fastrand::Rng, most: usize| -> Vec<u8> {
        let length = rng.usize(0..most);
        std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
    };
    match rng.u8(0..8) {
        0 => vec![random(rng, 300)],
        // cut short
        1 => vec![shaped[..rng.usize(1..shaped.len())].to_vec()],
        // one byte changed
        2 => {
            let mut changed = shaped;
            let at = rng.usize(0..changed.len());
            changed[at] ^= rng.u8(1..);
            vec![changed]
        }
        // frames by the dozen
        3 => (0..rng.usize(2..30)).map(|_| random(rng, 20)).collect(),
        // nested deep
        4 => vec![vec![b'['; 20_000]],
        // large, and well-formed
        5 => vec![format!("{{\"command\":\"{}\"}}", "x".repeat(rng.usize(0..50_000))).into_bytes()],
        // a delimiter and nothing else, or too much of it
        6 => vec![Vec::new(); rng.usize(1..5)],
        _ => vec![Vec::new(), shaped, Vec::new()],
    }
}

/// A good message for a socket; its answer holds the word.
type Good = fn(&str) -> Vec<u8>;

fn good_command(word: &str) -> Vec<u8> {
    json!({"command": "version", "correlation_id": word}).to_string().into()
}

fn good_handshake(word: &str) -> Vec<u8> {
    Request { model: word.into() }.encode_to_vec()
}

/// Sends bad messages from clients that come and go; each leaves when a good message behind its bad ones was answered.
fn storm(endpoint: &str, good: Good, seed: u64, messages: usize) {
    const EACH: usize = 250;
    let mut rng = fastrand::Rng::with_seed(seed);
    for n in 0..messages / EACH {
        let client = Client::dealer(endpoint);
        for _ in 0..EACH {
            client.socket.send_multipart(bad_message(&mut rng), 0).expect("sent");
        }
        let word = format!("good-{seed}-{n}");
        client.send(good(&word));
        while !answers(&client.socket.recv_multipart(0).expect("an answer"), &word) {}
    }
}

fn answers(frames: &[Vec<u8>], word: &str) -> bool {
    frames.iter().any(|frame| frame.windows(word.len()).any(|part| part == word.as_bytes()))
}

/// Sends too large a message: the service cuts the connection, and serves the client when it is back.
fn oversize(endpoint: &str, good: Good) {
    let client = Client::connect(zmq::DEALER, endpoint, |socket| {
        socket.set_rcvtimeo(100).expect("timeout");
    });
    client.send(vec![b'x'; limits::FRAME_BYTES as usize + 1]);
    until("the client is served again", || {
        client.send(good("again"));
        client.socket.recv_multipart(0).ok()
    });
}

#[test]
fn ten_thousand_bad_messages_on_both_sockets_harm_nothing() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let pid = service.load("tiny")["pid"].clone();
    let (cli, clients) = (place.cli_endpoint(), place.client_endpoint());
    // what the allocator keeps for good it has after the first storm
    let doors = [(&cli, good_command as Good), (&clients, good_handshake)];
    for (endpoint, good) in doors {
        storm(endpoint, good, 1, 1_000);
    }
    service.cli().data("status", json!({}));
    let (memory, files) = (resident(service.pid()), descriptors(service.pid()));
    std::thread::scope(|scope| {
        for (seed, (endpoint, good)) in (10..).zip(doors) {
            scope.spawn(move || {
                storm(endpoint, good, seed, 10_000);
                oversize(endpoint, good);
            });
        }
    });
    let mut client = service.cli();
    let status = client.data("status", json!({}));
    assert_eq!(
        (&status["models"][0]["pid"], &status["models"][0]["state"]),
        (&pid, &json!("ready"))
    );
    assert_eq!(service.client().handshake(Some("tiny")).state, "ready");
    until("the connections are given back", || {
        (descriptors(service.pid()) <= files + 4).then_some(())
    });
    let grown = resident(service.pid()).saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(!service.log().contains("panicked"), "{}", service.log());
    let told = service.log().matches("message refused").count();
    assert!((1..1000).contains(&told), "told {told} times, not for each of 20,000");
    drop(client);
    service.stop();
    assert!(!runs(&pid));
    place.assert_nothing_left();
}

#[test]
fn hostile_arguments_of_the_command_line_break_nothing() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    service.load("tiny");
    let long = "x".repeat(100_000);
    let names = [
        "../../../etc/passwd",
        "$(touch pwned)",
        "`touch pwned`",
        "; touch pwned",
        "a\nb\r\u{1b}[2J",
        "\u{202e}gnp.exe",
        "' OR 1=1 --",
        "%s%n%d",
        "{endpoint}",
        "",
        long.as_str(),
    ];
    let endpoint = place.cli_endpoint();
    for (name, third) in names.into_iter().zip(["unload", "restart", "logs"].into_iter().cycle()) {
        for line in [
            &["load-model", "--", name][..],
            &[third, "--endpoint", &endpoint, "--", name],
            &["handshake", &format!("--model={name}")],
        ] {
            let run = place.run(line);
            assert!(matches!(run.code, Some(0..=2)), "{line:?}: {run:?}");
            // an empty wish is the handshake without one
            assert!(run.code != Some(0) || name.is_empty(), "{line:?}: {run:?}");
            assert!(!run.stderr.contains("panicked"), "{run:?}");
            assert!(!run.stderr.contains('\u{1b}'), "it steers no terminal: {run:?}");
            assert!(run.stderr.len() < 5_000, "{} bytes of error", run.stderr.len());
        }
    }
    assert!(!place.path("pwned").exists() && !place.path("run/pwned").exists());
    let wrong = [
        &["status", "--timeout", "99999999999999999999s"][..],
        &["status", "--timeout", "-1"],
        &["status", "--endpoint", "file:///etc/passwd"],
        &["status", "--endpoint", "ipc://"],
        &["status", "--endpoint", &format!("ipc://{long}")],
        &["logs", "-n", "18446744073709551616", "tiny"],
        &["load-model"],
        &["load-model", "a", "b"],
        &["config", "check", "/dev/zero"],
        &["config", "check", "/"],
        &["serve", "--config", "/dev/null"],
        &["handshake", "--timeout", "NaN"],
    ];
    for line in wrong {
        let run = place.run(line);
        assert!(matches!(run.code, Some(1 | 2)), "{line:?}: {run:?}");
        assert!(!run.stderr.is_empty() && !run.stderr.contains("panicked"), "{line:?}: {run:?}");
    }
    assert_eq!(service.model("tiny")["state"], "ready");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn hostile_names_in_the_configuration_stay_names() {
    let place = Place::new();
    let names = [
        "../../escape",
        "$(touch pwned)",
        "a b\"c'd",
        "-rf",
        "модель",
        "a/b/c",
        "{endpoint}",
        "...",
    ];
    let models = names.iter().map(|name| {
        json!({"name": name, "fullname": format!("{name}!"), "type": "fake",
               "command": [FAKE, "--ipc-endpoint={endpoint}", "--model-name={fullname}"]})
    });
    place.configure(&place.configuration(models.collect()));
    let mut service = place.serve(&[]);
    for name in names {
        let loaded = service.load(name);
        let endpoint = loaded["endpoint"].as_str().expect("text");
        assert!(endpoint.starts_with(&format!("ipc://{}/symphony-model-", place.text("models"))));
        let arguments = std::fs::read(format!("/proc/{}/cmdline", loaded["pid"])).expect("it runs");
        let arguments: Vec<_> = arguments.split(|byte| *byte == 0).collect();
        assert!(
            arguments.contains(&format!("--model-name={name}!").as_bytes()),
            "one argument: {arguments:?}"
        );
    }
    let logs: Vec<_> = std::fs::read_dir(place.path("logs")).expect("folder").collect();
    assert_eq!(logs.len(), names.len(), "each has a log in the folder: {logs:?}");
    assert!(!place.path("pwned").exists());
    service.stop();
    place.assert_nothing_left();
}
