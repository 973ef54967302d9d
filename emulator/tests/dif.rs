//! Data-integrity operations against a slow description: tuples, tags, checks, errors.

mod common;
mod integrity;

use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use dsa_emulator::{Config, Device, Enqcmd};
use idxd_sys::{CompletionRecord, Descriptor, dif::*, flag, opcode, status};
use integrity::*;
use proptest::prelude::*;

const NONE: Side = Side::new(0, 0, 0, 0);

fn success(code: u8, sides: [&Side; 2], blocks: usize) -> CompletionRecord {
    CompletionRecord {
        status: status::SUCCESS,
        op_specific: tags_after(code, sides, blocks),
        ..CompletionRecord::default()
    }
}

/// Runs a check of tuples at `SRC` that were made for `blocks` blocks of noise, after `change` has seen them.
fn check(rig: &Rig, made: &Side, expected: &Side, change: impl Fn(&mut [u8])) -> CompletionRecord {
    let mut bytes = protect(&noise(512 * 4, 1), 0, made);
    change(&mut bytes);
    rig.put(SRC, &bytes);
    rig.run(&descriptor(opcode::DIF_CHECK, SRC, 0, 4, 0, [expected, &NONE]))
}

/// Where the guard of block 2 lies in what [`check`] changes; the application tag comes 2 bytes later, the reference
/// tag 4.
const GUARD: usize = 2 * 520 + 512;

fn failed(record: &CompletionRecord) -> (u8, u8, u32) {
    assert_eq!(record.op_specific, [0; 2], "without a meaning here");
    (record.status, record.result, record.bytes_completed)
}

#[test]
fn a_published_check_value_is_the_guard_of_a_block() {
    let rig = rig();
    // With seed 0, zeros in front change nothing.
    let mut block = vec![0; 512];
    block[503..].copy_from_slice(b"123456789");
    rig.put(SRC, &block);
    let side = Side::new(0x0102_0304, 0, 0xa1b2, 0);
    assert_eq!(rig.status(&descriptor(opcode::DIF_INS, SRC, DST, 1, 0, [&NONE, &side])), status::SUCCESS);
    assert_eq!(
        rig.bytes(DST + 512, 8),
        [0xd0, 0xdb, 0xa1, 0xb2, 1, 2, 3, 4],
        "big endian: guard, application, reference"
    );
    let inverted = descriptor(opcode::DIF_INS, SRC, DST, 1, INVERT_RESULT, [&NONE, &side]);
    assert_eq!(rig.status(&inverted), status::SUCCESS);
    assert_eq!(rig.bytes(DST + 512, 2), [0x2f, 0x24]);
    // The seed changes the first 16 bits, which is a way to compute the same value.
    assert_eq!(rig.status(&descriptor(opcode::DIF_INS, SRC, DST, 1, INVERT_SEED, [&NONE, &side])), status::SUCCESS);
    let seeded = rig.bytes(DST + 512, 2);
    block[0] ^= 0xff;
    block[1] ^= 0xff;
    assert_eq!(seeded, crc16(0, &block).to_be_bytes());
}

#[test]
fn every_operation_and_block_size_under_every_guard_flag() {
    let rig = rig();
    let (source, destination) = (Side::new(7, 0, 0x1234, 0), Side::new(u32::MAX - 1, 0xff00, 0xfffe, 0x10));
    for code in ALL {
        for dif_flags in 0..16 {
            let block = BLOCKS[usize::from(dif_flags & 3)];
            let data = noise(3 * block, u32::from(dif_flags));
            let input = if checks(code) { protect(&data, dif_flags, &source) } else { data.clone() };
            rig.put(SRC + 3, &input);
            rig.put(DST, &vec![0xee; LEN as usize]);
            let at = if code == opcode::DIX_GEN { DST + 8 } else { DST + 5 };
            let sides = [&source, &destination];
            let record = rig.run(&descriptor(code, SRC + 3, at, 3, dif_flags, sides));
            assert_eq!(record, success(code, sides, 3), "{} {dif_flags:#x}", opcode::name(code).unwrap());
            let expected = outcome(code, &data, dif_flags, &destination);
            assert!(rig.bytes(at, expected.len()) == expected, "{} {dif_flags:#x}", opcode::name(code).unwrap());
            let around = [at - DST, LEN - (at - DST) - expected.len() as u64];
            assert_eq!(rig.bytes(DST, around[0] as usize), vec![0xee; around[0] as usize]);
            assert_eq!(rig.bytes(DST + LEN - around[1], around[1] as usize), vec![0xee; around[1] as usize]);
            assert!(rig.bytes(SRC + 3, input.len()) == input, "the source is only read");
        }
    }
}

