//! Where a command's words go: results to stdout, everything else to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::Style;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;

use super::error::CliError;

/// Stdout and stderr as one command uses them.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    terminal: bool,
    colours: bool,
}

impl Output {
    /// The output of this process.
    pub fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        // https://no-color.org: present and not empty
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, terminal, colours: terminal && !json && !dumb && !unwanted }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person reads stdout.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Columns of the terminal that stdout is; `None` where it is none, or does not tell.
    pub fn columns(&self) -> Option<usize> {
        let size = self.terminal.then(|| tcgetwinsize(io::stdout()))?.ok()?;
        (size.ws_col > 0).then_some(size.ws_col.into())
    }

    /// Whether progress may be drawn on stderr.
    pub fn shows_progress(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A line of the result.
    ///
    /// # Errors
    /// [`CliError::ClosedPipe`] when nobody reads it, [`CliError::Output`] when it cannot be written.
    pub fn line(&self, text: impl Display) -> Result<(), CliError> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// A part of the result as it is.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::ClosedPipe,
            _ => CliError::Output(error),
        })
    }

    /// A word to the user beside the result, on stderr. Never fails: there is nobody else to tell.
    pub fn note(&self, text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// The text in a style, where colours are shown.
    pub fn styled(&self, text: &str, style: Style) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Waits for the next turn of a command that follows something; ends early when nobody reads it any more.
    ///
    /// # Errors
    /// [`CliError::ClosedPipe`].
    pub fn pause(&self, span: Duration) -> Result<(), CliError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        };
        // asking for nothing: errors and hang-ups are told anyway
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let closed = match poll(&mut watched, Some(&timeout)) {
            Ok(count) => count > 0,
            // a signal that did not end the process: the turn comes early
            Err(_) => false,
        };
        if closed { Err(CliError::ClosedPipe) } else { Ok(()) }
    }
}
