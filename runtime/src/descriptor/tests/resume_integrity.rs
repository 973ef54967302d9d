//! Resume plans of the data-integrity operations, against a plain model of appendix B that stops at every block.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::*;
use super::machine::{BASE, Memory, RECORD, all_stops, fault, run};
use super::{bytes_of, everything};

const SRC: u64 = BASE;
const DST: u64 = BASE + 0x1000;
const BLOCKS: u64 = 3;

/// The guard of a block: CRC-16 with the polynomial 0x18bb7, bit by bit.
fn guard(data: &[u8], dif_flags: u8) -> u16 {
    let mut state: u16 = if dif_flags & 4 == 0 { 0 } else { 0xffff };
    for &byte in data {
        state ^= u16::from(byte) << 8;
        for _ in 0..8 {
            state = state << 1 ^ if state & 0x8000 == 0 { 0 } else { 0x8bb7 };
        }
    }
    if dif_flags & 8 == 0 { state } else { !state }
}

#[test]
fn the_plain_guard_gives_the_check_values() {
    assert_eq!(guard(b"123456789", 0), 0xd0db);
    assert_eq!(guard(b"123456789", 8), !0xd0db);
    assert_eq!(guard(&[0; 32], 0), 0);
    assert_ne!(guard(&[0; 32], 4), 0);
}

/// Tags as they go from block to block.
#[derive(Clone, Copy)]
struct Tags {
    reference: u32,
    mask: u16,
    application: u16,
    fixed_reference: bool,
    counting_application: bool,
}

impl Tags {
    fn of(seeds: &[u8], flags: u8) -> Self {
        Self {
            reference: u32::from_le_bytes(seeds[..4].try_into().unwrap()),
            mask: u16::from_le_bytes(seeds[4..6].try_into().unwrap()),
            application: u16::from_le_bytes(seeds[6..8].try_into().unwrap()),
            fixed_reference: flags & 0x80 != 0,
            counting_application: flags & 0x10 != 0,
        }
    }

    fn advance(&mut self) {
        self.reference = self.reference.wrapping_add(u32::from(!self.fixed_reference));
        self.application = self.application.wrapping_add(u16::from(self.counting_application));
    }

    fn word(self) -> u64 {
        u64::from(self.reference) | u64::from(self.mask) << 32 | u64::from(self.application) << 48
    }

    fn tuple(self, guard: u16) -> [u8; 8] {
        let tags = u64::from(self.application & !self.mask) << 32 | u64::from(self.reference);
        (u64::from(guard) << 48 | tags).to_be_bytes()
    }
}

/// All five operations. Stop n is before block n.
fn execute(memory: &mut Memory, d: &Descriptor, stop: Option<u64>) -> CompletionRecord {
    let bytes = bytes_of(d);
    let [source_flags, made_flags, dif_flags] = [bytes[40], bytes[41], bytes[42]];
    let block = [512, 520, 4096, 4104][usize::from(dif_flags & 3)];
    let (has_tuples, copies, makes_tuples) = match d.opcode() {
        0x12 => (true, false, false),
        0x13 => (false, true, true),
        0x14 => (true, true, false),
        0x15 => (true, true, true),
        0x17 => (false, false, true),
        other => panic!("opcode {other:#x} is not part of this test"),
    };
    let unit = block + if has_tuples { 8 } else { 0 };
    let blocks = u64::from(d.xfer_size) / unit;
    let mut expected = Tags::of(&bytes[48..56], source_flags);
    let mut made = Tags::of(&bytes[56..64], made_flags);
    let mut to = d.dst_addr;
    for at in 0..=blocks {
        let from = d.src_addr + at * unit;
        if stop.is_some_and(|stop| stop == at || at == blocks) {
            // Tags without a block done must never be used.
            let tags = if at == 0 { [0xdead_dead_dead_dead; 2] } else { [expected.word(), made.word()] };
            return CompletionRecord { op_specific: tags, ..fault(at * unit) };
        }
        if at == blocks {
            break;
        }
        let data = memory.get(from, block).to_vec();
        let guard = guard(&data, dif_flags);
        let mut tuple = made.tuple(guard);
        if has_tuples {
            let found = memory.get(from + block, 8).to_vec();
            let wanted = expected.tuple(guard);
            let mut status = 0;
            if source_flags & 0x20 == 0 && found[..2] != wanted[..2] {
                status |= 1;
            }
            let [high, low] = (!expected.mask).to_be_bytes();
            if [found[2] & high, found[3] & low] != wanted[2..4] {
                status |= 2;
            }
            if source_flags & 0x40 == 0 && found[4..] != wanted[4..] {
                status |= 4;
            }
            if status != 0 {
                return CompletionRecord { status: 9, result: status, ..fault(at * unit) };
            }
            for (flag, range) in [(0x20, 0..2), (0x08, 2..4), (0x40, 4..8)] {
                if made_flags & flag != 0 {
                    tuple[range.clone()].copy_from_slice(&found[range]);
                }
            }
        }
        if copies {
            memory.put(to, &data);
            to += block;
        }
        if makes_tuples {
            memory.put(to, &tuple);
            to += 8;
        }
        expected.advance();
        made.advance();
    }
    CompletionRecord { status: 1, op_specific: [expected.word(), made.word()], ..Default::default() }
}

/// Memory whose source holds blocks with the tuples that are expected.
fn protected(expected: DifSource, dif_flags: u8) -> Memory {
    let mut memory = Memory::new(0x3000);
    let mut tags = Tags::of(&expected.tags.word().to_le_bytes(), expected.flags);
    for at in 0..BLOCKS {
        let from = SRC + at * 520;
        let tuple = tags.tuple(guard(memory.get(from, 512), dif_flags));
        memory.put(from + 512, &tuple);
        tags.advance();
    }
    memory
}

