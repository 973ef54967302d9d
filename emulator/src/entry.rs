//! What is known of a descriptor on its way from a submitter to an engine: whose it is, and how many of theirs there are.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use idxd_sys::Descriptor;

use crate::memory::Requester;

/// The part of a client that engines see.
pub(crate) struct ClientState {
    pub(crate) requester: Requester,
    /// The same in one word.
    pub(crate) requester_word: u32,
    /// Descriptors being submitted, queued or executed, in two classes: a drain changes the class of new ones and
    /// waits for the other to empty, so that it need not wait for what comes after it.
    outstanding: [Count; 2],
    pub(crate) class: AtomicUsize,
    /// Aborts under way: while there is one, what is queued or executing is to be discarded.
    pub(crate) aborting: AtomicUsize,
    /// Descriptors that were accepted and then discarded: halt, abort, reset.
    pub(crate) discarded: AtomicU64,
}

/// A count in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

impl ClientState {
    pub(crate) fn new(requester: Requester) -> Arc<Self> {
        Arc::new(Self {
            requester,
            requester_word: requester.to_word(),
            outstanding: Default::default(),
            class: AtomicUsize::new(0),
            aborting: AtomicUsize::new(0),
            discarded: AtomicU64::new(0),
        })
    }

    /// Descriptors being submitted, queued or executed.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.iter().map(|n| n.0.load(Ordering::SeqCst)).sum()
    }

    /// Descriptors of one class.
    pub(crate) fn outstanding_of(&self, class: usize) -> usize {
        self.outstanding[class].0.load(Ordering::SeqCst)
    }

    /// The class that new descriptors get.
    pub(crate) fn class(&self) -> usize {
        self.class.load(Ordering::SeqCst) & 1
    }

    /// Changes the class of new descriptors and returns the one they had. Only one drain at a time may do so.
    pub(crate) fn change_class(&self) -> usize {
        self.class.fetch_xor(1, Ordering::SeqCst) & 1
    }

    /// Counts a descriptor that is about to be submitted; gives its class.
    #[inline]
    pub(crate) fn enter(&self) -> usize {
        // Never anything but 0 or 1; the compiler shall know.
        let class = self.class.load(Ordering::Relaxed) & 1;
        self.outstanding[class].0.fetch_add(1, Ordering::SeqCst);
        class
    }

    /// Counts one less that was not accepted.
    pub(crate) fn leave(&self, class: usize) {
        self.outstanding[class & 1].0.fetch_sub(1, Ordering::Release);
    }

    /// Whether what is queued or executing is to be discarded.
    #[inline]
    pub(crate) fn is_aborting(&self) -> bool {
        self.aborting.load(Ordering::Acquire) != 0
    }
}

/// One accepted descriptor, and where it came from.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry {
    /// The descriptor, without its alignment: with it a place in a queue would be half empty.
    words: [u64; 8],
    pub(crate) ticket: Ticket,
}

impl Entry {
    #[inline]
    pub(crate) fn new(d: &Descriptor, ticket: Ticket) -> Self {
        Self { words: zerocopy::transmute!(*d), ticket }
    }

    #[inline]
    pub(crate) fn descriptor(&self) -> Descriptor {
        zerocopy::transmute!(self.words)
    }
}

/// Where an accepted descriptor came from. Whoever takes the entry out of its queue must [`finish`](Self::finish) this.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Points to the client's state. As the state is well aligned, there is room below for the class, and whether the
    /// descriptor came through a portal of the interrupt message storage.
    tagged: NonNull<u8>,
}

const CLASS: usize = 1;
const MESSAGE_STORAGE: usize = 2;
const TAGS: usize = CLASS | MESSAGE_STORAGE;
const _: () = assert!(align_of::<ClientState>() > TAGS);

// SAFETY: it points to a `Sync` value; see `Ticket::client` for why that is alive.
unsafe impl Send for Ticket {}

impl Ticket {
    /// For a descriptor that has been counted in `class` by [`ClientState::enter`].
    #[inline]
    pub(crate) fn new(client: &ClientState, class: usize, message_storage: bool) -> Self {
        let tags = class & CLASS | if message_storage { MESSAGE_STORAGE } else { 0 };
        Self { tagged: NonNull::from(client).cast::<u8>().map_addr(|address| address | tags) }
    }

    /// Whether it came through a portal of the interrupt message storage.
    pub(crate) fn message_storage(self) -> bool {
        self.tags() & MESSAGE_STORAGE != 0
    }

    /// The class in which it is counted.
    pub(crate) fn class(self) -> usize {
        self.tags() & CLASS
    }

