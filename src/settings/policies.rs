//! The tables of a backend become policies.

use std::time::Duration;

use super::model::Transport;
use super::policy::{
    GiveUp, HealthCheck, HealthPolicy, LogFilePolicy, Readiness, ResourceLimits, RestartPolicy,
    StartPolicy, StopPolicy,
};
use super::quantity::format_duration;
use super::raw::{
    HealthWord, RawHealth, RawLimits, RawLog, RawReady, RawReadyTable, RawRestart, RawStart,
    RawStop, ReadyWord,
};
use super::reader::Reader;
use super::window;
use crate::limits;

/// Zero would mean "at once", which no deadline or rhythm can mean.
const LEAST: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Where an HTTP backend is asked unless configured: what llama-server and vLLM offer.
pub(super) const HEALTH_PATH: &str = "/health";

/// The `ready` key, and the `start` table.
pub(super) fn start(
    reader: &mut Reader<'_>,
    ready: Option<&RawReady>,
    raw: &RawStart,
    transport: Transport,
) -> StartPolicy {
    let default = StartPolicy::default();
    let stall =
        reader.duration_from(LEAST, &["start", "stall_timeout"], raw.stall_timeout.as_ref());
    let total =
        reader.duration_from(LEAST, &["start", "total_timeout"], raw.total_timeout.as_ref());
    let (stall_timeout, total_timeout) = reader.ordered(
        (&["start", "stall_timeout"], stall, default.stall_timeout),
        (&["start", "total_timeout"], total, default.total_timeout),
    );
    let ready = readiness(reader, ready, transport);
    StartPolicy { ready, stall_timeout, total_timeout }
}

fn readiness(reader: &mut Reader<'_>, raw: Option<&RawReady>, transport: Transport) -> Readiness {
    let ready = match raw {
        None => usual_readiness(transport),
        Some(RawReady::Word(ReadyWord::Handshake)) => Readiness::Handshake,
        Some(RawReady::Word(ReadyWord::Http)) => http_ready(HEALTH_PATH),
        Some(RawReady::Word(ReadyWord::Tcp)) => Readiness::Tcp,
        Some(RawReady::Word(ReadyWord::Notify)) => Readiness::Notify,
        Some(RawReady::Table(table)) => {
            ready_table(reader, table).unwrap_or_else(|| usual_readiness(transport))
        }
    };
    match (&ready, transport) {
        (Readiness::Handshake, Transport::Http) => {
            reader.fault(
                &["ready"],
                "the handshake is for kind \"zmq\"; kind \"http\" has 'http' and 'tcp'",
            );
        }
        (Readiness::Http { .. } | Readiness::Tcp, Transport::Zmq) => {
            reader.fault(&["ready"], "'http' and 'tcp' ask a port, which only kind \"http\" has");
        }
        _ => {}
    }
    ready
}

fn usual_readiness(transport: Transport) -> Readiness {
    match transport {
        Transport::Zmq => Readiness::Handshake,
        Transport::Http => http_ready(HEALTH_PATH),
    }
}

fn http_ready(path: &str) -> Readiness {
    Readiness::Http { path: path.into(), status: 200 }
}

fn ready_table(reader: &mut Reader<'_>, table: &RawReadyTable) -> Option<Readiness> {
    if table.status.is_some() && table.http.is_none() {
        reader.fault(&["ready", "status"], "needs 'http' beside it");
    }
    match (&table.http, table.fd, &table.delay) {
        (Some(path), None, None) => {
            http_path(reader, &["ready", "http"], path);
            Some(Readiness::Http { path: path.clone(), status: table.status.unwrap_or(200) })
        }
        (None, Some(number), None) => Some(Readiness::Fd { number }),
        (None, None, Some(delay)) => {
            reader.duration(&["ready", "delay"], Some(delay)).map(Readiness::Delay)
        }
        _ => {
            if !reader.spoilt(&["ready"]) {
                reader.fault(&["ready"], "needs exactly one of 'http', 'fd', 'delay'");
            }
            None
        }
    }
}

