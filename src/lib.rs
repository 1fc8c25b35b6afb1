//! Symphony keeps AI model processes alive and leads clients to them.
//!
//! One process for each model, supervised as Erlang/OTP supervises: what dies, hangs or lies about its health is
//! replaced, within limits, under the same endpoint. The binary `symphony` is this library with a command line; a
//! program may as well run the [service](app::Service) among its own actors, or use the
//! [supervision layer](supervision) alone.
//!
//! ```no_run
//! use symphony::app::{ServeOptions, Service};
//! use symphony::instance::messages::LoadModel;
//! use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let backend = BackendSpec::http_command(["llama-server", "--port", "{port}", "--model", "/srv/phi.gguf"]);
//! let settings = Settings::in_folder("/run/my-models".as_ref())?.with_model(ModelSpec::new("phi", backend)?);
//! let service = Service::start(settings, ServeOptions::default()).await?;
//! let phi = service.desk()?.send(LoadModel { model: "phi".into(), wait: true, revive: true }).await??;
//! println!("{} answers on {}", phi.model, phi.endpoint);
//! service.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has whole programs.
//!
//! # Layout
//!
//! The way of a request, from the outside in:
//!
//! - [`cli`]: arguments, a client of the management socket, output for people and programs
//! - [`app`]: settings in, a running tree out, an orderly end
//! - [`root`]: the top of the tree, its start order, its shutdown
//! - [`gateway`]: the edges; ZeroMQ sockets in, typed messages out
//! - [`registry`]: who is where, asked on the hot path
//! - [`instance`]: one backend's life as a pure state machine, and the actor around it
//! - [`probe`]: asks backends whether they are ready and well
//! - [`launcher`]: where OS processes live
//! - [`heart`]: the parent process that outlives the service
//! - [`state`]: what is written down for whoever comes after this service
//! - [`events`]: what happened, for people and subscribers
//! - [`supervision`]: the generic OTP layer that all actors stand on
//! - [`engine`]: the embedded backend, in a process of its own
//! - [`upgrade`]: a new binary is tried before it takes over
//! - [`settings`], [`telemetry`]: file, environment and flags; the service's own log
//! - [`limits`], [`ids`], [`clock`], [`protocols`]: every bound with its reason; names; time; wire messages
//!
//! `ARCHITECTURE.md` tells why it is cut this way and which test guards each rule.

#![warn(clippy::unwrap_used, clippy::expect_used)]

/// The wire messages, compiled from `proto/*.proto`.
#[allow(missing_docs, clippy::all)]
pub mod protocols {
    include!(concat!(env!("OUT_DIR"), "/protocols.rs"));
}

pub mod app;
pub mod chaos;
pub mod cli;
pub mod clock;
pub mod engine;
pub mod events;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod heart;
pub mod ids;
pub mod instance;
pub mod launcher;
pub mod limits;
pub mod probe;
pub mod registry;
pub mod root;
pub mod settings;
pub mod state;
pub mod supervision;
pub mod telemetry;
pub mod upgrade;

/// The Rust of `README.md` compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
