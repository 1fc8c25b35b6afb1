//! How a heart and a guard are told what to do: argument lists that only the program itself writes.
//!
//! Read by hand: the parser of the command line alone would take half of the memory that a heart may have.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::core::Rules;

/// The command that a heart is started by.
pub const HEART: &str = "heart";
/// The command that a guard is started by.
pub const GUARD: &str = "guard";

/// Arguments that are none of a heart or a guard: somebody typed them.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is started by `symphony start-service`, not by hand: {1}")]
pub struct NotByHand(&'static str, String);

/// Where lines for people go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The log file of a daemon; `None`: stderr.
    pub file: Option<PathBuf>,
    /// Whether the service writes its log as JSON.
    pub json: bool,
}

/// What a heart is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartOptions {
    /// The runtime folder of the service.
    pub folder: PathBuf,
    /// By what it judges.
    pub rules: Rules,
    /// How long backends may take to end, until a core says otherwise.
    pub stop_grace: Duration,
    /// How long backends may live on when both heart and core are gone.
    pub adoption_grace: Duration,
    /// Where its lines go.
    pub log: LogOptions,
    /// Leave the session of the terminal.
    pub detach: bool,
    /// Of what program the heart is the heart, where it is in a file of its own; and the version of that.
    pub service: Option<ServiceProgram>,
    /// Arguments of the core.
    pub core: Vec<OsString>,
}

/// The program that a heart in a file of its own starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceProgram {
    /// Where it lies.
    pub path: PathBuf,
    /// A heart of another version leaves its work to the one in that program.
    pub version: String,
}

/// What a guard is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardOptions {
    /// The runtime folder of the service.
    pub folder: PathBuf,
    /// How long what it guards may live on alone.
    pub grace: Duration,
    /// Where its lines go.
    pub log: LogOptions,
}

impl HeartOptions {
    /// How long an orderly end may take: by then the heart has killed a core that does not end.
    pub fn longest_end(&self) -> Duration {
        self.rules.end_timeout + self.stop_grace
    }

    /// As arguments, the command first.
    pub fn arguments(&self) -> Vec<OsString> {
        let rules = self.rules;
        let mut written = Written::of(HEART);
        written.path("--folder", &self.folder);
        written.span("--wedge-ms", rules.wedge_timeout);
        written.span("--start-ms", rules.start_timeout);
        written.word("--restarts", &rules.restarts.to_string());
        written.span("--period-ms", rules.period);
        written.span("--end-ms", rules.end_timeout);
        written.span("--stop-grace-ms", self.stop_grace);
        written.span("--adoption-grace-ms", self.adoption_grace);
        written.log(&self.log);
        if let Some(service) = &self.service {
            written.path("--service", &service.path);
            written.word("--service-version", &service.version);
        }
        if self.detach {
            written.0.push("--detach".into());
        }
        written.0.push("--".into());
        written.0.extend(self.core.iter().cloned());
        written.0
    }

    /// From arguments, the command left out.
    ///
    /// # Errors
    /// When something is missing or unknown.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, NotByHand> {
        let read = Read::all(HEART, arguments)?;
        Ok(Self {
            folder: read.path("--folder")?,
            rules: Rules {
                wedge_timeout: read.span("--wedge-ms")?,
                start_timeout: read.span("--start-ms")?,
                restarts: read.number("--restarts")?,
                period: read.span("--period-ms")?,
                end_timeout: read.span("--end-ms")?,
            },
            stop_grace: read.span("--stop-grace-ms")?,
            adoption_grace: read.span("--adoption-grace-ms")?,
            log: read.log(),
            detach: read.flag("--detach"),
            service: read.service()?,
            core: read.rest,
        })
    }
}

impl GuardOptions {
    /// As arguments, the command first.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut written = Written::of(GUARD);
        written.path("--folder", &self.folder);
        written.span("--grace-ms", self.grace);
        written.log(&self.log);
        written.0
    }

    /// From arguments, the command left out.
    ///
    /// # Errors
    /// When something is missing or unknown.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, NotByHand> {
        let read = Read::all(GUARD, arguments)?;
        let folder = read.path("--folder")?;
        Ok(Self { folder, grace: read.span("--grace-ms")?, log: read.log() })
    }
}

struct Written(Vec<OsString>);

impl Written {
    fn of(command: &str) -> Self {
        Self(vec![command.into()])
    }

    fn word(&mut self, name: &str, value: &str) {
        self.0.extend([name.into(), value.into()]);
    }

    fn path(&mut self, name: &str, path: &Path) {
        self.0.extend([name.into(), path.into()]);
    }

