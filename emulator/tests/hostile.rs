//! Whatever a submitter sends, the process that hosts the model survives, and only mapped memory changes.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Checks, Config, Device, Effect, Enqcmd, FaultRule, MemberOrder, PageFault,
    Permission, Requester, Span, WqConfig, config,
};
use idxd_sys::{Descriptor, flag, opcode, status};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// Addresses where something interesting is: region starts and ends, holes, the ends of the address space.
fn address() -> impl Strategy<Value = u64> {
    let near = prop_oneof![
        Just(RECORDS),
        Just(SRC),
        Just(DST),
        Just(DST2),
        Just(LIST),
        Just(LIST + LEN),
        Just(SRC + LEN),
        Just(SRC + 3 * PAGE),
        Just(0),
        Just(u64::MAX),
        Just(TOP),
    ];
    let offset = prop_oneof![-100i64..100, (-3i64..3).prop_map(|n| n * 32), (-6i64..6).prop_map(|n| n * 4096)];
    prop_oneof![4 => (near, offset).prop_map(|(a, o)| a.wrapping_add_signed(o)), 1 => any::<u64>()]
}

/// Last page of the address space, mapped.
const TOP: u64 = 0u64.wrapping_sub(PAGE);

fn descriptor() -> impl Strategy<Value = Descriptor> {
    // Whole blocks, with and without tuples, are what data-integrity operations take.
    let blocks = (1u32..100, prop_oneof![Just(512), Just(520)]).prop_map(|(n, block)| n * block);
    let size = prop_oneof![0u32..100, 0u32..100_000, any::<u32>(), Just(2), blocks];
    let code = prop_oneof![8 => 0u8..0x18, 1 => any::<u8>(), 1 => Just(opcode::CFLUSH), 2 => Just(opcode::BATCH)];
    let flags = prop_oneof![3 => Just(CR), 1 => Just(flag::CRAV), 1 => any::<u32>(), 1 => Just(CR | flag::FENCE),
        1 => Just(CR | flag::BLOCK_ON_FAULT), 1 => (0u32..16).prop_map(|n| CR | n << 16)];
    let rest = prop_oneof![3 => Just([0u64; 3]), 1 => any::<[u64; 3]>(),
        1 => (address(), address()).prop_map(|(a, b)| [a, b, 0])];
    (code, flags, address(), address(), address(), size, rest).prop_map(
        |(code, flags, completion_addr, src_addr, dst_addr, xfer_size, op_specific)| {
            let mut d =
                Descriptor { completion_addr, src_addr, dst_addr, xfer_size, op_specific, ..Descriptor::default() };
            d.set_opcode_flags(code, flags);
            d
        },
    )
}

/// A rig with everything the device can have, a hole in the source, and the last page of the address space mapped.
fn hostile_rig(checks: Checks, seed: u64) -> Rig {
    let mut config = Config::granite_rapids()
        .queue(WqConfig::shared(64).block_on_fault(true))
        .checks(checks)
        .seed(seed)
        .backward_moves(0.5)
        .member_order(if seed.is_multiple_of(2) { MemberOrder::InOrder } else { MemberOrder::Shuffled });
    config.gencap |= config::gencap::BATCH_1;
    let rig = rig_of(config);
    rig.memory.map(TOP, PAGE, Permission::ReadWrite).unwrap();
    rig.absent(SRC + 3 * PAGE);
    rig.memory.set_resolvable(SRC + 3 * PAGE, PAGE, seed.is_multiple_of(3)).unwrap();
    rig.memory.protect(DST + 5 * PAGE, PAGE, Permission::ReadOnly).unwrap();
    rig
}

