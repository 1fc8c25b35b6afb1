//! What may be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::configuration::ServiceFlags;
use super::exec_shim::ExecShimArgs;
use super::parse;
use crate::chaos::plan::FaultKind;
use crate::engine::BackendArgs;
use crate::limits;

const ABOUT: &str = "\
Symphony keeps AI model processes alive and leads clients to them.

One service starts a backend process for each model, watches it, replaces it when it dies or hangs, and hands every \
client a live endpoint.";

const EXAMPLES: &str = "\
Examples:
  symphony start-service --daemonize    start the service in the background
  symphony load-model llama3            load a model and wait until it is ready
  symphony status                       what runs, and what was given up and why
  symphony logs -f llama3               follow a model's output
  symphony --json status | jq .models   for programs
  symphony stop-service                 stop the service and all its models

Exit codes:
  0  done
  1  failed; the reason is on stderr (with --json on stdout as {\"error\": …})
  2  wrong usage
  3  the service gave up: its root supervisor used up its restarts

Colour and progress are shown on a terminal only; NO_COLOR turns colours off.";

const SERVICE_HELP: &str = "\
The configuration is looked for in --config, $SYMPHONY_CONFIG, ./config.json, ./config/symphony.toml, \
$XDG_CONFIG_HOME/symphony/symphony.toml and /etc/symphony/symphony.toml; without any the embedded engine is served.";

const CHAOS_HELP: &str = "\
Kills, stops, freezes and slows backends, floods their logs, sends garbage, drops clients and lets actors panic (where \
the service was started with --allow-chaos). Exit code 1 when a rule of supervision did not hold; the events that show \
it are told. docs/chaos.md has the rules.

Examples:
  symphony chaos --start                       a service of its own with 4 models, for a minute
  symphony chaos --start=20 --for 10m          20 models, ten minutes
  symphony chaos --faults 5 --only kill        the running service: five kills
  symphony --json chaos --start --seed 7       the same faults at each run, for programs";

const UPGRADE_HELP: &str = "\
The new binary is tried first: its version, the configuration in force, the state of the models that run. Then it takes \
over: processes keep their pids and endpoints, clients stay connected, no request is lost. If it does not get ready, the \
old one goes on and the reason is told (exit code 1).";

/// Stands over the flags that every command takes, apart from those of the command itself.
const COMMON: &str = "Common options";

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// Flags that every command takes.
    pub flags: CommonFlags,
    /// `--config`, before or after the command.
    pub config: Option<PathBuf>,
    /// The command.
    pub command: Command,
}

#[derive(Debug, Parser)]
#[command(
    name = "symphony",
    version,
    about = "Keeps AI model processes alive and leads clients to them",
    long_about = ABOUT,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    flags: CommonFlags,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonFlags {
    /// Management endpoint of the service (ipc://… or tcp://…); the configuration is not read then
    #[arg(long, global = true, help_heading = COMMON, value_name = "ENDPOINT", value_parser = parse::endpoint)]
    pub endpoint: Option<String>,
    /// Print the reply's data as JSON and nothing else; failures as {"error": …}
    #[arg(long, global = true, help_heading = COMMON)]
    pub json: bool,
    /// How long to wait for the service: 300ms, 10s, 2m or plain seconds [default: 300s to load, else 10s]
    #[arg(long, global = true, help_heading = COMMON, value_name = "DURATION", value_parser = parse::wait)]
    pub timeout: Option<Duration>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the service
    #[command(visible_alias = "up", after_help = SERVICE_HELP)]
    StartService(StartArgs),
    /// Run the service in the foreground
    #[command(after_help = SERVICE_HELP)]
    Serve(ServeArgs),
    /// Stop the service and all its models
    #[command(visible_alias = "down")]
    StopService(StopArgs),
    /// Show the service and its models
    #[command(visible_alias = "ps")]
    Status(StatusArgs),
    /// Load a model
    #[command(visible_alias = "load")]
    LoadModel(LoadArgs),
    /// Stop a model's process and forget it
    #[command(visible_alias = "unload")]
    UnloadModel(ModelArgs),
    /// Stop a model's process and start it anew, also when it was given up
    #[command(visible_alias = "restart")]
    RestartModel(ModelArgs),
    /// List the models that may be loaded
    #[command(visible_alias = "ls")]
    ListModels,
    /// Show what models wrote
    Logs(LogsArgs),
    /// Show the supervision tree
    Tree,
    /// Show what happened in the service
    Events(EventsArgs),
    /// Ask the client socket for protocols, or for a model's endpoint
    Handshake(HandshakeArgs),
    /// Read the configuration again and apply what changed
    Reload,
    /// Let another binary take over while the models run on
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(UpgradeArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Do a running service harm while clients use it, and check that it holds
    #[command(after_help = CHAOS_HELP)]
    Chaos(ChaosArgs),
    /// Show in a private folder what the service does
    Demo(DemoArgs),
    /// Run the embedded backend, as the service does
    Backend(BackendArgs),
    /// Get a model from a library (comes with the model library)
    InstallModel(LibraryArgs),
    /// Remove an installed model (comes with the model library)
    UninstallModel(LibraryArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a manual page in roff
    Man(ManArgs),
    /// Look at what a service wrote down of its models
    #[command(subcommand, hide = true)]
    State(StateCommand),
    /// Set up a backend's process from inside, then become its program
    #[command(hide = true)]
    ExecShim(ExecShimArgs),
}

/// `start-service`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Return when the service is ready and leave it in the background; it logs to service.log in
    /// the folder of the models' logs. Without this flag the service runs in the foreground
    #[arg(long)]
    pub daemonize: bool,
    /// Flags of the service.
    #[command(flatten)]
    pub service: ServiceFlags,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Standard input is the socket of a heart
    #[arg(long, hide = true)]
    pub under_heart: bool,
    /// Leave the session of the terminal; stdout and stderr lead to this log file already
    #[arg(long, value_name = "LOG", hide = true)]
    pub detached: Option<PathBuf>,
    /// Flags of the service.
    #[command(flatten)]
    pub service: ServiceFlags,
}

/// `stop-service`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Return when the service is gone, not when it has taken the request
    #[arg(long)]
    pub wait: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show it again every second
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Also list models that are not loaded
    #[arg(long, short = 'a')]
    pub all: bool,
}

/// `load-model`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Name or full name of the model
    pub name: String,
    /// Taken for the sake of older scripts; the service configures models itself
    #[arg(long, visible_alias = "config", value_name = "PATH")]
    pub config_path: Option<String>,
    /// Return as soon as the start goes well; the endpoint is reserved then
    #[arg(long)]
    pub no_wait: bool,
}

