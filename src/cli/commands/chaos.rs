//! `symphony chaos`: faults on purpose against a running service, or one of its own, and a report of what held.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::chaos::invariants::Violation;
use crate::chaos::invariants::growth::percent;
use crate::chaos::report::Report;
use crate::chaos::run::{self, ChaosError, Length, Options};
use crate::chaos::tally::Spread;
use crate::cli::args::ChaosArgs;
use crate::cli::client::Client;
use crate::cli::configuration::ServiceFlags;
use crate::cli::early_stop;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::stage::Stage;
use crate::cli::table::{Cell, Table};
use crate::clock::Clock;
use crate::limits;
use crate::telemetry::escape::one_line;

/// How long a run takes unless it is told.
const LENGTH: Duration = Duration::from_secs(60);

/// Runs chaos and tells what came of it.
pub fn run(args: &ChaosArgs, session: &Session) -> Result<ExitCode, CliError> {
    if args.start.is_some() && session.named_endpoint().is_some() {
        return Err(CliError::Usage(
            "--start tries a service of its own; --endpoint names another one".to_owned(),
        ));
    }
    // the faults that last are undone and the report is told, whenever the end comes
    let stop = early_stop::listen_to_all()?;
    let options = options(args);
    let again = format!("seed {0} (the same faults again: --seed {0})", options.seed);
    if session.output.is_json() {
        // a run that fails on a build machine is to be had again, also when it does not come to its report
        session.output.note(again);
    } else {
        session.output.line(again)?;
    }
    let report = match args.start {
        None => run::run(&options, &session.endpoint()?, &stop).map_err(told)?,
        Some(models) => on_a_stage(&options, models, &stop, &session.output)?,
    };
    tell(&report, &session.output)?;
    if report.done() == 0 && !report.interrupted {
        session.output.note("Error: no fault was done, so nothing was tried");
        return Ok(ExitCode::FAILURE);
    }
    Ok(if report.held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(args: &ChaosArgs) -> Options {
    let length = args.faults.map_or(Length::Time(args.length.unwrap_or(LENGTH)), |count| {
        Length::Faults(usize::try_from(count).unwrap_or(usize::MAX))
    });
    Options {
        // five digits are enough for a fresh one, and can be typed
        seed: args.seed.unwrap_or_else(|| fastrand::u64(1..100_000)),
        every: args.every,
        length,
        only: args.only.clone(),
        models: args.models.clone(),
        clients: args.clients.into(),
        settle: args.settle,
    }
}

fn told(error: ChaosError) -> CliError {
    match error {
        ChaosError::Client(error) => error.into(),
        other => CliError::Failed(other.to_string()),
    }
}

// ---- a service of its own --------------------------------------------------------------------------------------

fn on_a_stage(
    options: &Options,
    models: u16,
    stop: &AtomicBool,
    output: &Output,
) -> Result<Report, CliError> {
    let (random, ..) = uuid::Uuid::new_v4().as_fields();
    let folder = std::env::temp_dir().join(format!("symphony-chaos-{random:08x}"));
    let flags = ServiceFlags { allow_chaos: true, ..ServiceFlags::default() };
    let stage = Stage::build(folder, &configuration(models), flags, None)?;
    let outcome = wait_until_loaded(&stage.endpoint, models, stop)
        .and_then(|()| run::run(options, &stage.endpoint, stop).map_err(told));
    let struck = stage.strike();
    if let (Err(left), false) = (&struck, matches!(&outcome, Ok(report) if report.held)) {
        // what went wrong before tells more, and this is told beside it
        output.note(format!("Error: {left}"));
        return outcome;
    }
    struck.and(outcome)
}

/// Health is asked for often, so that hangs are found within a short run; restarts are allowed as many as chaos needs, so
/// that a long one does not end with all models given up.
fn configuration(models: u16) -> Value {
    let names = (1..=models).map(|number| {
        json!({ "name": format!("model-{number:03}"), "type": "builtin", "autostart": true })
    });
    json!({
        "model_backends": { "builtin": {
            "embedded": true,
            "health": { "every": "1s", "timeout": "1s", "misses": 3 },
            "restart": {
                "max_consecutive_failures": 20, "reset_after": "2s", "backoff_min": "100ms", "backoff_max": "2s",
                "window_max": limits::WINDOW_RESTARTS, "window_period": "30m",
            },
            "log": { "max_size": "1MiB", "keep": 2 },
        } },
        "supported_models": names.collect::<Vec<_>>(),
    })
}

fn wait_until_loaded(endpoint: &str, models: u16, stop: &AtomicBool) -> Result<(), CliError> {
    let client = Client::connect(endpoint)?;
    let clock = Clock::start();
    loop {
        let status = client.ask("status", json!({}), limits::CLI_PATIENCE)?.value();
        let rows = status["models"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ready = rows.iter().filter(|row| row["state"] == "ready").count();
        if ready >= usize::from(models) {
            return Ok(());
        }
        if stop.load(Ordering::Relaxed) {
            let text = format!(
                "interrupted while {ready} of {models} models of the private service were ready"
            );
            return Err(CliError::Failed(text));
        }
        if clock.now().since_origin() >= limits::CLI_LOAD_PATIENCE {
            let text = format!("only {ready} of {models} models of the private service are ready");
            return Err(CliError::Failed(text));
        }
        std::thread::park_timeout(limits::DAEMON_CHECK_EVERY);
    }
}

// ---- the report ------------------------------------------------------------------------------------------------

fn tell(report: &Report, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let text = serde_json::to_string(report);
        return output.line(text.map_err(|error| CliError::Failed(error.to_string()))?);
    }
    for line in human(report, output) {
        output.line(line)?;
    }
    Ok(())
}

fn human(report: &Report, output: &Output) -> Vec<String> {
    let mut lines = vec![format!(
        "{} faults in {:.0} s on {} models of the service with pid {}{}",
        report.done(),
        report.seconds,
        report.models.len(),
        report.pid,
        if report.interrupted { ", interrupted" } else { "" },
    )];
    lines.push(String::new());
    let mut table = Table::new([
        "FAULT",
        "COUNT",
        "LEFT OUT",
        "DETECTED p50",
        "max",
        "RECOVERED p50",
        "max",
        "REQUESTS FAILED",
    ]);
    for row in &report.faults {
        let [detected, detected_max] = times(row.detected_ms);
        let [recovered, recovered_max] = times(row.recovered_ms);
        table.push([
            Cell::new(row.fault.as_str()),
            Cell::new(row.count.to_string()),
            Cell::new(row.left_out.to_string()),
            detected,
            detected_max,
            recovered,
            recovered_max,
            Cell::new(row.requests_failed.to_string()),
        ]);
    }
    lines.extend(table.lines(output));
    lines.extend(
        report.left_out.iter().map(|(why, count)| format!("left out {count}: {}", one_line(why))),
    );
    lines.push(String::new());
    let requests = report.requests;
    lines.push(format!(
        "Requests: {} sent, {} answered, {} refused, {} failed",
        requests.sent, requests.answered, requests.refused, requests.failed
    ));
    lines.push(usage(report));
    if !report.given_up.is_empty() {
        lines.push(format!("Given up, as their limits say: {}", report.given_up.join(", ")));
    }
    lines.push(String::new());
    for rule in &report.invariants {
        let verdict = if rule.held { "held   " } else { "BROKEN " };
        lines.push(format!("{verdict} {}", rule.invariant.words()));
    }
    for violation in &report.violations {
        lines.push(String::new());
        lines.extend(broken(violation, output));
    }
    lines
}

fn times(spread: Option<Spread>) -> [Cell; 2] {
    match spread {
        None => [Cell::new("-"), Cell::new("-")],
        Some(spread) => [spread.p50, spread.max].map(|ms| Cell::new(format!("{ms:.1} ms"))),
    }
}

fn usage(report: &Report) -> String {
    let start = report.usage_at_start;
    let Some(end) = report.usage_at_end else { return "The service is gone".to_owned() };
    let change = percent(start.memory_bytes, end.memory_bytes);
    // the rule of a long run has the warm service as its base; both figures are told
    let warm = report.memory_warm_bytes.map_or_else(String::new, |warm| {
        let change = percent(warm, end.memory_bytes);
        format!(", {:.1} MiB when warm ({change:+.1} % since)", warm as f64 / 1_048_576.0)
    });
    format!(
        "Service: memory {:.1} -> {:.1} MiB ({change:+.1} %){warm}, descriptors {} -> {}, threads {} -> {}, backends {} -> {}",
        start.memory_bytes as f64 / 1_048_576.0,
        end.memory_bytes as f64 / 1_048_576.0,
        start.descriptors,
        end.descriptors,
        start.threads,
        end.threads,
        start.processes,
        end.processes,
    )
}

fn broken(violation: &Violation, output: &Output) -> Vec<String> {
    let mut lines = vec![format!(
        "BROKEN: {}\n  {}: {}",
        violation.invariant.words(),
        one_line(&violation.subject),
        one_line(&violation.what)
    )];
    lines.extend(
        violation.history.iter().map(|event| format!("    {}", super::events::line(event, output))),
    );
    lines
}
