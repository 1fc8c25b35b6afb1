//! Follows one log: passes lines on, measures, rotates. Lives on the output thread.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::budget::{HeldBack, LineBudget};
use super::lines::{LineSplitter, text_of, without_controls};
use super::log_file;
use crate::clock::Moment;
use crate::ids::ProcessKey;
use crate::limits;
use crate::settings::policy::LogFilePolicy;

/// A process whose log is to be followed.
#[derive(Debug)]
pub(super) struct Follow {
    /// Whose output it is.
    pub key: ProcessKey,
    /// The file, opened by the spawner: it stays the child's file also when somebody moves it.
    pub file: File,
    /// Where it lies.
    pub path: PathBuf,
    /// The model's name in log lines.
    pub label: String,
    /// When it is rotated.
    pub policy: LogFilePolicy,
    /// Its length when the process began.
    pub start: u64,
    /// What was taken away from its front since; the spawner reads it at the exit.
    pub removed: Arc<AtomicU64>,
}

/// The follower of one log.
#[derive(Debug)]
pub(super) struct Follower {
    follow: Follow,
    report_lines: bool,
    position: u64,
    last_length: u64,
    output_bytes: u64,
    splitter: LineSplitter,
    budget: LineBudget,
    /// A log that cannot be emptied is tried again only when it has grown by this much more.
    rotate_above: u64,
    finished: bool,
}

/// Whether a follower has something left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is up to date.
    Idle,
    /// It wants another turn.
    Again,
    /// Its process is gone and all was passed on.
    Done,
}

impl Follower {
    /// Begins to follow.
    pub(super) fn new(follow: Follow, report_lines: bool) -> Self {
        let rotate_above = rotation_bound(&follow.policy);
        Self {
            position: follow.start,
            last_length: follow.start,
            follow,
            report_lines,
            output_bytes: 0,
            splitter: LineSplitter::default(),
            budget: LineBudget::default(),
            rotate_above,
            finished: false,
        }
    }

    /// Whose output it follows.
    pub(super) fn key(&self) -> &ProcessKey {
        &self.follow.key
    }

    /// Its process is gone: nothing more will come.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Bytes written since the process began. Never falls, also when the file is rotated.
    pub(super) fn output_bytes(&mut self) -> u64 {
        self.measure();
        self.output_bytes
    }

    /// Reads a bounded part of what is new, and rotates.
    pub(super) fn turn(&mut self, now: Moment) -> Turn {
        let length = self.measure();
        self.pass_on(length, now);
        if length > self.rotate_above {
            self.rotate(now);
        }
        let behind = self.position < self.last_length;
        if self.finished && !behind {
            self.end(now);
            return Turn::Done;
        }
        self.summarize(now, false);
        if behind || self.budget.owes_summary() { Turn::Again } else { Turn::Idle }
    }

    /// Passes on what there is, skipping what is too much, and says what was held back.
    pub(super) fn end(&mut self, now: Moment) {
        let length = self.measure();
        self.end_at(length, now);
    }

    /// The next process begins to write into the same log: its follower goes on where this one stands.
    pub(super) fn succeeded_by(mut self, follow: Follow, now: Moment) -> Self {
        let length = self.measure();
        let mut successor = Self::new(follow, self.report_lines);
        if self.position > successor.position {
            // it has passed on some of the new process's lines already
            successor.position = self.position;
            successor.splitter = std::mem::take(&mut self.splitter);
        } else if length < successor.position {
            // rotated after the new process was given its start
            successor.position = self.position;
        } else {
            self.end_at(successor.position, now);
        }
        self.summarize(now, true);
        successor
    }

    fn end_at(&mut self, end: u64, now: Moment) {
        self.skip_to_last(end, limits::OUTPUT_TURN_BYTES as u64);
        self.pass_on(end, now);
        let Self { splitter, budget, follow, .. } = self;
        splitter.finish(|line| {
            if budget.allow(now) {
                emit(&follow.label, line);
            }
        });
        self.summarize(now, true);
    }

