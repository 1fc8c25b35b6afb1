//! Reads the end of a log file: for an exit, for `logs`, for `logs -f`. Every read is bounded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::lines::text_of;
use super::log_file;
use crate::launcher::TailOrder;
use crate::limits;

/// The last lines that one process wrote.
///
/// `start` is the length of the file when the process began, `removed` what rotation took away from its front since.
pub(super) fn last_output(path: &Path, start: u64, removed: u64) -> Vec<String> {
    let Ok(file) = log_file::open_to_read(path) else { return Vec::new() };
    let Ok(length) = file.metadata().map(|facts| facts.len()) else { return Vec::new() };
    // shorter than at the start: somebody else emptied it
    let floor = start.saturating_sub(removed).min(length);
    let floor = if length < start && removed == 0 { 0 } else { floor };
    let mut end = End::read(&file, floor, length, limits::EXIT_OUTPUT_BYTES);
    if removed > start {
        end.prepend_rotated(path, limits::EXIT_OUTPUT_BYTES);
    }
    end.last_lines(limits::EXIT_OUTPUT_LINES)
}

/// Answers a [`TailOrder`]: the lines, and the offset to ask from next.
pub(super) fn tail(order: &TailOrder) -> (Result<Vec<String>, String>, u64) {
    let wanted = order.lines.min(limits::LOG_LINES);
    let answer = match order.after_offset {
        None => last_lines(&order.log_path, wanted),
        Some(offset) => lines_after(&order.log_path, offset, wanted),
    };
    match answer {
        Ok((lines, next_offset)) => (Ok(lines), next_offset),
        // a model that was never started wrote nothing yet; who follows its log waits for the first line
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Ok(Vec::new()), 0),
        Err(error) => (Err(error.to_string()), order.after_offset.unwrap_or(0)),
    }
}

fn last_lines(path: &Path, wanted: usize) -> io::Result<(Vec<String>, u64)> {
    let file = log_file::open_to_read(path)?;
    let length = file.metadata()?.len();
    let mut end = End::read(&file, 0, length, limits::LOG_TAIL_BYTES);
    if end.count_lines() < wanted {
        end.prepend_rotated(path, limits::LOG_TAIL_BYTES);
    }
    Ok((end.last_lines(wanted), length))
}

/// Whole lines behind `offset`, the oldest first, so that a follower that asks again and again loses none.
fn lines_after(path: &Path, offset: u64, wanted: usize) -> io::Result<(Vec<String>, u64)> {
    let file = log_file::open_to_read(path)?;
    let length = file.metadata()?.len();
    // rotated since: what is there now is all new
    let from = if offset > length { 0 } else { offset };
    let bytes = read_range(&file, from, length.min(from.saturating_add(limits::LOG_TAIL_BYTES)));

    let mut lines = Vec::new();
    let mut taken = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n').take(wanted) {
        // an incomplete line waits for its end, unless it fills the whole read and never would have one
        if !line.ends_with(b"\n") && line.len() as u64 != limits::LOG_TAIL_BYTES {
            break;
        }
        lines.push(text_of(line));
        taken += line.len() as u64;
    }
    Ok((lines, from + taken))
}

/// Some bytes from the end of a log.
struct End {
    bytes: Vec<u8>,
    /// The first line may have begun earlier.
    begins_inside_a_line: bool,
}

impl End {
    fn read(file: &File, floor: u64, length: u64, max_bytes: u64) -> Self {
        let from = floor.max(length.saturating_sub(max_bytes));
        Self { bytes: read_range(file, from, length), begins_inside_a_line: from > floor }
    }

    /// Fills up with the end of the file that was rotated away last.
    fn prepend_rotated(&mut self, path: &Path, max_bytes: u64) {
        let room = max_bytes.saturating_sub(self.bytes.len() as u64);
        let Ok(file) = log_file::open_to_read(&log_file::rotated(path, 1)) else { return };
        let Ok(length) = file.metadata().map(|facts| facts.len()) else { return };
        let mut before = Self::read(&file, 0, length, room);
        before.bytes.append(&mut self.bytes);
        *self = before;
    }

    fn count_lines(&self) -> usize {
        self.bytes.split_inclusive(|byte| *byte == b'\n').count()
    }