/// A command about one model.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Name or full name of the model
    pub name: String,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Name or full name of the model; without it the output of all models, each line with its model
    pub name: Option<String>,
    /// Go on with what is written from now on
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Lines to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(0..=limits::LOG_LINES as u64))]
    pub lines: u64,
}

/// `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `handshake`.
#[derive(Debug, Args)]
pub struct HandshakeArgs {
    /// Ask to be led to this model; it is loaded if need be
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
}

/// `upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The new binary [default: what lies now where the running one was started from]
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
}

/// `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print all faults of a configuration, or what takes effect and where each value comes from
    Check {
        /// The file; without it the usual places are looked at
        file: Option<PathBuf>,
    },
    /// Print the configuration as it takes effect
    Show,
    /// Print the JSON schema of the configuration file
    Schema,
}

/// `state`.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Tell whether this program could take the models over that are written down in a folder
    Check {
        /// The folder of state files
        folder: PathBuf,
    },
}

/// `chaos`.
#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// Try a service of its own, in a private folder, with N models [default: 4]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "4",
          value_parser = clap::value_parser!(u16).range(1..=limits::CHAOS_MODELS as i64))]
    pub start: Option<u16>,
    /// Gives the same faults again; without it one is drawn and printed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How long faults go on [default: 60s]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::wait, conflicts_with = "faults")]
    pub length: Option<Duration>,
    /// How many faults
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub faults: Option<u32>,
    /// Mean time between two faults
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse::wait)]
    pub every: Duration,
    /// Kinds of faults: kill, stop, freeze, slow, flood, log-quota, garbage, drop-clients, panic [default: all]
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub only: Vec<FaultKind>,
    /// Models to hit [default: all that are loaded]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Clients that use the service meanwhile
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(0..=limits::CHAOS_CLIENTS as i64))]
    pub clients: u16,
    /// How long the service may take to be whole again after the last fault
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse::wait)]
    pub settle: Duration,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the service running at the end
    #[arg(long)]
    pub keep: bool,
}

/// `install-model` and `uninstall-model`.
#[derive(Debug, Args)]
pub struct LibraryArgs {
    /// Name of the model
    pub name: String,
    /// Further arguments of older scripts
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<OsString>,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// A command; without it the page of symphony itself
    pub command: Option<String>,
}

/// Commands that read no configuration, or where `--config` means something else.
const WITHOUT_CONFIG: [&str; 9] = [
    "load-model",
    "demo",
    "backend",
    "install-model",
    "uninstall-model",
    "completions",
    "man",
    "state",
    "exec-shim",
];

impl Invocation {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    /// Wrong usage; also help and version, which are printed the same way.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let cli = Cli::from_arg_matches(&matches)?;
        Ok(Self { flags: cli.flags, config: innermost_config(&matches), command: cli.command })
    }
}

/// The command with all its flags.
///
/// `--config` stands before the command or after it. It is no global flag of clap, because `load-model NAME --config P`
/// names a model's configuration there, as it always did.
pub fn command() -> clap::Command {
    with_config(Cli::command())
}

fn with_config(command: clap::Command) -> clap::Command {
    if WITHOUT_CONFIG.contains(&command.get_name()) {
        return command;
    }
    command.arg(config_flag()).mut_subcommands(with_config)
}

fn config_flag() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help_heading(COMMON)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Configuration file, JSON or TOML")
}

/// The value nearest to the end of the line counts.
fn innermost_config(matches: &ArgMatches) -> Option<PathBuf> {
    let inner = matches.subcommand().and_then(|(_, sub)| innermost_config(sub));
    inner.or_else(|| matches.try_get_one::<PathBuf>("config").ok().flatten().cloned())
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