    #[inline]
    fn tags(self) -> usize {
        self.tagged.addr().get() & TAGS
    }

    #[inline]
    fn state(self) -> *const ClientState {
        self.tagged.as_ptr().map_addr(|address| address & !TAGS).cast_const().cast()
    }

    /// Whose descriptor this is.
    #[inline]
    pub(crate) fn client(&self) -> &ClientState {
        // SAFETY: the queue's list of clients holds the state for as long as anything of it is outstanding, and this
        // descriptor is counted in it until `finish`, which ends the ticket's use. The list lives as long as the queues,
        // which outlive the engines' use of entries. The pointer is that to the state, but for the tags.
        unsafe { &*self.state() }
    }

    /// Ends the descriptor: nothing of it is queued or executing any more. `discarded` if it did not run to its end.
    #[inline]
    pub(crate) fn finish(self, discarded: bool) {
        if discarded {
            // Who sees the count below, by the release, sees this one.
            self.client().discarded.fetch_add(1, Ordering::Relaxed);
        }
        self.finish_all(1);
    }

    /// Ends `count` descriptors of this client and class that have run to their end.
    #[inline]
    pub(crate) fn finish_all(self, count: usize) {
        // The state may be gone once the count has fallen, so there is no reference to more of it than the count.
        let (state, class) = (self.state(), self.class());
        // SAFETY: the state lives, see `client`, until the count falls, which is the last that happens here.
        unsafe { (*state).outstanding[class].0.fetch_sub(count, Ordering::Release) };
    }
}

/// Plain descriptors of one client and class that have ended, and are still counted as outstanding.
///
/// The count is written by submitters as well, so each change of it costs the engine and the submitter the way of a cache line.
/// An engine that has one plain descriptor after the other says so for several at once; at the latest before it does
/// anything else.
pub(crate) struct Owed {
    /// Whose they are; null if nothing is owed.
    of: *mut u8,
    /// How many more may be owed.
    left: usize,
}

// SAFETY: as a ticket.
unsafe impl Send for Owed {}

impl Owed {
    /// Descriptors that may be owed.
    const MOST: usize = 16;
    pub(crate) const NONE: Self = Self { of: std::ptr::null_mut(), left: Self::MOST };

    /// Ends one more. `true`, so that what is unusual can be called last.
    #[inline]
    pub(crate) fn add(&mut self, ticket: Ticket) -> bool {
        if self.of == ticket.tagged.as_ptr() {
            self.left -= 1;
            if self.left != 0 {
                return true;
            }
        }
        self.change(ticket)
    }

    #[cold]
    #[inline(never)]
    fn change(&mut self, ticket: Ticket) -> bool {
        let full = self.left == 0;
        self.settle();
        if !full {
            *self = Self { of: ticket.tagged.as_ptr(), left: Self::MOST - 1 };
        }
        true
    }

    /// Counts what is owed, unless it is of this ticket's client and class.
    #[inline]
    pub(crate) fn settle_others(&mut self, ticket: Ticket) {
        if self.of != ticket.tagged.as_ptr() {
            self.settle();
        }
    }

    /// Counts what is owed.
    #[inline]
    pub(crate) fn settle(&mut self) {
        // Nothing is kept of the client: its state may go, and another one come to the same place.
        let Self { of, left } = std::mem::replace(self, Self::NONE);
        if let Some(tagged) = NonNull::new(of) {
            Ticket { tagged }.finish_all(Self::MOST - left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_counted_once_and_to_whom_it_is_owed() {
        let clients = [1, 2].map(|pasid| ClientState::new(Requester::user(pasid)));
        let mut owed = Owed::NONE;
        // Runs of all lengths around the most, of two clients and two classes in turn.
        for run in 1..3 * Owed::MOST {
            let client = &clients[run % 2];
            client.change_class();
            let tickets: Vec<_> = (0..run).map(|_| Ticket::new(client, client.enter(), run % 3 == 0)).collect();
            for (done, ticket) in (1..).zip(&tickets) {
                owed.settle_others(*ticket);
                assert!(owed.add(*ticket));
                let others = &clients[(run + 1) % 2];
                assert_eq!(others.outstanding(), 0, "others wait for nothing");
                let left = client.outstanding();
                assert!((run - done..=run - done + Owed::MOST - 1).contains(&left), "{left} of {run} after {done}");
            }
        }
        owed.settle();
        owed.settle();
        assert_eq!(clients.map(|client| client.outstanding()), [0, 0]);
    }
}
