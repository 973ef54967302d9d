//! A case, what it needs, and the running of many.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use idxd_sys::gencap;

use crate::bench::{Bench, Cannot, Capabilities, Power};
use crate::lab::Lab;

/// What must be there for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// The queue offers this operation.
    Operation(u8),
    /// The queue does not offer it.
    NoOperation(u8),
    /// This bit of GENCAP is set.
    Capability(u64),
    /// This bit of GENCAP is not set.
    NoCapability(u64),
    /// This bit of DSACAP0, 1 or 2 is set.
    Typed(usize, u64),
    /// Largest transfers of less than 4 GiB, so that a size above exists.
    SizeLimit,
    /// Batches of less than 2^32 descriptors.
    BatchLimit,
    /// Lists may have fewer than 65535 entries.
    ListLimit,
    /// Descriptors may ask to block on faults.
    BlockOnFault,
    /// The queue makes page requests.
    PageRequests,
    /// The device looks at reserved bytes.
    ReservedBytes,
    /// Data-integrity operations refuse what is no whole number of blocks.
    WholeBlocks,
    /// Users may not ask for completion interrupts.
    NoInterrupts,
    /// Windows of the permissions table may be addressed by offset.
    OffsetWindows,
    /// A power of the bench.
    Power(Power),
}

impl Need {
    /// Why it is not there; `None` if it is.
    fn missing(self, c: &Capabilities, lacks: &dyn Fn(Power) -> Option<&'static str>) -> Option<String> {
        let unless = |there: bool, why: &str| (!there).then(|| why.to_string());
        match self {
            Self::Operation(opcode) | Self::NoOperation(opcode) if c.refuses(opcode) => {
                Some("the operation is refused before it reaches the device".into())
            }
            Self::Operation(opcode) => unless(c.offers(opcode), "the queue does not offer the operation"),
            Self::NoOperation(opcode) => unless(!c.offers(opcode), "the queue offers the operation"),
            Self::Capability(bit) => unless(c.has(bit), &format!("GENCAP lacks {}", capability(bit))),
            Self::NoCapability(bit) => unless(!c.has(bit), &format!("GENCAP has {}", capability(bit))),
            Self::Typed(register, bit) => unless(c.dsacap[register] & bit != 0, "DSACAP lacks it"),
            Self::SizeLimit => unless(c.max_transfer_size < u64::from(u32::MAX), "no size is too large"),
            Self::BatchLimit => unless(c.max_batch_size < u32::MAX, "no batch is too large"),
            Self::ListLimit => unless(c.max_sgl_size < u32::from(u16::MAX), "no list is too large"),
            Self::BlockOnFault => unless(c.block_on_fault, "block on fault is off"),
            Self::PageRequests => unless(c.page_requests, "the queue makes no page requests"),
            Self::ReservedBytes => unless(c.checks_reserved_bytes, "the device does not look at reserved bytes"),
            Self::WholeBlocks => unless(c.checks_whole_blocks, "parts of blocks are not refused"),
            Self::NoInterrupts => unless(!c.interrupts, "completion interrupts are allowed"),
            Self::OffsetWindows => {
                unless(c.id_cap & idxd_sys::idpt::idcap::OFFSET_MODE != 0, "windows cannot be addressed by offset")
            }
            Self::Power(power) => lacks(power).map(|why| format!("{power}: {why}")),
        }
    }
}

fn capability(bit: u64) -> &'static str {
    match bit {
        gencap::OVERLAPPING_COPY => "overlapping copies",
        gencap::INTER_DOMAIN => "inter-domain operations",
        gencap::TRANSLATION_FETCH_STRIDE => "strides",
        gencap::DRAIN_READBACK => "readbacks of a drain",
        gencap::FILL_16 => "16-byte patterns",
        gencap::CRC_64 => "the 64-bit CRC",
        gencap::BATCH_CONTINUATION => "batch continuation",
        gencap::BATCH_OF_ONE => "batches of one",
        _ => "a capability",
    }
}