    /// The present length; notices what others took away.
    fn measure(&mut self) -> u64 {
        let Ok(length) = self.follow.file.metadata().map(|facts| facts.len()) else {
            return self.last_length;
        };
        if length < self.last_length {
            self.removed_from_front(self.last_length - length);
            self.position = self.position.min(length);
        }
        self.last_length = length;
        let removed = self.follow.removed.load(Ordering::Relaxed);
        let written = (length + removed).saturating_sub(self.follow.start);
        self.output_bytes = self.output_bytes.max(written);
        length
    }

    fn removed_from_front(&self, bytes: u64) {
        self.follow.removed.fetch_add(bytes, Ordering::Relaxed);
    }

    fn skip_to_last(&mut self, end: u64, kept: u64) {
        let target = end.saturating_sub(kept);
        if self.report_lines && self.position < target {
            self.budget.skipped(target - self.position);
            self.splitter.skip();
            self.position = target;
        }
    }

    fn pass_on(&mut self, end: u64, now: Moment) {
        if !self.report_lines {
            self.position = end;
            return;
        }
        if end.saturating_sub(self.position) > limits::OUTPUT_BACKLOG_BYTES {
            self.skip_to_last(end, limits::OUTPUT_TURN_BYTES as u64);
        }
        let wanted = end.saturating_sub(self.position).min(limits::OUTPUT_TURN_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(limits::OUTPUT_TURN_BYTES)];
        let count = match self.follow.file.read_at(&mut bytes, self.position) {
            Ok(count) => count,
            Err(_) if wanted == 0 => 0,
            // what cannot be read is counted, not tried for ever
            Err(_) => {
                self.skip_to_last(end, 0);
                return;
            }
        };
        self.position += count as u64;
        let Self { splitter, budget, follow, .. } = self;
        splitter.push(&bytes[..count], |line| {
            if budget.allow(now) {
                emit(&follow.label, line);
            }
        });
    }

    fn rotate(&mut self, now: Moment) {
        self.skip_to_last(self.last_length, limits::OUTPUT_TURN_BYTES as u64);
        self.pass_on(self.last_length, now);
        let Follow { file, path, policy, key, .. } = &self.follow;
        let rotation = log_file::rotate(file, path, policy, self.last_length);
        if let Some(error) = &rotation.copy_failure {
            tracing::warn!(
                target: "symphony-mgmt", instance = %key.instance, generation = %key.generation,
                path = %path.display(), %error,
                "cannot keep a copy of a full log: its older lines are lost"
            );
        }
        match &rotation.failure {
            None => self.rotate_above = rotation_bound(policy),
            Some(error) => {
                tracing::error!(
                    target: "symphony-mgmt", instance = %key.instance, generation = %key.generation,
                    path = %path.display(), %error, "cannot empty a full log: it goes on growing"
                );
                self.rotate_above = self.rotate_above.saturating_mul(2);
            }
        }
        self.shift(rotation.removed);
    }

    /// The log lost this much of its front.
    fn shift(&mut self, removed: u64) {
        if self.report_lines && removed > self.position {
            self.budget.skipped(removed - self.position);
            self.splitter.skip();
        }
        self.position = self.position.saturating_sub(removed);
        self.removed_from_front(removed);
        self.last_length = 0;
        self.measure();
    }

    fn summarize(&mut self, now: Moment, at_end: bool) {
        let Some(HeldBack { lines, bytes }) = self.budget.take_summary(now, at_end) else { return };
        let label = &self.follow.label;
        tracing::info!(
            target: "symphony-backend", model = %label, lines, bytes,
            "[{label}] ({lines} more lines and {bytes} more bytes are in the log file only)"
        );
    }
}

fn rotation_bound(policy: &LogFilePolicy) -> u64 {
    policy.max_bytes.max(limits::LOG_ROTATE_MIN_BYTES)
}

fn emit(label: &str, line: &[u8]) {
    let line = without_controls(&text_of(line));
    tracing::info!(target: "symphony-backend", model = %label, "[{label}] {line}");
}
