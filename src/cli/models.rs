//! Models as a reply tells of them. Read leniently: an older service knows fewer keys, and other names for some.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::output::Output;
use super::table::{Cell, Table};
use super::times;
use crate::telemetry::escape::{one_line, printable};

/// What a table shows where a reply says nothing.
const NOTHING: &str = "-";
/// The keys under which a reply names a model.
const NAMES: [&str; 3] = ["name", "model_name", "fullname"];

/// One model of a `status` reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelLine {
    /// Its name.
    pub name: String,
    /// Its type.
    pub model_type: String,
    /// The word for its state.
    pub state: String,
    /// How long its process runs.
    pub uptime: Option<Duration>,
    /// How often it was restarted; older services do not tell.
    pub restarts: Option<u64>,
    /// Where it serves.
    pub endpoint: String,
    /// Its process.
    pub pid: Option<u64>,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// What a loading process says of its progress.
    pub progress: Option<String>,
    /// The last lines that its last process wrote.
    pub last_output: Vec<String>,
    /// Starts so far; 0: never loaded.
    pub generation: Option<u64>,
    /// Its process was started by another configuration than the present one.
    pub is_outdated: bool,
}

/// What is said of a model that runs by an older configuration.
const OUTDATED: &str =
    "outdated, it was started by another configuration; restart-model replaces it";

