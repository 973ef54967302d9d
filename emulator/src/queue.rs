//! Work queues: who may put a descriptor in, and what happens to one that does not fit (specification sections 3.2 to
//! 3.4).
//!
//! Occupancy counts descriptors accepted and not yet taken by an engine: what is in the [`Ring`], to which a submitter adds
//! only below the limit.
//!
//! A submitter raises its client's count of outstanding descriptors *before* it looks at the [`Gate`]. A command that
//! changes a state, with it the gate, and then waits for that count to fall sees either the count or keeps the submitter
//! out; no descriptor slips in behind a finished drain. It also looks before it raises the count: submitters that try again
//! and again on a closed queue would otherwise keep the count from ever being seen at 0.
//!
//! The configuration changes only while the queue is disabled and nothing is outstanding. A submitter reads it after it
//! has seen the queue enabled while being counted, so it reads one configuration, whole.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use idxd_sys::{Descriptor, status};

use crate::client::Enqcmd;
use crate::entry::{ClientState, Entry, Ticket};
use crate::gate::{Circumstances, Gate, Way, wq_state};
use crate::memory::Requester;
use crate::observe::{QueueCounters, SoftwareError};
use crate::ring::Ring;
use crate::setup::Setup;
use crate::shared::Shared;

/// States of clients that a queue remembers before it looks for some that are not needed any more.
const REMEMBERED: usize = 64;

/// One work queue.
pub(crate) struct WorkQueue {
    pub(crate) index: usize,
    pub(crate) setup: Setup,
    state: AtomicU8,
    /// What the state, that of the device and the setup come to.
    gate: Gate,
    entries: Ring<Entry>,
    /// Below this occupancy [`Events::occupancy`](crate::events::Events::occupancy) is due; 0 for never.
    watch: AtomicUsize,
    retries: AtomicU64,
    dropped: AtomicU64,
    clients: Mutex<Vec<Arc<ClientState>>>,
}

impl WorkQueue {
    /// A disabled queue.
    pub(crate) fn new(index: usize, setup: Setup, capacity: usize) -> Self {
        Self {
            index,
            setup,
            state: AtomicU8::new(wq_state::DISABLED),
            gate: Gate::default(),
            entries: Ring::new(capacity),
            watch: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            clients: Mutex::default(),
        }
    }

    /// The queue's state.
    pub(crate) fn state(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }

    /// Changes the state, whatever it is.
    pub(crate) fn set_state(&self, shared: &Shared, state: u8) {
        self.state.store(state, Ordering::SeqCst);
        self.set_gate(shared);
    }

    /// Changes the state if it is `from`; otherwise gives what it is.
    pub(crate) fn change_state(&self, shared: &Shared, from: u8, to: u8) -> Result<(), u8> {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)?;
        self.set_gate(shared);
        Ok(())
    }

    /// To be called after each change of what the gate depends on: see [`Circumstances`].
    pub(crate) fn set_gate(&self, shared: &Shared) {
        self.gate.set(&self.setup, || Circumstances {
            device: shared.state(),
            queue: self.state(),
            unusual: shared.is_unusual(),
            epoch: shared.epoch.load(Ordering::SeqCst),
        });
    }

    /// Whether descriptors of this queue must not run, or go on running.
    #[inline]
    pub(crate) fn stops(&self) -> bool {
        !self.gate.runs()
    }

    /// Whether descriptors of this queue may run, and nothing is unusual; see [`Gate::is_usual`].
    #[inline]
    pub(crate) fn is_usual(&self, epoch: u64) -> bool {
        self.gate.is_usual(epoch)
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

    /// Whether there is something to take at this moment: cheaper for submitters than [`is_empty`](Self::is_empty), and not enough
    /// for an engine that is about to sleep.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.entries.is_ready()
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

    /// ENQCMD to the limited portal, the short way as far as nothing is unusual.
    ///
    /// What is unusual is left to functions that are called last, so that this needs no registers saved: together with
    /// inlining that halves it, counted in instructions.
    #[expect(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    pub(crate) fn enqcmd_limited(&self, shared: &Shared, client: &ClientState, d: &Descriptor) -> Enqcmd {
        if self.gate.usual_limit() == 0 {
            return self.enqcmd_unusual(shared, client, d);
        }
        let class = client.enter();
        // Again, now that a command can see us coming.
        let limit = self.gate.usual_limit();
        let ticket = Ticket::new(client, class, false);
        if self.entries.try_push_with(limit, || Entry::new(d, ticket)).is_none() {
            return self.enqcmd_entered(shared, d, ticket);
        }
        if shared.sleepers.are_some_parked() { wake(shared) } else { Enqcmd::Accepted }
    }

    #[cold]
    #[inline(never)]
    fn enqcmd_unusual(&self, shared: &Shared, client: &ClientState, d: &Descriptor) -> Enqcmd {
        self.enqcmd(shared, client, d, Way::Limited, false)
    }

    /// ENQCMD that is counted already, to a queue that is full, or where somebody came between.
    #[cold]
    #[inline(never)]
    fn enqcmd_entered(&self, shared: &Shared, d: &Descriptor, ticket: Ticket) -> Enqcmd {
        if self.submit_entered(shared, d, Way::Limited, ticket) == Submit::Accepted {
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
    /// [`taken`](Self::taken) is to be called then.
    #[inline]
    pub(crate) fn take(&self, to: &mut Descriptor) -> Option<(u64, Ticket)> {
        let (position, ticket) = self.entries.pop_with(|entry| {
            *to = entry.descriptor();
            entry.ticket
        })?;
        Some((position + 1, ticket))
    }

    /// Whoever waits for the occupancy to fall is told. Not needed of a device that tells nobody.
    pub(crate) fn taken(&self, shared: &Shared) {
        if self.watch.load(Ordering::SeqCst) != 0 {
            self.check_occupancy(shared);
        }
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

    fn submit(&self, shared: &Shared, client: &ClientState, d: &Descriptor, way: Way, ims: bool) -> Submit {
        if self.gate.limit(way) == 0 {
            return Submit::Closed;
        }
        let class = client.enter();
        self.submit_entered(shared, d, way, Ticket::new(client, class, ims))
    }

    /// The rest of a submission, after it was counted.
    fn submit_entered(&self, shared: &Shared, d: &Descriptor, way: Way, ticket: Ticket) -> Submit {
        let limit = self.gate.limit(way);
        // A closed queue has a limit of 0.
        if self.entries.push_with(limit, || Entry::new(d, ticket)).is_none() {
            ticket.client().leave(ticket.class());
            return if limit == 0 { Submit::Closed } else { Submit::Full };
        }
        shared.wake();
        Submit::Accepted
    }

    /// Whether device and queue accept.
    #[inline]
    pub(crate) fn is_open(&self, shared: &Shared) -> bool {
        shared.is_enabled() && self.state() == wq_state::ENABLED
    }

    fn lock_clients(&self) -> MutexGuard<'_, Vec<Arc<ClientState>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes an engine for a descriptor that was accepted.
#[cold]
#[inline(never)]
fn wake(shared: &Shared) -> Enqcmd {
    shared.wake_parked();
    Enqcmd::Accepted
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
