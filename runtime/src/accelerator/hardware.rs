//! The machine's own queues: which to open, by which way, and why not.

#![forbid(unsafe_code)]

use std::fmt;

use super::Accelerator;
use crate::device::{Absence, Criteria, QueueError, QueueMode, QueueSpec, Rejection, Roots, Topology, WorkQueueId};
use crate::dispatch::Calibrate;
use crate::error::BuildError;
use crate::submit::Submitter;
use crate::submit::kernel::{KernelQueue, SubmitBy};

/// Why the machine's queues, or one of them, are not used by an accelerator.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unused {
    /// There is no device.
    NoDevice(Absence),
    /// A queue does not meet the criteria.
    Rejected(Rejection),
    /// There is no queue of this name.
    NoSuchQueue(String),
    /// The driver does not say of a queue what is needed to use it: mode, size, version, operations.
    NotDescribed(WorkQueueId),
    /// A queue meets the criteria, and cannot be opened.
    Failed(QueueError),
    /// An environment variable makes no sense.
    Environment {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// The accelerator could not be built, for a reason that has nothing to do with queues.
    NotBuilt(BuildError),
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(absence) => absence.fmt(f),
            Self::Rejected(reason) => reason.fmt(f),
            Self::NoSuchQueue(name) => {
                write!(f, "{name}: there is no such work queue: accel-config list shows those that there are")
            }
            Self::NotDescribed(id) => write!(
                f,
                "{id}: sysfs does not tell its mode, size, version or operations: make /sys readable, or use a newer \
                 kernel"
            ),
            Self::Failed(error) => error.fmt(f),
            Self::Environment { variable, value, expected } => {
                write!(f, "{variable} is {value:?}, which means nothing: it can be {expected}")
            }
            Self::NotBuilt(error) => error.fmt(f),
        }
    }
}

/// Queues that somebody wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) criteria: Criteria,
    /// Whether it is an error if none can be had.
    pub(super) required: bool,
}

/// Opens what is wanted. Adds the open queues to `submitters`, and the reasons for the others to `unused`.
pub(super) fn open(
    wanted: &[Wanted],
    roots: &Roots,
    by: SubmitBy,
    submitters: &mut Vec<Box<dyn Submitter>>,
    unused: &mut Vec<Unused>,
) -> Result<(), BuildError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let topology = Topology::read_from(roots);
    let mut taken: Vec<WorkQueueId> = Vec::new();
    for Wanted { criteria, required } in wanted {
        let first = unused.len();
        let selection = topology.select(criteria);
        let mut any = false;
        for choice in &selection.chosen {
            if taken.contains(&choice.queue.id) {
                any = true;
                continue;
            }
            let Some(spec) = QueueSpec::new(roots, choice.device, choice.queue) else {
                unused.push(Unused::NotDescribed(choice.queue.id));
                continue;
            };
            match KernelQueue::open(spec, by) {
                Ok(queue) => {
                    submitters.push(Box::new(queue.at_distances(topology.delays(choice.device))));
                    taken.push(choice.queue.id);
                    any = true;
                }
                Err(error) => unused.push(Unused::Failed(error)),
            }
        }
        unused.extend(selection.unknown_queues.into_iter().map(Unused::NoSuchQueue));
        // With a name, only what speaks against the queues of that name is of interest.
        let named = |reasons: &[Rejection]| {
            !required || !reasons.iter().any(|reason| matches!(reason, Rejection::NotNamed { .. }))
        };
        for rejected in selection.rejected.into_iter().filter(|rejected| named(&rejected.reasons)) {
            unused.extend(rejected.reasons.into_iter().map(Unused::Rejected));
        }
        if let Some(absence) = &topology.absence {
            unused.push(Unused::NoDevice(absence.clone()));
        }
        if *required && !any {
            return Err(BuildError::WorkQueue(unused.split_off(first)));
        }
    }
    Ok(())
}

/// See [`Accelerator::open`].
pub(super) fn shared_queues() -> Accelerator {
    build(Criteria::new().mode(QueueMode::Shared), SubmitBy::Auto, Vec::new())
}

/// See [`Accelerator::global`].
pub(super) fn from_environment() -> Accelerator {
    let text = |variable| std::env::var_os(variable).map(|value| value.to_string_lossy().into_owned());
    let mut unused = Vec::new();
    let by = text("DSA_SUBMIT").map_or(SubmitBy::Auto, |value| match value.trim() {
        "auto" | "" => SubmitBy::Auto,
        "portal" => SubmitBy::Portal,
        "write" => SubmitBy::Write,
        _ => {
            unused.push(Unused::Environment { variable: "DSA_SUBMIT", value, expected: "portal, write or auto" });
            SubmitBy::Auto
        }
    });
    match text("DSA_QUEUES").as_deref().map(str::trim) {
        None | Some("") => build(Criteria::new().mode(QueueMode::Shared), by, unused),
        Some("none") => Accelerator::assemble(Accelerator::cpu_policy(), &Calibrate::Modelled, Vec::new(), unused),
        Some(names) => {
            let all: Vec<_> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            if all.is_empty() {
                let (variable, value) = ("DSA_QUEUES", names.to_owned());
                unused.push(Unused::Environment { variable, value, expected: "names of queues, or none" });
                return Accelerator::assemble(Accelerator::cpu_policy(), &Calibrate::Modelled, Vec::new(), unused);
            }
            build(all.into_iter().fold(Criteria::new(), Criteria::queue), by, unused)
        }
    }
}

/// Builds from what there is; with nothing, the CPU.
fn build(criteria: Criteria, by: SubmitBy, unused: Vec<Unused>) -> Accelerator {
    match Accelerator::builder().hardware(criteria).submit_by(by).unused(unused).build() {
        Ok(accelerator) => accelerator,
        Err(error) => Accelerator::assemble(
            Accelerator::cpu_policy(),
            &Calibrate::Modelled,
            Vec::new(),
            vec![Unused::NotBuilt(error)],
        ),
    }
}
