//! Resume plans against a small device that executes descriptors on a byte array and stops where it is told to.
//! The result of any sequence of partial completions must be that of one plain execution.

use idxd_sys::{CompletionRecord, Descriptor};
use proptest::prelude::*;

use super::super::*;
use super::{everything, first_generation};

/// Addresses of the test start here, so that a zero address is out of bounds.
pub(super) const BASE: u64 = 0x1_0000;
/// The first region; the others follow at the same offset in later pages, for the sake of dualcast.
pub(super) const SRC: u64 = BASE;
pub(super) const DST: u64 = BASE + 0x1000;
const DST2: u64 = BASE + 0x2000;
const SEED: u64 = BASE + 0x2f00;
pub(super) const RECORD: u64 = 0x40;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) memory: Vec<u8>,
}

/// Where an execution stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Bytes that are done before the fault; at or above the size there is none, unless `late` is set.
    after: u32,
    /// Which way a move runs, if both ways are right.
    reversed: bool,
    /// Reports a fault even after the last byte.
    late: bool,
}

impl Device {
    fn byte(&mut self, address: u64) -> &mut u8 {
        &mut self.memory[usize::try_from(address - BASE).unwrap()]
    }

    fn bytes(&self, address: u64, len: u32) -> Vec<u8> {
        let start = usize::try_from(address - BASE).unwrap();
        self.memory[start..start + len as usize].to_vec()
    }

    fn execute(&mut self, d: &Descriptor, stop: Stop) -> CompletionRecord {
        let size = d.xfer_size;
        let done = stop.after.min(size);
        let mut result = 0;
        // An untouched CRC field must never be used.
        let mut crc = 0xdead_dead_dead_dead;
        // Across address spaces it is the same, with handles.
        let op = match d.opcode() {
            op @ 0x23..=0x26 => [0x03, 0x04, 0x05, 0x06][usize::from(op - 0x23)],
            op => op,
        };
        match op {
            0x03 => {
                let overlap = d.src_addr.abs_diff(d.dst_addr) < u64::from(size);
                // Only a move tells its direction, and so only a move has one.
                let reversed = d.opcode() == 0x03 && if overlap { d.dst_addr > d.src_addr } else { stop.reversed };
                for n in 0..done {
                    let at = u64::from(if reversed { size - 1 - n } else { n });
                    *self.byte(d.dst_addr + at) = *self.byte(d.src_addr + at);
                }
                result = u8::from(reversed && (done < size || stop.late));
            }
            0x04 => {
                let wide = d.flags() >> 18 & 1 == 1;
                let mut pattern = d.src_addr.to_le_bytes().to_vec();
                if wide {
                    pattern.extend(d.op_specific[0].to_le_bytes());
                }
                for n in 0..done {
                    *self.byte(d.dst_addr + u64::from(n)) = pattern[n as usize % pattern.len()];
                }
            }
            0x05 | 0x06 => {
                let left = self.bytes(d.src_addr, done);
                let right = if op == 0x05 {
                    self.bytes(d.dst_addr, done)
                } else {
                    d.dst_addr.to_le_bytes().into_iter().cycle().take(done as usize).collect()
                };
                let difference = left.iter().zip(&right).position(|(l, r)| l != r);
                let checked = d.flags() >> 7 & 1 == 1;
                let expected = d.op_specific[0] as u8 & 1;
                if difference.is_some() || done == size && !stop.late {
                    let differs = u8::from(difference.is_some());
                    let mut at = difference.unwrap_or(0) as u32;
                    if op == 0x06 {
                        at &= !7; // only a lower bound
                    }
                    let status = if checked && differs != expected { 2 } else { 1 };
                    return CompletionRecord { status, result: differs, bytes_completed: at, ..Default::default() };
                }
            }
            0x09 => {
                for n in 0..u64::from(done) {
                    let value = *self.byte(d.src_addr + n);
                    *self.byte(d.dst_addr + n) = value;
                    *self.byte(d.op_specific[0] + n) = value;
                }
            }
            0x10 | 0x11 => {
                let data = self.bytes(d.src_addr, done);
                if d.opcode() == 0x11 {
                    for n in 0..u64::from(done) {
                        *self.byte(d.dst_addr + n) = data[n as usize];
                    }
                }
                let op_flags = d.flags() >> 16;
                let width = if op_flags & 8 == 0 { 4 } else { 8 };
                let mut seed = [0; 8];
                if op_flags & 1 == 0 {
                    seed[..width].copy_from_slice(&d.op_specific[0].to_le_bytes()[..width]);
                } else {
                    seed[..width].copy_from_slice(&self.bytes(d.op_specific[1], width as u32));
                }
                if done > 0 {
                    crc = plain_crc(&data, u64::from_le_bytes(seed), op_flags);
                }
            }
            0x20 => {}
            other => panic!("opcode {other:#x} is not part of this test"),
        }
        let op_specific = [crc, 0];
        if done == size && !stop.late {
            CompletionRecord { status: 1, op_specific, ..Default::default() }
        } else {
            CompletionRecord { status: 0x83, result, bytes_completed: done, op_specific, ..Default::default() }
        }
    }

