//! Loading: it takes its time, with or without a sign of progress.

use std::time::Duration;

use crate::output;
use crate::patience::Patience;
use crate::script::Script;
use crate::signs;

const STEP: Duration = Duration::from_millis(100);

/// Loads; answers whether a stop was asked for meanwhile.
pub fn load(script: &Script, patience: &Patience) -> bool {
    let mut left = script.load_time.unwrap_or_default();
    let mut step = 0u32;
    while !left.is_zero() {
        step += 1;
        if script.load_output {
            output::line(&format!("loading: step {step}"));
        }
        if script.notify {
            signs::notify(&format!("STATUS=loading: step {step}"));
        }
        let span = left.min(STEP);
        left -= span;
        let stopped = if script.load_busy { patience.burn(span) } else { patience.wait(span) };
        if stopped {
            return true;
        }
    }
    false
}
