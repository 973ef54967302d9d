//! Whether a work queue lets descriptors in and engines work on them: what the states of device and queue, mode, size and
//! threshold come to, in one word for each question. Then the same questions as the short way asks them: is everything as
//! it usually is, with no rules, no abort and no new configuration to look at?
//!
//! Those who change something write it first and then call [`Gate::set`], which reads everything under a lock. So the last
//! of several who do so at once sees what the others wrote, and what the gate ends up with is what the states say.
//! Between the two writes the gate may be more open than the states for a moment, as if the submitter had come earlier, but
//! it is never open to submitters and closed to engines.
//!
//! `loom_` tests below explore it: `RUSTFLAGS="--cfg dsa_loom" cargo test -p dsa-emulator --release --lib loom_`.

use std::sync::PoisonError;

use crate::setup::Setup;
use crate::shared::dev_state;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};

/// States of a work queue.
pub(crate) mod wq_state {
    pub(crate) const DISABLED: u8 = 0;
    pub(crate) const ENABLED: u8 = 1;
    /// Accepts nothing, executes what it has.
    pub(crate) const DRAINING: u8 = 2;
    /// Accepts nothing, discards what it has.
    pub(crate) const ABORTING: u8 = 3;
}

/// The way by which a descriptor arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// ENQCMD to the limited portal.
    Limited,
    /// ENQCMD to the unlimited portal.
    Unlimited,
    /// MOVDIR64B.
    Posted,
}

/// What decides about a queue, besides its configuration.
pub(crate) struct Circumstances {
    /// The state of the device.
    pub(crate) device: u8,
    /// The state of the queue.
    pub(crate) queue: u8,
    /// Each descriptor has to be looked at: there are rules, or an abort.
    pub(crate) unusual: bool,
    /// Of the assignment of queues to groups and engines. Not 0.
    pub(crate) epoch: u64,
}

/// See the module. A new one is closed.
#[derive(Default)]
pub(crate) struct Gate {
    /// By way: the occupancy below which a descriptor is accepted. 0 where none is.
    limits: [AtomicU32; 3],
    runs: AtomicBool,
    /// The limit of the limited portal if nothing is unusual, otherwise 0.
    usual_limit: AtomicU32,
    /// The epoch for which everything is usual, 0 if it is not.
    usual_epoch: AtomicU64,
    setting: Mutex<()>,
}

impl Gate {
    /// Brings the gate up to date with what has been written before. `look` reads it.
    pub(crate) fn set(&self, setup: &Setup, look: impl FnOnce() -> Circumstances) {
        let _setting = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let Circumstances { device, queue, unusual, epoch } = look();
        let open = (device, queue) == (dev_state::ENABLED, wq_state::ENABLED);
        let limits = match (open, setup.is_dedicated()) {
            (false, _) => [0, 0, 0],
            (true, false) => [setup.threshold(), setup.size(), 0],
            (true, true) => [0, 0, setup.size()],
        };
        let runs = matches!(device, dev_state::ENABLED | dev_state::DRAINING)
            && matches!(queue, wq_state::ENABLED | wq_state::DRAINING);
        // A descriptor that is let in must find engines that work on it: they begin before the gate opens, and end after it
        // has closed.
        if runs {
            self.runs.store(true, Ordering::SeqCst);
        }
        // A queue has 65,535 entries at most.
        for (to, limit) in self.limits.iter().zip(limits) {
            to.store(limit as u32, Ordering::SeqCst);
        }
        self.usual_limit.store(if unusual { 0 } else { limits[0] as u32 }, Ordering::SeqCst);
        self.usual_epoch.store(if runs && !unusual { epoch } else { 0 }, Ordering::SeqCst);
        if !runs {
            self.runs.store(false, Ordering::SeqCst);
        }
    }

    /// [`limit`](Self::limit) of the limited portal, if nothing is unusual. 0 says nothing.
    #[inline]
    pub(crate) fn usual_limit(&self) -> u64 {
        u64::from(self.usual_limit.load(Ordering::SeqCst))
    }

    /// Whether descriptors may run, nothing is unusual, and an assignment that was read in this epoch still holds.
    #[inline]
    pub(crate) fn is_usual(&self, epoch: u64) -> bool {
        self.usual_epoch.load(Ordering::Acquire) == epoch
    }

    /// The occupancy below which a descriptor that arrives this way is accepted; 0 if it is not.
    #[inline]
    pub(crate) fn limit(&self, way: Way) -> u64 {
        u64::from(self.limits[way as usize].load(Ordering::SeqCst))
    }