    /// Executes a descriptor and all its continuations. Returns the final completion and how far it had advanced.
    pub(super) fn run(&mut self, sent: Descriptor, stops: &[Stop]) -> (Completion, u32) {
        let caps = everything();
        let (mut next, mut advanced) = (sent, 0);
        let last = Stop { after: u32::MAX, reversed: false, late: false };
        for stop in stops.iter().copied().chain([last]) {
            assert_eq!(validate(&next, &caps, Position::Queue), Ok(()));
            let record = self.execute(&next, stop);
            match Resume::plan(&next, &record, &caps) {
                Resume::Complete(completion) => return (completion, advanced),
                Resume::Continue(rest) => {
                    assert_eq!(rest.descriptor.xfer_size, next.xfer_size - record.bytes_completed);
                    advanced += rest.advanced;
                    next = rest.descriptor;
                }
                other => panic!("{other:?} for {record:?}"),
            }
        }
        panic!("an execution without a fault did not complete");
    }
}

/// CRC-32C and CRC-64 bit by bit, as the specification words it. `flags`: 2 raw seed and result, 4 raw data, 8 64 bits.
fn plain_crc(data: &[u8], seed: u64, flags: u32) -> u64 {
    let (width, poly) = if flags & 8 == 0 { (32, 0x1edc_6f41) } else { (64, 0xad93_d235_94c9_3659) };
    let mask = u64::MAX >> (64 - width);
    let reflect = |value: u64| value.reverse_bits() >> (64 - width);
    let mut state = if flags & 2 == 0 { !reflect(seed) & mask } else { seed };
    for &byte in data {
        let byte = if flags & 4 == 0 { byte.reverse_bits() } else { byte };
        state ^= u64::from(byte) << (width - 8);
        for _ in 0..8 {
            let carry = state >> (width - 1) & 1 == 1;
            state = state << 1 & mask ^ if carry { poly } else { 0 };
        }
    }
    if flags & 2 == 0 { reflect(!state & mask) } else { state }
}

#[test]
fn the_plain_crc_gives_the_check_values() {
    let crc = |flags| plain_crc(b"123456789", 0, flags);
    assert_eq!(crc(0), 0xe306_9283);
    assert_eq!(crc(8), 0xae8b_1486_0a79_9888);
    assert_eq!(crc(2), 0x045f_c71a);
    assert_eq!(crc(2 | 4), 0xc052_a8c8);
    assert_eq!(crc(4), 0xa8f0_22a0);
    assert_eq!(plain_crc(&[0; 32], 0, 0), 0x8a91_36aa);
    assert_eq!(plain_crc(b"56789", plain_crc(b"1234", 0, 0), 0), 0xe306_9283);
}

/// Memory with few distinct bytes, so that compares run for a while.
pub(super) fn devices() -> impl Strategy<Value = Device> {
    any::<u64>().prop_map(|seed| {
        let mut state = seed | 1;
        let memory = (0..0x3000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        Device { memory }
    })
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({} bytes)", self.memory.len())
    }
}

