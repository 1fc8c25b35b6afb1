//! What a supervisor is told about itself and its children, with the defaults of OTP.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a child below its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(Arc<str>);

impl ChildId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for ChildId {
    fn from(text: T) -> Self {
        Self(text.as_ref().into())
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a child that exited is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Unless it exited normally or by shutdown.
    Transient,
    /// Never; its spec is dropped with it.
    Temporary,
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Ended without being asked.
    BrutalKill,
    /// Asked, and ended after this long.
    Timeout(Duration),
    /// Asked, and waited for without limit.
    Infinity,
}

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChildKind {
    /// An actor that does the work.
    #[default]
    Worker,
    /// A supervisor with children of its own.
    Supervisor,
}

impl ChildKind {
    /// The word for pictures of the tree.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChildKind::Worker => "worker",
            ChildKind::Supervisor => "supervisor",
        }
    }
}

/// The rules for one child, without the means to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRules {
    /// Its name.
    pub id: ChildId,
    /// When it is restarted.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// What it is.
    pub kind: ChildKind,
    /// Whether its own exit counts for [`AutoShutdown`].
    pub significant: bool,
    /// How long it may be without progress before it counts as wedged and is replaced; `None`: it is not watched.
    pub heartbeat: Option<Duration>,
}

impl ChildRules {
    /// A permanent worker with five seconds to stop.
    pub fn worker(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(Duration::from_secs(5)),
            kind: ChildKind::Worker,
            significant: false,
            heartbeat: None,
        }
    }

    /// A permanent supervisor, waited for without limit: it bounds its own stop.
    pub fn supervisor(id: impl Into<ChildId>) -> Self {
        Self { shutdown: Shutdown::Infinity, kind: ChildKind::Supervisor, ..Self::worker(id) }
    }
}

/// Which children a failure takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// None but the failed one.
    #[default]
    OneForOne,
    /// All.
    OneForAll,
    /// Those started after it.
    RestForOne,
    /// None; children come and go while the supervisor runs, start and stop side by side.
    Dynamic,
}

impl Strategy {
    /// The word for pictures of the tree.
    pub const fn as_str(self) -> &'static str {
        match self {
            Strategy::OneForOne => "one_for_one",
            Strategy::OneForAll => "one_for_all",
            Strategy::RestForOne => "rest_for_one",
            Strategy::Dynamic => "dynamic",
        }
    }
}

/// Whether a supervisor stops by itself when significant children have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AutoShutdown {
    /// Never.
    #[default]
    Never,
    /// When the first significant child ended by itself.
    AnySignificant,
    /// When the last significant child ended by itself.
    AllSignificant,
}

/// The rules of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisorFlags {
    /// Which children a failure takes along.
    pub strategy: Strategy,
    /// Restarts allowed inside [`SupervisorFlags::period`].
    pub intensity: u32,
    /// The window of the intensity.
    pub period: Duration,
    /// Whether it stops by itself.
    pub auto_shutdown: AutoShutdown,
    /// Children of a dynamic supervisor at one time, those being restarted included.
    pub max_children: Option<usize>,
}

impl Default for SupervisorFlags {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            intensity: 1,
            period: Duration::from_secs(5),
            auto_shutdown: AutoShutdown::Never,
            max_children: None,
        }
    }
}

/// Why a spec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// The window would never close or never open.
    #[error("the period of a supervisor must be longer than zero")]
    ZeroPeriod,
    /// Two children of one name.
    #[error("child id {0} stands twice")]
    DuplicateChild(ChildId),
    /// A permanent child never ends for good, so its end can mean nothing.
    #[error("child {0} cannot be significant and permanent")]
    SignificantPermanent(ChildId),
    /// Nobody would listen to it.
    #[error("child {0} is significant, but its supervisor never shuts down by itself")]
    SignificantWithoutAutoShutdown(ChildId),
    /// Children of a dynamic supervisor are all alike.
    #[error("child {0} of a dynamic supervisor cannot be significant")]
    SignificantDynamic(ChildId),
    /// It would be wedged at once.
    #[error("the heartbeat of child {0} must be longer than zero")]
    ZeroHeartbeat(ChildId),
    /// Its children are kept by other rules; make a new supervisor instead.
    #[error("a running supervisor cannot become dynamic or cease to be")]
    DynamicChanged,
    /// What a dynamic supervisor does not have is added by starting it.
    #[error("the dynamic supervisor has no child {0} to change: start it instead")]
    NotThere(ChildId),
}

/// Checks the rules of a supervisor and its children together.
///
/// # Errors
/// The first rule that is broken.
pub fn check(flags: &SupervisorFlags, children: &[ChildRules]) -> Result<(), InvalidSpec> {
    if flags.period.is_zero() {
        return Err(InvalidSpec::ZeroPeriod);
    }
    let mut seen = HashSet::with_capacity(children.len());
    for rules in children {
        check_child(flags, rules)?;
        if !seen.insert(&rules.id) {
            return Err(InvalidSpec::DuplicateChild(rules.id.clone()));
        }
    }
    Ok(())
}

/// Checks a child against its supervisor.
///
/// # Errors
/// The rule it breaks.
pub fn check_child(flags: &SupervisorFlags, rules: &ChildRules) -> Result<(), InvalidSpec> {
    if rules.heartbeat.is_some_and(|heartbeat| heartbeat.is_zero()) {
        return Err(InvalidSpec::ZeroHeartbeat(rules.id.clone()));
    }
    if !rules.significant {
        return Ok(());
    }
    if rules.restart == Restart::Permanent {
        return Err(InvalidSpec::SignificantPermanent(rules.id.clone()));
    }
    if flags.strategy == Strategy::Dynamic {
        return Err(InvalidSpec::SignificantDynamic(rules.id.clone()));
    }
    if flags.auto_shutdown == AutoShutdown::Never {
        return Err(InvalidSpec::SignificantWithoutAutoShutdown(rules.id.clone()));
    }
    Ok(())
}
