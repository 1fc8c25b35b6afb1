//! The embedded backend, run in a process of its own as `symphony backend`.
//!
//! It speaks the backend side of the management contract (handshake, `ping`, `l4m`) so that the service does its
//! job on a machine with nothing else. It has no model yet: `get_info` reports that nothing can be allocated, and
//! a sample of a distribution holds no tokens.
//!
//! | file | owns |
//! |---|---|
//! | [`session`] | the protocol: bytes in, bytes out |
//! | [`peers`] | who has been greeted |
//! | [`l4m`] | the language model protocol |
//! | [`serve`] | the socket and its loop |
//!
//! It must not know the tree: nothing here talks to a running service.

use std::process::ExitCode;

use clap::Args;

pub mod l4m;
pub mod peers;
pub mod serve;
pub mod session;

/// Arguments of `symphony backend`: those that every script backend gets.
#[derive(Debug, Clone, Args)]
pub struct BackendArgs {
    /// Address to serve on, `ipc://PATH`
    #[arg(long, value_name = "ENDPOINT")]
    pub ipc_endpoint: String,
    /// Name of the model, as told in answers to get_info
    #[arg(long, value_name = "NAME", default_value = "")]
    pub model_name: String,
}

/// Serves until TERM or INT; blocks. The process must have no other work: its file mask is narrowed.
///
/// The exit code is 0 after a signal, 1 when the endpoint cannot be served.
pub fn run(args: BackendArgs) -> ExitCode {
    // refused where the program around it already logs; its own choice then counts
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        // it would tell a full disk to the same full disk, and panic
        .log_internal_errors(false)
        .try_init();
    match serve_until_signal(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(endpoint = args.ipc_endpoint, %error, "backend cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn serve_until_signal(args: &BackendArgs) -> Result<(), serve::ServeError> {
    // the socket is never open to other users, not even between its bind and a chmod
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // before the bind: a TERM at any moment of the start must remove the socket file
    let stop = serve::stop_on_signals()?;
    let socket = serve::BackendSocket::bind(&args.ipc_endpoint)?;
    let mut session = session::Session::new(session::default_protocols(), &args.model_name);
    tracing::info!(endpoint = args.ipc_endpoint, model = args.model_name, "backend serves");
    socket.serve(&mut session, &stop)
}
