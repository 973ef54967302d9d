//! The sentinels of a round: what the core, its cache and the way to the other core are worth just now.
//!
//! The partner of the ping-pong is a thread on the device's core, where engines and workers run too. It sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use dsa_benches::rounds::Sentinels;
use idxd_sys::instr::rdtsc;

use super::machine::{Cores, Ticks};

/// Links of the chain: some 20 us.
const LINKS: u64 = 16_384;
/// Copies of 4 KiB: some 20 us.
const COPIES: usize = 400;
/// Turns of the ping-pong: half of them this thread's.
const TURNS: u32 = 2_000;

/// The memory of the ping-pong: nothing else is in its lines.
#[repr(align(128))]
#[derive(Default)]
struct Table {
    /// Turns taken so far. Even: it is this thread's turn.
    turns: AtomicU32,
    stop: AtomicBool,
}

#[repr(align(4096))]
struct Page([u8; 4096]);

/// The sentinels, and the thread that one of them needs.
pub(crate) struct Sentinel {
    ticks: Ticks,
    partner: Option<(Arc<Table>, JoinHandle<()>)>,
    source: Box<Page>,
    target: Box<Page>,
}

impl Sentinel {
    pub(crate) fn new(cores: &Cores, ticks: Ticks) -> Self {
        let partner = cores.are_two().then(|| {
            let table = Arc::new(Table::default());
            let its = Arc::clone(&table);
            let partner = cores.on_device(|| std::thread::spawn(move || play(&its)));
            (table, partner)
        });
        Self { ticks, partner, source: Box::new(Page([7; 4096])), target: Box::new(Page([1; 4096])) }
    }

    /// Measures them all.
    pub(crate) fn measure(&mut self) -> Sentinels {
        let begun = rdtsc();
        let mut value = begun | 1;
        for _ in 0..LINKS {
            // Each link needs the one before.
            value = value.wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(17);
        }
        std::hint::black_box(value);
        let chained = rdtsc();
        // Into the cache.
        self.copy(COPIES / 10);
        let warm = rdtsc();
        self.copy(COPIES);
        let copied = rdtsc();
        Sentinels {
            chain: self.ticks.nanos(chained - begun),
            copy: self.ticks.nanos(copied - warm) / COPIES as f64,
            round_trip: self.round_trip(),
        }
    }

    fn copy(&mut self, times: usize) {
        for _ in 0..times {
            std::hint::black_box(&mut self.target).0.copy_from_slice(&std::hint::black_box(&self.source).0);
        }
    }

    fn round_trip(&self) -> f64 {
        let Some((table, partner)) = &self.partner else { return f64::NAN };
        table.turns.store(0, Ordering::Release);
        partner.thread().unpark();
        let turn = |turn: u32| {
            table.turns.store(turn + 1, Ordering::Release);
            while table.turns.load(Ordering::Acquire) != turn + 2 {
                std::hint::spin_loop();
            }
        };
        // The first turn waits until the partner is awake.
        turn(0);
        let begun = rdtsc();
        (2..TURNS + 2).step_by(2).for_each(turn);
        self.ticks.nanos(rdtsc() - begun) / f64::from(TURNS / 2)
    }
}

/// The partner: sleeps between games.
fn play(table: &Table) {
    loop {
        std::thread::park();
        if table.stop.load(Ordering::Acquire) {
            return;
        }
        let mut turn = 1;
        // A game that has been played to its end stays at the last number until the next one begins: a wake-up for nothing.
        if table.turns.load(Ordering::Acquire) > 1 {
            continue;
        }
        while turn < TURNS + 2 {
            while table.turns.load(Ordering::Acquire) != turn {
                std::hint::spin_loop();
            }
            table.turns.store(turn + 1, Ordering::Release);
            turn += 2;
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Some((table, partner)) = self.partner.take() {
            table.stop.store(true, Ordering::Release);
            partner.thread().unpark();
            // It has nothing to say.
            let _ = partner.join();
        }
    }
}
