//! Resume plans of conversion and reduce, against a plain model on integers that stops at every element.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::*;
use super::everything;
use super::machine::{BASE, Memory, RECORD, all_stops, fault, run};

const FIRST: u64 = BASE;
const SECOND: u64 = BASE + 0x1000;
const TARGET: u64 = BASE + 0x2000;
const OTHER_TARGET: u64 = BASE + 0x3000;
const COUNT: u64 = 5;

/// An integer of `len` bytes.
fn read(memory: &Memory, address: u64, len: u64, signed: bool) -> i128 {
    let number = memory.number(address, len);
    let unused = 64 - 8 * len;
    if signed { i128::from((number << unused).cast_signed() >> unused) } else { i128::from(number) }
}

/// Conversion, reduce and reduce with dualcast of integers. Stop n is before element n.
fn execute(memory: &mut Memory, d: &Descriptor, stop: Option<u64>) -> CompletionRecord {
    let word = d.op_specific[2];
    let [from, to] = [word & 0xf, word >> 4 & 0xf].map(|code| 1 << code);
    let compute = word >> 8 & 0xf;
    let flags = word >> 12 & 0xfff;
    let signed = flags >> 7 & 1 == 1;
    let count = u64::from(d.xfer_size);
    let mut overflow = 0;
    for at in 0..=count {
        if stop.is_some_and(|stop| stop == at || at == count) {
            return CompletionRecord { result: overflow, ..fault(at * from) };
        }
        if at == count {
            break;
        }
        let mut value = read(memory, d.src_addr + at * from, from, signed);
        if flags & 1 == 1 {
            value = -value;
        }
        let targets = if d.opcode() == 0x18 {
            vec![d.dst_addr]
        } else {
            let mut other = read(memory, d.dst_addr + at * from, from, signed);
            if flags & 2 == 2 {
                other = -other;
            }
            value = match compute {
                1 => value + other,
                3 => value & other,
                4 => value | other,
                5 => value ^ other,
                6 => value.min(other),
                7 => value.max(other),
                other => panic!("compute type {other} is not part of this test"),
            };
            if d.opcode() == 0x19 { vec![d.op_specific[0]] } else { vec![d.op_specific[0], d.op_specific[1]] }
        };
        let bits = 8 * to;
        let (least, most) =
            if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
        if value < least || value > most {
            overflow = 4;
            if flags >> 8 & 1 == 1 {
                value = value.clamp(least, most);
            }
        }
        for target in targets {
            memory.put(target + at * to, &value.to_le_bytes()[..to as usize]);
        }
    }
    let status = if d.flags() >> 7 & 1 == 1 && overflow != 0 { 2 } else { 1 };
    CompletionRecord { status, result: overflow, ..Default::default() }
}

/// Runs with every sequence of stops; the outcome must be that of an uninterrupted run.
fn check(sent: Descriptor) {
    let start = Memory::new(0x4000);
    let mut whole = start.clone();
    let uninterrupted = run(&mut whole, sent, &[], execute)[0];
    for stops in all_stops(COUNT) {
        let mut memory = start.clone();
        let said = run(&mut memory, sent, &stops, execute);
        assert!(memory == whole, "{stops:?} {sent:?}");
        let all = |said: &[Completion]| {
            said.iter().map(|one| one.exceptions().unwrap()).fold(NumericExceptions::empty(), |all, one| all | one)
        };
        assert_eq!(Some(all(&said)), uninterrupted.exceptions(), "{stops:?} {sent:?}");
        // The status is that of the last part; together with the exceptions of all parts it is that of the whole.
        let last = said.last().unwrap();
        if sent.flags() >> 7 & 1 == 1 {
            let expected = if last.exceptions().unwrap().is_empty() { Status::SUCCESS } else { Status::SUCCESS_FALSE };
            assert_eq!(last.status, expected, "{stops:?}");
        } else {
            assert_eq!(last.status, Status::SUCCESS);
        }
    }
}

const INTEGERS: [DataType; 4] = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];

