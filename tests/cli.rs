//! The command line against a scripted service: texts, exit codes and streams of the management contract, section 6.

#[path = "cli/absence.rs"]
mod absence;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/gap.rs"]
mod gap;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/service.rs"]
mod service;
#[path = "cli/starting.rs"]
mod starting;
#[path = "cli/status.rs"]
mod status;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/usage.rs"]
mod usage;
#[path = "cli/views.rs"]
mod views;
