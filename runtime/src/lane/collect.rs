//! Collecting: operations of one lane that travel together.
//!
//! A future that finds its lane busy does not submit by itself. It fills its slot, *stages* it and goes on; somebody sends
//! what is staged later, all of it at once: one batch descriptor, one entry in the queue, one store to the device.
//!
//! **Who has a staged slot.** Its holder still holds it. Beside that there is one bit for each slot, and whoever
//! clears it decides what becomes of the descriptor:
//!
//! * the holder, when it goes away: then nothing has been sent, and the slot is free at once;
//! * whoever *flushes*: it takes all bits, and must either get the descriptors to the device or say that it could not.
//!
//! The two never wait for each other. A flusher says what it does through the slot's [`Stamp`], which only it changes
//! from then on, and in the end through the record: the device writes that, or the flusher does in the device's place when no
//! device has the descriptor ([`With::Nobody`]). So to a holder, to an orphan's reaper and to the poller a slot that
//! was flushed is an operation in flight like any other, and one that was refused is one that has completed.
//!
//! **What is said where.** A slot is stamped, and a refusal is noted, inside the queue's gate. Between the two nobody can
//! take the descriptor for one that went down with its queue: the epoch does not change while somebody is inside. (A slot
//! that is still stamped [`With::Lane`] is lost with no queue.)
//!
//! **Lists.** A batch reads its members from a list that belongs to the lane. Its record says when the list may be used
//! again, and that nothing more will be heard of members whose records are still empty.
//!
//! One thread of a lane flushes at a time, and nobody waits for it: who comes second leaves its slot to the first, or takes
//! it back and submits it alone.

use std::cell::Cell;

use idxd_sys::{Descriptor, status};

use super::records::RecordCell;
use super::slot::{Slot, Stamp, State, With};
use super::sync::{AtomicBool, AtomicU64, Ordering, UnsafeCell};
use super::{DescriptorCell, Lane};

/// Most members of one list.
pub(crate) const MOST: usize = 64;

/// What a collector needs to know of the queue that takes what it has collected.
pub(crate) trait Link {
    /// Its number.
    fn queue(&self) -> u32;

    /// The time.
    fn now(&self) -> u64;

    /// Least members of a batch.
    fn least(&self) -> usize;

    /// The descriptor of a batch of `count` members in the list at address `list`, with its record at address `record`; `None`
    /// if the queue takes no such thing.
    fn batch(&self, list: u64, count: u32, record: u64) -> Option<Descriptor>;

    /// Submits. `stamp` is called with the epoch before that, inside the gate; `refuse` with how many the device has got, if
    /// that is not all: then nobody has the others. That is inside the gate too if `stamp` has been called.
    ///
    /// # Safety
    ///
    /// As for [`crate::device::Queue::submit`].
    unsafe fn send(&self, descriptors: &[Descriptor], stamp: impl FnOnce(u32), refuse: impl FnOnce(usize));

    /// Calls `f` inside the gate if it is open and the epoch is this.
    fn inside(&self, epoch: u32, f: impl FnOnce());

    /// Whether what was submitted in this epoch went down with the queue.
    fn is_lost(&self, epoch: u32) -> bool;

    /// A batch has ended.
    fn return_credit(&self);
}

/// What one lane has collected, and the lists by which it travels.
pub(crate) struct Collector {
    /// How many go together.
    limit: u32,
    /// A bit is set while its slot is staged.
    words: Box<[AtomicU64]>,
    /// A bit is set for each of the words in which something may be staged: whoever stages sets it after the slot's bit, and whoever
    /// sends clears it before it looks at the word.
    summary: Box<[AtomicU64]>,
    /// Whether a thread has `book`.
    busy: AtomicBool,
    book: UnsafeCell<Book>,
    /// What a device reads and writes. Outside of `book`, which is borrowed whole.
    lists: Box<[List]>,
}