#[test]
fn tags_are_fixed_or_increment_and_wrap_around() {
    let rig = rig();
    rig.put(SRC, &noise(512 * 4, 5));
    for flags in [0, DEST_REF_FIXED, DEST_APP_INCREMENTS, DEST_REF_FIXED | DEST_APP_INCREMENTS] {
        for (reference, application) in [(5, 9), (u32::MAX - 1, u16::MAX - 1), (u32::MAX, 0)] {
            let side = Side::new(reference, 0, application, flags);
            let record = rig.run(&descriptor(opcode::DIX_GEN, SRC, DST, 4, 0, [&NONE, &side]));
            for (n, tuple) in rig.bytes(DST, 32).chunks(8).enumerate() {
                let step = |on: bool| if on { n } else { 0 };
                let expected_app = application.wrapping_add(step(flags & DEST_APP_INCREMENTS != 0) as u16);
                let expected_ref = reference.wrapping_add(step(flags & DEST_REF_FIXED == 0) as u32);
                assert_eq!(tuple[2..4], expected_app.to_be_bytes());
                assert_eq!(tuple[4..], expected_ref.to_be_bytes());
            }
            assert_eq!(record.op_specific, [0, side.tags_after(4)], "the tags of the block that would come next");
        }
    }
}

#[test]
fn the_mask_is_applied_after_incrementing() {
    let rig = rig();
    rig.put(SRC, &noise(512 * 4, 5));
    // With the low bits masked the carry still comes.
    let side = Side::new(0, 0x000f, 0x123e, DEST_APP_INCREMENTS);
    let record = rig.run(&descriptor(opcode::DIX_GEN, SRC, DST, 4, 0, [&NONE, &side]));
    let tags: Vec<_> = rig.bytes(DST, 32).chunks(8).map(|t| u16::from_be_bytes([t[2], t[3]])).collect();
    assert_eq!(tags, [0x1230, 0x1230, 0x1240, 0x1240]);
    assert_eq!(record.op_specific[1], 0x1242_000f_0000_0004, "the record has mask and tag as the descriptor does");
}

#[test]
fn each_field_that_does_not_match_has_its_bit() {
    let rig = rig();
    let side = Side::new(40, 0, 0x4321, 0);
    assert_eq!(check(&rig, &side, &side, |_| ()).status, status::SUCCESS);
    for (bits, places) in [
        (GUARD_MISMATCH, &[GUARD, GUARD + 1][..]),
        (APP_MISMATCH, &[GUARD + 2, GUARD + 3]),
        (REF_MISMATCH, &[GUARD + 4, GUARD + 5, GUARD + 6, GUARD + 7]),
        // Data that has changed has another guard.
        (GUARD_MISMATCH, &[2 * 520, 2 * 520 + 100, GUARD - 1]),
    ] {
        for place in places {
            for bit in 0..8 {
                let record = check(&rig, &side, &side, |bytes| bytes[*place] ^= 1 << bit);
                assert_eq!(failed(&record), (status::DIF_ERROR, bits, 2 * 520), "{place} {bit}");
            }
        }
    }
    for bits in 1..8u8 {
        let record = check(&rig, &side, &side, |bytes| {
            for (bit, place) in [(GUARD_MISMATCH, GUARD), (APP_MISMATCH, GUARD + 2), (REF_MISMATCH, GUARD + 4)] {
                bytes[place] ^= if bits & bit != 0 { 0x40 } else { 0 };
            }
        });
        assert_eq!(failed(&record), (status::DIF_ERROR, bits, 2 * 520), "several errors of one block together");
    }
    let first = check(&rig, &side, &side, |bytes| {
        bytes[512] ^= 1;
        bytes[GUARD + 4] ^= 1;
    });
    assert_eq!(failed(&first), (status::DIF_ERROR, GUARD_MISMATCH, 0), "the first block with an error ends it");
}