/// A path goes into the first line of a request: nothing in it may end that line.
fn http_path(reader: &mut Reader<'_>, keys: &[&str], path: &str) {
    if !path.starts_with('/') {
        reader.fault(keys, "must begin with '/'");
    } else if !path.chars().all(|c| c.is_ascii_graphic()) {
        reader.fault(
            keys,
            "holds a space, a control character or a letter that must be percent-encoded",
        );
    }
}

/// The `health` table.
pub(super) fn health(
    reader: &mut Reader<'_>,
    raw: &RawHealth,
    ready: &Readiness,
    transport: Transport,
) -> HealthPolicy {
    let default = HealthPolicy::default();
    let timeout = reader.duration_from(LEAST, &["health", "timeout"], raw.timeout.as_ref());
    let every = reader.duration_from(LEAST, &["health", "every"], raw.every.as_ref());
    let (timeout, every) = reader.ordered(
        (&["health", "timeout"], timeout, default.timeout),
        (&["health", "every"], every, default.every),
    );
    let hang_timeout = reader.duration(&["health", "hang_timeout"], raw.hang_timeout.as_ref());
    HealthPolicy {
        check: health_check(reader, raw, ready, transport),
        every,
        timeout,
        misses: raw.misses.unwrap_or(default.misses),
        hang_timeout: hang_timeout.unwrap_or(default.hang_timeout),
    }
}

fn health_check(
    reader: &mut Reader<'_>,
    raw: &RawHealth,
    ready: &Readiness,
    transport: Transport,
) -> HealthCheck {
    if let Some(path) = &raw.path {
        http_path(reader, &["health", "path"], path);
        if raw.check.is_some_and(|check| check != HealthWord::Http) {
            reader.fault(&["health", "path"], "is for check = \"http\"");
        }
    }
    // what tells readiness tells health, too, where its answer is a good one
    let ready_path = match ready {
        Readiness::Http { path, status: 200..300 } => Some(path.as_str()),
        _ => None,
    };
    let http = || HealthCheck::Http {
        path: raw.path.as_deref().or(ready_path).unwrap_or(HEALTH_PATH).to_owned(),
    };
    let check = match (raw.check, transport) {
        (Some(HealthWord::None), _) => HealthCheck::None,
        (Some(HealthWord::Ping), _) => HealthCheck::Ping,
        (Some(HealthWord::Http), _) => http(),
        (Some(HealthWord::Tcp), _) => HealthCheck::Tcp,
        (None, _) if raw.path.is_some() => http(),
        (None, Transport::Zmq) => HealthCheck::Ping,
        (None, Transport::Http) if matches!(ready, Readiness::Http { .. }) => http(),
        (None, Transport::Http) => HealthCheck::Tcp,
    };
    let key: &[&str] = if raw.check.is_some() { &["health", "check"] } else { &["health", "path"] };
    match (&check, transport) {
        (HealthCheck::Ping, Transport::Http) => {
            reader.fault(
                key,
                "'ping' is for kind \"zmq\"; kind \"http\" has 'http', 'tcp' and 'none'",
            );
        }
        (HealthCheck::Http { .. } | HealthCheck::Tcp, Transport::Zmq) => {
            reader.fault(key, "'http' and 'tcp' ask a port, which only kind \"http\" has");
        }
        _ => {}
    }
    check
}

