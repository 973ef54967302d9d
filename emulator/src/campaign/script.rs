//! What a script is made of, and its text.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use idxd_sys::opcode;

use crate::fault::{Effect, FaultRule};
use crate::memory::Access;

/// Steps in order. See the [module](super) for what they do and how they are written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Script {
    /// Seed of everything random: chances of triggers, and whatever injection rules draw.
    pub seed: u64,
    /// How often the steps are gone through; at least 1.
    pub rounds: u64,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A trigger and an action.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: Action,
}

/// When a step is taken. Only the first step that has not been taken is looked at.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Trigger {
    /// At once.
    Now,
    /// So many ticks after the step before.
    After(u64),
    /// At this tick of the campaign, or at once if it is over.
    At(u64),
    /// When a descriptor starts that fits.
    When(Filter),
    /// With this probability at each tick. Values above 1 count as 1, others below 0 as 0.
    Chance(f64),
}

/// Which descriptors a trigger waits for. What is not set fits always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Those with this opcode.
    pub opcode: Option<u8>,
    /// Those that access an address in this range.
    pub range: Option<Range<u64>>,
    /// Those that read, or write, there; or anywhere.
    pub access: Option<Access>,
}

impl Filter {
    /// A filter that fits always.
    pub const fn new() -> Self {
        Self { opcode: None, range: None, access: None }
    }

    /// Only descriptors with this opcode.
    #[must_use]
    pub const fn opcode(mut self, opcode: u8) -> Self {
        self.opcode = Some(opcode);
        self
    }

    /// Only descriptors that access an address in `range`.
    #[must_use]
    pub const fn at(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Only accesses of one kind.
    #[must_use]
    pub const fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// A rule with the same filters.
    pub(super) fn rule(&self) -> FaultRule {
        let Self { opcode, range, access } = self.clone();
        FaultRule { range, access, opcode, ..FaultRule::new(Effect::Lose) }
    }

    fn of(rule: &FaultRule) -> Self {
        Self { opcode: rule.opcode, range: rule.range.clone(), access: rule.access }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Injects a rule.
    Inject {
        /// The rule.
        rule: FaultRule,
        /// Ticks after which it is removed; otherwise at the end of the campaign.
        ticks: Option<u64>,
    },
    /// Gives a command to the device.
    Command(Command),
}

/// A command of the device, or of the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// [`Device::halt`](crate::Device::halt).
    Halt,
    /// [`Device::reset`](crate::Device::reset).
    Reset,
    /// [`Device::enable`](crate::Device::enable).
    Enable,
    /// [`Device::disable`](crate::Device::disable).
    Disable,
    /// Reset, enable the device, enable all its queues.
    Recover,
    /// Removes the rules of all steps before.
    Clear,
    /// [`Device::abort_all`](crate::Device::abort_all).
    AbortAll,
    /// [`Device::drain_all`](crate::Device::drain_all).
    DrainAll,
    /// [`Device::abort_pasid`](crate::Device::abort_pasid).
    AbortPasid(u32),
    /// [`Device::drain_pasid`](crate::Device::drain_pasid).
    DrainPasid(u32),
    /// [`Device::enable_wq`](crate::Device::enable_wq).
    EnableWq(usize),
    /// [`Device::disable_wq`](crate::Device::disable_wq).
    DisableWq(usize),
    /// [`Device::abort_wq`](crate::Device::abort_wq).
    AbortWq(usize),
    /// [`Device::drain_wq`](crate::Device::drain_wq).
    DrainWq(usize),
}

impl Script {
    /// A script without steps.
    pub const fn new(seed: u64) -> Self {
        Self { seed, rounds: 1, steps: Vec::new() }
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, trigger: Trigger, action: impl Into<Action>) -> Self {
        self.steps.push(Step { trigger, action: action.into() });
        self
    }

    /// Goes through the steps so often, at least once.
    #[must_use]
    pub const fn rounds(mut self, rounds: u64) -> Self {
        self.rounds = if rounds == 0 { 1 } else { rounds };
        self
    }
}

impl Action {
    /// Injects a rule for so many ticks.
    pub const fn lasting(rule: FaultRule, ticks: u64) -> Self {
        Self::Inject { rule, ticks: Some(ticks) }
    }

