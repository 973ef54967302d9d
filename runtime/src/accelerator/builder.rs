//! How an accelerator is put together: policy, queues, the poller thread.

#![forbid(unsafe_code)]

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use idxd_sys::CpuFeatures;

use super::Accelerator;
use super::hardware::{self, Unused};
use crate::device::{Criteria, Roots};
use crate::dispatch::{Calibrate, Policy};
use crate::error::BuildError;
use crate::lane::slot::MOST_QUEUES;
use crate::lane::sync::spawn;
use crate::lane::wait::Waiter;
use crate::lane::{collect, poller};
use crate::submit::Submitter;
use crate::submit::kernel::SubmitBy;

/// Configures an [`Accelerator`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    policy: Policy,
    calibrate: Calibrate,
    submitters: Vec<Box<dyn Submitter>>,
    /// Queues of the machine, opened last.
    wanted: Vec<hardware::Wanted>,
    submit_by: SubmitBy,
    roots: Roots,
    unused: Vec<Unused>,
    error: Option<BuildError>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            policy: Policy::default(),
            calibrate: Calibrate::default(),
            submitters: Vec::new(),
            wanted: Vec::new(),
            submit_by: SubmitBy::Auto,
            roots: Roots::default(),
            unused: Vec::new(),
            error: None,
        }
    }

    /// Replaces all limits.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets [`Policy::min_device_size`]: operations of fewer bytes are done by the CPU and all others by a device, instead of a
    /// choice for each. 0 gives the device everything.
    pub fn min_device_size(mut self, bytes: usize) -> Self {
        self.policy.min_device_size = Some(bytes);
        self
    }

    /// Says what is believed at first of how long operations take, on a device and on the CPU: by default modelled
    /// figures, which cost nothing. Given ones must be of this machine and these queues.
    ///
    /// ```
    /// use dsa::{Accelerator, BuildError, Calibrate, choice::Calibration};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let file = folder.path().join("calibration");
    /// // What was kept the last time, if it is still right; else a measurement.
    /// let kept = std::fs::read_to_string(&file).ok().and_then(|text| text.parse::<Calibration>().ok());
    /// let open = |calibrate: Calibrate| Accelerator::builder().calibration(calibrate).build();
    /// let accelerator = match kept.map(|kept| open(kept.into())) {
    ///     None | Some(Err(BuildError::Calibration(_))) => open(Calibrate::AtStart)?,
    ///     Some(built) => built?,
    /// };
    /// // ... and at the end, with what has been learned since:
    /// std::fs::write(&file, accelerator.calibration().to_text()).unwrap();
    /// # Ok::<(), BuildError>(())
    /// ```
    pub fn calibration(mut self, calibrate: impl Into<Calibrate>) -> Self {
        self.calibrate = calibrate.into();
        self
    }

    /// Adds the work queues of this machine that meet the criteria, as far as they can be opened. That there are none is
    /// no error: [`Accelerator::unused`] says of each one why it is not used.
    ///
    /// A process can have a queue open once: a second accelerator of the same process does not get it.
    ///
    /// ```
    /// use dsa::device::{Criteria, QueueMode};
    ///
    /// let accelerator = dsa::Accelerator::builder().hardware(Criteria::new().mode(QueueMode::Shared)).build()?;
    /// for reason in accelerator.unused() {
    ///     println!("not used: {reason}");
    /// }
    /// # Ok::<(), dsa::BuildError>(())
    /// ```
    pub fn hardware(mut self, criteria: Criteria) -> Self {
        self.wanted.push(hardware::Wanted { criteria, required: false });
        self
    }

    /// Adds one work queue of this machine, shared or dedicated, by its name: `wq0.1`, `dsa0/wq0.1`, `/dev/dsa/wq0.1`, or
    /// the one that its owner gave it. If it cannot be used, [`Builder::build`] says why.
    pub fn work_queue(mut self, name: impl Into<String>) -> Self {
        self.wanted.push(hardware::Wanted { criteria: Criteria::new().queue(name), required: true });
        self
    }

    /// How descriptors get to the queues of this machine; by default through the portal where that is possible, else by
    /// `write(2)`.
    pub fn submit_by(mut self, submit_by: SubmitBy) -> Self {
        self.submit_by = submit_by;
        self
    }

    /// Where to look for the queues of this machine, if not in `/sys` and `/dev`.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Reasons that were found before.
    pub(super) fn unused(mut self, unused: Vec<Unused>) -> Self {
        self.unused = unused;
        self
    }

    /// Adds every work queue of a software device. One that cannot be opened, because it is disabled or taken, is an
    /// error that [`Builder::build`] reports.
    #[cfg(feature = "emulator")]
    pub fn emulator(mut self, device: &dsa_emulator::Device) -> Self {
        for queue in 0..device.work_queues() {
            self = self.emulator_queue(device, queue);
        }
        self
    }

    /// Adds one work queue of a software device. An error is reported by [`Builder::build`].
    #[cfg(feature = "emulator")]
    pub fn emulator_queue(mut self, device: &dsa_emulator::Device, queue: usize) -> Self {
        match device.open(queue) {
            Ok(client) => self.submitters.push(crate::submit::emulated::queue(Arc::new(client))),
            Err(source) => {
                self.error.get_or_insert(BuildError::Emulator { queue, source });
            }
        }
        self
    }

    /// Adds every work queue of a software device, as a device with portals: descriptors are submitted by the real
    /// ENQCMD and MOVDIR64B instructions, which trap and are carried out by a handler of SIGILL and SIGSEGV (see
    /// [`dsa_emulator::trap`]). For tests of the encodings; each submission costs microseconds.
    ///
    /// An error is reported by [`Builder::build`].
    #[cfg(feature = "emulator")]
    pub fn emulator_portals(mut self, device: &dsa_emulator::Device) -> Self {
        for queue in 0..device.work_queues() {
            let opened = device
                .open(queue)
                .map_err(|source| BuildError::Emulator { queue, source })
                .and_then(|client| crate::submit::trapped::Trapped::new(client).map_err(BuildError::Trap));
            match opened {
                Ok(trapped) => self.submitters.push(Box::new(trapped)),
                Err(error) => {
                    self.error.get_or_insert(error);
                }
            }
        }
        self
    }

    /// Adds a queue of a test's own making.
    #[cfg(test)]
    pub(crate) fn submitter(mut self, submitter: impl Submitter + 'static) -> Self {
        self.submitters.push(Box::new(submitter));
        self
    }

    /// Opens everything.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(self) -> Result<Accelerator, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut policy = self.policy;
        if policy.lanes == 0 {
            policy.lanes = std::thread::available_parallelism().map_or(1, NonZero::get);
        }
        check(&policy)?;
        let mut submitters = self.submitters;
        let mut unused = self.unused;
        hardware::open(&self.wanted, &self.roots, self.submit_by, &mut submitters, &mut unused)?;
        if submitters.len() > MOST_QUEUES {
            let rule = "a slot has room for the numbers of 16,384";
            return Err(BuildError::Policy { field: "work queues", value: submitters.len(), rule });
        }
        if let Calibrate::Given(calibration) = &self.calibrate {
            let here = super::machine(submitters.iter().map(Box::as_ref));
            calibration.check(&here).map_err(BuildError::Calibration)?;
        }
        Self::start(policy, &self.calibrate, submitters, unused)
    }

    fn start(
        policy: Policy,
        calibrate: &Calibrate,
        submitters: Vec<Box<dyn Submitter>>,
        unused: Vec<Unused>,
    ) -> Result<Accelerator, BuildError> {
        let needs_poller = !submitters.is_empty();
        let accelerator = Accelerator::assemble(policy, calibrate, submitters, unused);
        if needs_poller {
            let shared = Arc::clone(&accelerator.0.shared);
            shared.poller.begin();
            spawn("dsa-poller", move || poller::run(shared)).map_err(BuildError::Thread)?;
        }
        Ok(accelerator)
    }
}