/// Every count adds up after arbitrary descriptors.
fn check_counts(rig: &Rig, submitted: u64) {
    let counters = rig.device.counters();
    assert_eq!(counters.accepted, submitted);
    assert_eq!(rig.client.occupancy(), 0);
    assert!(counters.records <= counters.total_executed() + 10 * submitted);
    rig.client.quiesce();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    #[test]
    fn arbitrary_bytes(bytes: [[u8; 32]; 2], strict: bool, seed: u64) {
        let rig = hostile_rig(if strict { Checks::Strict } else { Checks::Lenient }, seed);
        let d = Descriptor::read_from_bytes(bytes.as_bytes()).unwrap();
        rig.submit(&d);
        rig.device.run_until_idle();
        check_counts(&rig, 1);
    }

    #[test]
    fn almost_valid_descriptors(list in proptest::collection::vec(descriptor(), 1..8), strict: bool, seed: u64) {
        let rig = hostile_rig(if strict { Checks::Strict } else { Checks::Lenient }, seed);
        for d in &list {
            rig.submit(d);
        }
        rig.device.run_until_idle();
        check_counts(&rig, list.len() as u64);
        let mut last = [0; PAGE as usize];
        rig.memory.read(DST + 5 * PAGE, &mut last).unwrap();
        prop_assert!(last == [0; PAGE as usize], "a read-only page was written");
    }

    #[test]
    fn almost_valid_lists(
        list in proptest::collection::vec(descriptor(), 1..40), at in 0u64..3, extra in 0u32..3, seed: u64,
    ) {
        let rig = hostile_rig(Checks::Lenient, seed);
        // The list may straddle the end of the region, so that its tail is not there.
        let base = [LIST, LIST + LEN - 64 * 8, RECORDS][at as usize];
        for (i, d) in list.iter().enumerate() {
            let _ = rig.memory.write(base + 64 * i as u64, d.as_bytes());
        }
        let count = list.len() as u32 + extra;
        let batch = Descriptor { src_addr: base, xfer_size: count, ..desc(opcode::BATCH, 0) };
        rig.submit(&with_record(batch, 2047));
        rig.device.run_until_idle();
        check_counts(&rig, 1);
    }

    #[test]
    fn trouble_on_top_of_trouble(list in proptest::collection::vec(descriptor(), 1..8), seed: u64) {
        let rig = hostile_rig(Checks::Strict, seed);
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: true }).probability(0.3));
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(SRC..SRC + 77).probability(0.3));
        rig.device.inject(FaultRule::new(Effect::RecordFault).probability(0.2));
        rig.device.inject(FaultRule::new(Effect::HardwareError(status::HW_READ)).every(5));
        for d in &list {
            rig.submit(d);
        }
        rig.device.run_until_idle();
        check_counts(&rig, list.len() as u64);
    }
}

#[test]
fn regions_that_wrap_around_fault_and_touch_nothing() {
    let rig = hostile_rig(Checks::Strict, 0);
    rig.put(TOP, &[7; PAGE as usize]);
    for d in [
        memmove(u64::MAX - 9, DST, 100),
        memmove(DST, u64::MAX - 9, 100),
        fill(u64::MAX - 9, 0, 100),
        compare(u64::MAX - 9, DST, 100),
        compare_pattern(u64::MAX - 9, 0x0707_0707_0707_0707, 100),
        dualcast(DST, u64::MAX - 9, u64::MAX - 9 - PAGE, 100),
        crc(u64::MAX - 9, 100, 0, 0),
        copy_crc(DST, u64::MAX - 9, 100, 0, 0),
        cache_flush(u64::MAX - 9, 100),
    ] {
        rig.put(TOP, &[7; PAGE as usize]);
        let record = rig.run(&d);
        let name = opcode::name(d.opcode()).unwrap();
        let compared = d.opcode() == opcode::COMPARE && record.result == 1;
        assert!(compared || record.status & 0x3f == status::PAGE_FAULT, "{name}: {record:?}");
        assert!(record.bytes_completed <= 10, "{name}");
        // Some moves run backwards, and the second destination is not mapped at all.
        if compared || record.result == 1 || d.opcode() == opcode::DUALCAST {
            continue;
        }
        assert_eq!(record.bytes_completed, 10, "{name}: the last byte of the address space counts");
        let blocked = rig.run(&with_flags(d, CR | flag::BLOCK_ON_FAULT));
        let write = record.status & status::FAULT_WRITE;
        assert_eq!(blocked.status, status::PAGE_RESPONSE | write, "{name}: no page request for it can be granted");
    }
}

#[test]
fn a_record_may_be_the_last_of_the_address_space() {
    let rig = hostile_rig(Checks::Strict, 0);
    let last = u64::MAX - 31;
    assert_eq!(rig.status(&Descriptor { completion_addr: last, ..nop() }), status::SUCCESS);
    assert_eq!(rig.device.software_error(), None);
}

#[test]
fn huge_sizes_end_at_the_first_page_that_is_not_there() {
    let rig = hostile_rig(Checks::Strict, 1);
    let huge = 1 << 31;
    for (d, done) in [
        (memmove(LIST, DST2, huge), LEN),
        (memmove(DST2, LIST, huge), 0), // backwards, from an end that is not there
        (crc(DST, huge, 0, 0), LEN),
        (compare(DST2, DST, huge), LEN),
        (fill(DST2, 0, huge), LEN),
        (fill(DST, 0, huge), 5 * PAGE),
    ] {
        assert_eq!(u64::from(rig.run(&d).bytes_completed), done);
    }
}

