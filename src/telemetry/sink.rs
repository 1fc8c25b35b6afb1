//! The way out of log lines: a bounded queue and one thread that writes.
//!
//! A reader of stderr that stalls blocks this thread alone; a closed pipe or a full disk costs lines, never the service.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::limits;

/// Takes lines without ever waiting. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct Sink {
    queue: SyncSender<String>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    handled: AtomicU64,
    dropped: AtomicU64,
}

impl Sink {
    /// A sink whose thread writes to `target`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(limits::SERVICE_LOG_QUEUE);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write_lines(&lines, target, &shared))?;
        Ok(Self { queue, counts })
    }

    /// Queues a line; drops and counts it when the queue is full.
    pub fn write(&self, line: String) {
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(line).is_err() {
            self.counts.handled.fetch_add(1, Ordering::Release);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines queued so far are written, `limit` at most. Answers whether they are.
    pub fn flush(&self, limit: Duration) -> bool {
        let goal = self.counts.queued.load(Ordering::Relaxed);
        let clock = Clock::start();
        let deadline = clock.now() + limit;
        while self.counts.handled.load(Ordering::Acquire) < goal {
            if clock.now() >= deadline {
                return false;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        true
    }
}

fn write_lines(lines: &Receiver<String>, mut target: impl Write, counts: &Counts) {
    let mut batch = String::new();
    while let Ok(first) = lines.recv() {
        let mut handled = 1;
        batch.clear();
        push_line(&mut batch, &first);
        while batch.len() < limits::SERVICE_LOG_BATCH_BYTES
            && let Ok(line) = lines.try_recv()
        {
            push_line(&mut batch, &line);
            handled += 1;
        }
        let dropped = counts.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            push_line(&mut batch, &format!("{dropped} log lines were dropped: the reader is slow"));
        }
        // nobody is left to be told that the log cannot be written; later lines may fare better
        let _ = target.write_all(batch.as_bytes()).and_then(|()| target.flush());
        counts.handled.fetch_add(handled, Ordering::Release);
    }
}

fn push_line(batch: &mut String, line: &str) {
    batch.push_str(line);
    batch.push('\n');
}

/// Descriptor 2 without std's lock: a writer that stalls in it must not stall whoever else writes to stderr.
#[derive(Debug, Default)]
pub struct RawStderr;

impl Write for RawStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stderr(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Tells that it was entered, then stalls until it is released.
    struct Stalled {
        entered: Sender<()>,
        release: Receiver<()>,
        page: Page,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            let _ = self.release.recv();
            self.page.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn lines_are_written_in_order() {
        let page = Page::default();
        let sink = Sink::start(page.clone()).expect("started");
        for n in 0..1000 {
            sink.write(n.to_string());
        }
        assert!(sink.flush(PATIENCE));
        let text = String::from_utf8(page.0.lock().expect("unpoisoned").clone()).expect("text");
        assert_eq!(text, (0..1000).map(|n| format!("{n}\n")).collect::<String>());
    }

    #[test]
    fn a_stalled_reader_blocks_nobody_and_what_is_dropped_is_counted() {
        let (entered, stalled) = channel();
        let (go, release) = channel();
        let page = Page::default();
        let sink = Sink::start(Stalled { entered, release, page: page.clone() }).expect("started");
        sink.write("first".into());
        stalled.recv().expect("the writer stalls");
        for _ in 0..limits::SERVICE_LOG_QUEUE + 7 {
            sink.write("more".into());
        }
        assert!(!sink.flush(Duration::from_millis(5)), "nothing can be written yet");
        drop(go);
        assert!(sink.flush(PATIENCE));
        let text = String::from_utf8(page.0.lock().expect("unpoisoned").clone()).expect("text");
        assert!(text.contains("7 log lines were dropped"), "{}", &text[..200]);
    }

    #[test]
    fn a_closed_pipe_costs_lines_and_nothing_else() {
        let sink = Sink::start(Broken).expect("started");
        for _ in 0..10_000 {
            sink.write("lost".into());
        }
        assert!(sink.flush(PATIENCE));
    }
}
