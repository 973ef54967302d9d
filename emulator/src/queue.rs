//! Work queues: who may put a descriptor in, and what happens to one that does not fit (specification sections 3.2 to
//! 3.4).
//!
//! Occupancy counts descriptors accepted and not yet taken by an engine: what is in the [`Ring`], to which a submitter adds
//! only below the limit.
//!
//! A submitter raises its client's count of outstanding descriptors *before* it looks at the states. A command that
//! changes a state and then waits for that count to fall sees either the count or keeps the submitter out; no
//! descriptor slips in behind a finished drain. It also looks before it raises the count: submitters that try again and
//! again on a closed queue would otherwise keep the count from ever being seen at 0.
//!
//! The configuration changes only while the queue is disabled and nothing is outstanding. A submitter reads it after it
//! has seen the queue enabled while being counted, so it reads one configuration, whole.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use idxd_sys::{Descriptor, status};

use crate::client::Enqcmd;

use crate::memory::Requester;
use crate::observe::{QueueCounters, SoftwareError};
use crate::ring::Ring;
use crate::setup::Setup;
use crate::shared::Shared;

/// States of a work queue.
pub(crate) mod wq_state {
    pub(crate) const DISABLED: u8 = 0;
    pub(crate) const ENABLED: u8 = 1;
    /// Accepts nothing, executes what it has.
    pub(crate) const DRAINING: u8 = 2;
    /// Accepts nothing, discards what it has.
    pub(crate) const ABORTING: u8 = 3;
}

/// States of clients that a queue remembers before it looks for some that are not needed any more.
const REMEMBERED: usize = 64;

/// The part of a client that engines see.
pub(crate) struct ClientState {
    pub(crate) requester: Requester,
    /// The same in one word.
    pub(crate) requester_word: u32,
    /// Descriptors being submitted, queued or executed, in two classes: a drain changes the class of new ones and
    /// waits for the other to empty, so that it need not wait for what comes after it.
    outstanding: [CachePadded<AtomicUsize>; 2],
    class: AtomicUsize,
    /// What is queued or executing is to be discarded.
    pub(crate) aborting: AtomicBool,
    /// Descriptors that were accepted and then discarded: halt, abort, reset.
    pub(crate) discarded: AtomicU64,
}

impl ClientState {
    pub(crate) fn new(requester: Requester) -> Arc<Self> {
        Arc::new(Self {
            requester,
            requester_word: requester.to_word(),
            outstanding: Default::default(),
            class: AtomicUsize::new(0),
            aborting: AtomicBool::new(false),
            discarded: AtomicU64::new(0),
        })
    }

    /// Descriptors being submitted, queued or executed.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.iter().map(|n| n.load(Ordering::SeqCst)).sum()
    }

    /// Descriptors of one class.
    pub(crate) fn outstanding_of(&self, class: usize) -> usize {
        self.outstanding[class].load(Ordering::SeqCst)
    }

    /// The class that new descriptors get.
    pub(crate) fn class(&self) -> usize {
        self.class.load(Ordering::SeqCst) & 1
    }

    /// Changes the class of new descriptors and returns the one they had. Only one drain at a time may do so.
    pub(crate) fn change_class(&self) -> usize {
        self.class.fetch_xor(1, Ordering::SeqCst) & 1
    }

    #[inline]
    fn enter(&self) -> usize {
        // Never anything but 0 or 1; the compiler shall know.
        let class = self.class.load(Ordering::Relaxed) & 1;
        self.outstanding[class].fetch_add(1, Ordering::SeqCst);
        class
    }

    #[inline]
    fn leave(&self, class: usize) {
        self.outstanding[class & 1].fetch_sub(1, Ordering::Release);
    }
}

/// One accepted descriptor, and where it came from.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) descriptor: Descriptor,
    /// `None` before the first.
    client: Option<NonNull<ClientState>>,
    class: u8,
    /// It came through a portal of the interrupt message storage.
    pub(crate) message_storage: bool,
}

// SAFETY: `client` points to a `Sync` value; see `Entry::client` for why it is alive.
unsafe impl Send for Entry {}

impl Entry {
    /// None yet: the place for one.
    pub(crate) fn none() -> Self {
        Self { descriptor: Descriptor::default(), client: None, class: 0, message_storage: false }
    }

    /// Whose descriptor this is. Not for a place without one, and not after [`finish`](Self::finish).
    #[inline]
    pub(crate) fn client(&self) -> &ClientState {
        let client = self.client.expect("the entry of a descriptor");
        // SAFETY: the queue's list of clients holds the state for as long as anything of it is outstanding, and this entry
        // is counted in it until `finish`, which takes the pointer away. The list lives as long as the queues, which
        // outlive the engines' use of entries.
        unsafe { client.as_ref() }
    }

