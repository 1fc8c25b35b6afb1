//! The end of a command that follows something (`logs -f`, `events -f`): a service that stops has no more to tell, and
//! that is no failure.

use super::client::ClientError;
use super::error::CliError;
use super::output::Output;
use super::session::tells_of_the_stop;

/// What a look brought, once something has been shown: the end of the service is told on stderr and ends the command well.
///
/// # Errors
/// All others.
pub fn end(error: CliError, output: &Output) -> Result<(), CliError> {
    let CliError::Request { error: reason, .. } = &error else { return Err(error) };
    let told = match reason {
        ClientError::Gone | ClientError::NoService => "Management service has stopped",
        stopping if tells_of_the_stop(stopping) => "Management service is stopping",
        _ => return Err(error),
    };
    output.note(told);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_service_is_no_failure() {
        let ends_well = |error: ClientError| end(error.into(), &Output::new(true)).is_ok();
        assert!(ends_well(ClientError::Gone) && ends_well(ClientError::NoService));
        assert!(ends_well(ClientError::Refused("Service is shutting down".into())));
        assert!(!ends_well(ClientError::Refused("Model x not found".into())));
        assert!(!ends_well(ClientError::Timeout));
        assert!(end(CliError::Failed("no".into()), &Output::new(true)).is_err());
    }
}
