//! The markdown table of a benchmark, and whether its targets were met.

use std::process::ExitCode;

use super::run::Run;

/// Prints row by row, so that a run that fails has told what it found.
#[derive(Debug)]
pub struct Report {
    run: Run,
    missed: usize,
}

/// What a figure must hold, and whether it does.
#[derive(Debug)]
pub struct Verdict {
    target: String,
    met: bool,
}

/// At most `limit`.
pub fn at_most(figure: f64, limit: f64, unit: &str) -> Verdict {
    Verdict { target: format!("≤ {limit}{unit}"), met: figure <= limit }
}

/// At least `limit`.
pub fn at_least(figure: f64, limit: f64, unit: &str) -> Verdict {
    Verdict { target: format!("≥ {limit}{unit}"), met: figure >= limit }
}

/// Exactly `wanted`.
pub fn exactly(count: usize, wanted: usize) -> Verdict {
    Verdict { target: wanted.to_string(), met: count == wanted }
}

impl Report {
    /// Prints the head of the table.
    pub fn begin(title: &str, run: Run) -> Self {
        let quick = if run == Run::Quick { " (--quick: these figures decide nothing)" } else { "" };
        println!("\n{title}{quick}\n");
        println!("| measured | floor | Symphony | ratio | target | verdict |");
        println!("|---|---:|---:|---:|---|---|");
        Self { run, missed: 0 }
    }

    /// A figure with a target.
    pub fn judged(&mut self, what: &str, figure: &str, verdict: &Verdict) {
        self.row(what, "", figure, "", Some(verdict));
    }

    /// A figure beside its floor; the verdict is on one of them or on their ratio.
    pub fn beside_floor(
        &mut self,
        what: &str,
        floor: &str,
        figure: &str,
        ratio: f64,
        verdict: Option<&Verdict>,
    ) {
        self.row(what, floor, figure, &format!("{ratio:.2}"), verdict);
    }

    /// A figure that is only told.
    pub fn told(&mut self, what: &str, figure: &str) {
        self.row(what, "", figure, "", None);
    }

    fn row(
        &mut self,
        what: &str,
        floor: &str,
        figure: &str,
        ratio: &str,
        verdict: Option<&Verdict>,
    ) {
        let (target, word) = match verdict {
            None => ("", ""),
            Some(Verdict { target, met: true }) => (target.as_str(), "met"),
            Some(Verdict { target, met: false }) => (target.as_str(), "**missed**"),
        };
        println!("| {what} | {floor} | {figure} | {ratio} | {target} | {word} |");
        self.missed += usize::from(verdict.is_some_and(|verdict| !verdict.met));
    }

    /// The exit code of the benchmark. A missed target is told, and ends nothing: the figures are there to be read, and the
    /// benchmarks after this one are to run.
    pub fn end(self) -> ExitCode {
        if self.missed > 0 && self.run == Run::Full {
            eprintln!("{} of the targets missed", self.missed);
        }
        ExitCode::SUCCESS
    }
}