#[test]
fn each_check_can_be_disabled() {
    let rig = rig();
    let side = Side::new(40, 0, 0x4321, 0);
    let all = |bytes: &mut [u8]| bytes[GUARD..GUARD + 8].iter_mut().for_each(|b| *b ^= 0x11);
    for (expected, bits) in [
        (Side { flags: SOURCE_GUARD_UNCHECKED, ..side }, APP_MISMATCH | REF_MISMATCH),
        (Side { flags: SOURCE_REF_UNCHECKED, ..side }, GUARD_MISMATCH | APP_MISMATCH),
        (Side { mask: 0xffff, ..side }, GUARD_MISMATCH | REF_MISMATCH),
        (Side { mask: 0xffff, flags: SOURCE_GUARD_UNCHECKED, ..side }, REF_MISMATCH),
        (Side { mask: 0xffff, flags: SOURCE_REF_UNCHECKED, ..side }, GUARD_MISMATCH),
        (Side { flags: SOURCE_GUARD_UNCHECKED | SOURCE_REF_UNCHECKED, ..side }, APP_MISMATCH),
    ] {
        assert_eq!(failed(&check(&rig, &side, &expected, all)), (status::DIF_ERROR, bits, 2 * 520));
    }
    let nothing = Side { mask: 0xffff, flags: SOURCE_GUARD_UNCHECKED | SOURCE_REF_UNCHECKED, ..side };
    assert_eq!(check(&rig, &side, &nothing, all), success(opcode::DIF_CHECK, [&nothing, &NONE], 4));
}

/// The tuple of block 2, what is asked for, and what comes of it. The guard is wrong in all of them.
#[test]
fn tuples_of_all_ones_are_skipped_or_reported_as_the_flags_say() {
    let rig = rig();
    let side = Side::new(40, 0, 0x4321, 0);
    let (all, app_ref, app, none) =
        ([0xff; 8], [0, 0, 255, 255, 255, 255, 255, 255], [0, 0, 255, 255, 0, 0, 0, 42], [0; 8]);
    let every = GUARD_MISMATCH | APP_MISMATCH | REF_MISMATCH;
    let (f_all, f_app, f_app_ref) = (SOURCE_F_ALL, SOURCE_F_APP, SOURCE_F_APP_REF);
    for (tuple, flags, bits) in [
        (all, 0, every),
        (all, f_all, 0),
        (all, f_app, 0),
        (all, f_app_ref, 0),
        (all, f_all | SOURCE_F_ALL_ERROR, ALL_F),
        (all, f_all | f_app | f_app_ref | SOURCE_F_ALL_ERROR, ALL_F),
        (all, SOURCE_F_ALL_ERROR, every),
        (all, f_app | SOURCE_F_ALL_ERROR, 0),
        (app_ref, f_all, every),
        (app_ref, f_all | SOURCE_F_ALL_ERROR, every),
        (app_ref, f_app_ref, 0),
        (app_ref, f_app, 0),
        (app, f_app, 0),
        // Only the reference tag is the one expected.
        (app, f_app_ref, GUARD_MISMATCH | APP_MISMATCH),
        (app, f_all, GUARD_MISMATCH | APP_MISMATCH),
        (app, 0, GUARD_MISMATCH | APP_MISMATCH),
        (none, f_all | f_app | f_app_ref | SOURCE_F_ALL_ERROR, every),
    ] {
        let expected = Side { flags, ..side };
        let record = check(&rig, &side, &expected, |bytes| bytes[GUARD..GUARD + 8].copy_from_slice(&tuple));
        if bits == 0 {
            // Tags go on counting over a block that is not checked.
            assert_eq!(record, success(opcode::DIF_CHECK, [&expected, &NONE], 4), "{tuple:?} {flags:#x}");
        } else {
            assert_eq!(failed(&record), (status::DIF_ERROR, bits, 2 * 520), "{tuple:?} {flags:#x}");
        }
    }
}

