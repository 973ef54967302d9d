//! Hostile typed, scatter-gather and inter-domain descriptors: no panic, no bytes where none may be written, whatever the
//! descriptor, the list, the table or memory that changes meanwhile.

mod common;
mod descriptors;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use descriptors::*;
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Checks, Config, Device, Effect, Enqcmd, FaultRule, PageFault, Permission,
    PermissionEntry, Requester, Span, WqConfig,
};
use idxd_sys::compute::compute_type::ADD;
use idxd_sys::compute::data_type as ty;
use idxd_sys::compute::sgl_format::{INDEX_64, OFFSET_64};
use idxd_sys::{Descriptor, flag, opcode, status};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const CODES: [u8; 12] = [
    opcode::TYPE_CONV,
    opcode::REDUCE,
    opcode::REDUCE_DUALCAST,
    opcode::GATHER_REDUCE,
    opcode::GATHER_COPY,
    opcode::SCATTER_COPY,
    opcode::SCATTER_FILL,
    opcode::UPDATE_WINDOW,
    opcode::INTER_DOMAIN_COPY,
    opcode::INTER_DOMAIN_FILL,
    opcode::INTER_DOMAIN_COMPARE,
    opcode::INTER_DOMAIN_COMPVAL,
];

/// Near something: the ends of regions and of the address space, the window, its offsets.
fn address() -> impl Strategy<Value = u64> {
    let near = prop::sample::select(vec![
        RECORDS,
        SRC,
        DST,
        DST2,
        LIST,
        SRC + LEN,
        WINDOW.0,
        WINDOW.0 + WINDOW.1,
        WINDOW.1,
        0,
    ]);
    let offset =
        prop_oneof![Just(0i64), -100i64..100, (-3i64..20).prop_map(|n| n * 64), (-2i64..2).prop_map(|n| n * 4096)];
    prop_oneof![6 => (near, offset).prop_map(|(at, by)| at.wrapping_add_signed(by)), 1 => any::<u64>()]
}

/// Mostly right, for one of the operations.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let flags = prop_oneof![4 => Just(0u32), 4 => (0u32..8).prop_map(|n| n << 16), 2 => Just(flag::BLOCK_ON_FAULT), 1 => any::<u32>()];
    let types = prop_oneof![4 => (0u8..10).prop_map(|kind| kind | kind << 4), 1 => any::<u8>()];
    let handles = prop_oneof![4 => 0u32..4, 1 => any::<u32>()];
    let sizes = (prop_oneof![0u32..64, any::<u32>()], prop_oneof![0u16..20, any::<u16>()], any::<bool>());
    let rest =
        (types, prop_oneof![4 => 1u8..8, 1 => any::<u8>()], prop_oneof![3 => 0u8..64, 1 => any::<u8>()], handles);
    (prop::sample::select(CODES.to_vec()), flags, [address(), address(), address(), address()], sizes, rest).prop_map(
        |(code, flags, [src, dst, third, fourth], (count, entries, right), (types, function, selector, handles))| {
            let mut d = Descriptor { src_addr: src, dst_addr: dst, xfer_size: count, ..desc(code, flags) };
            d.op_specific = [third, fourth, 0];
            if matches!(code, opcode::GATHER_REDUCE..=opcode::SCATTER_FILL) {
                d.set_op_u32(40, if code == opcode::GATHER_REDUCE { 0 } else { count });
                d.set_op_u32(44, u32::from(entries));
                let size = u64::from(ty::size(types & 0xf).unwrap_or(1));
                let total = u64::from(entries) * u64::from(count) * size;
                d.xfer_size = if right && code != opcode::GATHER_REDUCE { total as u32 } else { count };
            } else if !matches!(code, opcode::REDUCE | opcode::REDUCE_DUALCAST) {
                d.op_specific = [0; 3];
            }
            d.set_op_u8(56, types);
            d.set_op_u8(57, function);
            d.set_op_u8(
                59,
                if matches!(code, opcode::GATHER_REDUCE..=opcode::SCATTER_FILL) { selector << 4 } else { selector },
            );
            d.set_op_u32(60, handles);
            d
        },
    )
}

/// What entry 0 opens of the first domain's source region.
const WINDOW: (u64, u64) = (SRC + 0x1234, 0x2345);

/// Bytes of the source region of the other domains, all that they have.
const OTHER: u64 = 5 * PAGE;

fn contents(d: &Domains) -> [Vec<u8>; 2] {
    [FIRST, SECOND].map(|pasid| d.bytes(pasid, SRC, OTHER as usize))
}