/// Each operation with these tags, and the memory that it starts from.
fn operations(expected: DifSource, made: DifDestination, inverted: bool) -> Vec<(Descriptor, Memory)> {
    let caps = everything();
    let block = DifBlock::Bytes512;
    let memory = protected(expected, if inverted { 0xc } else { 0 });
    let (with, without) = (BLOCKS * 520, BLOCKS * 512);
    macro_rules! build {
        ($($builder:expr),*) => {
            [$($builder.record(RECORD).invert_seed(inverted).invert_result(inverted).build(&caps)),*]
        };
    }
    let built = build![
        DifCheck::new(SRC, with, block, expected),
        DifInsert::new(SRC, DST, without, block, made),
        DifStrip::new(SRC, DST, with, block, expected),
        DifUpdate::new(SRC, DST, with, block, expected, made),
        DixGenerate::new(SRC, DST, without, block, made)
    ];
    built.into_iter().map(|built| (built.unwrap(), memory.clone())).collect()
}

#[test]
fn tags_go_on_where_they_stopped() {
    // Every flag with and without every other one, but not all combinations of all.
    for flags in (0..128_u32).step_by(3) {
        let on = |bit: u32| flags >> bit & 1 == 1;
        // Tags that wrap around, and a mask that hides some of the counting.
        let expected = DifSource::new(u32::MAX - 1, 0xfffe)
            .application_mask(0x00f1)
            .fixed_reference(on(0))
            .counting_application(on(1));
        let made = DifDestination::new(7, u16::MAX)
            .application_mask(0x8001)
            .fixed_reference(on(1))
            .counting_application(on(2))
            .pass_reference(on(3))
            .pass_guard(on(4))
            .pass_application(on(5));
        for (sent, start) in operations(expected, made, on(6)) {
            let mut whole = start.clone();
            let uninterrupted = run(&mut whole, sent, &[], execute)[0];
            for stops in all_stops(BLOCKS) {
                let mut memory = start.clone();
                let said = run(&mut memory, sent, &stops, execute);
                let last = said.last().unwrap();
                assert!(memory == whole, "opcode {:#x} {flags:#x} {stops:?}", sent.opcode());
                assert_eq!(last.status, Status::SUCCESS);
                assert_eq!(last.source_tags(), uninterrupted.source_tags(), "{stops:?}");
                assert_eq!(last.destination_tags(), uninterrupted.destination_tags(), "{stops:?}");
            }
        }
    }
}

#[test]
fn what_advances() {
    let caps = everything();
    let (expected, made) = (DifSource::new(1, 2).application_mask(3), DifDestination::new(4, 5).application_mask(6));
    // Source and destination bytes of a block.
    for (sent, from, to) in operations(expected, made, false)
        .into_iter()
        .zip([(520, 0), (512, 520), (520, 512), (520, 520), (512, 8)])
        .map(|((sent, _), (from, to))| (sent, from, to))
    {
        let tags = [0xaaaa_bbbb_cccc_cccc, 0x1111_2222_3333_3333];
        let record = CompletionRecord { op_specific: tags, ..fault(2 * from) };
        let Resume::Continue(rest) = Resume::plan(&sent, &record, &caps) else { panic!("two of three blocks") };
        let d = rest.descriptor;
        assert_eq!((u64::from(rest.advanced), d.src_addr), (2 * from, SRC + 2 * from));
        assert_eq!((u64::from(d.xfer_size), d.dst_addr - sent.dst_addr), (from, 2 * to));
        // The masks stay.
        if sent.op_specific[1] != 0 {
            assert_eq!(d.op_specific[1], 0xaaaa_0003_cccc_cccc);
        }
        if sent.op_specific[2] != 0 {
            assert_eq!(d.op_specific[2], 0x1111_0006_3333_3333);
        }
        // Without a block done the tags of the record count for nothing.
        let nothing = CompletionRecord { op_specific: tags, ..fault(0) };
        let rest = Continuation { descriptor: sent, advanced: 0 };
        assert_eq!(Resume::plan(&sent, &nothing, &caps), Resume::Continue(rest));
    }
}

#[test]
fn a_wrong_tuple_is_found_after_a_fault_too() {
    let caps = everything();
    let (expected, made) = (DifSource::new(1, 2), DifDestination::new(4, 5));
    for (sent, mut memory) in operations(expected, made, false) {
        if matches!(sent.opcode(), 0x13 | 0x17) {
            continue;
        }
        // The third block has another reference tag, and the guard of other data.
        let at = SRC + 2 * 520;
        memory.put(at, &[!memory.get(at, 1)[0]]);
        memory.put(at + 519, &[!memory.get(at + 519, 1)[0]]);
        let Resume::Continue(rest) = Resume::plan(&sent, &execute(&mut memory, &sent, Some(1)), &caps) else {
            panic!("one of three blocks")
        };
        let record = execute(&mut memory, &rest.descriptor, None);
        assert_eq!(Resume::plan(&rest.descriptor, &record, &caps), Resume::Fail(Status::DIF_ERROR));
        let completion = Completion::decode(sent.opcode(), &record);
        assert_eq!(completion.dif_status(), Some(DifStatus::GUARD | DifStatus::REFERENCE));
        assert_eq!(completion.bytes_completed + rest.advanced, 2 * 520);
    }
}
