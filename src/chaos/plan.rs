//! Which fault comes when. Pure: a seed gives an endless list, always the same one.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// SIGKILL to a backend.
    Kill,
    /// SIGTERM to a backend, from outside.
    Stop,
    /// SIGSTOP to a backend, until it is replaced or a limit has passed.
    Freeze,
    /// SIGSTOP and SIGCONT by turns for some seconds.
    Slow,
    /// Much output of a backend at once.
    Flood,
    /// More output than its log files may hold.
    LogQuota,
    /// Frames and bytes that mean nothing, to both sockets.
    Garbage,
    /// Clients that ask and leave, and connections that say nothing.
    DropClients,
    /// The panic of one actor.
    Panic,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Stop,
        Self::Freeze,
        Self::Slow,
        Self::Flood,
        Self::LogQuota,
        Self::Garbage,
        Self::DropClients,
        Self::Panic,
    ];

    /// Its word on the command line and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Slow => "slow",
            Self::Flood => "flood",
            Self::LogQuota => "log-quota",
            Self::Garbage => "garbage",
            Self::DropClients => "drop-clients",
            Self::Panic => "panic",
        }
    }

    /// How often it is drawn beside the others: deaths are what supervision is for.
    const fn weight(self) -> u32 {
        match self {
            Self::Kill => 4,
            Self::Stop | Self::Flood | Self::Garbage | Self::DropClients | Self::Panic => 2,
            Self::Freeze | Self::Slow | Self::LogQuota => 1,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FaultKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("no such fault; there are {}", known.join(", "))
        })
    }
}

/// A part of the service that may be made to panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One model's actor.
    Instance,
    /// See `src/root`.
    ZmqGateway,
    /// Asks backends; stands outside of the tree.
    Prober,
    /// See `src/root`.
    ProcessTable,
    /// See `src/root`.
    EventLog,
    /// See `src/root`.
    Registry,
    /// See `src/root`.
    ModelDesk,
    /// See `src/root`.
    InstanceSupervisor,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Instance,
        Self::ZmqGateway,
        Self::Prober,
        Self::ProcessTable,
        Self::EventLog,
        Self::Registry,
        Self::ModelDesk,
        Self::InstanceSupervisor,
    ];

    /// Its word in `chaos-panic`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::ZmqGateway => "zmq_gateway",
            Self::Prober => "prober",
            Self::ProcessTable => "process_table",
            Self::EventLog => "event_log",
            Self::Registry => "registry",
            Self::ModelDesk => "model_desk",
            Self::InstanceSupervisor => "instance_supervisor",
        }
    }

    /// Who restarts it, and so whose window it uses up.
    const fn window(self) -> usize {
        match self {
            Self::Instance => 0,
            Self::ZmqGateway => 1,
            Self::Prober => 2,
            _ => 3,
        }
    }

    /// Whether the root itself restarts it.
    pub const fn is_below_root(self) -> bool {
        self.window() == 3
    }
}

/// Panics that the plan allows in a span, by the window they use up. The service allows more (10 of instances and 5 of the
/// gateway in a minute, 3 below the root in five): one that is over its window rightly gives up, and shows nothing then.
const PANIC_BUDGET: [(usize, Duration); 4] = [
    (8, Duration::from_secs(60)),
    (3, Duration::from_secs(60)),
    (6, Duration::from_secs(60)),
    (ROOT_PANICS, Duration::from_secs(300)),
];

/// Panics below the root in five minutes.
pub const ROOT_PANICS: usize = 2;

/// What garbage looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    /// Frames of random bytes.
    Random,
    /// The front of an honest request.
    Truncated,
    /// A frame beyond the limit.
    Oversized,
    /// A message of many frames.
    ManyFrames,
    /// Bytes that are not even ZeroMQ's.
    Raw,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// When, since the run began.
    #[serde(rename = "at_ms", serialize_with = "as_ms")]
    pub at: Duration,
    /// Its kind.
    #[serde(rename = "fault")]
    pub kind: FaultKind,
    /// Which of the models, sorted by name; `None` where it is not about a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<usize>,
    /// Which part panics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// How long it lasts, where it lasts.
    #[serde(
        rename = "lasts_ms",
        serialize_with = "as_ms_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub lasts: Option<Duration>,
    /// Bytes of output, or clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
    /// Whether output comes in lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<bool>,
    /// What garbage looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garbage: Option<Garbage>,
    /// Seed of the random bytes in it.
    #[serde(skip)]
    pub seed: u64,
}