/// Entry 0 is a window in the first domain, by address or offset; entry 1 is read only, in the second.
fn hostile(checks: Checks, offset: bool, seed: u64) -> Domains {
    let mut config = full().manual().checks(checks).seed(seed);
    config.inter_domain.request_handles = false;
    config.chunk = if seed.is_multiple_of(3) { 100 } else { 1 << 16 };
    config.choices.partial_list_entries = seed.is_multiple_of(2);
    let d = domains_of(
        config,
        &[(OWN, &[RECORDS, SRC, DST, DST2, LIST], LEN), (FIRST, &[SRC], OTHER), (SECOND, &[SRC], OTHER)],
    );
    let entry = PermissionEntry::single(OWN, FIRST);
    d.entry(0, if offset { entry.offset_window(WINDOW.0, WINDOW.1) } else { entry.window(WINDOW.0, WINDOW.1) });
    d.entry(1, PermissionEntry::single(OWN, SECOND).permit(true, false));
    d.entry(2, PermissionEntry::single(FIRST, OWN));
    d.of(OWN).set_present(SRC + 2 * PAGE, PAGE, false).unwrap();
    d.of(OWN).set_resolvable(SRC + 2 * PAGE, PAGE, seed.is_multiple_of(5)).unwrap();
    d.of(OWN).protect(DST + PAGE, PAGE, Permission::ReadOnly).unwrap();
    d.put(OWN, DST + PAGE, &[7; PAGE as usize]);
    d
}

/// Lists with entries that are small, near addresses, or anything.
fn lists(d: &Domains, seed: u64) {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let entries: Vec<u8> = (0..512)
        .flat_map(|_| {
            match next() % 4 {
                0 => next(),
                1 => next() % 0x4000,
                2 => 0u64.wrapping_sub(next() % 0x2000),
                _ => next() % 8 * 8,
            }
            .to_le_bytes()
        })
        .collect();
    d.put(OWN, LIST, &entries);
}

/// Runs descriptors, and asserts that nothing outside of own memory and the window was written.
fn runs_harmlessly(d: &Domains, descriptors: &[Descriptor]) {
    let before = contents(d);
    for descriptor in descriptors {
        submit_by(&d.client, descriptor);
    }
    d.device.run_until_idle();
    let counters = d.device.counters();
    assert_eq!((counters.accepted, d.client.outstanding()), (descriptors.len() as u64, 0));
    assert_eq!(d.bytes(OWN, DST + PAGE, PAGE as usize), [7; PAGE as usize], "a read-only page was written");
    let after = contents(d);
    assert!(before[1] == after[1], "the second domain is for reading");
    let (start, end) = ((WINDOW.0 - SRC) as usize, (WINDOW.0 + WINDOW.1 - SRC) as usize);
    assert!(before[0][..start] == after[0][..start] && before[0][end..] == after[0][end..], "outside of the window");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 4000 }))]

    #[test]
    fn almost_valid_descriptors(list in prop::collection::vec(descriptor(), 1..8), strict: bool, offset: bool, seed: u64) {
        let d = hostile(if strict { Checks::Strict } else { Checks::Lenient }, offset, seed);
        lists(&d, seed);
        runs_harmlessly(&d, &list);
    }

    #[test]
    fn trouble_on_top_of_trouble(list in prop::collection::vec(descriptor(), 1..8), offset: bool, seed: u64) {
        let d = hostile(Checks::Lenient, offset, seed);
        lists(&d, seed);
        d.device.inject(FaultRule::new(Effect::PageFault { resolvable: true }).probability(0.3));
        d.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(SRC..SRC + 7777).probability(0.3));
        d.device.inject(FaultRule::new(Effect::RecordFault).probability(0.2));
        runs_harmlessly(&d, &list);
    }

    #[test]
    fn arbitrary_entries(words: [u64; 4], list in prop::collection::vec(descriptor(), 1..8), seed: u64) {
        let d = hostile(Checks::Lenient, false, seed);
        lists(&d, seed);
        // Anything but who may use it and whose memory it is; that of nobody cannot be reached.
        let owner = PermissionEntry::single(OWN, 99).words()[0];
        let entry = PermissionEntry::from_words([words[0] & 0x1f_0000_0003 | owner, words[1], words[2], words[3] & seed]);
        d.entry(0, entry);
        let before = contents(&d);
        for descriptor in &list {
            submit_by(&d.client, descriptor);
        }
        d.device.run_until_idle();
        assert!(before == contents(&d));
    }

    #[test]
    fn arbitrary_members_of_batches(list in prop::collection::vec(descriptor(), 2..20), offset: bool, seed: u64) {
        let d = hostile(Checks::Lenient, offset, seed);
        lists(&d, seed);
        for (i, member) in list.iter().enumerate() {
            d.put(OWN, DST2 + 4 * PAGE + 64 * i as u64, member.as_bytes());
        }
        let batch = Descriptor { src_addr: DST2 + 4 * PAGE, xfer_size: list.len() as u32, ..desc(opcode::BATCH, 0) };
        runs_harmlessly(&d, &[with_record(batch, 2047)]);
    }
}