#[test]
fn conversions() {
    for from in INTEGERS {
        for to in INTEGERS {
            for flags in 0..16_u32 {
                let on = |bit: u32| flags >> bit & 1 == 1;
                let built = TypeConvert::new(FIRST, from, TARGET, to, COUNT)
                    .record(RECORD)
                    .negate(on(0))
                    .signed(on(1))
                    .saturate(on(2))
                    .check_result(on(3));
                check(built.build(&everything()).unwrap());
            }
        }
        // In place.
        check(
            TypeConvert::new(FIRST, from, FIRST, from, COUNT).record(RECORD).negate(true).build(&everything()).unwrap(),
        );
    }
}

#[test]
fn reductions() {
    for &compute in ComputeType::ALL {
        for from in INTEGERS {
            for to in INTEGERS {
                let reduce = Reduce::new(FIRST, SECOND, TARGET, compute, from, COUNT).output(to).record(RECORD);
                check(reduce.build(&everything()).unwrap());
                check(reduce.signed(true).negate_second(true).check_result(true).build(&everything()).unwrap());
            }
            // Into either source, and of a region with itself.
            for (second, target) in [(SECOND, FIRST), (SECOND, SECOND), (FIRST, FIRST), (FIRST, TARGET)] {
                let reduce = Reduce::new(FIRST, second, target, compute, from, COUNT).record(RECORD);
                check(reduce.build(&everything()).unwrap());
            }
        }
    }
}

#[test]
fn reductions_to_two_destinations() {
    for &compute in ComputeType::ALL {
        for from in INTEGERS {
            for to in INTEGERS {
                let destinations = [TARGET, OTHER_TARGET];
                let reduce = ReduceDualcast::new([FIRST, SECOND], destinations, compute, from, COUNT);
                check(reduce.output(to).record(RECORD).build(&everything()).unwrap());
            }
            for destinations in [[FIRST, TARGET], [TARGET, SECOND], [SECOND, FIRST]] {
                let reduce = ReduceDualcast::new([FIRST, SECOND], destinations, compute, from, COUNT);
                check(reduce.record(RECORD).saturate(true).build(&everything()).unwrap());
            }
        }
    }
}

#[test]
fn what_advances() {
    let caps = everything();
    let handle = IdptHandle::new(5);
    let plan = |sent: &Descriptor, completed| match Resume::plan(sent, &fault(completed), &caps) {
        Resume::Continue(rest) => rest,
        other => panic!("{other:?}"),
    };
    let convert = |source, target, count| {
        TypeConvert::new(source, DataType::Fp16, target, DataType::Fp32, count).record(RECORD).source_handle(handle)
    };
    let sent = convert(0x1000, 0x2000, 9).build(&caps).unwrap();
    let rest = convert(0x1006, 0x200c, 6).build(&caps).unwrap();
    assert_eq!(plan(&sent, 6), Continuation { descriptor: rest, advanced: 6 });

    let dualcast = |first, second, third, fourth, count| {
        ReduceDualcast::new([first, second], [third, fourth], ComputeType::Max, DataType::Fp64, count)
            .output(DataType::Fp32)
            .destination_handle(handle)
            .build(&caps)
            .unwrap()
    };
    let sent = dualcast(0x1000, 0x2000, 0x3000, 0x4000, 9);
    let rest = dualcast(0x1018, 0x2018, 0x300c, 0x400c, 6);
    assert_eq!(plan(&sent, 24), Continuation { descriptor: rest, advanced: 24 });
}

#[test]
fn gather_reduce_starts_again() {
    let caps = everything();
    let list = Sgl::new(0x1000, 3, SglFormat::Index32).base(0x8000);
    let build = |fence| {
        let reduce = GatherReduce::new(list, 0x4000, ComputeType::Add, DataType::Fp32, 9).record(RECORD).fence(fence);
        if fence { reduce.build_member(&caps) } else { reduce.build(&caps) }.unwrap()
    };
    let record = CompletionRecord { op_specific: [2 << 32, 0], result: 1, ..fault(0) };
    let rest = Continuation { descriptor: build(false), advanced: 0 };
    assert_eq!(Resume::plan(&build(true), &record, &caps), Resume::Continue(rest));
    assert_eq!(Completion::decode(0x1b, &record).entries_completed(), Some(2));
    // What destroys its own list is not tried again.
    let mut overlapping = build(false);
    overlapping.dst_addr = 0x1008;
    assert_eq!(Resume::plan(&overlapping, &record, &caps), Resume::Fail(Status::PAGE_FAULT));
}