fn check(policy: &Policy) -> Result<(), BuildError> {
    let micros = |duration: Duration| usize::try_from(duration.as_micros()).unwrap_or(usize::MAX);
    let rules = [
        ("slots_per_lane", policy.slots_per_lane, 1, 1 << 20, "must be between 1 and 2^20"),
        ("lanes", policy.lanes, 1, 1 << 12, "must be at most 4096"),
        (
            "lanes times slots_per_lane",
            policy.lanes.saturating_mul(policy.slots_per_lane),
            1,
            1 << 22,
            "must be at most 2^22 (192 bytes each)",
        ),
        (
            "dead_after",
            micros(policy.dead_after),
            1000,
            usize::MAX,
            "must be at least 1 ms; the value is in microseconds",
        ),
        (
            "lost_after",
            micros(policy.lost_after),
            1000,
            usize::MAX,
            "must be at least 1 ms; the value is in microseconds",
        ),
        ("batch_min_in_flight", policy.batch_min_in_flight, 1, 63, "must be between 1 and 63"),
        ("batch_limit", policy.batch_limit, 1, collect::MOST, "must be between 1 and 64"),
        ("retries", policy.retries as usize, 0, 1 << 16, "must be at most 65,536"),
        ("max_resumes", policy.max_resumes as usize, 0, 255, "must be at most 255"),
    ];
    for (field, value, least, most, rule) in rules {
        if value < least || value > most {
            return Err(BuildError::Policy { field, value, rule });
        }
    }
    if Waiter::choose(policy.waiting, CpuFeatures::detect()).is_none() {
        return Err(BuildError::Waiting(policy.waiting));
    }
    Ok(())
}
