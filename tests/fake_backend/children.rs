//! Children of its own, which its supervisor must not leave behind.

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::output;
use crate::script::Script;

/// The end of a child that nobody ends: even a test that fails leaves nothing behind for long.
pub const SLEEP: Duration = Duration::from_secs(600);

/// Starts the children of `--fork`; they hold its output.
pub fn start(script: &Script) -> io::Result<()> {
    for _ in 0..script.fork {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--sleep");
        if script.grandchild_ignores_term {
            command.arg("--ignore-term");
        }
        let child = command.spawn()?;
        output::line(&format!("grandchild {}", child.id()));
    }
    Ok(())
}
