//! How a benchmark was called.

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Everything, judged against the targets.
    Full,
    /// `--quick`: smaller numbers, to see that a benchmark works. Its figures decide nothing.
    Quick,
}

impl Run {
    /// `None` when cargo did not ask for a benchmark: `cargo test --benches` runs these programs, too.
    pub fn asked_for() -> Option<Self> {
        let asked = |wanted: &str| std::env::args().any(|argument| argument == wanted);
        asked("--bench").then(|| if asked("--quick") { Self::Quick } else { Self::Full })
    }

    /// The number for this run.
    pub fn pick(self, full: usize, quick: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}
