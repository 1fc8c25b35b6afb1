//! Which spawn may go out now. Pure: knows keys and counts, no processes.
//!
//! Storms are smoothed, never dropped: at most a few orders are with the launcher unanswered, the rest waits in line.

use std::collections::{HashSet, VecDeque};

use crate::ids::{InstanceId, ProcessKey};

/// The line of spawns.
#[derive(Debug)]
pub struct Admission<T> {
    at_once: usize,
    unanswered: HashSet<ProcessKey>,
    waiting: VecDeque<(ProcessKey, T)>,
}

impl<T> Admission<T> {
    /// A line that lets `at_once` orders go out unanswered (one at least).
    pub fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1), unanswered: HashSet::new(), waiting: VecDeque::new() }
    }

    /// Puts an order at the end of the line.
    pub fn enqueue(&mut self, key: ProcessKey, order: T) {
        self.waiting.push_back((key, order));
    }

    /// The next order that may go out now, counted as unanswered from here on.
    pub fn let_out(&mut self) -> Option<(ProcessKey, T)> {
        if self.unanswered.len() >= self.at_once {
            return None;
        }
        let (key, order) = self.waiting.pop_front()?;
        self.unanswered.insert(key.clone());
        Some((key, order))
    }

    /// An order was answered, or will not go out after all.
    pub fn answered(&mut self, key: &ProcessKey) {
        self.unanswered.remove(key);
    }

    /// Takes an order out of the line; `None` when it went out already or never came.
    pub fn cancel(&mut self, key: &ProcessKey) -> Option<T> {
        let place = self.waiting.iter().position(|(waiting, _)| waiting == key)?;
        self.waiting.remove(place).map(|(_, order)| order)
    }

    /// A start of this instance that waits or is unanswered.
    pub fn pending(&self, instance: &InstanceId) -> Option<&ProcessKey> {
        let waiting = self.waiting.iter().map(|(key, _)| key);
        self.unanswered.iter().chain(waiting).find(|key| key.instance == *instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::testing::key;
    use proptest::prelude::*;

    #[test]
    fn orders_go_out_in_line_a_few_at_once() {
        let mut line = Admission::new(2);
        for model in ["a", "b", "c"] {
            line.enqueue(key(model, 1), model);
        }
        assert_eq!(line.let_out().map(|(_, order)| order), Some("a"));
        assert_eq!(line.let_out().map(|(_, order)| order), Some("b"));
        assert!(line.let_out().is_none());
        line.answered(&key("b", 1));
        assert_eq!(line.let_out().map(|(_, order)| order), Some("c"));
    }

    #[test]
    fn only_waiting_orders_can_be_cancelled() {
        let mut line = Admission::new(1);
        line.enqueue(key("a", 1), ());
        line.enqueue(key("b", 1), ());
        line.let_out();
        assert!(line.cancel(&key("a", 1)).is_none());
        assert!(line.cancel(&key("b", 2)).is_none(), "another generation");
        assert!(line.cancel(&key("b", 1)).is_some());
        assert!(line.pending(&key("b", 1).instance).is_none());
        assert_eq!(line.pending(&key("a", 9).instance), Some(&key("a", 1)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enqueue,
        Next,
        Answer(usize),
        Cancel(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Enqueue),
            Just(Step::Next),
            (0usize..20).prop_map(Step::Answer),
            (0usize..20).prop_map(Step::Cancel),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_too_much_at_once(at_once in 0usize..4, steps in steps()) {
            let mut line = Admission::new(at_once);
            let (mut enqueued, mut out, mut cancelled) = (0, Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Enqueue => {
                        line.enqueue(key(&format!("m{enqueued}"), 1), enqueued);
                        enqueued += 1;
                    }
                    Step::Next => out.extend(line.let_out().map(|(_, order)| order)),
                    Step::Answer(n) => line.answered(&key(&format!("m{n}"), 1)),
                    Step::Cancel(n) => cancelled += usize::from(line.cancel(&key(&format!("m{n}"), 1)).is_some()),
                }
                prop_assert!(line.unanswered.len() <= at_once.max(1));
                prop_assert!(out.is_sorted(), "first in, first out");
                prop_assert_eq!(out.len() + cancelled + line.waiting.len(), enqueued);
            }
        }
    }
}