/// What a device did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    /// The same, with the place where it happened.
    pub(crate) fn at(self, place: &str) -> Self {
        Self(format!("{}, {place}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<Cannot> for Failure {
    fn from(cannot: Cannot) -> Self {
        Self(format!("{cannot}, although it offers to"))
    }
}

/// What comes of a check.
pub(crate) type Check<T = ()> = Result<T, Failure>;

/// Ends a check unless something holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::case::Failure(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

type Run = Box<dyn Fn(&mut Lab<'_>) -> Check + Send + Sync>;

/// One thing that a device must do.
pub struct Case {
    /// The operation.
    pub opcode: u8,
    /// The status that the case provokes, without bit 7.
    pub status: u8,
    /// What is done, in a few words. Together with opcode and status it names the case.
    pub name: String,
    /// The section of the specification that has the rule.
    pub section: &'static str,
    /// What must be there.
    pub needs: Vec<Need>,
    run: Run,
}

impl Case {
    pub(crate) fn new(
        (opcode, status): (u8, u8),
        name: impl Into<String>,
        section: &'static str,
        needs: &[Need],
        run: impl Fn(&mut Lab<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        Self { opcode, status, name: name.into(), section, needs: needs.to_vec(), run: Box::new(run) }
    }

    pub(crate) fn needing(mut self, needs: &[Need]) -> Self {
        self.needs.extend_from_slice(needs);
        self
    }

    /// Why a queue with these capabilities does not have the case, on a bench that lacks some powers (as
    /// [`Bench::cannot`] says); `None` if it has. Nothing runs.
    pub fn missing(&self, c: &Capabilities, lacks: impl Fn(Power) -> Option<&'static str>) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing(c, &lacks))
    }

    /// Runs the case, if the bench has what it needs, after a reset of the bench.
    pub fn run(&self, bench: &mut dyn Bench) -> Outcome {
        if let Some(why) = self.missing(bench.capabilities(), |power| bench.cannot(power)) {
            return Outcome::NotOffered(why);
        }
        bench.reset();
        let mut lab = Lab::new(bench);
        match (self.run)(&mut lab) {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

impl fmt::Display for Case {
    /// Operation, status, name and section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = idxd_sys::opcode::name(self.opcode).unwrap_or("?");
        write!(f, "{operation} {:#04x}: {} ({})", self.status, self.name, self.section)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.to_string()).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device did what it must.
    Passed,
    /// The bench, or the device, lacks what the case needs: this.
    NotOffered(String),
    /// The device did something else.
    Failed(Failure),
}

/// What came of many cases on one bench.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Cases passed, by opcode and status.
    pub passed: BTreeMap<(u8, u8), usize>,
    /// The same by name.
    pub names: BTreeSet<String>,
    /// Why cases were not offered, and how many, by opcode and status.
    pub not_offered: BTreeMap<(u8, u8), BTreeMap<String, usize>>,
    /// Cases that failed, by name.
    pub failed: Vec<(String, Failure)>,
}

impl Report {
    /// Runs cases one after the other.
    pub fn of(bench: &mut dyn Bench, cases: &[Case]) -> Self {
        let mut report = Self::default();
        for case in cases {
            report.add(case, case.run(bench));
        }
        report
    }

    fn add(&mut self, case: &Case, outcome: Outcome) {
        let cell = (case.opcode, case.status);
        match outcome {
            Outcome::Passed => {
                *self.passed.entry(cell).or_default() += 1;
                self.names.insert(case.to_string());
            }
            Outcome::NotOffered(why) => {
                *self.not_offered.entry(cell).or_default().entry(why).or_default() += 1;
            }
            Outcome::Failed(failure) => self.failed.push((case.to_string(), failure)),
        }
    }

    /// Cases that ran, passed or not.
    pub fn ran(&self) -> usize {
        self.passed.values().sum::<usize>() + self.failed.len()
    }

    /// Cases that were not offered, by reason.
    pub fn reasons(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        for (why, count) in self.not_offered.values().flatten() {
            *reasons.entry(why.as_str()).or_default() += count;
        }
        reasons
    }
}

impl fmt::Display for Report {
    /// The counts, the reasons, and what failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: usize = self.reasons().values().sum();
        writeln!(f, "{} ran, {} failed, {missing} not offered", self.ran(), self.failed.len())?;
        for (why, count) in self.reasons() {
            writeln!(f, "  {count:4} not offered: {why}")?;
        }
        for (name, failure) in &self.failed {
            writeln!(f, "  FAILED {name}: {failure}")?;
        }
        Ok(())
    }
}

/// Whether a bit of DSACAP0, 1 or 2 is set.
pub(crate) fn typed_bit(capabilities: &Capabilities, register: usize, bit: u64) -> bool {
    capabilities.dsacap[register] & bit != 0
}
