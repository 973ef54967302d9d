//! Work queues: who may put a descriptor in, and what happens to one that does not fit (specification sections 3.2 to
//! 3.4).
//!
//! Occupancy counts descriptors accepted and not yet taken by an engine. A submitter reserves a place by raising it
//! below the limit, then pushes; an engine pops, then lowers it. So the ring never holds more than its size.
//!
//! A submitter raises its client's count of outstanding descriptors *before* it looks at the states. A command that
//! changes a state and then waits for that count to fall sees either the count or keeps the submitter out; no
//! descriptor slips in behind a finished drain. It also looks before it raises the count: submitters that try again and
//! again on a closed queue would otherwise keep the count from ever being seen at 0.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use idxd_sys::{Descriptor, status};

use crate::client::Enqcmd;
use crate::config::{Mode, WqConfig};
use crate::device::Shared;
use crate::observe::SoftwareError;

/// States of a work queue.
pub(crate) mod wq_state {
    pub(crate) const DISABLED: u8 = 0;
    pub(crate) const ENABLED: u8 = 1;
    /// Accepts nothing, executes what it has.
    pub(crate) const DRAINING: u8 = 2;
    /// Accepts nothing, discards what it has.
    pub(crate) const ABORTING: u8 = 3;
}

/// The part of a client that engines see.
pub(crate) struct ClientState {
    pub(crate) pasid: u32,
    /// Descriptors being submitted, queued or executed.
    pub(crate) outstanding: CachePadded<AtomicUsize>,
    /// Descriptors that were accepted and then discarded: halt, abort, reset.
    pub(crate) discarded: AtomicU64,
}

/// One accepted descriptor.
pub(crate) struct Entry {
    pub(crate) descriptor: Descriptor,
    pub(crate) pasid: u32,
    /// Position in the order of acceptance of this queue; starts at 1.
    pub(crate) seq: u64,
    client: NonNull<ClientState>,
}

// SAFETY: `client` points to a `Sync` value; see `Entry::finish` for why it is alive.
unsafe impl Send for Entry {}

impl Entry {
    /// Ends the entry: nothing of it is queued or executing any more. `discarded` if it did not run to its end.
    #[inline]
    pub(crate) fn finish(self, discarded: bool) {
        // SAFETY: the queue's list of clients holds the state until the client is released, which waits for
        // `outstanding` to be 0, and this entry is counted in it. A client that is leaked stays in the list, and the
        // list lives as long as the queues, which outlive the engines' use of entries.
        // The state is not touched after the count is lowered.
        let client = unsafe { self.client.as_ref() };
        if discarded {
            // Who sees the count below, by the release, sees this one.
            client.discarded.fetch_add(1, Ordering::Relaxed);
        }
        client.outstanding.fetch_sub(1, Ordering::Release);
    }
}

/// One work queue.
pub(crate) struct WorkQueue {
    pub(crate) index: usize,
    pub(crate) config: WqConfig,
    pub(crate) state: AtomicU8,
    pub(crate) entries: ArrayQueue<Entry>,
    occupancy: CachePadded<AtomicUsize>,
    accepted: CachePadded<AtomicU64>,
    pub(crate) retries: AtomicU64,
    pub(crate) dropped: AtomicU64,
    clients: Mutex<Vec<Arc<ClientState>>>,
}

impl WorkQueue {
    pub(crate) fn new(index: usize, config: WqConfig) -> Self {
        Self {
            index,
            state: AtomicU8::new(wq_state::ENABLED),
            entries: ArrayQueue::new(usize::from(config.size)),
            config,
            occupancy: CachePadded::default(),
            accepted: CachePadded::default(),
            retries: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            clients: Mutex::default(),
        }
    }

