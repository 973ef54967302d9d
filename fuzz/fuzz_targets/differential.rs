//! Random sequences of operations, alone and in batches, on pages that come and go: the memory and every result must be
//! what plain Rust makes of the same sequence.
//!
//! An operation that ends part of the way is resumed with the library's own plan until it is done.

#![no_main]

use std::ops::Range;

use arbitrary::Arbitrary;
use dsa::descriptor::{
    Batch, Compare, ComparePattern, Completion, CopyCrc, Crc, DescriptorError, Dualcast, Expectation, Fill, Move,
    Resume,
};
use dsa_emulator::Checks;
use dsa_emulator::memory::PAGE_SIZE;
use dsa_fuzz::oracle::{self, CrcMode};
use dsa_fuzz::{DATA, DATA_LEN, LIST, MAX_MEMBERS, Rig, Setup};
use idxd_sys::{Descriptor, flag, status};
use libfuzzer_sys::fuzz_target;

const LEN: usize = DATA_LEN as usize;
/// No operation is longer than this: long enough to cross two page borders, short enough for many in a second.
const LONGEST: usize = 5000;

#[derive(Arbitrary, Debug)]
struct Input {
    setup: Setup,
    /// What the data begins with; the rest is a function of the position.
    head: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// One operation, with a bit for each page of the data that is absent, to begin with.
    Single { operation: Operation, absent: u8, block_on_fault: bool },
    /// Several operations, all pages present. In order, or each waiting for those before it.
    Batch { operations: Vec<Operation> },
    /// The last word on the data: a plain write by software.
    Write { at: u16, byte: u8 },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Region(u16);

impl Region {
    /// The offset of a region of `len` bytes inside the data.
    fn offset(self, len: usize) -> usize {
        usize::from(self.0) % (LEN - len + 1)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Length(u16);

impl Length {
    fn get(self, longest: u64) -> usize {
        1 + usize::from(self.0) % LONGEST.min(longest as usize)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    Move { src: Region, dst: Region, len: Length },
    Fill { dst: Region, len: Length, pattern: u64, wide: Option<u64> },
    Compare { first: Region, second: Region, len: Length, expect: Option<bool> },
    ComparePattern { src: Region, len: Length, pattern: u64, repeat: bool, expect: Option<bool> },
    Dualcast { src: Region, dst: Region, dst2: Region, len: Length },
    Crc { src: Region, len: Length, seed: u32, mode: CrcMode },
    CopyCrc { src: Region, dst: Region, len: Length, seed: u32, mode: CrcMode },
}

/// What an operation is expected to report.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Done,
    /// The offset of the first difference, and the expected one if the status depends on it.
    Difference {
        offset: Option<usize>,
        expect: Option<bool>,
        exact: bool,
    },
    Crc(u64),
}

/// Builds a descriptor with record `slot`; `None` if the queue does not offer it (which the builder found).
fn build(rig: &Rig, operation: Operation, slot: usize, block: bool, fence: Option<bool>) -> Option<Descriptor> {
    let caps = &rig.capabilities;
    let address = |region: Region, len: usize| DATA + region.offset(len) as u64;
    let longest = caps.max_transfer_size();
    macro_rules! finish {
        ($builder:expr) => {{
            let builder = $builder.record(Rig::record_address(slot)).block_on_fault(block);
            match fence {
                None => builder.build(caps),
                Some(fence) => builder.fence(fence).build_member(caps),
            }
        }};
    }
    let expectation = |different| if different { Expectation::Different } else { Expectation::Equal };
    let built: Result<Descriptor, DescriptorError> = match operation {
        Operation::Move { src, dst, len } => {
            let len = len.get(longest);
            finish!(Move::new(address(src, len), address(dst, len), len as u64))
        }
        Operation::Fill { dst, len, pattern, wide } => {
            let len = len.get(longest);
            match wide {
                Some(high) => finish!(Fill::with_wide_pattern(address(dst, len), len as u64, [pattern, high])),
                None => finish!(Fill::new(address(dst, len), len as u64, pattern)),
            }
        }
        Operation::Compare { first, second, len, expect } => {
            let len = len.get(longest);
            let mut builder = Compare::new(address(first, len), address(second, len), len as u64);
            if let Some(different) = expect {
                builder = builder.expect(expectation(different));
            }
            finish!(builder)
        }
        Operation::ComparePattern { src, len, pattern, repeat, expect } => {
            let len = len.get(longest);
            let mut builder = ComparePattern::new(address(src, len), len as u64, pattern_of(pattern, repeat));
            if let Some(different) = expect {
                builder = builder.expect(expectation(different));
            }
            finish!(builder)
        }
        Operation::Dualcast { src, dst, dst2, len } => {
            let len = len.get(longest);
            let dst = address(dst, len);
            finish!(Dualcast::new(address(src, len), dst, second_destination(dst, dst2, len), len as u64))
        }
        Operation::Crc { src, len, seed, mode } => {
            let len = len.get(longest);
            finish!(
                Crc::new(address(src, len), len as u64)
                    .seed(seed)
                    .crc64(mode.wide)
                    .bypass_inversion(mode.bypass_inversion)
                    .bypass_reflection(mode.bypass_reflection)
            )
        }
        Operation::CopyCrc { src, dst, len, seed, mode } => {
            let len = len.get(longest);
            finish!(
                CopyCrc::new(address(src, len), address(dst, len), len as u64)
                    .seed(seed)
                    .crc64(mode.wide)
                    .bypass_inversion(mode.bypass_inversion)
                    .bypass_reflection(mode.bypass_reflection)
            )
        }
    };
    built.ok()
}

/// Half of the patterns are one repeated byte, which is what the head of the data may well hold.
fn pattern_of(pattern: u64, repeat: bool) -> u64 {
    if repeat { u64::from(pattern as u8) * 0x0101_0101_0101_0101 } else { pattern }
}

/// A second destination that agrees with the first in bits 11:0, inside the data where that is possible.
fn second_destination(dst: u64, wish: Region, len: usize) -> u64 {
    let page = DATA + (wish.offset(len) as u64 & !(PAGE_SIZE - 1));
    let second = page + dst % PAGE_SIZE;
    if second + len as u64 > DATA + DATA_LEN { second - PAGE_SIZE } else { second }
}

/// Does to `memory` what the descriptor says, and tells what the device should report.
fn expected(memory: &mut [u8], operation: Operation, d: &Descriptor) -> Answer {
    let (src, dst) = (d.src_addr.wrapping_sub(DATA) as usize, d.dst_addr.wrapping_sub(DATA) as usize);
    let len = d.xfer_size as usize;
    match operation {
        Operation::Move { .. } => {
            oracle::copy(memory, src, dst, len);
            Answer::Done
        }
        Operation::Fill { pattern, wide, .. } => {
            let mut bytes = pattern.to_le_bytes().to_vec();
            bytes.extend(wide.map(u64::to_le_bytes).iter().flatten());
            oracle::fill(memory, dst, len, &bytes);
            Answer::Done
        }
        Operation::Compare { expect, .. } => {
            Answer::Difference { offset: oracle::first_difference(memory, src, dst, len), expect, exact: true }
        }
        Operation::ComparePattern { pattern, repeat, expect, .. } => {
            let offset = oracle::first_mismatch(memory, src, len, pattern_of(pattern, repeat).to_le_bytes());
            Answer::Difference { offset, expect, exact: false }
        }
        Operation::Dualcast { .. } => {
            oracle::copy(memory, src, dst, len);
            oracle::copy(memory, src, (d.op_specific[0] - DATA) as usize, len);
            Answer::Done
        }
        Operation::Crc { seed, mode, .. } => Answer::Crc(oracle::crc(mode, u64::from(seed), &memory[src..src + len])),
        Operation::CopyCrc { seed, mode, .. } => {
            let crc = oracle::crc(mode, u64::from(seed), &memory[src..src + len]);
            oracle::copy(memory, src, dst, len);
            Answer::Crc(crc)
        }
    }
}

/// Compares what was reported with what was expected; `advanced` is what earlier partial completions had done.
fn check(answer: Answer, completion: &Completion, advanced: usize, d: &Descriptor) {
    assert!(completion.is_success(), "{completion:?} for {d:?}");
    match answer {
        Answer::Done => assert_eq!(completion.status.code(), status::SUCCESS, "{d:?}"),
        Answer::Crc(crc) => assert_eq!(completion.crc(), Some(crc), "{d:?}"),
        Answer::Difference { offset, expect, exact } => {
            assert_eq!(completion.is_equal(), Some(offset.is_none()), "{d:?}");
            let found = completion.first_difference().map(|difference| difference.offset as usize + advanced);
            match (offset, found) {
                (None, None) => {}
                (Some(offset), Some(found)) if exact => assert_eq!(found, offset, "{d:?}"),
                // Only a lower bound.
                (Some(offset), Some(found)) => assert!(found <= offset, "{found} is behind {offset}: {d:?}"),
                other => panic!("{other:?} for {d:?}"),
            }
            let as_expected = expect.is_none_or(|different| different == offset.is_some());
            let code = if as_expected { status::SUCCESS } else { status::SUCCESS_FALSE };
            assert_eq!(completion.status.code(), code, "{d:?}");
        }
    }
}

struct Machine {
    rig: Rig,
    memory: Vec<u8>,
}

impl Machine {
    fn new(setup: Setup, head: &[u8]) -> Self {
        let rig = Rig::new(setup, Checks::Strict);
        let mut memory: Vec<u8> = (0..LEN).map(|i| ((i * 31) >> 3) as u8).collect();
        let head = &head[..head.len().min(LEN)];
        memory[..head.len()].copy_from_slice(head);
        rig.memory.write(DATA, &memory).expect("mapped");
        Self { rig, memory }
    }

    fn data(&self) -> Vec<u8> {
        let mut data = vec![0; LEN];
        self.rig.memory.read(DATA, &mut data).expect("mapped");
        data
    }

    fn compare(&self, context: &dyn std::fmt::Debug) {
        let data = self.data();
        if let Some(at) = (0..LEN).find(|i| data[*i] != self.memory[*i]) {
            panic!("byte {at:#x} is {:#04x}, not {:#04x}, after {context:?}", data[at], self.memory[at]);
        }
    }

    fn set_present(&self, pages: Range<u64>, present: bool) {
        let len = (pages.end - pages.start) * PAGE_SIZE;
        self.rig.memory.set_present(DATA + pages.start * PAGE_SIZE, len, present).expect("mapped");
    }

    fn single(&mut self, operation: Operation, absent: u8, block: bool) {
        let block = block && self.rig.capabilities.may_block_on_fault();
        let Some(mut d) = build(&self.rig, operation, 0, block, None) else { return };
        let answer = expected(&mut self.memory, operation, &d);
        self.rig.memory.set_resolvable(DATA, DATA_LEN, true).expect("mapped");
        for page in (0..8).filter(|page| absent >> page & 1 == 1) {
            self.set_present(page..page + 1, false);
        }
        let mut advanced = 0;
        // Each round brings in the page that was missing, so there are at most as many as pages, and one more; an
        // injected fault ends one round.
        let injected = u64::from(self.rig.has_trouble());
        for round in 0.. {
            assert!(round <= 8 + injected, "a fault on a page that is present: {d:?}");
            self.rig.reset();
            // Only in the first round, so that those after it have to come to an end.
            if round == 0 {
                self.rig.trouble(|| self.rig.submit(&d))
            } else {
                self.rig.submit(&d)
            }
            let record = self.rig.record(0).expect("a record was asked for");
            assert!(!(block && record.status & status::CODE_MASK == status::PAGE_FAULT), "blocked, yet {record:?}");
            match Resume::plan(&d, &record, &self.rig.capabilities) {
                Resume::Complete(completion) => {
                    check(answer, &completion, advanced, &d);
                    break;
                }
                Resume::Continue(rest) => {
                    assert!(record.fault_addr >= DATA && record.fault_addr < DATA + DATA_LEN, "{record:?} for {d:?}");
                    let page = (record.fault_addr - DATA) / PAGE_SIZE;
                    let excused = round == 0 && self.rig.has_trouble();
                    assert!(excused || absent >> page & 1 == 1, "page {page} is present: {record:?} for {d:?}");
                    self.set_present(page..page + 1, true);
                    advanced += rest.advanced as usize;
                    d = rest.descriptor;
                }
                other => panic!("{other:?} for {d:?}"),
            }
        }
        self.set_present(0..8, true);
    }

    fn batch(&mut self, operations: &[Operation], shuffled: bool) {
        let mut list = Vec::new();
        for operation in operations.iter().take(12) {
            let slot = list.len();
            // Shuffled members have an order only where a fence gives them one.
            if let Some(d) = build(&self.rig, *operation, slot, false, Some(shuffled && slot > 0)) {
                list.push((*operation, d));
            }
        }
        let members: Vec<Descriptor> = list.iter().map(|(_, d)| *d).collect();
        let batch = Batch::new(LIST, members.len() as u32).record(Rig::record_address(MAX_MEMBERS));
        let Ok(batch) = batch.build(&self.rig.capabilities) else { return };
        self.rig.reset();
        self.rig.write_list(&members);
        self.rig.submit(&batch);
        let record = self.rig.record(MAX_MEMBERS).expect("a record was asked for");
        // A member failed if it ended with any status but 0x01.
        let mut failed = false;
        let mut processed = 0;
        for (slot, (operation, d)) in list.into_iter().enumerate() {
            if failed && d.flags() & flag::FENCE != 0 {
                assert_eq!(self.rig.record(slot), None, "an abandoned member has no record");
                continue;
            }
            let answer = expected(&mut self.memory, operation, &d);
            let result = self.rig.record(slot).expect("a record was asked for");
            check(answer, &Completion::decode(d.opcode(), &result), 0, &d);
            failed |= result.status != status::SUCCESS;
            processed += 1;
        }
        let code = if failed { status::BATCH_FAIL } else { status::SUCCESS };
        assert_eq!((record.status, record.bytes_completed as usize), (code, processed), "{record:?}");
    }
}

fuzz_target!(|input: Input| {
    let mut machine = Machine::new(input.setup, &input.head);
    for step in input.steps.iter().take(12) {
        match step {
            Step::Single { operation, absent, block_on_fault } => machine.single(*operation, *absent, *block_on_fault),
            Step::Batch { operations } => machine.batch(operations, input.setup.shuffled),
            Step::Write { at, byte } => {
                let at = usize::from(*at) % LEN;
                machine.memory[at] = *byte;
                machine.rig.memory.write(DATA + at as u64, &[*byte]).expect("mapped");
            }
        }
        machine.compare(step);
    }
});