#[test]
fn a_list_that_holds_its_own_records_and_data() {
    let rig = rig();
    let mut members = vec![with_record(fill(LIST, 0xffff_ffff_ffff_ffff, 256), 1)];
    members.extend((0..7).map(|i| Descriptor { completion_addr: LIST + 64 * i, ..nop() }));
    let mut batch = rig.list(&members);
    batch.completion_addr = LIST + 32;
    rig.submit(&batch);
    rig.device.run_until_idle();
    // Members 1 to 3 were overwritten before they were read: no such opcode, and a fence that abandons the rest.
    let record = rig.record(LIST + 32);
    assert_eq!((record.status, record.bytes_completed), (status::BATCH_FAIL, 2));
}

#[test]
fn records_inside_operands_win_over_data() {
    let rig = rig();
    rig.put(SRC, &[0x33; 64]);
    let d = Descriptor { completion_addr: DST + 32, ..memmove(SRC, DST, 64) };
    let record = rig.run(&d);
    assert_eq!(record.status, status::SUCCESS);
    assert_eq!(rig.bytes(DST, 32), [0x33; 32]);
    // A record inside the source is written after the source was read.
    rig.put(SRC, &[0x44; 64]);
    rig.submit(&Descriptor { completion_addr: SRC, ..memmove(SRC, DST, 64) });
    rig.device.run_until_idle();
    assert_eq!(rig.bytes(DST, 64), [0x44; 64]);
    assert_eq!(rig.record(SRC).status, status::SUCCESS);
}

/// Grants every page request and maps nothing but the records.
struct Liar(Arc<CheckedMemory>);

// SAFETY: all spans come from the checked memory, which lives as long as this.
unsafe impl AddressSpace for Liar {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        if addr < SRC { self.0.translate(by, addr, len, access) } else { Err(PageFault { addr }) }
    }

    fn resolve(&self, _: Requester, _: u64, _: Access) -> bool {
        true
    }
}

#[test]
fn page_requests_granted_in_vain_end() {
    let memory = memory();
    let config = Config::sapphire_rapids().queue(WqConfig::shared(8).block_on_fault(true)).manual();
    let device = Device::with_memory(config, Arc::new(Liar(memory.clone()))).unwrap();
    let client = device.open(0).unwrap();
    // SAFETY: checked memory.
    let accepted = unsafe { client.enqcmd(&with_flags(memmove(SRC, DST, 8), CR | flag::BLOCK_ON_FAULT)) };
    assert_eq!((accepted, client.outstanding()), (Enqcmd::Accepted, 1));
    client.quiesce();
    assert_eq!((memory.status(RECORDS).unwrap(), client.outstanding()), (status::PAGE_RESPONSE, 0));
}

#[test]
fn pages_that_come_and_go_while_the_device_works() {
    let memory = memory();
    let config = Config::granite_rapids().queue(WqConfig::shared(64).block_on_fault(true)).engines(2);
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                flicker(&memory, round);
                round += 1;
            }
        });
        for id in 0..2u64 {
            let (device, memory) = (&device, &memory);
            s.spawn(move || {
                let client = device.open(0).unwrap();
                for round in 0..300u64 {
                    let at = RECORDS + PAGE + 32 * id;
                    memory.write(at, &[0; 32]).unwrap();
                    let bof = if round.is_multiple_of(2) { flag::BLOCK_ON_FAULT } else { 0 };
                    let op = match round % 4 {
                        0 => memmove(SRC, DST, LEN as u32),
                        1 => Descriptor { src_addr: LIST, xfer_size: 100, ..desc(opcode::BATCH, 0) },
                        2 => crc(SRC, LEN as u32, 0, 0),
                        _ => compare(SRC, DST, LEN as u32),
                    };
                    let bof = if op.opcode() == opcode::BATCH { 0 } else { bof };
                    let d = Descriptor { completion_addr: at, ..with_flags(op, CR | bof) };
                    // SAFETY: checked memory.
                    while unsafe { client.enqcmd(&d) } == Enqcmd::Retry {}
                    client.quiesce();
                    assert_ne!(memory.status(at).unwrap(), 0, "every descriptor with a good record completes");
                }
            });
        }
        // The submitters end by themselves; the flickering stops after them.
        s.spawn(|| {
            while device.counters().accepted < 600 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

/// Changes data, list and page bits under a working device.
fn flicker(memory: &Arc<CheckedMemory>, round: u64) {
    let page = PAGE * (round % 16);
    memory.set_present(SRC + page, PAGE, !round.is_multiple_of(3)).unwrap();
    memory.set_resolvable(SRC + page, PAGE, round.is_multiple_of(5)).unwrap();
    memory.set_present(LIST, PAGE, !round.is_multiple_of(7)).unwrap();
    let member = with_flags(fill(DST + page, round, 100), if round.is_multiple_of(2) { 0 } else { flag::FENCE });
    memory.write(LIST + 64 * (round % 64), member.as_bytes()).unwrap();
    memory.write(SRC + page, &round.to_le_bytes()).unwrap();
}