    pub(crate) fn occupancy(&self) -> usize {
        self.occupancy.load(Ordering::Relaxed)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Adds a client; `None` if the queue is dedicated and has one.
    pub(crate) fn admit(&self, pasid: u32) -> Option<Arc<ClientState>> {
        let mut clients = self.clients();
        if self.config.mode == Mode::Dedicated && !clients.is_empty() {
            return None;
        }
        let client = Arc::new(ClientState { pasid, outstanding: CachePadded::default(), discarded: AtomicU64::new(0) });
        clients.push(Arc::clone(&client));
        Some(client)
    }

    /// Removes a client, which must have nothing outstanding.
    pub(crate) fn release(&self, client: &Arc<ClientState>) {
        debug_assert_eq!(client.outstanding.load(Ordering::Acquire), 0);
        self.clients().retain(|c| !Arc::ptr_eq(c, client));
    }

    /// Whether no client has anything outstanding.
    pub(crate) fn is_idle(&self) -> bool {
        self.clients().iter().all(|c| c.outstanding.load(Ordering::SeqCst) == 0)
    }

    /// ENQCMD: `limited` selects the portal. Bytes 0 to 3 are not looked at: the PASID is the client's, without privilege.
    pub(crate) fn enqcmd(&self, shared: &Shared, client: &ClientState, d: &Descriptor, limited: bool) -> Enqcmd {
        let retry = || {
            self.retries.fetch_add(1, Ordering::Relaxed);
            Enqcmd::Retry
        };
        if shared.faults.may_retry() && shared.faults.retry(d.opcode()) {
            return retry();
        }
        if self.config.mode == Mode::Dedicated {
            return retry();
        }
        let limit = usize::from(if limited { self.config.threshold } else { self.config.size });
        match self.submit(shared, client, d, limit) {
            Submit::Accepted => Enqcmd::Accepted,
            Submit::Full | Submit::Closed => retry(),
        }
    }

    /// MOVDIR64B: posted, no answer.
    pub(crate) fn movdir64b(&self, shared: &Shared, client: &ClientState, d: &Descriptor) {
        if self.config.mode == Mode::Dedicated {
            match self.submit(shared, client, d, usize::from(self.config.size)) {
                Submit::Accepted => return,
                Submit::Full => {
                    let error = status::SWERR_DWQ_OVERFLOW;
                    shared.errors.report(SoftwareError::of(error, self.index, client.pasid, d, None));
                }
                Submit::Closed => {}
            }
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Called by an engine.
    pub(crate) fn take(&self) -> Option<Entry> {
        let entry = self.entries.pop()?;
        self.occupancy.fetch_sub(1, Ordering::Release);
        Some(entry)
    }

    fn submit(&self, shared: &Shared, client: &ClientState, d: &Descriptor, limit: usize) -> Submit {
        if !self.is_open(shared) {
            return Submit::Closed;
        }
        client.outstanding.fetch_add(1, Ordering::SeqCst);
        let outcome = self.try_accept(shared, client, d, limit);
        if outcome == Submit::Accepted {
            shared.wake(self.config.group);
        } else {
            client.outstanding.fetch_sub(1, Ordering::Release);
        }
        outcome
    }

    fn try_accept(&self, shared: &Shared, client: &ClientState, d: &Descriptor, limit: usize) -> Submit {
        if !self.is_open(shared) {
            return Submit::Closed;
        }
        let reserve = |n| (n < limit).then_some(n + 1);
        if self.occupancy.fetch_update(Ordering::Acquire, Ordering::Relaxed, reserve).is_err() {
            return Submit::Full;
        }
        let seq = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Entry { descriptor: *d, pasid: client.pasid, seq, client: NonNull::from(client) };
        let pushed = self.entries.push(entry);
        debug_assert!(pushed.is_ok(), "a reserved place exists");
        Submit::Accepted
    }

    /// Whether device and queue accept.
    pub(crate) fn is_open(&self, shared: &Shared) -> bool {
        shared.is_enabled() && self.state.load(Ordering::SeqCst) == wq_state::ENABLED
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Arc<ClientState>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Submit {
    Accepted,
    Full,
    /// The queue or the device takes nothing.
    Closed,
}