    fn last_lines(&self, wanted: usize) -> Vec<String> {
        let count = self.count_lines();
        // half a line at the front is left out, unless it is all there is
        let whole = count - usize::from(self.begins_inside_a_line && count > 1);
        let skipped = count - whole.min(wanted);
        self.bytes.split_inclusive(|byte| *byte == b'\n').skip(skipped).map(text_of).collect()
    }
}

/// The bytes from `from` to `to`, fewer where the file is shorter by now or cannot be read.
fn read_range(file: &File, from: u64, to: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.truncate(filled);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn log(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn ask(path: &Path, lines: usize, after_offset: Option<u64>) -> (Vec<String>, u64) {
        let order = TailOrder { ticket: 1, log_path: path.to_owned(), lines, after_offset };
        let (lines, next_offset) = tail(&order);
        (lines.unwrap(), next_offset)
    }

    #[test]
    fn output_of_an_exit_is_that_of_the_last_process_alone() {
        let (_folder, path) = log(b"old\nold\nnew one\nnew two\n");
        assert_eq!(last_output(&path, 8, 0), ["new one", "new two"]);
        assert_eq!(last_output(&path, 24, 0), [""; 0]);
    }

    #[test]
    fn output_of_an_exit_is_found_after_a_rotation() {
        let (_folder, path) = log(b"last\n");
        std::fs::write(log_file::rotated(&path, 1), "first\n").unwrap();
        assert_eq!(last_output(&path, 0, 6), ["first", "last"]);
        // of the six bytes taken away all belonged to the process before
        assert_eq!(last_output(&path, 6, 6), ["last"]);
    }

    #[test]
    fn output_of_an_exit_is_bounded() {
        let line = format!("{}\n", "x".repeat(99));
        let (_folder, path) = log(line.repeat(1000).as_bytes());
        assert_eq!(last_output(&path, 0, 0).len(), limits::EXIT_OUTPUT_LINES);

        let (_folder, path) = log(&vec![b'y'; 100_000]);
        let endless = last_output(&path, 0, 0);
        assert_eq!(endless.len(), 1);
        assert!(endless[0].len() <= limits::OUTPUT_LINE_BYTES);
        assert_eq!(last_output(&path.with_extension("none"), 0, 0), [""; 0]);
    }

    #[test]
    fn tail_gives_the_last_lines_also_an_incomplete_one() {
        let (_folder, path) = log(b"a\nb\nc");
        assert_eq!(ask(&path, 2, None), (vec!["b".into(), "c".into()], 5));
        assert_eq!(ask(&path, 0, None), (vec![], 5));
        std::fs::write(log_file::rotated(&path, 1), "y\nz\n").unwrap();
        assert_eq!(ask(&path, 4, None).0, ["z", "a", "b", "c"]);
    }

    #[test]
    fn following_waits_for_line_ends_and_loses_nothing() {
        let (_folder, path) = log(b"a\nb\nc");
        assert_eq!(ask(&path, 1, Some(0)), (vec!["a".into()], 2));
        assert_eq!(ask(&path, 9, Some(2)), (vec!["b".into()], 4));
        assert_eq!(ask(&path, 9, Some(4)), (vec![], 4));
        assert_eq!(ask(&path, 9, Some(400)).0, ["a", "b"], "rotated: from the beginning");
    }

    #[test]
    fn following_an_endless_line_goes_on() {
        let bytes = limits::LOG_TAIL_BYTES as usize;
        let (_folder, path) = log(&vec![b'x'; bytes + 10]);
        let (lines, next_offset) = ask(&path, 9, Some(0));
        assert_eq!((lines.len(), next_offset), (1, limits::LOG_TAIL_BYTES));
        assert_eq!(lines[0].len(), limits::OUTPUT_LINE_BYTES);
    }

    #[test]
    fn missing_log_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        assert_eq!(ask(&missing, 5, None), (vec![], 0));
        assert_eq!(ask(&missing, 5, Some(7)), (vec![], 0), "from the beginning, when there is one");
    }

    #[test]
    fn unreadable_log_is_an_error_with_the_systems_word() {
        let (_folder, file) = log(b"a");
        let log_path = file.join("below a file");
        let (lines, _) = tail(&TailOrder { ticket: 1, log_path, lines: 5, after_offset: None });
        assert!(lines.unwrap_err().contains("Not a directory"));
    }
}
