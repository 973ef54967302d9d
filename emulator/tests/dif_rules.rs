//! Which sizes, addresses and parts the data-integrity operations need.

mod common;
mod integrity;

use common::*;
use dsa_emulator::{Checks, Config, WqConfig};
use idxd_sys::{Descriptor, opcode, status};
use integrity::*;

const NONE: Side = Side::new(0, 0, 0, 0);

#[test]
fn transfer_sizes_are_whole_blocks_of_the_source() {
    for strict in [true, false] {
        let mut config = Config::granite_rapids();
        assert_eq!(config.choices.dif_sizes, Checks::Strict);
        config.choices.dif_sizes = if strict { Checks::Strict } else { Checks::Lenient };
        let rig = rig_of(config);
        for code in ALL {
            for dif_flags in 0..4 {
                let (from, to) = strides(code, BLOCKS[usize::from(dif_flags)]);
                let whole = descriptor(code, SRC, DST, 2, dif_flags, [&Side::new(0, 0, 0, 0x80), &NONE]);
                assert_eq!(rig.status(&whole), status::SUCCESS, "zeros have guard 0");
                let two = 2 * from;
                let sizes = [(two, false), (two - 1, strict), (two + 1, strict), (two + 8, strict), (two - 8, strict)];
                for (size, refused) in sizes.into_iter().chain([(8, strict), (0, true)]) {
                    rig.put(DST, &[0xee; 3 * 4112]);
                    let record = rig.run(&Descriptor { xfer_size: size as u32, ..whole });
                    let expected = if refused { status::BAD_SIZE } else { status::SUCCESS };
                    let name = opcode::name(code).unwrap();
                    assert_eq!(record.status, expected, "{name} {size}");
                    if !refused {
                        let blocks = size / from;
                        assert_eq!(rig.bytes(DST + (blocks * to) as u64, 8), [0xee; 8], "{name} {size}");
                    }
                }
            }
        }
    }
}

#[test]
fn transfer_sizes_are_1_to_the_queues_maximum_too() {
    let rig = rig_of(Config::granite_rapids().queue(WqConfig::shared(8).max_transfer_size(4096)));
    for (code, largest) in [(opcode::DIF_CHECK, 7), (opcode::DIF_INS, 8), (opcode::DIX_GEN, 8)] {
        let fixed = Side::new(0, 0, 0, 0x80);
        let of = |blocks| descriptor(code, SRC, DST, blocks, 0, [&fixed, &fixed]);
        assert_eq!(rig.status(&of(largest)), status::SUCCESS, "the destination may be larger than the maximum");
        assert_eq!(rig.status(&of(largest + 1)), status::BAD_SIZE);
        assert_eq!(rig.status(&of(0)), status::BAD_SIZE);
    }
}

#[test]
fn source_and_destination_must_not_overlap() {
    let rig = rig();
    let base = SRC + 8 * PAGE;
    for code in ALL {
        let (from, to) = strides(code, 512);
        if to == 0 {
            continue;
        }
        let (read, written) = (2 * from as u64, 2 * to as u64);
        for (at, overlaps) in [
            (base - written - 8, false),
            (base - written, false),
            (base - written + 8, true),
            (base, true),
            (base + read - 8, true),
            (base + read, false),
            (base + read + 8, false),
        ] {
            rig.put(SRC, &vec![0; LEN as usize]);
            let d = descriptor(code, base, at, 2, 0, [&Side::new(0, 0, 0, 0x80), &NONE]);
            let expected = if overlaps { status::OVERLAP } else { status::SUCCESS };
            assert_eq!(rig.status(&d), expected, "{} {at:#x}", opcode::name(code).unwrap());
        }
    }
}

#[test]
fn only_the_destination_of_dix_generate_is_aligned() {
    let rig = rig();
    for off in 1..8 {
        for code in ALL {
            let fixed = Side::new(0, 0, 0, 0x80);
            let d = |src, dst| descriptor(code, src, dst, 1, 0, [&fixed, &fixed]);
            assert_eq!(rig.status(&d(SRC + off, DST)), status::SUCCESS);
            if code != opcode::DIF_CHECK {
                let expected = if code == opcode::DIX_GEN { status::ADDR_ALIGN } else { status::SUCCESS };
                assert_eq!(rig.status(&d(SRC, DST + off)), expected, "{}", opcode::name(code).unwrap());
            }
        }
    }
}

#[test]
fn dix_generate_is_of_the_second_generation() {
    let rig = rig_of(Config::sapphire_rapids());
    for code in ALL {
        let expected = if code == opcode::DIX_GEN { status::BAD_OPCODE } else { status::SUCCESS };
        assert_eq!(rig.status(&descriptor(code, SRC, DST, 1, 0, [&NONE, &NONE])), expected);
    }
}
