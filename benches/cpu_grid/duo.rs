//! Two threads that copy past the caches, on two cores: what memory gives. Each has one half of every slot, and nothing is
//! handed over between them but the start and the end of a slice.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::thread::JoinHandle;

use idxd_sys::instr::rdtsc_ordered;

use super::loops;
use super::machine::Cores;
use super::slots::{Slot, Slots, Work};

/// Nothing to do; the partner sleeps.
const IDLE: u32 = 0;
/// The partner shall wake up.
const CALLED: u32 = 1;
/// It is awake.
const READY: u32 = 2;
/// Both copy.
const GO: u32 = 3;
/// The partner's halves are copied.
const DONE: u32 = 4;
/// The partner shall end.
const STOP: u32 = 5;

#[repr(align(128))]
struct Table {
    state: AtomicU32,
    /// The slice; valid from [`CALLED`] to [`DONE`].
    slots: AtomicPtr<Slots<'static>>,
}

/// Both threads.
pub(crate) struct Duo {
    table: Arc<Table>,
    partner: Option<JoinHandle<()>>,
}

impl Duo {
    /// Starts the partner, on the other core. The CPU must have AVX2.
    pub(crate) fn new(cores: &Cores) -> Self {
        let table = Arc::new(Table { state: AtomicU32::new(IDLE), slots: AtomicPtr::new(std::ptr::null_mut()) });
        let its = Arc::clone(&table);
        let partner = cores.on_device(|| std::thread::spawn(move || help(&its)));
        Self { table, partner: Some(partner) }
    }

    fn wait_for(&self, state: u32) {
        while self.table.state.load(Ordering::Acquire) != state {
            std::hint::spin_loop();
        }
    }
}

impl Work for Duo {
    fn time(&mut self, slots: &Slots<'_>) -> u64 {
        self.table.slots.store(std::ptr::from_ref(slots).cast_mut().cast(), Ordering::Relaxed);
        self.table.state.store(CALLED, Ordering::Release);
        self.partner.iter().for_each(|partner| partner.thread().unpark());
        self.wait_for(READY);
        let begun = rdtsc_ordered();
        self.table.state.store(GO, Ordering::Release);
        halves(slots, 0);
        self.wait_for(DONE);
        let took = rdtsc_ordered() - begun;
        self.table.state.store(IDLE, Ordering::Release);
        took
    }

    fn once(&mut self, slots: &Slots<'_>) -> u64 {
        self.time(&Slots { operations: 1, ..*slots });
        0
    }
}

impl Drop for Duo {
    fn drop(&mut self) {
        self.table.state.store(STOP, Ordering::Release);
        if let Some(partner) = self.partner.take() {
            partner.thread().unpark();
            // It has nothing to say.
            let _ = partner.join();
        }
    }
}

/// The partner.
fn help(table: &Table) {
    loop {
        match table.state.load(Ordering::Acquire) {
            STOP => return,
            CALLED => {}
            _ => {
                std::thread::park();
                continue;
            }
        }
        table.state.store(READY, Ordering::Release);
        while table.state.load(Ordering::Acquire) != GO {
            std::hint::spin_loop();
        }
        // SAFETY: the caller lends the slice until the state is `DONE`, and does not write it.
        halves(unsafe { &*table.slots.load(Ordering::Relaxed) }, 1);
        table.state.store(DONE, Ordering::Release);
    }
}

/// Copies the first or the second halves.
fn halves(slots: &Slots<'_>, which: usize) {
    let half = slots.len / 2;
    let (from, len) = if which == 0 { (0, half) } else { (half, slots.len - half) };
    for operation in 0..slots.operations {
        let Slot { source, target, .. } = slots.at(operation);
        // SAFETY: a part of the slot's regions, of which the other thread has the other part; the CPU has AVX2.
        unsafe { loops::copy_past_caches(source.add(from), target.add(from), len) };
    }
}