    /// Ends the entry: nothing of it is queued or executing any more. `discarded` if it did not run to its end.
    #[inline]
    pub(crate) fn finish(&mut self, discarded: bool) {
        let client = self.client();
        if discarded {
            // Who sees the count below, by the release, sees this one.
            client.discarded.fetch_add(1, Ordering::Relaxed);
        }
        // The state is not touched after this.
        client.leave(usize::from(self.class));
        self.client = None;
    }
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

/// One work queue.
pub(crate) struct WorkQueue {
    pub(crate) index: usize,
    pub(crate) setup: Setup,
    pub(crate) state: AtomicU8,
    entries: Ring<Entry>,
    /// Below this occupancy [`Events::occupancy`](crate::events::Events::occupancy) is due; 0 for never.
    watch: AtomicUsize,
    retries: AtomicU64,
    dropped: AtomicU64,
    clients: Mutex<Vec<Arc<ClientState>>>,
}

impl WorkQueue {
    pub(crate) fn new(index: usize, setup: Setup, capacity: usize, state: u8) -> Self {
        Self {
            index,
            setup,
            state: AtomicU8::new(state),
            entries: Ring::new(capacity),
            watch: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            clients: Mutex::default(),
        }
    }

    #[inline]
    pub(crate) fn occupancy(&self) -> usize {
        self.entries.len() as usize
    }

    /// Whether there is nothing to take.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the queue itself counts; engines add the rest.
    pub(crate) fn counters(&self) -> QueueCounters {
        QueueCounters {
            accepted: self.entries.pushed(),
            retries: self.retries.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            ..QueueCounters::default()
        }
    }

    /// Adds a client; `None` if the queue is dedicated and has one.
    pub(crate) fn admit(&self, requester: Requester) -> Option<Arc<ClientState>> {
        let mut clients = self.lock_clients();
        if self.setup.is_dedicated() && !clients.is_empty() {
            return None;
        }
        let client = ClientState::new(requester);
        clients.push(Arc::clone(&client));
        Some(client)
    }

    /// The state of whoever submits for this requester, for front ends that have no clients.
    pub(crate) fn client_of(&self, requester: Requester) -> Arc<ClientState> {
        let mut clients = self.lock_clients();
        if let Some(known) = clients.iter().find(|c| c.requester == requester) {
            return Arc::clone(known);
        }
        if clients.len() >= REMEMBERED {
            // Nobody else holds the state, and nobody can get it without the lock; so nothing more becomes outstanding.
            clients.retain(|c| {
                if Arc::strong_count(c) > 1 {
                    return true;
                }
                // Pairs with the release by which another owner let go.
                fence(Ordering::Acquire);
                c.outstanding() != 0
            });
        }
        let client = ClientState::new(requester);
        clients.push(Arc::clone(&client));
        client
    }

    /// Removes a client, which must have nothing outstanding.
    pub(crate) fn release(&self, client: &Arc<ClientState>) {
        debug_assert_eq!(client.outstanding(), 0);
        self.lock_clients().retain(|c| !Arc::ptr_eq(c, client));
    }

    /// The clients that a condition holds for.
    pub(crate) fn clients(&self, wanted: impl Fn(&ClientState) -> bool) -> Vec<Arc<ClientState>> {
        self.lock_clients().iter().filter(|c| wanted(c)).cloned().collect()
    }

    /// Whether no client has anything outstanding.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock_clients().iter().all(|c| c.outstanding() == 0)
    }

    /// ENQCMD. Bytes 0 to 3 of the descriptor are not looked at: the requester is the client's.
    pub(crate) fn enqcmd(&self, shared: &Shared, client: &ClientState, d: &Descriptor, way: Way, ims: bool) -> Enqcmd {
        let retry = shared.faults.may_retry() && shared.faults.retry(d.opcode());
        if !retry && self.submit(shared, client, d, way, ims) == Submit::Accepted {
            return Enqcmd::Accepted;
        }
        shared.faults.refused();
        self.refused()
    }

    /// Counts an ENQCMD that was told to retry.
    #[cold]
    pub(crate) fn refused(&self) -> Enqcmd {
        self.retries.fetch_add(1, Ordering::Relaxed);
        Enqcmd::Retry
    }

