//! The raw ring: descriptors straight to the model's queue, and a look at the oldest record, without tokio or the runtime.
//!
//! It is what the runtime is measured against: the same queue, the same engine, the same descriptors.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};

use dsa_emulator::{Client, Enqcmd};
use idxd_sys::instr::rdtsc;
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use super::arena::Pair;
use super::ledger::{self, Plan, Slice};
use super::ours::ENTRIES;
use super::variant::{RING, Stage, Variant};

/// A completion record with a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Record(UnsafeCell<CompletionRecord>);

impl Record {
    fn status(&self) -> &AtomicU8 {
        // SAFETY: in bounds of the record; while the device may write it, this byte is only accessed atomically.
        unsafe { AtomicU8::from_ptr(&raw mut (*self.0.get()).status) }
    }

    /// Whether the descriptor has ended.
    fn is_complete(&self) -> bool {
        let code = self.status().load(Ordering::Acquire);
        assert!(code == 0 || code == status::SUCCESS, "a copy ended with status {code:#x}");
        code != 0
    }
}

/// Descriptors straight to the queue, and a look at the oldest record.
pub(crate) struct Ring {
    client: Client,
    records: Box<[Record]>,
    flying: VecDeque<(Pair, u64)>,
    /// Number of the oldest one that flies.
    oldest: usize,
}

impl Ring {
    pub(crate) fn new(client: Client) -> Self {
        let records = (0..ENTRIES).map(|_| Record::default()).collect();
        Self { client, records, flying: VecDeque::with_capacity(ENTRIES.into()), oldest: 0 }
    }

    fn record(&self, number: usize) -> &Record {
        &self.records[number % usize::from(ENTRIES)]
    }

    /// `since`: when the operation began, or was due.
    fn submit(&mut self, pair: Pair, since: u64) {
        let record = self.record(self.oldest + self.flying.len());
        record.status().store(0, Ordering::Relaxed);
        let (source, destination) = pair.addresses();
        let mut d = Descriptor {
            src_addr: source,
            dst_addr: destination,
            xfer_size: pair.bytes() as u32,
            completion_addr: record.0.get().expose_provenance() as u64,
            ..Descriptor::default()
        };
        d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
        // SAFETY: the pair is this value's until the record is complete, and the record stays where it is: `land` comes before
        // either is used again, and `run` and `open` end with nothing in flight.
        while unsafe { self.client.enqcmd(&d) } != Enqcmd::Accepted {
            std::hint::spin_loop();
        }
        self.flying.push_back((pair, since));
    }

    /// The oldest one, if it has ended.
    fn land(&mut self) -> Option<(Pair, u64)> {
        if self.flying.is_empty() || !self.record(self.oldest).is_complete() {
            return None;
        }
        self.oldest += 1;
        self.flying.pop_front()
    }
}

impl Variant for Ring {
    fn name(&self) -> &'static str {
        RING
    }

    fn run(&mut self, stage: &Stage, plan: &Plan) -> Slice {
        ledger::with(|ledger| {
            ledger.open(plan);
            loop {
                while self.flying.len() < plan.depth {
                    let Some(pair) = ledger.take() else { break };
                    self.submit(pair, rdtsc());
                }
                if self.flying.is_empty() {
                    return ledger.close(stage.ticks);
                }
                // Everything that has ended, and then as many new ones.
                while let Some((pair, begun)) = self.land() {
                    ledger.give_back(pair, rdtsc() - begun);
                }
                std::hint::spin_loop();
            }
        })
    }

    fn open(&mut self, _: &Stage, due: &[u64]) -> Option<Vec<u32>> {
        ledger::with(|ledger| {
            let mut taken = Vec::with_capacity(due.len());
            let (begun, mut due) = (rdtsc(), due.iter().copied().peekable());
            while due.peek().is_some() || !self.flying.is_empty() {
                while let Some(offset) = due.next_if(|offset| begun + offset <= rdtsc()) {
                    let pair = ledger.pairs().pop_front().unwrap_or_else(|| {
                        // Everything is in flight: it has to wait for one, and is late.
                        let (pair, since) = loop {
                            if let Some(landed) = self.land() {
                                break landed;
                            }
                            std::hint::spin_loop();
                        };
                        taken.push(u32::try_from(rdtsc() - since).unwrap_or(u32::MAX));
                        pair
                    });
                    self.submit(pair, begun + offset);
                }
                while let Some((pair, since)) = self.land() {
                    taken.push(u32::try_from(rdtsc() - since).unwrap_or(u32::MAX));
                    ledger.pairs().push_back(pair);
                }
            }
            Some(taken)
        })
    }
}
