//! Times measured on a machine, to start from instead of modelled ones.
//!
//! Who measures is somebody else: [`Measure`] is asked for single times. So a calibration can be made of a device, of
//! the software model, or of a timing model. It can be kept in a file; see [`Calibration::to_text`].

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::place::{CLASSES, size};
use super::{Estimates, PICOS, Quantity};
use crate::stats::Operation;

/// Sizes that are measured, in bytes, in this order. What lies between them and beyond follows from these.
const SIZES: [u64; 6] = [4 << 10, 64 << 10, 64, 1 << 10, 16 << 10, 256 << 10];
/// Times taken of each, of which the middle one counts. One more comes before them and does not count.
const REPEATS: usize = 3;
/// Kinds that are measured first, while the time lasts.
const FIRST: [Operation; 5] =
    [Operation::Copy, Operation::Fill, Operation::Crc32c, Operation::CopyCrc32c, Operation::Compare];

/// Takes times.
pub trait Measure {
    /// How long one operation of `bytes` bytes takes, in the sense of [`Quantity`]: of [`Quantity::Service`], the
    /// time for each when many are in flight. `None` if that cannot be measured; no other size of it is asked for then.
    fn time(&mut self, operation: Operation, bytes: u64, quantity: Quantity) -> Option<Duration>;
}

/// Closures are measures.
impl<F: FnMut(Operation, u64, Quantity) -> Option<Duration>> Measure for F {
    fn time(&mut self, operation: Operation, bytes: u64, quantity: Quantity) -> Option<Duration> {
        self(operation, bytes, quantity)
    }
}

/// What a calibration holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    cpu: String,
    queues: Vec<String>,
}

impl Machine {
    /// A machine by the model of its CPU and the names of the queues that are used. Control characters become blanks, and
    /// blanks at the ends go.
    pub fn new<Q: AsRef<str>>(cpu: &str, queues: impl IntoIterator<Item = Q>) -> Self {
        Self { cpu: plain(cpu), queues: queues.into_iter().map(|queue| plain(queue.as_ref())).collect() }
    }

    /// This machine, with these queues. The model is what `/proc/cpuinfo` calls the first CPU; empty if it says nothing.
    pub fn this<Q: AsRef<str>>(queues: impl IntoIterator<Item = Q>) -> Self {
        Self::read(Path::new("/proc/cpuinfo"), queues)
    }

    fn read<Q: AsRef<str>>(file: &Path, queues: impl IntoIterator<Item = Q>) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name")?.trim_start().strip_prefix(':'));
        Self::new(model.unwrap_or_default(), queues)
    }

    /// The CPU's model.
    pub fn cpu(&self) -> &str {
        &self.cpu
    }

    /// The queues' names.
    pub fn queues(&self) -> &[String] {
        &self.queues
    }
}

fn plain(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// Why a calibration is not for a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Another CPU.
    #[error("the calibration is of a machine with the CPU `{calibrated}`, and this one has `{here}`; calibrate anew")]
    Cpu {
        /// Of the calibration.
        calibrated: String,
        /// Of the machine.
        here: String,
    },
    /// Other queues.
    #[error("the calibration is for the queues {calibrated:?}, and {here:?} are used here; calibrate anew")]
    Queues {
        /// Of the calibration.
        calibrated: Vec<String>,
        /// Of the machine.
        here: Vec<String>,
    },
}

/// One time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Measured {
    /// Of which kind of operation.
    pub operation: Operation,
    /// What was measured.
    pub quantity: Quantity,
    /// The size, in bytes: a power of two from 64 to 2^31.
    pub bytes: u64,
    /// The time, in picoseconds: from 1 to 2^44.
    pub picoseconds: u64,
}

/// The longest time of a [`Measured`], in picoseconds.
pub(super) const LONGEST: u64 = 1 << 44;

/// Times measured on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    pub(super) machine: Machine,
    /// In ascending order, one for each operation, quantity and size.
    pub(super) times: Vec<Measured>,
}