    /// MOVDIR64B: posted, no answer.
    pub(crate) fn movdir64b(&self, shared: &Shared, client: &ClientState, d: &Descriptor, ims: bool) {
        match self.submit(shared, client, d, Way::Posted, ims) {
            Submit::Accepted => return,
            Submit::Full => {
                let error = status::SWERR_DWQ_OVERFLOW;
                shared.report(SoftwareError::of(error, self.index, client.requester, d, None));
            }
            Submit::Closed => {}
        }
        shared.faults.refused();
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Arms the occupancy limit, or disarms it.
    pub(crate) fn watch_occupancy(&self, shared: &Shared, limit: Option<u16>) {
        self.watch.store(limit.map_or(0, |limit| usize::from(limit) + 1), Ordering::SeqCst);
        self.check_occupancy(shared);
    }

    /// Called by an engine: takes the oldest descriptor, and gives its position in the order of acceptance, from 1.
    #[inline]
    pub(crate) fn take(&self, shared: &Shared, to: &mut Entry) -> Option<u64> {
        // Without the bytes between the fields.
        let position = self.entries.pop_with(|entry| {
            to.descriptor = entry.descriptor;
            (to.client, to.class, to.message_storage) = (entry.client, entry.class, entry.message_storage);
        })?;
        if self.watch.load(Ordering::SeqCst) != 0 {
            self.check_occupancy(shared);
        }
        Some(position + 1)
    }

    #[cold]
    fn check_occupancy(&self, shared: &Shared) {
        let below = self.watch.load(Ordering::SeqCst);
        if self.occupancy() < below
            && self.watch.compare_exchange(below, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            && let Some(events) = &shared.events
        {
            events.occupancy(self.index);
        }
    }

    /// Inlined always: a call of its own costs as much as half of it.
    #[expect(clippy::inline_always, reason = "measured in instructions; see above")]
    #[inline(always)]
    fn submit(&self, shared: &Shared, client: &ClientState, d: &Descriptor, way: Way, ims: bool) -> Submit {
        if !self.is_open(shared) {
            return Submit::Closed;
        }
        let class = client.enter();
        match self.try_accept(shared, client, d, way, (class as u8, ims)) {
            Ok(group) => {
                shared.wake(group);
                Submit::Accepted
            }
            Err(refused) => {
                client.leave(class);
                refused
            }
        }
    }

    /// Returns the group whose engines have to look.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn try_accept(
        &self,
        shared: &Shared,
        client: &ClientState,
        d: &Descriptor,
        way: Way,
        (class, message_storage): (u8, bool),
    ) -> Result<usize, Submit> {
        if !self.is_open(shared) || self.setup.is_dedicated() != (way == Way::Posted) {
            return Err(Submit::Closed);
        }
        let limit = if way == Way::Limited { self.setup.threshold() } else { self.setup.size() };
        // Read before the descriptor is visible: once it has ended, the queue may be configured anew.
        let group = self.setup.group();
        let entry = || Entry { descriptor: *d, client: Some(NonNull::from(client)), class, message_storage };
        self.entries.push_with(limit as u64, entry).ok_or(Submit::Full)?;
        Ok(group)
    }

    /// Whether device and queue accept.
    #[inline]
    pub(crate) fn is_open(&self, shared: &Shared) -> bool {
        shared.is_enabled() && self.state.load(Ordering::SeqCst) == wq_state::ENABLED
    }

    fn lock_clients(&self) -> MutexGuard<'_, Vec<Arc<ClientState>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Submit {
    Accepted,
    Full,
    /// The queue or the device takes nothing, or not in this way.
    Closed,
}

#[cfg(test)]
mod tests {
    use idxd_sys::{CompletionRecord, flag, opcode};

    use super::*;
    use crate::config::Config;
    use crate::device::Device;

    /// A submitter may read its class, be held up while a drain changes it, and then count itself in the old one. The
    /// next drain must see it, although that one closes the other class.
    #[test]
    fn a_drain_waits_for_a_submitter_that_was_late_for_the_one_before() {
        let device = Device::new(Config::sapphire_rapids().manual()).unwrap();
        let (shared, queue) = (device.shared(), &device.shared().queues[0]);
        let client = queue.admit(Requester::user(1)).unwrap();
        let all = [Arc::clone(&client)];
        for first in [0, 1] {
            assert_eq!(client.class(), first);
            shared.drain(&all);
            let mut record = CompletionRecord::default();
            let addr = (&raw mut record).expose_provenance() as u64;
            let mut d = Descriptor { completion_addr: addr, ..Descriptor::default() };
            d.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
            client.class.store(first, Ordering::SeqCst);
            assert_eq!(queue.enqcmd(shared, &client, &d, Way::Limited, false), Enqcmd::Accepted);
            client.class.store(1 - first, Ordering::SeqCst);
            shared.drain(&all);
            assert_eq!((client.outstanding(), record.status), (0, status::SUCCESS));
            shared.drain(&all);
        }
    }

    #[test]
    fn states_of_requesters_that_are_gone_are_forgotten_and_those_in_use_are_not() {
        let device = Device::new(Config::sapphire_rapids().manual()).unwrap();
        let (shared, queue) = (device.shared(), &device.shared().queues[0]);
        let (held, busy) = (queue.client_of(Requester::user(1)), queue.client_of(Requester::user(2)));
        assert_eq!(queue.enqcmd(shared, &busy, &Descriptor::default(), Way::Limited, false), Enqcmd::Accepted);
        let watched = Arc::downgrade(&busy);
        drop(busy);
        for pasid in 3..1000 {
            drop(queue.client_of(Requester::user(pasid)));
            assert!(queue.clients(|_| true).len() <= REMEMBERED);
        }
        assert!(Arc::ptr_eq(&held, &queue.client_of(Requester::user(1))));
        assert!(watched.upgrade().is_some_and(|busy| busy.outstanding() == 1));
        assert!(device.run_one());
        for pasid in 3..1000 {
            drop(queue.client_of(Requester::user(pasid)));
        }
        assert!(watched.upgrade().is_none());
    }
}
