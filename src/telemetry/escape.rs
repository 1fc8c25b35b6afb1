//! Control characters made visible, so that what a backend says can neither forge a log line nor steer a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// The text as one line: every control character but the tab is escaped, line breaks too.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// The text for a terminal: line breaks and tabs stay, every other control character is escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t' || c == '\n')
}

/// The first `bytes` bytes of a text, cut at a character and marked as cut.
pub fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes);
    Cow::Owned(format!("{}…", &text[..end]))
}

fn escaped(text: &str, stays: fn(char) -> bool) -> Cow<'_, str> {
    let needs_escape = |c: char| is_unsafe(c) && !stays(c);
    if !text.contains(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !needs_escape(c) {
            safe.push(c);
        } else if u32::from(c) < 0x80 && !matches!(c, '\n' | '\r' | '\t') {
            let _ = write!(safe, "\\x{:02x}", u32::from(c));
        } else {
            safe.extend(c.escape_default());
        }
    }
    Cow::Owned(safe)
}

/// Control characters, and the separators that some readers take for line breaks.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_cannot_forge_a_second_line() {
        assert_eq!(one_line("a\nb\r\nc\td"), "a\\nb\\r\\nc\td");
        assert_eq!(one_line("a\u{2028}b\u{85}c"), "a\\u{2028}b\\u{85}c");
    }

    #[test]
    fn escape_sequences_cannot_steer_a_terminal() {
        assert_eq!(one_line("\u{1b}[2Jgone\0\u{7f}"), "\\x1b[2Jgone\\x00\\x7f");
        assert_eq!(printable("two\nlines\u{1b}[31m"), "two\nlines\\x1b[31m");
    }

    #[test]
    fn honest_text_is_passed_on_without_a_copy() {
        assert!(matches!(one_line("übung 模型 ok"), Cow::Borrowed(_)));
    }

    #[test]
    fn cuts_lie_between_characters() {
        assert_eq!(cut("äöü", 3), "ä…");
        assert_eq!(cut("äöü", 6), "äöü");
    }
}
