//! The device of a model: the software device executes, one descriptor at a time; when, which and whether, is drawn.
//!
//! Descriptors lie in a portal until the device's thread takes one of them, any, and has the software device execute it at
//! a moment that is drawn too. So they end in any order. It fails some of them, loses some, and dies at times: then it takes
//! nothing and executes nothing until it has been quiesced and revived.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dsa_emulator::{Client, Config, Device, Effect, Enqcmd, FaultRule, WqConfig};
use idxd_sys::Descriptor;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};

use super::ledger::Ledger;
use crate::descriptor::Capabilities;
use crate::lane::sync::step;
use crate::submit::emulated;
use crate::submit::{SubmissionPath, Submitter, Verdict};

/// Longest transfer of a descriptor.
pub(super) const PIECE: usize = 256;

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temper {
    /// Nothing.
    Sound,
    /// Descriptors fail, get lost, are refused; the device dies.
    Bad,
    /// The same, and it does not let itself be quiesced at first.
    Stubborn,
}

impl Temper {
    fn is_one_in(self, n: u32) -> bool {
        self != Self::Sound && thread_rng().gen_ratio(1, n)
    }
}

/// The model's device.
pub(super) struct Machine {
    device: Device,
    client: Arc<Client>,
    capabilities: Capabilities,
    temper: Temper,
    credits: Option<usize>,
    portal: Mutex<Portal>,
    /// The portal has got something, or nothing will come any more.
    news: Condvar,
    /// Held while a descriptor is executed.
    engine: Mutex<()>,
    /// Threads that are submitting.
    inside: AtomicUsize,
    /// How often a quiesce will fail yet.
    refusals: AtomicUsize,
    ledger: Arc<Ledger>,
}

struct Portal {
    waiting: Vec<Descriptor>,
    is_dead: bool,
    /// It was quiesced, and not revived.
    is_closed: bool,
    is_over: bool,
}

/// Descriptors that a shared queue holds.
const PLACES: usize = 3;

impl Machine {
    pub(super) fn new(temper: Temper, ledger: &Arc<Ledger>) -> Arc<Self> {
        let dedicated = thread_rng().gen_ratio(1, 2);
        let queue = if dedicated { WqConfig::dedicated(8) } else { WqConfig::shared(8) };
        let config = Config::sapphire_rapids().queue(queue.max_transfer_size(PIECE as u64)).engines(1).manual();
        let device = Device::new(config).expect("a valid configuration");
        let client = Arc::new(device.open(0).expect("it is enabled"));
        let capabilities = emulated::queue(Arc::clone(&client)).capabilities();
        let portal = Portal { waiting: Vec::new(), is_dead: false, is_closed: false, is_over: false };
        let refusals = if temper == Temper::Stubborn { thread_rng().gen_range(1..3) } else { 0 };
        Arc::new(Self {
            device,
            client,
            capabilities,
            temper,
            credits: dedicated.then_some(2),
            portal: Mutex::new(portal),
            news: Condvar::new(),
            engine: Mutex::new(()),
            inside: AtomicUsize::new(0),
            refusals: AtomicUsize::new(refusals),
            ledger: Arc::clone(ledger),
        })
    }

    /// The device's thread, until [`end`](Self::end).
    pub(super) fn run(&self) {
        let mut portal = self.portal.lock().expect("nobody panics with it");
        loop {
            if portal.waiting.is_empty() {
                if portal.is_over {
                    return;
                }
                portal = self.news.wait(portal).expect("nobody panics with it");
                continue;
            }
            drop(portal);
            // What is taken is executed, or lost, before a quiesce can say that nothing is.
            let engine = self.engine.lock().expect("nobody panics with it");
            self.take_one();
            drop(engine);
            portal = self.portal.lock().expect("nobody panics with it");
        }
    }