    fn span(&mut self, name: &str, span: Duration) {
        self.word(name, &span.as_millis().to_string());
    }

    fn log(&mut self, log: &LogOptions) {
        if let Some(file) = &log.file {
            self.path("--log", file);
        }
        if log.json {
            self.0.push("--json-log".into());
        }
    }
}

/// What has no value.
const FLAGS: [&str; 2] = ["--detach", "--json-log"];

struct Read {
    command: &'static str,
    pairs: Vec<(OsString, OsString)>,
    flags: Vec<OsString>,
    rest: Vec<OsString>,
}

impl Read {
    fn all(
        command: &'static str,
        mut arguments: impl Iterator<Item = OsString>,
    ) -> Result<Self, NotByHand> {
        let mut read = Self { command, pairs: Vec::new(), flags: Vec::new(), rest: Vec::new() };
        while let Some(name) = arguments.next() {
            if name == "--" {
                read.rest = arguments.collect();
                break;
            }
            if FLAGS.iter().any(|flag| name == *flag) {
                read.flags.push(name);
                continue;
            }
            let Some(value) = arguments.next() else {
                return Err(NotByHand(command, format!("{} has no value", name.display())));
            };
            read.pairs.push((name, value));
        }
        Ok(read)
    }

    fn find(&self, name: &str) -> Option<&OsStr> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    fn needed(&self, name: &str) -> Result<&OsStr, NotByHand> {
        self.find(name).ok_or_else(|| NotByHand(self.command, format!("{name} is missing")))
    }

    fn path(&self, name: &str) -> Result<PathBuf, NotByHand> {
        self.needed(name).map(PathBuf::from)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, NotByHand> {
        let value = self.needed(name)?;
        let number = value.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| {
            NotByHand(self.command, format!("{name} {} is no number", value.display()))
        })
    }

    fn span(&self, name: &str) -> Result<Duration, NotByHand> {
        self.number(name).map(Duration::from_millis)
    }

    fn service(&self) -> Result<Option<ServiceProgram>, NotByHand> {
        if self.find("--service").is_none() {
            return Ok(None);
        }
        let (path, version) = (self.path("--service")?, self.number("--service-version")?);
        Ok(Some(ServiceProgram { path, version }))
    }

    fn flag(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag == name)
    }

    fn log(&self) -> LogOptions {
        LogOptions { file: self.find("--log").map(PathBuf::from), json: self.flag("--json-log") }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn heart() -> HeartOptions {
        HeartOptions {
            folder: OsString::from_vec(b"/run/m\xf6del --log".to_vec()).into(),
            rules: Rules {
                wedge_timeout: Duration::from_millis(1500),
                start_timeout: Duration::from_secs(60),
                restarts: 5,
                period: Duration::from_secs(60),
                end_timeout: Duration::from_secs(47),
            },
            stop_grace: Duration::from_secs(15),
            adoption_grace: Duration::from_secs(30),
            log: LogOptions { file: Some("/l/service.log".into()), json: true },
            detach: true,
            service: Some(ServiceProgram { path: "/bin/symphony".into(), version: "1.2".into() }),
            core: vec!["serve".into(), "--".into(), "--detach".into()],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let written = heart();
        let mut arguments = written.arguments().into_iter();
        assert_eq!(arguments.next().as_deref(), Some(OsStr::new(HEART)));
        assert_eq!(HeartOptions::parse(arguments).expect("read"), written);
        let plain =
            HeartOptions { log: LogOptions::default(), detach: false, service: None, ..heart() };
        let read = HeartOptions::parse(plain.arguments().into_iter().skip(1)).expect("read");
        assert_eq!(read, plain);
    }

    #[test]
    fn a_guard_reads_what_is_written() {
        let written =
            GuardOptions { folder: "/r".into(), grace: Duration::ZERO, log: LogOptions::default() };
        let read = GuardOptions::parse(written.arguments().into_iter().skip(1)).expect("read");
        assert_eq!(read, written);
    }

    #[test]
    fn who_types_it_is_told_the_way() {
        let typed = |words: &[&str]| {
            let error = HeartOptions::parse(words.iter().map(OsString::from)).expect_err("refused");
            error.to_string()
        };
        let by = "`heart` is started by `symphony start-service`, not by hand: ";
        assert_eq!(typed(&[]), format!("{by}--folder is missing"));
        assert_eq!(typed(&["--folder"]), format!("{by}--folder has no value"));
        let many = ["--folder", "/r", "--wedge-ms", "long"];
        assert_eq!(typed(&many), format!("{by}--wedge-ms long is no number"));
    }
}