#[test]
fn the_largest_operations_end_at_the_first_page_that_is_not_there() {
    let rig = rig3();
    // As far as the regions are apart.
    let huge = 1 << 20;
    let bytes = |d: &Descriptor| u64::from(rig.run(d).bytes_completed);
    assert_eq!(bytes(&convert(SRC, DST, huge, (ty::INT8, ty::INT8), 0)), LEN);
    assert_eq!(bytes(&reduce(SRC, DST, DST2, huge / 8, (ty::FP64, ty::FP64), ADD, 0)), LEN);
    let list = Sgl { at: LIST, entries: 1024, format: INDEX_64, base: SRC };
    let far = 1 << 40;
    rig.memory.map(far, LEN, Permission::ReadWrite).unwrap();
    assert_eq!(bytes(&gather(list, far, 1 << 20, ty::INT8)), LEN, "the first of 1024 buffers");
    let rig = rig_of(Config::diamond_rapids().queue(WqConfig::shared(8)));
    let record = rig.run(&gather_reduce(list, DST, 16384, (ty::INT8, ty::INT8), ADD, 0));
    assert_eq!(record.status, status::SUCCESS, "1024 times the same 16 KiB");
}

/// Address space whose spans are single bytes.
struct Crumbs(Arc<CheckedMemory>);

// SAFETY: shorter spans of the memory behind it.
unsafe impl AddressSpace for Crumbs {
    fn translate(&self, by: Requester, addr: u64, _: u64, access: Access) -> Result<Span, PageFault> {
        self.0.translate(by, addr, 1, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.0.resolve(by, addr, access)
    }
}

#[test]
fn spans_of_single_bytes_are_enough() {
    let memory = memory();
    let device = Device::with_memory(full().manual(), Arc::new(Crumbs(memory.clone()))).unwrap();
    let client = device.open(0).unwrap();
    let rig = Rig { device, client, memory };
    rig.put(SRC, &noise(800, 1));
    rig.put(LIST, &[8u64, 16, 24].map(u64::to_le_bytes).concat());
    let list = Sgl { at: LIST, entries: 3, format: OFFSET_64, base: SRC };
    // Records need 32 bytes in one piece, so what tells is the data.
    let run = |d: &Descriptor| {
        rig.submit(&with_flags(*d, 0));
        rig.device.run_until_idle();
    };
    run(&reduce(SRC, SRC + 8, DST, 90, (ty::INT64, ty::INT64), ADD, 0));
    let word = |at: u64| u64::from_le_bytes(rig.bytes(at, 8).try_into().unwrap());
    assert!((0..90).all(|i| word(DST + 8 * i) == word(SRC + 8 * i).wrapping_add(word(SRC + 8 * i + 8))));
    run(&gather(list, DST2, 1, ty::INT64));
    assert_eq!(rig.bytes(DST2, 24), rig.bytes(SRC + 8, 24));
    run(&gather_reduce(list, DST2 + 64, 2, (ty::INT64, ty::INT64), ADD, 0));
    assert_eq!(word(DST2 + 64), [8, 16, 24].iter().fold(0, |sum: u64, at| sum.wrapping_add(word(SRC + at))));
    assert_eq!(rig.device.software_error(), None);
}

/// Lists, windows and data that change while engines use them.
#[test]
fn memory_and_table_that_change_meanwhile() {
    let mut config = full().engines(2);
    config.inter_domain.request_handles = false;
    let d = domains_of(config, &[(OWN, &[RECORDS, SRC, DST, DST2, LIST], LEN), (FIRST, &[SRC], OTHER)]);
    let (narrow, wide) = (
        PermissionEntry::single(OWN, FIRST).window(SRC, PAGE),
        PermissionEntry::single(OWN, FIRST).window(SRC, 2 * PAGE),
    );
    d.entry(0, narrow);
    let before = d.bytes(FIRST, SRC, OTHER as usize);
    let stop = AtomicBool::new(false);
    let list = Sgl { at: LIST, entries: 64, format: OFFSET_64, base: SRC };
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut round = 0u64;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let entry = if round.is_multiple_of(2) { 64 } else { u64::MAX << (round % 64) };
                (0..64).for_each(|i| d.put(OWN, LIST + 8 * i, &entry.to_le_bytes()));
                d.entry(0, if round.is_multiple_of(3) { wide } else { narrow });
            }
        });
        for i in 0..300 {
            for descriptor in [
                through(scatter(DST, list, 64, ty::INT8), None, Some(0)),
                through(gather(list, DST2, 64, ty::INT8), Some(0), None),
                gather_reduce(list, DST2, 8, (ty::INT64, ty::INT64), ADD, 0),
            ] {
                let descriptor = with_record(descriptor, i % 64);
                // SAFETY: checked memory, where any 64 bytes are fine.
                while unsafe { d.client.enqcmd(&descriptor) } == Enqcmd::Retry {
                    std::thread::yield_now();
                }
            }
        }
        assert!(d.client.drain());
        stop.store(true, Ordering::Relaxed);
    });
    assert!(before[2 * PAGE as usize..] == d.bytes(FIRST, SRC, OTHER as usize)[2 * PAGE as usize..]);
}
