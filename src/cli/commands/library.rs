//! `symphony install-model` and `uninstall-model`: known words of older scripts.

use crate::cli::error::CliError;

/// Says that the command is not there yet.
pub fn run(command: &str) -> Result<(), CliError> {
    Err(CliError::Failed(format!(
        "{command} comes with the model library, which this release does not have; \
         models are named in the configuration (supported_models)"
    )))
}
