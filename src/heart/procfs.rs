//! What `/proc` tells of processes: who is whose child, and who carries a mark.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::limits;
use crate::state::files::FileIdentity;

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: the letter of its state.
    pub state: u8,
    /// Field 4.
    pub parent: u32,
    /// Field 5: its process group.
    pub group: u32,
    /// Field 22: when it was started, in ticks since boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Whether it ended; somebody may have to reap it.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// `None` when there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 2 is the program's name, which may hold anything, also spaces and parentheses: fields count after the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat { state, parent, group, start_ticks })
}

/// Every process that there is.
pub fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of this process, the dead ones too.
pub fn own_children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")));
    let mut children = Vec::new();
    for list in lists {
        match list {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(number)),
            // a kernel without these lists
            Err(_) => return children_by_parent(),
        }
    }
    children
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn children_by_parent() -> Vec<u32> {
    let own = std::process::id();
    let is_child = |pid: &u32| stat(*pid).is_some_and(|stat| stat.parent == own);
    all().into_iter().filter(is_child).collect()
}

/// Whether this process is above that one, by parents as they stand now.
pub fn descends_from_this(process: &Stat) -> bool {
    let own = std::process::id();
    let mut parent = process.parent;
    // a chain that changes while it is read comes to its end, too
    for _ in 0..limits::PROC_ANCESTORS {
        if parent == own {
            return true;
        }
        match stat(parent) {
            Some(above) if parent > 1 => parent = above.parent,
            _ => return false,
        }
    }
    false
}

/// The boot of the machine that the start of a process counts from.
pub fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// Whether the output of a process goes to this file.
pub fn writes_into(pid: u32, file: FileIdentity) -> bool {
    [1, 2].into_iter().any(|output| {
        fs::metadata(format!("/proc/{pid}/fd/{output}"))
            .is_ok_and(|facts| (facts.dev(), facts.ino()) == (file.device, file.inode))
    })
}

/// Whether a process was started with this variable. `false` for a dead one, and for one of somebody else.
pub fn has_variable(pid: u32, name: &str, value: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    holds(&environment, name, value)
}

fn holds(environment: &[u8], name: &str, value: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|entry| {
        entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
            == Some(value.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_program_names_do_not_shift_the_fields() {
        let line = b"42 (a) R (b c) Z 17 42 42 0 -1 4194560 94 0 0 0 1 2 3 4 20 0 1 0 987654 0 0";
        let expected = Stat { state: b'Z', parent: 17, group: 42, start_ticks: 987_654 };
        assert_eq!(parse_stat(line), Some(expected));
        assert!(expected.is_dead());
        assert_eq!(parse_stat(b"42 (a) S 1"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn this_process_is_found_in_the_lists() {
        let own = std::process::id();
        assert!(all().contains(&own));
        assert!(!stat(own).expect("it runs").is_dead());
        assert!(!own_children().contains(&own));
    }

    #[test]
    fn both_ways_find_the_same_child() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("started");
        let lists = (own_children(), children_by_parent());
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(lists.0.contains(&child.id()) && lists.1.contains(&child.id()), "{lists:?}");
    }

    #[test]
    fn a_mark_is_the_whole_variable() {
        let environment = b"A=1\0SYMPHONY_SERVICE=x\0B=SYMPHONY_SERVICE=y\0";
        assert!(holds(environment, "SYMPHONY_SERVICE", "x"));
        assert!(!holds(environment, "SYMPHONY_SERVICE", ""));
        assert!(!holds(environment, "SYMPHONY_SERVICE", "y"));
        assert!(!holds(environment, "SYMPHONY", "x"));
    }
}