fn as_ms<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn as_ms_if_any<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    as_ms(&span.unwrap_or_default(), serializer)
}

/// What a plan is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// Everything random comes from it.
    pub seed: u64,
    /// The mean time between two faults.
    pub every: Duration,
    /// Models to choose from.
    pub models: usize,
    /// Kinds to choose from; none: all.
    pub only: Vec<FaultKind>,
}

/// The endless list of faults.
#[derive(Debug, Clone)]
pub struct Plan {
    options: PlanOptions,
    random: fastrand::Rng,
    turn: u32,
    /// When panics were planned, by window.
    panics: [VecDeque<Duration>; 4],
}

impl Plan {
    /// The plan of these options.
    pub fn new(options: PlanOptions) -> Self {
        let random = fastrand::Rng::with_seed(options.seed);
        Self { options, random, turn: 0, panics: Default::default() }
    }

    /// Draws a kind and what it needs; `None` when the windows of all parts are used up and there is nothing but panics.
    fn draw(&mut self, at: Duration) -> Option<(FaultKind, Option<Part>)> {
        let mut kinds: Vec<FaultKind> = FaultKind::ALL
            .into_iter()
            .filter(|kind| self.options.only.is_empty() || self.options.only.contains(kind))
            .collect();
        loop {
            let sum: u32 = kinds.iter().map(|kind| kind.weight()).sum();
            if sum == 0 {
                return None;
            }
            let mut drawn = self.random.u32(0..sum);
            let index = kinds.iter().position(|kind| {
                let here = drawn < kind.weight();
                drawn = drawn.saturating_sub(kind.weight());
                here
            })?;
            let kind = kinds[index];
            if kind != FaultKind::Panic {
                return Some((kind, None));
            }
            if let Some(part) = self.draw_part(at) {
                return Some((kind, Some(part)));
            }
            kinds.remove(index);
        }
    }

    fn draw_part(&mut self, at: Duration) -> Option<Part> {
        for (planned, (_, period)) in self.panics.iter_mut().zip(PANIC_BUDGET) {
            while planned.front().is_some_and(|first| at.saturating_sub(*first) > period) {
                planned.pop_front();
            }
        }
        let free = |part: &Part| self.panics[part.window()].len() < PANIC_BUDGET[part.window()].0;
        let parts: Vec<Part> = Part::ALL.into_iter().filter(free).collect();
        let part = *parts.get(self.random.usize(0..parts.len().max(1)))?;
        self.panics[part.window()].push_back(at);
        Some(part)
    }

    fn make(&mut self, at: Duration, kind: FaultKind, part: Option<Part>) -> Fault {
        let random = &mut self.random;
        let target = random.usize(0..self.options.models.max(1));
        let seconds = random.u64(2..=4);
        let kib = random.u64(64..=4096);
        let clients = random.u64(4..=32);
        let lines = random.bool();
        let shape = [
            Garbage::Random,
            Garbage::Truncated,
            Garbage::Oversized,
            Garbage::ManyFrames,
            Garbage::Raw,
        ][random.usize(0..5)];
        let seed = random.u64(..);
        use FaultKind as Kind;
        let about_model = match kind {
            Kind::Garbage | Kind::DropClients => false,
            Kind::Panic => part == Some(Part::Instance),
            _ => true,
        };
        Fault {
            at,
            kind,
            target: about_model.then_some(target),
            part,
            lasts: matches!(kind, Kind::Slow | Kind::DropClients)
                .then(|| Duration::from_secs(seconds)),
            amount: match kind {
                Kind::Flood => Some(kib * 1024),
                Kind::DropClients => Some(clients),
                _ => None,
            },
            lines: matches!(kind, Kind::Flood | Kind::LogQuota).then_some(lines),
            garbage: (kind == Kind::Garbage).then_some(shape),
            seed,
        }
    }
}

impl Iterator for Plan {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        loop {
            self.turn = self.turn.checked_add(1)?;
            let spread = self.random.f64() / 2.0;
            let every = self.options.every;
            let at = every.saturating_mul(self.turn).saturating_add(every.mul_f64(spread));
            if let Some((kind, part)) = self.draw(at) {
                return Some(self.make(at, kind, part));
            }
            // nothing but panics, and all windows used up: the next moment
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