#[test]
fn masked_bits_of_a_stored_tag_must_be_0_unless_the_device_masks_them_too() {
    for masks_both in [false, true] {
        let mut config = Config::granite_rapids();
        config.choices.mask_stored_tags = masks_both;
        let rig = rig_of(config);
        let (made, expected) = (Side::new(40, 0, 0xab21, 0), Side::new(40, 0xff00, 0x4321, 0));
        let outcome = if masks_both { status::SUCCESS } else { status::DIF_ERROR };
        assert_eq!(check(&rig, &made, &expected, |_| ()).status, outcome);
        let zero = Side::new(40, 0, 0x0021, 0);
        assert_eq!(check(&rig, &zero, &expected, |_| ()).status, status::SUCCESS);
        let other = Side::new(40, 0, 0x0022, 0);
        assert_eq!(failed(&check(&rig, &other, &expected, |_| ())), (status::DIF_ERROR, APP_MISMATCH, 0));
    }
}

#[test]
fn an_update_passes_through_what_it_is_told_to() {
    let rig = rig();
    let data = noise(520 * 3, 8);
    let (source, fresh) = (Side::new(9, 0, 0x7777, 0), Side::new(100, 0x00f0, 0x1fff, DEST_APP_INCREMENTS));
    let mut input = protect(&data, 1, &source);
    // A guard that is wrong, and not looked at, shows where the guard comes from.
    input[520..522].copy_from_slice(&[0xab, 0xcd]);
    rig.put(SRC, &input);
    let unchecked = Side { flags: SOURCE_GUARD_UNCHECKED, ..source };
    for pass in 0..8u8 {
        let bits = [DEST_GUARD_PASS, DEST_APP_PASS, DEST_REF_PASS];
        let flags = (0..3).filter(|i| pass >> i & 1 == 1).map(|i: usize| bits[i]).sum::<u8>();
        let destination = Side { flags: fresh.flags | flags, ..fresh };
        let sides = [&unchecked, &destination];
        let record = rig.run(&descriptor(opcode::DIF_UPDT, SRC, DST, 3, 1, sides));
        assert_eq!(record.status, status::SUCCESS);
        let output = rig.bytes(DST, input.len());
        for (n, (out, old)) in output.chunks(528).zip(input.chunks(528)).enumerate() {
            assert_eq!(out[..520], old[..520]);
            let new = tuple(&out[..520], 1, &fresh, n);
            for (i, range) in [520..522, 522..524, 524..528].into_iter().enumerate() {
                let computed = &new[range.start - 520..range.end - 520];
                let expected = if pass >> i & 1 == 1 { &old[range.clone()] } else { computed };
                assert_eq!(&out[range], expected, "block {n}, pass {pass:#b}, field {i}");
            }
        }
    }
    // Insert and DIX generate have nothing to pass through.
    for code in [opcode::DIF_INS, opcode::DIX_GEN] {
        rig.put(SRC, &data);
        let pass = Side { flags: fresh.flags | DEST_GUARD_PASS | DEST_APP_PASS | DEST_REF_PASS, ..fresh };
        assert_eq!(rig.status(&descriptor(code, SRC, DST, 3, 1, [&NONE, &pass])), status::SUCCESS);
        let expected = outcome(code, &data, 1, &fresh);
        assert!(rig.bytes(DST, expected.len()) == expected);
    }
}