    /// Whether descriptors may run, or go on running.
    #[inline]
    pub(crate) fn runs(&self) -> bool {
        self.runs.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;
    use crate::config::WqConfig;

    #[test]
    fn only_an_enabled_queue_of_an_enabled_device_lets_in() {
        let (shared, dedicated) = (Setup::new(&WqConfig::shared(8).threshold(6)), Setup::new(&WqConfig::dedicated(5)));
        let gate = Gate::default();
        let seen = || ([Way::Limited, Way::Unlimited, Way::Posted].map(|way| gate.limit(way)), gate.runs());
        assert_eq!(seen(), ([0; 3], false));
        let usual = || (gate.usual_limit(), gate.is_usual(7));
        let set = |setup: &Setup, device, queue, unusual| {
            gate.set(setup, || Circumstances { device, queue, unusual, epoch: 7 });
        };
        for device in
            [dev_state::DISABLED, dev_state::ENABLED, dev_state::DRAINING, dev_state::HALTED, dev_state::ABORTING]
        {
            for queue in [wq_state::DISABLED, wq_state::ENABLED, wq_state::DRAINING, wq_state::ABORTING] {
                let open = device == dev_state::ENABLED && queue == wq_state::ENABLED;
                let runs = [dev_state::ENABLED, dev_state::DRAINING].contains(&device)
                    && [wq_state::ENABLED, wq_state::DRAINING].contains(&queue);
                for unusual in [false, true] {
                    set(&shared, device, queue, unusual);
                    assert_eq!(seen(), (if open { [6, 8, 0] } else { [0; 3] }, runs));
                    assert_eq!(usual(), (if open && !unusual { 6 } else { 0 }, runs && !unusual));
                    assert!(!gate.is_usual(6) && !gate.is_usual(8), "another assignment");
                    set(&dedicated, device, queue, unusual);
                    assert_eq!(seen(), (if open { [0, 0, 5] } else { [0; 3] }, runs));
                    assert_eq!(usual(), (0, runs && !unusual));
                }
            }
        }
    }
}

#[cfg(all(test, dsa_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::sync::atomic::AtomicU8;

    use super::*;
    use crate::config::WqConfig;

    /// A gate and the states behind it.
    struct Door {
        gate: Gate,
        setup: Setup,
        device: AtomicU8,
        queue: AtomicU8,
    }

    impl Door {
        fn new(queue: u8) -> Arc<Self> {
            let door = Self {
                gate: Gate::default(),
                setup: Setup::new(&WqConfig::shared(8)),
                device: AtomicU8::new(dev_state::ENABLED),
                queue: AtomicU8::new(queue),
            };
            door.set();
            Arc::new(door)
        }

        fn set(&self) {
            self.gate.set(&self.setup, || Circumstances {
                device: self.device.load(Ordering::SeqCst),
                queue: self.queue.load(Ordering::SeqCst),
                unusual: false,
                epoch: 1,
            });
        }
    }

    /// Writers at once: whoever comes last has seen all states.
    #[test]
    fn loom_the_gate_ends_as_the_states_do() {
        loom::model(|| {
            let door = Door::new(wq_state::DISABLED);
            let halt = {
                let door = Arc::clone(&door);
                loom::thread::spawn(move || {
                    door.device.store(dev_state::HALTED, Ordering::SeqCst);
                    door.set();
                })
            };
            door.queue.store(wq_state::ENABLED, Ordering::SeqCst);
            door.set();
            halt.join().unwrap();
            assert!(door.gate.limit(Way::Limited) == 0 && !door.gate.runs() && !door.gate.is_usual(1));
        });
    }

    /// Disabling waits for what was let in, so nothing that was let in may find engines that do not work.
    #[test]
    fn loom_what_is_let_in_is_worked_on() {
        loom::model(|| {
            let door = Door::new(wq_state::DISABLED);
            let opener = {
                let door = Arc::clone(&door);
                loom::thread::spawn(move || {
                    door.queue.store(wq_state::ENABLED, Ordering::SeqCst);
                    door.set();
                })
            };
            if door.gate.usual_limit() != 0 || door.gate.limit(Way::Limited) != 0 {
                assert!(door.gate.runs());
            }
            opener.join().unwrap();
            assert!(door.gate.runs() && door.gate.is_usual(1) && door.gate.usual_limit() == 8);
        });
    }
}
