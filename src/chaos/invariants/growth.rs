//! Memory, descriptors and processes are at the end what they were at the start.

use serde::Serialize;

use super::{Invariant, Violation};
use crate::limits;

/// What the service uses at a quiet moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Processes of its backends.
    pub processes: usize,
}

/// By how many percent `to` is more than `from`.
pub fn percent(from: u64, to: u64) -> f64 {
    (to as f64 / from.max(1) as f64 - 1.0) * 100.0
}

/// The memory of a service that is warm, from samples of a run (seconds, bytes): the least of some looks after each kind of
/// fault had come some times, since one look may fall into a burst. None in a run that is not twice as long.
pub fn warm_bytes(samples: &[(u64, u64)]) -> Option<u64> {
    let from = limits::CHAOS_WARM.as_secs();
    let (last, _) = samples.last()?;
    let looks = samples.iter().filter(|(at, _)| (from..from + from / 2).contains(at));
    let least = looks.map(|(_, bytes)| *bytes).min()?;
    (*last >= from * 2).then_some(least)
}

/// Compares a quiet moment at the end with one at the start. `warm_bytes`: see there; from then on memory may not grow at
/// all, but for its percents and the events that the service keeps. A short run has none, and gets a slack instead.
pub fn growth(start: Usage, warm_bytes: Option<u64>, end: Usage) -> Option<Violation> {
    let with_percents = |bytes: u64| bytes + bytes * limits::CHAOS_MEMORY_PERCENT / 100;
    let most_memory = match warm_bytes {
        Some(warm) => with_percents(warm.max(start.memory_bytes)) + limits::CHAOS_EVENT_RING,
        None => with_percents(start.memory_bytes) + limits::CHAOS_MEMORY_SLACK,
    };
    let mut grown = Vec::new();
    if end.memory_bytes > most_memory {
        grown.push(format!(
            "memory from {} to {} KiB{}, at most {} KiB are allowed",
            start.memory_bytes / 1024,
            end.memory_bytes / 1024,
            warm_bytes.map(|warm| format!(" ({} KiB when warm)", warm / 1024)).unwrap_or_default(),
            most_memory / 1024
        ));
    }
    let counted = [
        ("descriptors", start.descriptors, end.descriptors),
        ("threads", start.threads, end.threads),
        ("processes of backends", start.processes, end.processes),
    ];
    // fewer are in order: a model that was given up has no process
    for (what, from, to) in counted {
        if to > from {
            grown.push(format!("{what} from {from} to {to}"));
        }
    }
    (!grown.is_empty()).then(|| Violation {
        invariant: Invariant::NoGrowth,
        subject: "service".to_owned(),
        what: format!("it has grown: {}", grown.join("; ")),
        history: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const START: Usage =
        Usage { memory_bytes: 100 * MIB, descriptors: 50, threads: 9, processes: 4 };

    #[test]
    fn the_same_and_less_hold() {
        assert_eq!(growth(START, None, START), None);
        let less = Usage { memory_bytes: 90 * MIB, descriptors: 48, threads: 9, processes: 3 };
        assert_eq!(growth(START, None, less), None);
        assert_eq!(growth(START, None, Usage { memory_bytes: 105 * MIB, ..START }), None);
    }

    #[test]
    fn a_long_run_is_compared_with_the_warm_service() {
        let end = |mib: u64| Usage { memory_bytes: mib * MIB, ..START };
        assert_eq!(growth(START, Some(120 * MIB), end(127)), None);
        assert!(growth(START, Some(120 * MIB), end(128)).is_some());
        assert!(growth(START, Some(90 * MIB), end(107)).is_some(), "no slack beside");
    }

    #[test]
    fn warm_is_the_least_of_some_looks_of_a_long_run() {
        let every_ten = |to: u64| (1..=to / 10).map(|n| (n * 10, n * MIB)).collect::<Vec<_>>();
        let mut samples = every_ten(240);
        assert_eq!(warm_bytes(&samples), Some(12 * MIB));
        // a burst at the first look
        samples[11].1 = 99 * MIB;
        assert_eq!(warm_bytes(&samples), Some(13 * MIB));
        assert_eq!(warm_bytes(&every_ten(230)), None, "too short");
        assert_eq!(warm_bytes(&[]), None);
    }

    #[test]
    fn the_violation_tells_start_warm_and_end() {
        let end = Usage { memory_bytes: 150 * MIB, ..START };
        let what = growth(START, Some(120 * MIB), end).expect("grown").what;
        assert!(what.contains("from 102400 to 153600 KiB (122880 KiB when warm)"), "{what}");
        assert!((percent(100, 105) - 5.0).abs() < 1e-9 && percent(0, 0) < 0.0);
    }

    #[test]
    fn any_growth_is_told() {
        let grown = [
            Usage { memory_bytes: 120 * MIB, ..START },
            Usage { descriptors: 51, ..START },
            Usage { threads: 10, ..START },
            Usage { processes: 5, ..START },
        ];
        for end in grown {
            assert!(growth(START, None, end).is_some(), "{end:?}");
        }
    }
}