pub(super) fn stops() -> impl Strategy<Value = Vec<Stop>> {
    let after = prop_oneof![2 => 0..60_u32, 1 => 0..400_u32, 1 => Just(0)];
    let stop = (after, any::<bool>(), proptest::bool::weighted(0.2)).prop_map(|(after, reversed, late)| Stop {
        after,
        reversed,
        late,
    });
    prop::collection::vec(stop, 0..8)
}

proptest! {
    #[test]
    fn moves(mut device in devices(), stops in stops(), from in 0..300_u64, to in 0..300_u64, len in 1..300_u32) {
        // Both regions lie in the same 600 bytes: overlaps in both directions, and none.
        let mut expected = device.clone();
        expected.memory.copy_within(from as usize..from as usize + len as usize, to as usize);
        let sent = Move::new(BASE + from, BASE + to, len.into()).record(RECORD).build(&everything()).unwrap();
        let (completion, _) = device.run(sent, &stops);
        prop_assert!(completion.is_success() && device == expected);
    }

    #[test]
    fn fills(mut device in devices(), stops in stops(), len in 1..300_u32, pattern in any::<[u64; 2]>(), wide in any::<bool>()) {
        let bytes = [pattern[0].to_le_bytes(), pattern[1].to_le_bytes()].concat();
        let mut expected = device.clone();
        for n in 0..len as usize {
            expected.memory[0x1000 + n] = bytes[n % if wide { 16 } else { 8 }];
        }
        let builder =
            if wide { Fill::with_wide_pattern(DST, len.into(), pattern) } else { Fill::new(DST, len.into(), pattern[0]) };
        let (completion, _) = device.run(builder.record(RECORD).build(&everything()).unwrap(), &stops);
        prop_assert!(completion.is_success() && device == expected);
    }

    #[test]
    fn compares(
        mut device in devices(),
        stops in stops(),
        len in 1..300_u32,
        differs_at in prop::option::of(0..300_u32),
        expectation in prop::option::of(prop_oneof![Just(Expectation::Equal), Just(Expectation::Different)]),
    ) {
        let differs_at = differs_at.filter(|&at| at < len);
        device.memory.copy_within(..len as usize, 0x1000);
        if let Some(at) = differs_at {
            device.memory[0x1000 + at as usize] ^= 0x10;
        }
        let untouched = device.clone();
        let mut builder = Compare::new(SRC, DST, len.into()).record(RECORD);
        if let Some(expectation) = expectation {
            builder = builder.expect(expectation);
        }
        let (completion, advanced) = device.run(builder.build(&everything()).unwrap(), &stops);
        prop_assert_eq!(completion.is_equal(), Some(differs_at.is_none()));
        prop_assert_eq!(completion.first_difference().map(|found| found.offset + advanced), differs_at);
        let as_expected = expectation.is_none_or(|wanted| (wanted == Expectation::Equal) == differs_at.is_none());
        prop_assert_eq!(completion.status, if as_expected { Status::SUCCESS } else { Status::SUCCESS_FALSE });
        prop_assert!(device == untouched);
    }

    #[test]
    fn pattern_compares(
        mut device in devices(),
        stops in stops(),
        len in 1..300_u32,
        pattern in any::<u64>(),
        differs_at in prop::option::of(0..300_u32),
    ) {
        let differs_at = differs_at.filter(|&at| at < len);
        for n in 0..len as usize {
            device.memory[n] = pattern.to_le_bytes()[n % 8];
        }
        if let Some(at) = differs_at {
            device.memory[at as usize] ^= 1;
        }
        let sent = ComparePattern::new(SRC, len.into(), pattern).record(RECORD).build(&everything()).unwrap();
        let (completion, advanced) = device.run(sent, &stops);
        prop_assert_eq!(completion.is_equal(), Some(differs_at.is_none()));
        if let (Some(found), Some(at)) = (completion.first_difference(), differs_at) {
            prop_assert!(!found.is_exact);
            prop_assert!(found.offset + advanced <= at && at - (found.offset + advanced) < 8);
        }
    }

    #[test]
    fn dualcasts(mut device in devices(), stops in stops(), len in 1..300_u32) {
        let mut expected = device.clone();
        expected.memory.copy_within(..len as usize, 0x1000);
        expected.memory.copy_within(..len as usize, 0x2000);
        let sent = Dualcast::new(SRC, DST, DST2, len.into()).record(RECORD).build(&everything()).unwrap();
        let (completion, _) = device.run(sent, &stops);
        prop_assert!(completion.is_success() && device == expected);
    }

    #[test]
    fn crcs(
        mut device in devices(),
        stops in stops(),
        len in 1..300_u32,
        seed in any::<u64>(),
        op_flags in 0..8_u32,
        copies in any::<bool>(),
    ) {
        // Bits 1 to 3 are the flags 17 to 19; bit 0 reads the seed from memory.
        let flags = op_flags << 1;
        let from_memory = seed & 1 == 1;
        let seed = if flags & 8 == 0 { seed & 0xffff_ffff } else { seed };
        device.memory[0x2f00..0x2f08].copy_from_slice(&seed.to_le_bytes());
        let mut expected = device.clone();
        let crc = plain_crc(&device.memory[..len as usize], seed, flags);
        macro_rules! options {
            ($builder:expr) => {{
                let builder = $builder
                    .record(RECORD)
                    .bypass_inversion(flags & 2 != 0)
                    .bypass_reflection(flags & 4 != 0)
                    .crc64(flags & 8 != 0);
                let builder = if from_memory {
                    builder.seed_address(SEED).seed_traffic_class(TrafficClass::B)
                } else {
                    builder.seed(seed)
                };
                builder.build(&everything()).unwrap()
            }};
        }
        let sent = if copies {
            expected.memory.copy_within(..len as usize, 0x1000);
            options!(CopyCrc::new(SRC, DST, len.into()))
        } else {
            options!(Crc::new(SRC, len.into()))
        };
        let (completion, _) = device.run(sent, &stops);
        prop_assert_eq!(completion.crc(), Some(crc));
        prop_assert!(completion.is_success() && device == expected);
    }

    #[test]
    fn batches(count in 1..40_u32, faults in prop::collection::vec((0..12_u32, any::<bool>()), 0..10), old in any::<bool>()) {
        let caps = if old { first_generation() } else { everything() };
        prop_assume!(count >= caps.min_batch_size());
        let list = 0x4_0000;
        let mut next = Batch::new(list, count).record(RECORD).build(&caps).unwrap();
        let (mut processed, mut failed) = (0, false);
        for (done, fails) in faults.into_iter().chain([(u32::MAX, false)]) {
            prop_assert_eq!(validate(&next, &caps, Position::Queue), Ok(()));
            prop_assert_eq!(next.src_addr, list + u64::from(processed) * 64);
            prop_assert_eq!(next.xfer_size, count - processed);
            prop_assert_eq!(next.flags() >> 16 & 1 == 1, failed && !old);
            let done = done.min(next.xfer_size);
            processed += done;
            // A device reports on the part that it has just processed.
            let fails = fails && done > 0;
            failed |= fails;
            let status = if processed < count { 0x06 } else if failed { 0x05 } else { 0x01 };
            let record =
                CompletionRecord { status, result: fails.into(), bytes_completed: done, ..Default::default() };
            match Resume::plan(&next, &record, &caps) {
                Resume::Continue(rest) => {
                    prop_assert_eq!(rest.advanced, done);
                    next = rest.descriptor;
                }
                Resume::LastMember { address, earlier_error } => {
                    prop_assert!(old && processed + 1 == count && !earlier_error);
                    prop_assert_eq!(address, list + u64::from(count - 1) * 64);
                    return Ok(());
                }
                Resume::Complete(completion) => {
                    prop_assert_eq!(processed, count);
                    prop_assert_eq!(completion.is_success(), !failed);
                    return Ok(());
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(false, "the batch did not end");
    }
}

pub(super) fn partial(status: u8, result: u8, bytes_completed: u32) -> CompletionRecord {
    CompletionRecord { status, result, bytes_completed, ..Default::default() }
}

#[test]
fn a_reversed_move_only_shrinks() {
    let caps = first_generation();
    let sent = Move::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    let expected = Descriptor { xfer_size: 70, ..sent };
    let rest = Continuation { descriptor: expected, advanced: 0 };
    assert_eq!(Resume::plan(&sent, &partial(0x03, 1, 30), &caps), Resume::Continue(rest));
    let expected = Descriptor { src_addr: 0x101e, dst_addr: 0x901e, ..expected };
    let rest = Continuation { descriptor: expected, advanced: 30 };
    assert_eq!(Resume::plan(&sent, &partial(0x03, 0, 30), &caps), Resume::Continue(rest));
}

#[test]
fn cache_flush_advances() {
    let caps = first_generation();
    let sent = CacheFlush::new(0x1000, 100).record(RECORD).durable(true).build(&caps).unwrap();
    let rest = Continuation { descriptor: Descriptor { dst_addr: 0x1040, xfer_size: 36, ..sent }, advanced: 64 };
    assert_eq!(Resume::plan(&sent, &partial(0x04, 0, 64), &caps), Resume::Continue(rest));
}

#[test]
fn a_passed_fence_is_cleared() {
    let caps = first_generation();
    let sent = Fill::new(0x1000, 100, 0).record(RECORD).fence(true).build_member(&caps).unwrap();
    let Resume::Continue(rest) = Resume::plan(&sent, &partial(0x03, 0, 0), &caps) else {
        panic!("a fill can be continued")
    };
    assert_eq!(rest.descriptor, Fill::new(0x1000, 100, 0).record(RECORD).build(&caps).unwrap());
}

#[test]
fn records_that_contradict_the_descriptor() {
    let caps = everything();
    let copy = Move::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    let plan = |sent: &Descriptor, record| match Resume::plan(sent, &record, &caps) {
        Resume::Protocol(error) => error,
        other => panic!("{other:?}"),
    };
    let too_much = |completed, size| ProtocolError::TooMuch { completed, size };
    assert_eq!(plan(&copy, partial(0, 0, 0)), ProtocolError::NotCompleted);
    for direction in [0, 1] {
        assert_eq!(plan(&copy, partial(0x03, direction, 101)), too_much(101, 100));
        assert_eq!(plan(&copy, partial(0x83, direction, u32::MAX)), too_much(u32::MAX, 100));
    }
    assert_eq!(plan(&copy, partial(0x03, 2, 10)), ProtocolError::BadResult(2));
    assert_eq!(plan(&copy, partial(0x01, 0, 101)), too_much(101, 100));
    for status in [0x05, 0x06, 0x1a, 0x1b, 0x1d] {
        let expected = ProtocolError::UnexpectedStatus(Status::from_byte(status));
        assert_eq!(plan(&copy, partial(status, 0, 0)), expected);
    }

    let compare = Compare::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    assert_eq!(plan(&compare, partial(0x01, 1, 100)), too_much(100, 100));
    assert_eq!(plan(&compare, partial(0x01, 2, 0)), ProtocolError::BadResult(2));
    assert_eq!(plan(&compare, partial(0x03, 1, 10)), ProtocolError::BadResult(1));
    let dualcast = Dualcast::new(0x1000, 0x9000, 0xa000, 100).build(&caps).unwrap();
    assert_eq!(plan(&dualcast, partial(0x03, 1, 10)), ProtocolError::BadResult(1));
    let copy_crc = CopyCrc::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    assert_eq!(plan(&copy_crc, partial(0x03, 1, 10)), ProtocolError::BadResult(1));

    let batch = Batch::new(0x40, 4).record(RECORD).build(&caps).unwrap();
    assert_eq!(plan(&batch, partial(0x06, 0, 5)), too_much(5, 4));
    assert_eq!(plan(&batch, partial(0x05, 0, 5)), too_much(5, 4));
    for sent in [batch, Nop::new().build(&caps).unwrap(), Drain::new().record(RECORD).build(&caps).unwrap()] {
        assert_eq!(plan(&sent, partial(0x03, 0, 0)), ProtocolError::UnexpectedStatus(Status::PAGE_FAULT));
    }
}

#[test]
fn a_fault_after_the_last_byte_is_success() {
    let caps = everything();
    let copy = Move::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    for direction in [0, 1] {
        let Resume::Complete(completion) = Resume::plan(&copy, &partial(0x83, direction, 100), &caps) else {
            panic!("all bytes are done")
        };
        assert_eq!((completion.status, completion.fault), (Status::SUCCESS, None));
    }
    let wanted = Compare::new(0x1000, 0x9000, 100).record(RECORD).expect(Expectation::Different).build(&caps).unwrap();
    let Resume::Complete(completion) = Resume::plan(&wanted, &partial(0x03, 0, 100), &caps) else {
        panic!("all bytes are compared")
    };
    assert_eq!((completion.status, completion.is_equal()), (Status::SUCCESS_FALSE, Some(true)));
    let batch = Batch::new(0x40, 4).record(RECORD).build(&caps).unwrap();
    assert!(matches!(Resume::plan(&batch, &partial(0x06, 0, 4), &caps), Resume::Complete(_)));
}

#[test]
fn an_expected_result_without_its_flag_is_ignored() {
    let caps = everything();
    let mut sent = Compare::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    sent.op_specific[0] = 1;
    let Resume::Complete(completion) = Resume::plan(&sent, &partial(0x03, 0, 100), &caps) else {
        panic!("all bytes are compared")
    };
    assert_eq!(completion.status, Status::SUCCESS);
}

#[test]
fn a_queue_without_batch_continuation_gets_no_error_flag() {
    let sent = Batch::new(0x40, 4).record(RECORD).earlier_error(true).build(&everything()).unwrap();
    let caps = first_generation();
    let expected = Batch::new(0x80, 3).record(RECORD).build(&caps).unwrap();
    let rest = Continuation { descriptor: expected, advanced: 1 };
    assert_eq!(Resume::plan(&sent, &partial(0x06, 1, 1), &caps), Resume::Continue(rest));
}

#[test]
fn errors_are_not_resumed() {
    let caps = everything();
    let copy = Move::new(0x1000, 0x9000, 100).record(RECORD).build(&caps).unwrap();
    for status in (0x07..=0x3f).filter(|status| ![0x1a, 0x1b, 0x1d, 0x26, 0x27].contains(status)) {
        let expected = Resume::Fail(Status::from_byte(status));
        assert_eq!(Resume::plan(&copy, &partial(status, 0, u32::MAX), &caps), expected);
    }
    // An operation that nobody knows.
    let foreign = Descriptor { flags_opcode: 0x0b00_000c, ..copy };
    assert_eq!(Resume::plan(&foreign, &partial(0x03, 0, 8), &caps), Resume::Fail(Status::PAGE_FAULT));
}

#[test]
fn only_what_keeps_its_input_may_start_again() {
    let caps = everything();
    let is_restartable = |built: Result<Descriptor, DescriptorError>| is_restartable(&built.unwrap());
    assert!(is_restartable(Move::new(0x1000, 0x1064, 100).build(&caps)));
    assert!(!is_restartable(Move::new(0x1000, 0x1063, 100).build(&caps)));
    assert!(!is_restartable(Move::new(0x1063, 0x1000, 100).build(&caps)));
    assert!(is_restartable(Fill::new(0x1000, 100, 1).build(&caps)));
    assert!(!is_restartable(Batch::new(0x40, 4).build(&caps)));
    let copy = CopyCrc::new(0x1000, 0x9000, 100).record(RECORD);
    assert!(is_restartable(copy.build(&caps)));
    for (seed, narrow, wide) in
        [(0x8ff8, true, true), (0x9000, false, false), (0x9060, false, false), (0x9068, true, true)]
    {
        assert_eq!(is_restartable(copy.seed_address(seed).build(&caps)), narrow, "{seed:#x}");
        assert_eq!(is_restartable(copy.seed_address(seed).crc64(true).build(&caps)), wide, "{seed:#x}");
    }
    assert!(is_restartable(copy.seed_address(0x9064).build(&caps)));
    let odd = CopyCrc::new(0x1000, 0x9004, 100).record(RECORD).seed_address(0x9000);
    assert!(is_restartable(odd.build(&caps)));
    assert!(!is_restartable(odd.crc64(true).build(&caps)));
}