// SAFETY: `book` is reached by the thread alone that has changed `busy` from false to true, until it stores false: see
// `Sending`. The exchange acquires what that store released. `lists` are `Sync` by themselves.
unsafe impl Sync for Collector {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Collector {}

/// Memory of one batch.
struct List {
    descriptors: Box<[DescriptorCell]>,
    record: RecordCell,
}

/// What the flushing thread knows of the lists.
struct Book {
    entries: Box<[Entry]>,
    /// Descriptors that are sent without a list, together.
    run: Vec<Descriptor>,
}

struct Entry {
    /// The epoch in which it went out; `Err` if that is not known, which leaves it out for ever.
    out: Option<Result<u32, ()>>,
    /// Slot and generation.
    members: Vec<(u32, u64)>,
}

impl Collector {
    /// For a lane of `slots` slots, with `lists` lists of `limit` members, which is at most [`MOST`].
    /// So many go together even where the queue takes no batches.
    pub(crate) fn new(slots: usize, lists: usize, limit: usize) -> Self {
        let limit = limit.min(MOST);
        let list =
            |_| List { descriptors: (0..limit).map(|_| DescriptorCell::new()).collect(), record: RecordCell::new() };
        let entry = |_| Entry { out: None, members: Vec::with_capacity(limit) };
        Self {
            limit: limit as u32,
            words: (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            summary: (0..slots.div_ceil(64 * 64)).map(|_| AtomicU64::new(0)).collect(),
            busy: AtomicBool::new(false),
            book: UnsafeCell::new(Book { entries: (0..lists).map(entry).collect(), run: Vec::with_capacity(MOST) }),
            lists: (0..lists).map(list).collect(),
        }
    }

    /// Stages a slot: its holder has filled and stamped it, and has reset the record. Says whether there are enough now to be
    /// sent.
    ///
    /// # Safety
    ///
    /// The descriptor names the slot's record, and memory that stays valid, and is not touched against what the descriptor
    /// does, until the record is complete, the epoch of the slot's stamp is over, or [`unstage`](Self::unstage) has said so.
    #[inline]
    pub(crate) unsafe fn stage(&self, index: u32) -> bool {
        // Release: whoever takes the bit sees what the slot was filled with.
        let others = self.word(index).fetch_or(bit(index), Ordering::Release).count_ones();
        // Release: whoever clears it sees the slot's bit.
        self.summary[(index / 64 / 64) as usize].fetch_or(bit(index / 64), Ordering::Release);
        others + 1 >= self.limit
    }

    /// Whether no slot is staged, whatever the summary says.
    #[cfg(all(test, dsa_loom))]
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    /// Whether it is worth while to look for something that is staged.
    #[inline]
    pub(crate) fn may_have_any(&self) -> bool {
        self.summary.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Whether a slot is staged at this moment.
    #[inline]
    pub(crate) fn is_staged(&self, index: u32) -> bool {
        self.word(index).load(Ordering::Relaxed) & bit(index) != 0
    }

    /// Takes a slot back, for its holder. If true nobody has sent it, or will.
    #[inline]
    pub(crate) fn unstage(&self, index: u32) -> bool {
        self.is_staged(index) && self.word(index).fetch_and(!bit(index), Ordering::Acquire) & bit(index) != 0
    }

    /// The staged slots beside this one, at about this moment, as bits.
    #[inline]
    pub(super) fn staged_beside(&self, index: u32) -> u64 {
        self.word(index).load(Ordering::Relaxed)
    }

    /// One of the slots that are staged.
    pub(crate) fn first(&self) -> Option<u32> {
        // A word may have lost what its bit in the summary was set for.
        let first_of = |place: u32| {
            let bits = self.words[place as usize].load(Ordering::Relaxed);
            (bits != 0).then(|| place * 64 + bits.trailing_zeros())
        };
        (0..).zip(&self.summary).find_map(|(number, summary)| {
            let mut places = summary.load(Ordering::Relaxed);
            while places != 0 {
                if let Some(slot) = first_of(number * 64 + places.trailing_zeros()) {
                    return Some(slot);
                }
                places &= places - 1;
            }
            None
        })
    }

    /// Sends what is staged. False if another thread is at it.
    pub(crate) fn flush(&self, lane: &Lane, link: &impl Link) -> bool {
        let Some(sending) = self.begin() else { return false };
        sending.with_book(|book| {
            self.reap_lists(book, lane, link);
            self.send(book, lane, link);
        });
        true
    }

    /// Sends one staged slot by itself, unless another thread has taken it.
    pub(crate) fn send_alone(&self, lane: &Lane, link: &impl Link, index: u32) {
        if self.unstage(index) {
            send_one(lane, link, index);
        }
    }

    /// Takes back the lists of batches that have ended. Says whether nothing of the lane can still be read or written by a
    /// batch; false if another thread is at it.
    pub(crate) fn reap(&self, lane: &Lane, link: &impl Link) -> bool {
        let Some(sending) = self.begin() else { return false };
        sending.with_book(|book| {
            self.reap_lists(book, lane, link);
            book.entries.iter().all(|entry| entry.out.is_none())
        })
    }

    /// What the device does in a model: the batch ends in failure.
    #[cfg(all(test, dsa_loom))]
    pub(super) fn fail_list(&self, list: usize) {
        self.lists[list].record.set_not_taken();
    }

    fn begin(&self) -> Option<Sending<'_>> {
        let is_mine = self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // Not `then_some`: a `Sending` that nobody gets would free what another thread has.
        is_mine.then(|| Sending(self))
    }

    #[inline]
    fn word(&self, index: u32) -> &AtomicU64 {
        &self.words[(index / 64) as usize]
    }

    fn reap_lists(&self, book: &mut Book, lane: &Lane, link: &impl Link) {
        for (entry, list) in book.entries.iter_mut().zip(&self.lists) {
            let Some(Ok(epoch)) = entry.out else { continue };
            let ended = match list.record.status() {
                0 => link.is_lost(epoch),
                status::SUCCESS => true,
                // Members that the device has not come to. Once the epoch is over they are told by that.
                _ => {
                    link.inside(epoch, || entry.members.iter().for_each(|member| give_up(lane, *member)));
                    true
                }
            };
            if ended {
                entry.out = None;
                link.return_credit();
            }
        }
    }

    fn send(&self, book: &mut Book, lane: &Lane, link: &impl Link) {
        let mut chunk = Chunk { lane, slots: [0; MOST], len: 0 };
        for (number, summary) in (0..).zip(&self.summary) {
            if summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire: see `stage`.
            let mut places = summary.swap(0, Ordering::Acquire);
            while places != 0 {
                let place = number * 64 + places.trailing_zeros();
                places &= places - 1;
                self.send_word(book, &mut chunk, link, place);
            }
        }
        self.send_chunk(book, &mut chunk, link);
    }

    /// Adds what is staged of one word, and sends whenever there is enough.
    fn send_word(&self, book: &mut Book, chunk: &mut Chunk<'_>, link: &impl Link, place: u32) {
        let word = &self.words[place as usize];
        // What was there at first. What comes while this thread sends has others to send it.
        let mut bits = word.load(Ordering::Relaxed);
        while bits != 0 {
            // No more than go at once: what has no bit cannot be taken back, and sending may take long.
            let mut some = lowest(bits, self.limit as usize - chunk.len);
            bits &= !some;
            // Acquire: see `stage`.
            some &= word.fetch_and(!some, Ordering::Acquire);
            while some != 0 {
                chunk.slots[chunk.len] = place * 64 + some.trailing_zeros();
                chunk.len += 1;
                some &= some - 1;
            }
            if chunk.len == self.limit as usize {
                self.send_chunk(book, chunk, link);
            }
        }
    }

    /// Sends some slots, whose bits this thread has taken, and forgets them.
    fn send_chunk(&self, book: &mut Book, chunk: &mut Chunk<'_>, link: &impl Link) {
        let (lane, count) = (chunk.lane, chunk.len);
        let slots = chunk.slots;
        let slots = &slots[..count];
        let (queue, now) = (link.queue(), link.now());
        // From here on each has its stamp or its refusal.
        let stamp = |epoch, with| {
            let stamp = Stamp::new(queue, epoch, with);
            for &index in slots {
                lane.slot(index).stamp_sent(stamp, now);
            }
        };
        let refuse = |accepted: usize| slots[accepted..].iter().for_each(|&index| not_taken(lane, index));
        let free = book.entries.iter().position(|entry| entry.out.is_none());
        if let Some(at) = free.filter(|_| count > 1 && count >= link.least()) {
            let (entry, list) = (&mut book.entries[at], &self.lists[at]);
            entry.members.clear();
            for (&index, cell) in slots.iter().zip(&list.descriptors) {
                // SAFETY: a holder does not write the descriptor of a slot that is staged, or out. No batch has the list.
                unsafe { cell.get().write(lane.descriptor(index).read()) };
                entry.members.push((index, lane.slot(index).word().generation()));
            }
            list.record.reset();
            let address = list.descriptors.as_ptr().expose_provenance() as u64;
            if let Some(batch) = link.batch(address, count as u32, list.record.addr()) {
                // Whatever happens in there: the list is not used again unless it is known to have ended.
                entry.out = Some(Err(()));
                let (epoch, refused) = (Cell::new(None), Cell::new(false));
                let batch_stamp = |its| {
                    epoch.set(Some(its));
                    stamp(its, With::List);
                };
                let batch_refuse = |_| {
                    refused.set(true);
                    refuse(0);
                };
                chunk.len = 0;
                // SAFETY: for what members name see `Collector::stage`. List and batch record live as long as the lane, which is
                // kept until its queues are closed, and are not used before the same.
                unsafe { link.send(&[batch], batch_stamp, batch_refuse) };
                entry.out = if refused.get() { None } else { Some(epoch.get().ok_or(())) };
                return;
            }
        }
        chunk.len = 0;
        match slots {
            [] => {}
            &[index] => send_one(lane, link, index),
            _ => {
                book.run.clear();
                // SAFETY: as above.
                book.run.extend(slots.iter().map(|&index| unsafe { lane.descriptor(index).read() }));
                // SAFETY: see `Collector::stage`.
                unsafe { link.send(&book.run, |epoch| stamp(epoch, With::Device), refuse) };
            }
        }
    }
}

/// The right to use the book.
struct Sending<'a>(&'a Collector);

impl Sending<'_> {
    fn with_book<R>(&self, f: impl FnOnce(&mut Book) -> R) -> R {
        // SAFETY: see the `Sync` of `Collector`; there is one `Sending` at a time, and `f` cannot reach another.
        self.0.book.with_mut(|book| f(unsafe { &mut *book }))
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Slots whose bits have been taken and that have not been passed on. A panic does not leave them with nobody.
struct Chunk<'a> {
    lane: &'a Lane,
    slots: [u32; MOST],
    len: usize,
}

impl Drop for Chunk<'_> {
    fn drop(&mut self) {
        self.slots[..self.len].iter().for_each(|&index| not_taken(self.lane, index));
    }
}