#[test]
fn strip_and_update_stop_before_a_block_with_an_error() {
    let side = Side::new(1, 0, 2, 0);
    for (code, to) in [(opcode::DIF_STRP, 512), (opcode::DIF_UPDT, 520)] {
        let rig = rig();
        let data = noise(512 * 4, 3);
        let mut input = protect(&data, 0, &side);
        input[GUARD] ^= 1;
        rig.put(SRC, &input);
        let record = rig.run(&descriptor(code, SRC, DST, 4, 0, [&side, &side]));
        assert_eq!(failed(&record), (status::DIF_ERROR, GUARD_MISMATCH, 2 * 520));
        let whole = if code == opcode::DIF_STRP { data } else { protect(&data, 0, &side) };
        assert!(rig.bytes(DST, 2 * to) == whole[..2 * to]);
        assert_eq!(rig.bytes(DST + 2 * to as u64, to), vec![0; to]);
        // What is wrong with a block comes before what is wrong with its destination.
        rig.absent(DST);
        rig.put(SRC, &[&input[2 * 520..3 * 520], &input[..2 * 520]].concat());
        let record = rig.run(&descriptor(code, SRC, DST, 3, 0, [&side, &side]));
        assert_eq!((record.status, record.bytes_completed), (status::DIF_ERROR, 0));
    }
}

#[test]
fn a_fence_stops_a_batch_after_an_error() {
    let rig = rig();
    rig.put(SRC, &[1; 520]);
    let first = with_record(descriptor(opcode::DIF_CHECK, SRC, 0, 1, 0, [&NONE, &NONE]), 1);
    let second = with_record(with_flags(nop(), CR | flag::FENCE), 2);
    let record = rig.run(&rig.list(&[first, second]));
    assert_eq!((record.status, record.bytes_completed), (status::BATCH_FAIL, 1));
}

/// Runs a descriptor on a device in this process's own memory.
fn run_trusted(device: &Device, mut d: Descriptor) -> CompletionRecord {
    let mut record = CompletionRecord::default();
    d.completion_addr = (&raw mut record).expose_provenance() as u64;
    let client = device.open(0).unwrap();
    // SAFETY: the caller passes addresses of live buffers, and nobody touches them before `quiesce` returned.
    assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
    client.quiesce();
    record
}

#[test]
fn trusted_memory_inserts_checks_updates_strips_and_generates() {
    let device = Device::new(Config::granite_rapids().manual().chunk(700)).unwrap();
    let (one, two) = (Side::new(5, 0, 6, 0), Side::new(70, 0xf, 0x88, 0x90));
    for dif_flags in 0..16 {
        let block = BLOCKS[usize::from(dif_flags & 3)];
        let mut data = noise(5 * block, 4);
        let mut buffers = [vec![0u8; 5 * block + 40], vec![0; 5 * block + 40], vec![0; 5 * block], vec![0; 48]];
        let at = |bytes: &mut Vec<u8>| bytes.as_mut_ptr().expose_provenance() as u64;
        let plain = at(&mut data);
        let [inserted, updated, stripped, generated] = buffers.each_mut().map(at);
        let aligned = generated.next_multiple_of(8);
        for (code, from, to, sides) in [
            (opcode::DIF_INS, plain, inserted, [&NONE, &one]),
            (opcode::DIF_CHECK, inserted, 0, [&one, &NONE]),
            (opcode::DIF_UPDT, inserted, updated, [&one, &two]),
            (opcode::DIF_STRP, updated, stripped, [&two, &NONE]),
            (opcode::DIX_GEN, stripped, aligned, [&NONE, &two]),
        ] {
            let record = run_trusted(&device, descriptor(code, from, to, 5, dif_flags, sides));
            assert_eq!(record, success(code, sides, 5), "{}", opcode::name(code).unwrap());
        }
        assert!(buffers[0] == protect(&data, dif_flags, &one));
        assert!(buffers[1] == protect(&data, dif_flags, &two));
        assert!(buffers[2] == data);
        let skip = (aligned - generated) as usize;
        assert!(buffers[3][skip..skip + 40] == tuples(&data, dif_flags, &two));
    }
}

