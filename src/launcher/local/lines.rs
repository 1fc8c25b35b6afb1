//! Cuts a stream of bytes into lines that are safe to show. Pure.

use crate::limits::OUTPUT_LINE_BYTES;

/// A line as text: at most [`OUTPUT_LINE_BYTES`], without its line end, invalid UTF-8 replaced.
pub(super) fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let kept = line.len().min(OUTPUT_LINE_BYTES);
    String::from_utf8_lossy(&line[..kept]).into_owned()
}

/// A line for the service's own log, where escape sequences of a backend must not act on a terminal.
pub(super) fn without_controls(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

/// Takes bytes as they come and gives whole lines. Keeps at most [`OUTPUT_LINE_BYTES`], whatever comes in.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    partial: Vec<u8>,
    /// The present line was given out already, cut; the rest of it is dropped.
    cut: bool,
}

impl LineSplitter {
    /// Gives each line that is complete now, and an endless one as soon as it is too long.
    pub(super) fn push(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            if !self.cut {
                if self.partial.is_empty() && ends {
                    give(piece);
                    continue;
                }
                let room = OUTPUT_LINE_BYTES - self.partial.len();
                self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
                if ends || self.partial.len() == OUTPUT_LINE_BYTES {
                    give(&self.partial);
                    self.partial.clear();
                    self.cut = true;
                }
            }
            if ends {
                self.cut = false;
            }
        }
    }

    /// Gives what is left of a line without an end.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            give(&self.partial);
        }
        *self = Self::default();
    }

    /// Something was left out of the stream: what comes next is the middle of a line.
    pub(super) fn skip(&mut self) {
        self.partial.clear();
        self.cut = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(piece, |line| lines.push(text_of(line)));
        }
        splitter.finish(|line| lines.push(text_of(line)));
        lines
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        assert_eq!(split(&[b"on", b"e\ntwo\r\n", b"\n", b"rest"]), ["one", "two", "", "rest"]);
    }

    #[test]
    fn endless_line_is_given_once_and_keeps_no_memory() {
        let mut splitter = LineSplitter::default();
        let mut given = 0;
        let block = vec![b'x'; 64 * 1024];
        for _ in 0..1024 {
            splitter.push(&block, |line| {
                assert_eq!(line.len(), OUTPUT_LINE_BYTES);
                given += 1;
            });
            assert!(splitter.partial.capacity() <= 2 * OUTPUT_LINE_BYTES);
        }
        assert_eq!(given, 1);
        let mut after = Vec::new();
        splitter.push(b"tail\nnext\n", |line| after.push(text_of(line)));
        assert_eq!(after, ["next"]);
    }

    #[test]
    fn non_utf8_output() {
        assert_eq!(split(&[b"a\xff\xfeb\n"]), ["a\u{fffd}\u{fffd}b"]);
    }

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(without_controls("\u{1b}[31mred\u{7}\tx"), "[31mred\tx");
    }

    #[test]
    fn after_a_skip_the_rest_of_a_line_is_dropped() {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        splitter.push(b"begun", |_| {});
        splitter.skip();
        splitter.push(b"middle\nwhole\n", |line| lines.push(text_of(line)));
        assert_eq!(lines, ["whole"]);
    }

    proptest! {
        #[test]
        fn cutting_the_stream_differently_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            at in 0usize..400,
        ) {
            let at = at.min(bytes.len());
            prop_assert_eq!(split(&[&bytes]), split(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