    /// The word by which texts and counts name it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Inject { rule, .. } => match rule.effect {
                Effect::PageFault { resolvable: false } => "page-fault",
                Effect::PageFault { resolvable: true } => "page-fault-resolvable",
                Effect::RecordFault => "record-fault",
                Effect::HardwareError(0) => "no-record",
                Effect::HardwareError(_) => "error",
                Effect::Lose => "lose",
                Effect::Retry => "retry",
                Effect::Delay(_) => "delay",
            },
            Self::Command(command) => command.word(),
        }
    }
}

impl Command {
    const fn word(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Reset => "reset",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Recover => "recover",
            Self::Clear => "clear",
            Self::AbortAll => "abort-all",
            Self::DrainAll => "drain-all",
            Self::AbortPasid(_) => "abort-pasid",
            Self::DrainPasid(_) => "drain-pasid",
            Self::EnableWq(_) => "enable-wq",
            Self::DisableWq(_) => "disable-wq",
            Self::AbortWq(_) => "abort-wq",
            Self::DrainWq(_) => "drain-wq",
        }
    }
}

impl From<FaultRule> for Action {
    fn from(rule: FaultRule) -> Self {
        Self::Inject { rule, ticks: None }
    }
}

impl From<Command> for Action {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        if self.rounds > 1 {
            writeln!(f, "rounds {}", self.rounds)?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trigger {
            Trigger::Now => {}
            Trigger::After(ticks) => write!(f, "after {ticks}: ")?,
            Trigger::At(tick) => write!(f, "at {tick}: ")?,
            Trigger::When(filter) => write!(f, "when{filter}: ")?,
            // NaN and what is below 0 count as 0.
            Trigger::Chance(p) => write!(f, "chance {}: ", if *p > 0.0 { p.min(1.0) } else { 0.0 })?,
        }
        write!(f, "{}", self.action)
    }
}

/// Each part with a space before it.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.opcode {
            match opcode::name(code) {
                Some(name) => write!(f, " opcode {name}")?,
                None => write!(f, " opcode {code:#04x}")?,
            }
        }
        if let Some(range) = &self.range {
            write!(f, " address {:#x}..{:#x}", range.start, range.end)?;
        }
        match self.access {
            None => Ok(()),
            Some(Access::Read) => f.write_str(" read"),
            Some(Access::Write) => f.write_str(" write"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        let (rule, ticks) = match self {
            Self::Command(command) => return command.operand(f),
            Self::Inject { rule, ticks } => (rule, ticks),
        };
        match rule.effect {
            Effect::HardwareError(0) => {}
            Effect::HardwareError(status) => write!(f, " {status:#04x}")?,
            Effect::Delay(time) => write!(f, " {}", Time(time))?,
            _ => {}
        }
        write!(f, "{}", Filter::of(rule))?;
        if let Some(n) = rule.nth {
            write!(f, " nth {n}")?;
        }
        if let Some(n) = rule.every {
            write!(f, " every {n}")?;
        }
        if rule.probability < 1.0 {
            write!(f, " probability {}", rule.probability)?;
        }
        if rule.limit != u64::MAX {
            write!(f, " limit {}", rule.limit)?;
        }
        ticks.map_or(Ok(()), |ticks| write!(f, " for {ticks}"))
    }
}

impl Command {
    fn operand(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AbortPasid(n) | Self::DrainPasid(n) => write!(f, " {n}"),
            Self::EnableWq(n) | Self::DisableWq(n) | Self::AbortWq(n) | Self::DrainWq(n) => write!(f, " {n}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        self.operand(f)
    }
}

/// A time in the largest unit that has it exactly.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
        let (factor, unit) = units.into_iter().find(|(factor, _)| ns.is_multiple_of(*factor)).unwrap_or((1, "ns"));
        write!(f, "{}{unit}", ns / factor)
    }
}