impl ModelLine {
    /// Reads one entry of `models`.
    pub fn read(entry: &Value) -> Self {
        let text = |keys: [&str; 2]| {
            let found = keys.iter().find_map(|key| entry[*key].as_str());
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let last_exit = &entry["last_exit"];
        let lines = last_exit["output"].as_array().into_iter().flatten();
        Self {
            name: text(["name", "model_name"]).unwrap_or_else(|| NOTHING.into()),
            model_type: text(["type", "model_type"]).unwrap_or_else(|| NOTHING.into()),
            state: state_word(entry),
            uptime: entry["uptime"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()),
            restarts: entry["restarts"].as_u64(),
            endpoint: text(["endpoint", "endpoint"]).unwrap_or_else(|| NOTHING.into()),
            pid: entry["pid"].as_u64(),
            reason: text(["reason", "reason"])
                .or_else(|| last_exit["reason"].as_str().map(str::to_owned)),
            progress: text(["progress", "progress"]),
            last_output: lines.filter_map(Value::as_str).map(str::to_owned).collect(),
            generation: entry["generation"].as_u64(),
            is_outdated: entry["outdated"] == true,
        }
    }

    /// All models of a `status` reply.
    pub fn all(data: &Value) -> Vec<Self> {
        data["models"].as_array().into_iter().flatten().map(Self::read).collect()
    }

    /// The model of a `status` reply that goes by this name, short or full.
    pub fn find(data: &Value, name: &str) -> Option<Self> {
        let is_called = |entry: &&Value| NAMES.iter().any(|key| entry[*key].as_str() == Some(name));
        data["models"].as_array()?.iter().find(is_called).map(Self::read)
    }

    /// Its state and what there is to say about it: the progress of a start, the reason of a trouble.
    pub fn in_short(&self) -> String {
        let state = one_line(&self.state);
        match self.detail() {
            Some(detail) => format!("{state}, {}", one_line(detail)),
            None => state.into_owned(),
        }
    }

    fn detail(&self) -> Option<&str> {
        match self.state.as_str() {
            "starting" => self.progress.as_deref().or(self.reason.as_deref()),
            "ready" => self.is_outdated.then_some(OUTDATED),
            _ => self.reason.as_deref(),
        }
    }

    /// Whether a plain `status` lists it.
    pub fn is_loaded(&self) -> bool {
        !matches!(self.state.as_str(), "stopped" | "parked" | "unkillable")
    }

    /// Whether it was given up, or cannot be ended: the user should know why.
    pub fn is_in_trouble(&self) -> bool {
        matches!(self.state.as_str(), "parked" | "unkillable")
    }

    /// Whether it was started at least once, so that there is something to read about it.
    pub fn was_started(&self) -> bool {
        self.generation != Some(0)
    }

    /// Whether there is more to say than its row in the table does.
    pub fn needs_explanation(&self) -> bool {
        match self.state.as_str() {
            "starting" => self.progress.is_some(),
            "ready" => self.is_outdated,
            "unhealthy" | "backoff" => true,
            _ => self.is_in_trouble(),
        }
    }

    /// Lines that explain its state, for a model that is not simply well.
    pub fn explanation(&self, output: &Output) -> Vec<String> {
        let name = one_line(&self.name);
        let state = output.styled(&one_line(&self.state), state_style(&self.state));
        let detail = self.detail().unwrap_or("no reason was given");
        let mut lines = vec![format!("{name} is {state}: {}", one_line(detail))];
        if self.is_in_trouble() && !self.last_output.is_empty() {
            lines.push("  last output:".into());
            lines.extend(self.last_output.iter().map(|line| format!("    {}", one_line(line))));
        }
        lines
    }
}

fn state_word(entry: &Value) -> String {
    match (entry["state"].as_str(), entry["is_alive"].as_bool()) {
        (Some(state), _) => state.to_owned(),
        // an older service tells only whether the process lives
        (None, Some(true)) => "running".into(),
        (None, Some(false)) => "exited".into(),
        (None, None) => NOTHING.into(),
    }
}

/// The colour of a state, of an instance or of an actor.
pub fn state_style(state: &str) -> Style {
    let colour = match state {
        "ready" | "running" => AnsiColor::Green,
        "starting" | "restarting" | "exited" | "backoff" | "stopping" => AnsiColor::Yellow,
        "unhealthy" | "parked" | "unkillable" | "failed" => AnsiColor::Red,
        _ => return Style::new().dimmed(),
    };
    Style::new().fg_color(Some(colour.into()))
}

const HEADING: [&str; 7] = ["NAME", "TYPE", "STATE", "UPTIME", "RESTARTS", "ENDPOINT", "PID"];

/// The table of models of the contract, and the pids behind it unless the terminal is too narrow for them.
pub fn table(models: &[&ModelLine], output: &Output) -> Vec<String> {
    let mut with_pids = Table::new(HEADING);
    models.iter().for_each(|model| with_pids.push(row(model)));
    if output.columns().is_none_or(|columns| with_pids.width() <= columns) {
        return with_pids.lines(output);
    }
    let [without_pid @ .., _] = HEADING;
    let mut table = Table::new(without_pid);
    for model in models {
        let [without_pid @ .., _] = row(model);
        table.push(without_pid);
    }
    table.lines(output)
}

fn row(model: &ModelLine) -> [Cell; 7] {
    let number = |number: Option<u64>| Cell::new(number.map_or(NOTHING.into(), |n| n.to_string()));
    [
        Cell::new(&model.name),
        Cell::new(&model.model_type),
        Cell::new(&model.state).styled(state_style(&model.state)),
        Cell::new(model.uptime.map_or_else(|| NOTHING.into(), times::span)),
        number(model.restarts),
        Cell::new(&model.endpoint),
        number(model.pid),
    ]
}

/// A text of a reply, safe for a terminal; what is no text is shown as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        Value::Null => NOTHING.into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_service_is_understood() {
        let model = ModelLine::read(&json!({
            "model_name": "Llama", "model_type": "llama3", "endpoint": "ipc:///tmp/a",
            "is_alive": true, "uptime": 61.7, "pid": 7
        }));
        assert_eq!((model.name.as_str(), model.state.as_str()), ("Llama", "running"));
        assert_eq!(model.restarts, None);
        assert!(model.is_loaded() && model.was_started());
        let line = table(&[&model], &Output::new(true)).pop().expect("a line");
        assert_eq!(line, "Llama  llama3  running  1m 01s  -         ipc:///tmp/a  7");
    }

    #[test]
    fn a_parked_model_is_explained_with_its_last_output() {
        let model = ModelLine::read(&json!({
            "name": "phi", "state": "parked", "reason": "gave up after 5 restarts",
            "last_exit": {"reason": "exit 3 before ready", "output": ["Traceback", "boom\u{1b}[2J"]}
        }));
        assert!(!model.is_loaded() && model.is_in_trouble());
        assert_eq!(
            model.explanation(&Output::new(true)),
            [
                "phi is parked: gave up after 5 restarts",
                "  last output:",
                "    Traceback",
                "    boom\\x1b[2J"
            ]
        );
    }

    #[test]
    fn a_model_that_runs_by_an_older_configuration_is_explained() {
        let entry = |outdated| json!({ "name": "phi", "state": "ready", "outdated": outdated });
        let model = ModelLine::read(&entry(true));
        assert!(model.needs_explanation());
        let explained = model.explanation(&Output::new(true));
        assert!(explained[0].starts_with("phi is ready: outdated, "), "{explained:?}");
        assert!(!ModelLine::read(&entry(false)).needs_explanation());
    }

    #[test]
    fn a_model_is_known_by_each_of_its_names() {
        let data = json!({"models": [{"name": "a", "fullname": "org/a", "state": "ready"}]});
        let found = |name| ModelLine::find(&data, name).is_some();
        assert!(found("a") && found("org/a") && !found("b"));
    }

    #[test]
    fn nonsense_makes_an_empty_line_and_no_panic() {
        for entry in [json!(null), json!(3), json!([]), json!({"uptime": -1, "name": 3})] {
            let model = ModelLine::read(&entry);
            assert_eq!((model.name.as_str(), model.uptime), ("-", None));
        }
        assert!(ModelLine::all(&json!({"models": "none"})).is_empty());
    }
}