impl Calibration {
    /// Measures copies and the other most usual kinds of operation first, then the rest, at sizes from 64 bytes to 256 KiB,
    /// until everything is measured or the times taken add up to `budget`. For the rest see [`estimates`](Self::estimates).
    ///
    /// The budget counts what `measure` says, so the same answers give the same calibration. With all kinds on a device
    /// it takes some 30 ms; the first five take 4.
    pub fn measure(machine: Machine, budget: Duration, measure: &mut impl Measure) -> Self {
        let mut spent = Duration::ZERO;
        let mut times = Vec::new();
        let rest = Operation::ALL.iter().filter(|operation| !FIRST.contains(operation));
        'all: for &operation in FIRST.iter().chain(rest) {
            'quantities: for &quantity in Quantity::ALL {
                for bytes in SIZES {
                    let mut taken = [Duration::ZERO; REPEATS + 1];
                    for time in &mut taken {
                        if spent >= budget {
                            break 'all;
                        }
                        let Some(answer) = measure.time(operation, bytes, quantity) else { continue 'quantities };
                        spent = spent.saturating_add(answer);
                        *time = answer;
                    }
                    taken[1..].sort_unstable();
                    times.push(Measured {
                        operation,
                        quantity,
                        bytes,
                        picoseconds: picoseconds(taken[1 + REPEATS / 2]),
                    });
                }
            }
        }
        times.sort_unstable();
        Self { machine, times }
    }

    /// Nothing is known.
    pub(crate) fn without_times(machine: Machine) -> Self {
        Self { machine, times: Vec::new() }
    }

    /// What has been learned so far, of all size classes with samples, to start from next time.
    pub fn of(machine: Machine, estimates: &Estimates) -> Self {
        let mut times = Vec::new();
        for &operation in Operation::ALL {
            for &quantity in Quantity::ALL {
                for bytes in (0..CLASSES).map(size).filter(|bytes| estimates.samples(operation, quantity, *bytes) != 0)
                {
                    let picoseconds = estimates.get(operation, quantity, bytes).clamp(1, LONGEST);
                    times.push(Measured { operation, quantity, bytes, picoseconds });
                }
            }
        }
        Self { machine, times }
    }

    /// Estimates that begin with these times. A kind of operation of which a quantity was not measured at all is taken
    /// to differ from its modelled times as copies do from theirs.
    pub fn estimates(&self) -> Estimates {
        let estimates = Estimates::modelled();
        for time in &self.times {
            estimates.set(time.operation, time.quantity, time.bytes, time.picoseconds);
        }
        for &operation in Operation::ALL {
            for &quantity in Quantity::ALL {
                if !self.times.iter().any(|time| (time.operation, time.quantity) == (operation, quantity)) {
                    estimates.follow_copies(operation, quantity);
                }
            }
        }
        estimates
    }

    /// The times, in ascending order of operation, quantity and size.
    pub fn times(&self) -> &[Measured] {
        &self.times
    }

    /// What it holds for.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether it is for this machine and these queues.
    pub fn check(&self, here: &Machine) -> Result<(), Mismatch> {
        if self.machine.cpu != here.cpu {
            return Err(Mismatch::Cpu { calibrated: self.machine.cpu.clone(), here: here.cpu.clone() });
        }
        if self.machine.queues != here.queues {
            let (calibrated, here) = (self.machine.queues.clone(), here.queues.clone());
            return Err(Mismatch::Queues { calibrated, here });
        }
        Ok(())
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

fn picoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().saturating_mul(u128::from(PICOS))).unwrap_or(u64::MAX).clamp(1, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first answer of each is a cold one, and every third disturbed.
    fn answers() -> impl Measure {
        let mut calls = 0u64;
        move |operation: Operation, bytes: u64, quantity: Quantity| {
            calls += 1;
            let disturbed = if calls % 4 == 1 || calls % 4 == 3 { 1000 } else { 1 };
            (operation != Operation::Fill || quantity == Quantity::Cpu)
                .then(|| Duration::from_nanos((bytes + quantity as u64) * disturbed))
        }
    }

    #[test]
    fn the_middle_of_the_times_counts_and_what_cannot_be_measured_follows_copies() {
        let calibration = Calibration::measure(Machine::default(), Duration::from_secs(3600), &mut answers());
        let estimates = calibration.estimates();
        for &operation in Operation::ALL {
            for &quantity in Quantity::ALL {
                let of = |bytes| estimates.get(operation, quantity, bytes);
                if operation == Operation::Fill && quantity != Quantity::Cpu {
                    let modelled = |operation| Estimates::modelled().get(operation, quantity, 4096);
                    let copies = estimates.get(Operation::Copy, quantity, 4096);
                    assert_eq!(of(4096), modelled(operation) * copies / modelled(Operation::Copy));
                } else {
                    assert!(of(4096).is_multiple_of((4096 + quantity as u64) * PICOS), "{operation} {quantity}");
                }
            }
        }
        assert_eq!(calibration.times().len(), (Operation::ALL.len() * 3 - 2) * SIZES.len());
        assert!(calibration.times().is_sorted());
    }

    #[test]
    fn it_ends_when_the_budget_is_spent() {
        let mut calls = 0;
        let mut measure = |_: Operation, _: u64, _: Quantity| {
            calls += 1;
            Some(Duration::from_micros(10))
        };
        let calibration = Calibration::measure(Machine::default(), Duration::from_millis(1), &mut measure);
        assert_eq!(calls, 100);
        assert_eq!(calibration.times().len(), 25);
        assert!(calibration.times().iter().all(|time| FIRST.contains(&time.operation)));
    }

    #[test]
    fn what_was_learned_is_a_calibration() {
        let estimates = Estimates::modelled();
        for _ in 0..40 {
            estimates.note(Operation::Copy, Quantity::Cpu, 1 << 20, 7_000_000);
        }
        let calibration = Calibration::of(Machine::default(), &estimates);
        let [time] = calibration.times() else { panic!("{calibration:?}") };
        assert_eq!((time.operation, time.quantity, time.bytes), (Operation::Copy, Quantity::Cpu, 1 << 20));
        assert_eq!(calibration.estimates().get(Operation::Copy, Quantity::Cpu, 1 << 20), time.picoseconds);
    }

    #[test]
    fn a_calibration_of_another_machine_says_what_differs() {
        let here = Machine::new("Model A", ["wq0.0", "wq2.1"]);
        let calibration = Calibration { machine: here.clone(), times: Vec::new() };
        assert_eq!(calibration.check(&here), Ok(()));
        let other = calibration.check(&Machine::new("Model B", ["wq0.0", "wq2.1"])).unwrap_err();
        assert!(other.to_string().contains("`Model A`") && other.to_string().contains("`Model B`"), "{other}");
        let other = calibration.check(&Machine::new("Model A", ["wq0.0"])).unwrap_err();
        assert!(matches!(other, Mismatch::Queues { .. }) && other.to_string().contains("wq2.1"), "{other}");
    }

    #[test]
    fn the_model_of_the_cpu_is_the_kernels_word_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cpuinfo");
        std::fs::write(&file, "processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: No\n")
            .unwrap();
        assert_eq!(Machine::read(&file, ["wq0.0"]).cpu(), "Some CPU @ 2 GHz");
        assert_eq!(Machine::read(&folder.path().join("none"), ["wq0.0"]).cpu(), "");
        assert_eq!(Machine::new("a\nb\t", [""; 0]).cpu(), "a b");
    }
}