/// Guard and copy are of the same bytes, also if others write the source while the device is at it.
#[test]
fn what_changes_underfoot_is_protected_as_it_was_copied() {
    let rig = rig();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let (memory, stop_seen) = (&rig.memory, &stop);
        let _end = Ends(&stop);
        s.spawn(move || {
            let mut round = 0u64;
            while !stop_seen.load(Ordering::Relaxed) {
                memory.write(SRC + round.wrapping_mul(0x9e37_79b9) % 0x4000, &round.to_le_bytes()).unwrap();
                round += 1;
            }
        });
        for _ in 0..100 {
            let side = Side::new(1, 0, 2, 0);
            assert_eq!(rig.status(&descriptor(opcode::DIF_INS, SRC, DST, 4, 2, [&NONE, &side])), status::SUCCESS);
            let copied = descriptor(opcode::DIF_CHECK, DST, 0, 4, 2, [&side, &NONE]);
            assert_eq!(rig.run(&copied), success(opcode::DIF_CHECK, [&side, &NONE], 4));
            // An update checks and makes a guard of what it copies, whatever the source holds.
            let any = Side::new(0, 0xffff, 0, SOURCE_GUARD_UNCHECKED | SOURCE_REF_UNCHECKED);
            let update = descriptor(opcode::DIF_UPDT, SRC, DST2, 3, 2, [&any, &side]);
            assert_eq!(rig.status(&update), status::SUCCESS);
            let copied = descriptor(opcode::DIF_CHECK, DST2, 0, 3, 2, [&side, &NONE]);
            assert_eq!(rig.run(&copied), success(opcode::DIF_CHECK, [&side, &NONE], 3));
        }
    });
}

fn side() -> impl Strategy<Value = Side> {
    let mask = prop_oneof![Just(0u16), Just(0xff00), any::<u16>()];
    (any::<u32>(), mask, any::<u16>(), 0u8..4).prop_map(|(reference, mask, application, n)| {
        Side::new(reference, mask, application, (n & 1) << 7 | (n & 2) << 3)
    })
}

proptest! {
    #[test]
    fn any_blocks_and_tags_equal_the_description(
        code in proptest::sample::select(ALL.to_vec()), dif_flags in 0u8..16, blocks in 1usize..6, source in side(),
        destination in side(), from in 0u64..5000, to in 0u64..600, chunk in 1usize..5000, seed: u32,
    ) {
        let rig = rig_of(Config::granite_rapids().chunk(chunk));
        let data = noise(blocks * BLOCKS[usize::from(dif_flags & 3)], seed);
        let input = if checks(code) { protect(&data, dif_flags, &source) } else { data.clone() };
        rig.put(SRC + from, &input);
        let sides = [&source, &destination];
        let at = DST + 8 * to + if code == opcode::DIX_GEN { 0 } else { from % 8 };
        let record = rig.run(&descriptor(code, SRC + from, at, blocks, dif_flags, sides));
        prop_assert_eq!(record, success(code, sides, blocks));
        let expected = outcome(code, &data, dif_flags, &destination);
        prop_assert!(rig.bytes(at, expected.len()) == expected);
        prop_assert_eq!(rig.bytes(at + expected.len() as u64, 8), [0; 8]);
    }

    #[test]
    fn any_change_of_a_byte_is_found(
        dif_flags in 0u8..16, place in 0usize..4 * 4112, flip in 1u8.., side in side(), strip: bool,
    ) {
        let rig = rig();
        let block = BLOCKS[usize::from(dif_flags & 3)];
        let mut input = protect(&noise(4 * block, 1), dif_flags, &side);
        let place = place % input.len();
        input[place] ^= flip;
        rig.put(SRC, &input);
        let code = if strip { opcode::DIF_STRP } else { opcode::DIF_CHECK };
        let record = rig.run(&descriptor(code, SRC, DST, 4, dif_flags, [&side, &NONE]));
        let (n, within) = (place / (block + 8), place % (block + 8));
        let bits = match within.checked_sub(block) {
            None | Some(0 | 1) => GUARD_MISMATCH,
            Some(2 | 3) if side.mask == 0xffff => 0,
            Some(2 | 3) => APP_MISMATCH,
            _ => REF_MISMATCH,
        };
        if bits != 0 {
            prop_assert_eq!(failed(&record), (status::DIF_ERROR, bits, (n * (block + 8)) as u32));
        }
    }
}
