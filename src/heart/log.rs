//! The few lines that heart and guard write: into the log of the service, beside those of the core.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use serde_json::json;

use super::options::LogOptions;
use crate::clock::Clock;

/// How much a line matters to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// To know.
    Info,
    /// To act on.
    Error,
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    name: &'static str,
    options: LogOptions,
}

impl Log {
    /// `name`: who speaks.
    pub fn new(name: &'static str, options: LogOptions) -> Self {
        Self { name, options }
    }

    /// Writes a line. One that cannot be written is lost: nothing here may wait for a reader.
    pub fn write(&self, level: Level, message: &str) {
        let line = self.line(level, message, Clock::wall_seconds());
        let _ = match &self.options.file {
            // opened for each line: the core puts the full file aside and begins a new one
            Some(path) => append_to(path).and_then(|mut file| file.write_all(line.as_bytes())),
            None => write_to_stderr(line.as_bytes()),
        };
    }

    fn line(&self, level: Level, message: &str, wall_seconds: f64) -> String {
        let at = UNIX_EPOCH + Duration::try_from_secs_f64(wall_seconds).unwrap_or_default();
        let at = humantime::format_rfc3339_millis(at);
        let level = match level {
            Level::Info => "INFO",
            Level::Error => "ERROR",
        };
        if self.options.json {
            let line = json!({
                "timestamp": at.to_string(), "level": level, "name": self.name, "message": message,
                "target": self.name, "process": std::process::id(),
            });
            return format!("{line}\n");
        }
        // a message holds words of others (paths, causes): it stays one line
        let message: String =
            message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{at} - {} - {level} - {message}\n", self.name)
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    // a link may lead to any file of this user, and opening a pipe would wait for its reader
    let safe = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(safe).open(path)
}

/// A terminal that is gone or a pipe that nobody reads must not hold up who guards everything else.
fn write_to_stderr(line: &[u8]) -> io::Result<()> {
    let stderr = io::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut watched, Some(&now))? == 0 || !watched[0].revents().contains(PollFlags::OUT) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    rustix::io::write(&stderr, line)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_in_both_forms() {
        let text = Log::new("symphony-heart", LogOptions::default());
        assert_eq!(
            text.line(Level::Error, "lost:\n\u{1b}[2J", 1_700_000_000.25),
            "2023-11-14T22:13:20.250Z - symphony-heart - ERROR - lost:  [2J\n"
        );
        let json = Log::new("symphony-heart", LogOptions { json: true, file: None });
        let line = json.line(Level::Info, "lost:\n\"x\"", 0.0);
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (read["message"].as_str(), read["level"].as_str()),
            (Some("lost:\n\"x\""), Some("INFO"))
        );
    }

    #[test]
    fn lines_go_to_the_file_that_has_the_name_now() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("service.log");
        let log = Log::new("symphony-heart", LogOptions { json: false, file: Some(path.clone()) });
        log.write(Level::Info, "one");
        std::fs::rename(&path, folder.path().join("service.log.1")).expect("put aside");
        log.write(Level::Info, "two");
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.ends_with("two\n") && !text.contains("one"), "{text}");
    }
}