/// The `restart` table.
pub(super) fn restart(reader: &mut Reader<'_>, raw: &RawRestart) -> RestartPolicy {
    let default = RestartPolicy::default();
    let backoff_min = reader.duration(&["restart", "backoff_min"], raw.backoff_min.as_ref());
    let backoff_max = reader.duration(&["restart", "backoff_max"], raw.backoff_max.as_ref());
    let (backoff_min, backoff_max) = reader.ordered(
        (&["restart", "backoff_min"], backoff_min, default.backoff_min),
        (&["restart", "backoff_max"], backoff_max, default.backoff_max),
    );
    let cool_off = reader.duration_from(SECOND, &["restart", "cool_off"], raw.cool_off.as_ref());
    let cool_off_max =
        reader.duration_from(SECOND, &["restart", "cool_off_max"], raw.cool_off_max.as_ref());
    let (cool_off, cool_off_max) = reader.ordered(
        (&["restart", "cool_off"], cool_off, default.cool_off),
        (&["restart", "cool_off_max"], cool_off_max, default.cool_off_max),
    );
    let reset_after = reader.duration(&["restart", "reset_after"], raw.reset_after.as_ref());
    let window_period =
        reader.duration_from(LEAST, &["restart", "window_period"], raw.window_period.as_ref());
    let policy = RestartPolicy {
        class: raw.class.unwrap_or(default.class),
        max_consecutive_failures: raw
            .max_consecutive_failures
            .unwrap_or(default.max_consecutive_failures),
        reset_after: reset_after.unwrap_or(default.reset_after),
        backoff_min,
        backoff_factor: raw.backoff_factor.unwrap_or(default.backoff_factor),
        backoff_max,
        jitter: raw.jitter.unwrap_or(default.jitter),
        window_max: raw.window_max.unwrap_or(default.window_max),
        window_period: window_period.unwrap_or(default.window_period),
        on_give_up: raw.on_give_up.unwrap_or(default.on_give_up),
        cool_off,
        cool_off_max,
        clean_codes: raw.clean_codes.clone().unwrap_or_default(),
        fatal_codes: raw.fatal_codes.clone().unwrap_or_default(),
    };
    restart_as_a_whole(reader, &policy);
    policy
}

fn restart_as_a_whole(reader: &mut Reader<'_>, policy: &RestartPolicy) {
    if policy.on_give_up == GiveUp::Retry && policy.backoff_max < limits::RETRY_BACKOFF_MIN {
        let message = format!(
            "with on_give_up = \"retry\" restarts go on for ever at this delay: it must be at least {}",
            format_duration(limits::RETRY_BACKOFF_MIN)
        );
        reader.fault(&["restart", "backoff_max"], message);
    }
    let both = policy.clean_codes.iter().find(|code| policy.fatal_codes.contains(code));
    if let Some(code) = both {
        reader.fault(&["restart", "fatal_codes"], format!("{code} is one of clean_codes, too"));
    }
    if !reader.spoilt(&["restart"]) && !window::can_ever_fill(policy) {
        let message = format!(
            "can never count {} restarts: with these delays they need at least {}; make it longer or window_max smaller",
            policy.window_max + 1,
            format_duration(window::least_period(policy))
        );
        reader.fault(&["restart", "window_period"], message);
    }
}

/// The `stop` table.
pub(super) fn stop(reader: &mut Reader<'_>, raw: &RawStop) -> StopPolicy {
    let default = StopPolicy::default();
    let grace = reader.duration(&["stop", "grace"], raw.grace.as_ref());
    let kill_grace = reader.duration_from(LEAST, &["stop", "kill_grace"], raw.kill_grace.as_ref());
    StopPolicy {
        signal: raw.signal.unwrap_or(default.signal),
        grace: grace.unwrap_or(default.grace),
        kill_grace: kill_grace.unwrap_or(default.kill_grace),
    }
}

/// The `limits` table.
pub(super) fn resource_limits(reader: &mut Reader<'_>, raw: &RawLimits) -> ResourceLimits {
    let cpu_time = reader.duration_from(SECOND, &["limits", "cpu_time"], raw.cpu_time.as_ref());
    if cpu_time.is_some_and(|span| span.subsec_nanos() > 0) {
        reader.fault(&["limits", "cpu_time"], "the system counts in whole seconds");
    }
    ResourceLimits {
        memory: reader.size_from(
            limits::BACKEND_MEMORY_MIN,
            &["limits", "memory"],
            raw.memory.as_ref(),
        ),
        cpu_time,
        open_files: raw.open_files,
        processes: raw.processes,
        nice: raw.nice,
        user: raw.user.clone(),
    }
}

/// The `log` table.
pub(super) fn log(reader: &mut Reader<'_>, raw: &RawLog) -> LogFilePolicy {
    let default = LogFilePolicy::default();
    let max_bytes =
        reader.size_from(limits::LOG_FILE_BYTES_MIN, &["log", "max_size"], raw.max_size.as_ref());
    LogFilePolicy {
        max_bytes: max_bytes.unwrap_or(default.max_bytes),
        keep: raw.keep.unwrap_or(default.keep),
    }
}
