//! What others measured on Sapphire Rapids, and the experiment that each figure comes from.
//!
//! The figures are those of their sources, for comparison with the model only; they are not ours, and say nothing about
//! any machine but the one they were taken on.
//!
//! | key | source |
//! |---|---|
//! | LIGHT | izumihanako/LightDSA, raw measurement files: `DSA_speed`, `single`, `batch`, `tapping`, `ooo`, `shuffle`, `pagemig` |
//! | DTO | intel/DTO, the histogram in its read-me |
//! | DML | intel/DML, issue 25 and the benchmark guide |
//! | PERF | intel/dsa-perf-micros, documentation |
//! | ASPLOS | arXiv 2305.02480, abstract; the rest as it is quoted elsewhere |
//! | DATAPATH | taooceros/accel-datapath, reports |
//!
//! **Units.** What LIGHT prints as MB/s is 2^20 bytes a second: 64 KiB in 2.09 us are 31.4 * 10^9 bytes a second and
//! are printed as 29,884 MB/s. Where it prints GB/s (`tapping`, `shuffle`, `pagemig`) it means 2^30 bytes. DML and PERF mean
//! 10^9 bytes.
//!
//! **What was fitted.** The parameters come from LIGHT's `DSA_speed_seq`, `single`, `batch_memcpy` and `sg64` rows; the
//! operating system's each from one row: page requests, resolving and file pages from the rows that they explain, which
//! therefore prove nothing, touching from rows without a copy. `ooo` has a number of its own. The other figures took no part.
//!
//! **Readings.** PERF says that four threads, or batches of four, fill a device; that is taken as 30 * 10^9 bytes a second.
//! DTO lets the CPU do up to a third of each copy, and tunes it; the model gives a range.

mod points;

pub use points::{OMITTED, POINTS};

use super::experiment::{Experiment, Outcome};
use super::parameters::Timing;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Nanoseconds for each operation.
    Nanoseconds,
    /// 2^20 bytes a second.
    MebibytesPerSecond,
    /// 2^30 bytes a second.
    GibibytesPerSecond,
    /// 10^9 bytes a second.
    GigabytesPerSecond,
    /// A number.
    Count,
}

impl Unit {
    /// Its symbol, empty for a number.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::MebibytesPerSecond => "MiB/s",
            Self::GibibytesPerSecond => "GiB/s",
            Self::GigabytesPerSecond => "GB/s",
            Self::Count => "",
        }
    }

    /// That of an outcome.
    pub fn of(self, outcome: &Outcome) -> f64 {
        let per_second = outcome.bytes_per_ns * 1e9;
        match self {
            Self::Nanoseconds => outcome.ns,
            Self::MebibytesPerSecond => per_second / f64::from(1 << 20),
            Self::GibibytesPerSecond => per_second / f64::from(1 << 30),
            Self::GigabytesPerSecond => outcome.bytes_per_ns,
            Self::Count => outcome.count,
        }
    }
}

/// Whether the model is held to a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// The model is within 15 % of it; a test sees to that.
    Held,
    /// It contradicts other figures, for the reason given. No model can have both.
    Contradicted(&'static str),
}

/// A published figure.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// Key of the source, and where in it.
    pub source: &'static str,
    /// What was measured.
    pub what: &'static str,
    /// The figure.
    pub figure: f64,
    /// What it counts.
    pub unit: Unit,
    /// The experiment.
    pub experiment: Experiment,
    /// Where the source leaves something open, the experiment at the other end of what it can mean.
    pub until: Option<Experiment>,
    /// Whether the model is held to it.
    pub standing: Standing,
}

/// A figure beside the model's.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fit {
    /// What the model gives, in the unit of the point.
    pub modelled: f64,
    /// The other end, where the point has one.
    pub until: Option<f64>,
    /// How far the model is from the figure, as a part of the figure; from the nearer end of a range, and 0 inside it.
    pub error: f64,
}

impl Point {
    /// Runs the experiment.
    ///
    /// # Panics
    ///
    /// As [`Experiment::run`].
    pub fn fit(&self, timing: &Timing) -> Fit {
        let modelled = self.unit.of(&self.experiment.run(timing));
        let until = self.until.map(|experiment| self.unit.of(&experiment.run(timing)));
        let other = until.unwrap_or(modelled);
        let nearest = self.figure.clamp(modelled.min(other), modelled.max(other));
        Fit { modelled, until, error: nearest / self.figure - 1.0 }
    }
}

/// A line of the literature that is no experiment on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Omitted {
    /// Key of the source.
    pub source: &'static str,
    /// What it says.
    pub what: &'static str,
    /// Why the model has nothing to say to it.
    pub why: &'static str,
}