/// Sends a slot whose bit this thread has taken.
fn send_one(lane: &Lane, link: &impl Link, index: u32) {
    let now = link.now();
    let stamp = |epoch| lane.slot(index).stamp_sent(Stamp::new(link.queue(), epoch, With::Device), now);
    // A copy: as soon as the device has it, it may end, and its slot be filled anew.
    // SAFETY: nobody writes the descriptor of a slot that is staged.
    let descriptor = unsafe { lane.descriptor(index).read() };
    // SAFETY: who staged it vouches for what the descriptor names, see `Collector::stage`.
    unsafe { link.send(&[descriptor], stamp, |_| not_taken(lane, index)) };
}

/// Says that no device has the descriptor of a slot, whose bit this thread has taken.
fn not_taken(lane: &Lane, index: u32) {
    lane.slot(index).stamp_not_taken();
    lane.place(index).record.set_not_taken();
}

/// The same for a member of a batch that has ended, if the device has not completed it. Inside the gate.
fn give_up(lane: &Lane, (index, generation): (u32, u64)) {
    // In this order. If the record was complete, and is empty because the slot is in use again, or its holder sends the rest of the
    // operation, then whoever sees it empty sees the slot's next generation, or that it is with no batch any more.
    if lane.status(index) != 0 {
        return;
    }
    let slot: &Slot = lane.slot(index);
    let word = slot.word();
    // What is so stays so: only an end of this operation, which we are about to be, makes its owner give it up.
    let is_same = word.generation() == generation && matches!(word.state(), State::Held | State::Orphaned);
    if is_same && slot.stamped().with() == With::List {
        not_taken(lane, index);
    }
}

/// The lowest `count` of the bits that are set, or all of them.
fn lowest(bits: u64, count: usize) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}

#[inline]
const fn bit(index: u32) -> u64 {
    1 << (index % 64)
}

#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod tests {
    use super::lowest;

    #[test]
    fn the_lowest_bits() {
        assert_eq!([0, 1, 2, 3, 4].map(|count| lowest(0b1011_0100, count)), [0, 4, 0x14, 0x34, 0xb4]);
        assert_eq!((lowest(0b1011, 9), lowest(0, 3), lowest(u64::MAX, 64)), (0b1011, 0, u64::MAX));
    }
}