    fn take_one(&self) {
        let mut portal = self.portal.lock().expect("nobody panics with it");
        if portal.waiting.is_empty() {
            return;
        }
        let any = thread_rng().gen_range(0..portal.waiting.len());
        let descriptor = portal.waiting.swap_remove(any);
        if self.temper.is_one_in(16) {
            // It may still be at any of them, for all that others know.
            portal.is_dead = true;
            portal.waiting.clear();
            return;
        }
        drop(portal);
        step();
        let effect = [
            (8, Effect::PageFault { resolvable: false }),
            (16, Effect::HardwareError(idxd_sys::status::HW_READ)),
            (32, Effect::Lose),
        ]
        .into_iter()
        .find_map(|(n, effect)| self.temper.is_one_in(n).then_some(effect));
        let is_lost = effect == Some(Effect::Lose);
        let rule = effect.map(|effect| self.device.inject(FaultRule::new(effect).limit(1)));
        // SAFETY: what the descriptor names stays until its record is written or the quiesce has ended, as the runtime
        // promises, and this model is to find out.
        unsafe {
            if self.credits.is_some() {
                self.client.movdir64b(&descriptor);
            } else {
                assert_eq!(self.client.enqcmd(&descriptor), Enqcmd::Accepted);
            }
        }
        assert!(self.device.run_one());
        rule.and_then(|rule| self.device.remove(rule));
        if !is_lost {
            self.ledger.books(|books| books.done(descriptor.completion_addr));
        }
    }

    /// Nothing will be submitted any more.
    pub(super) fn end(&self) {
        self.portal.lock().expect("nobody panics with it").is_over = true;
        self.news.notify_all();
    }

    /// From now on it can be quiesced.
    pub(super) fn give_in(&self) {
        self.refusals.store(0, Ordering::SeqCst);
    }
}

/// The way to a machine. Whoever drops it has closed the queue.
pub(super) struct Way(pub(super) Arc<Machine>);

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("model of a device")
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.ledger.books(|books| books.is_closed = true);
        self.0.ledger.tell();
    }
}

impl Submitter for Way {
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict {
        let machine = &*self.0;
        machine.inside.fetch_add(1, Ordering::SeqCst);
        let mut accepted = 0;
        let verdict = loop {
            let Some(descriptor) = descriptors.get(accepted) else { break Verdict::Accepted };
            let mut portal = machine.portal.lock().expect("nobody panics with it");
            assert!(!portal.is_closed, "a submission behind a quiesce");
            if machine.temper.is_one_in(24) {
                break Verdict::Refused(accepted);
            }
            // A dedicated queue answers nothing.
            let is_shared = machine.credits.is_none();
            if is_shared && (portal.is_dead || portal.waiting.len() >= PLACES || machine.temper.is_one_in(8)) {
                break Verdict::Retry(accepted);
            }
            // SAFETY: a batch names a list, which stays as long as the rest.
            machine.ledger.books(|books| unsafe { books.got(descriptor) });
            if !portal.is_dead {
                portal.waiting.push(*descriptor);
                machine.news.notify_all();
            }
            accepted += 1;
        };
        machine.inside.fetch_sub(1, Ordering::SeqCst);
        verdict
    }

    fn name(&self) -> String {
        "model".to_owned()
    }

    fn path(&self) -> SubmissionPath {
        SubmissionPath::Model
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    fn credits(&self) -> Option<usize> {
        self.0.credits
    }

    fn is_alive(&self) -> bool {
        !self.0.portal.lock().expect("nobody panics with it").is_dead
    }

    fn quiesce(&self) -> bool {
        let machine = &*self.0;
        assert_eq!(machine.inside.load(Ordering::SeqCst), 0, "a quiesce beside a submission");
        step();
        if machine.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return false;
        }
        let _engine = machine.engine.lock().expect("nobody panics with it");
        let mut portal = machine.portal.lock().expect("nobody panics with it");
        portal.waiting.clear();
        portal.is_closed = true;
        machine.ledger.books(super::ledger::Books::done_with_all);
        true
    }

    fn revive(&self) -> bool {
        let mut portal = self.0.portal.lock().expect("nobody panics with it");
        assert_eq!(self.0.inside.load(Ordering::SeqCst), 0, "a revival beside a submission");
        if self.0.temper.is_one_in(3) {
            return false;
        }
        (portal.is_dead, portal.is_closed) = (false, false);
        true
    }
}
