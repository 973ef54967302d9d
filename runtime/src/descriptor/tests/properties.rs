//! Properties over random descriptors: builders and validator agree, hostile records are harmless.

use idxd_sys::{CompletionRecord, Descriptor};
use proptest::prelude::*;

use super::super::*;
use super::seeds::{OPERATIONS, seeds};
use super::{bytes_of, everything, first_generation, from_bytes, nothing};

fn any_capabilities() -> impl Strategy<Value = Capabilities> {
    prop_oneof![
        Just(everything()),
        Just(nothing()),
        Just(first_generation()),
        Just(Capabilities::granite_rapids()),
        Just(Capabilities::diamond_rapids()),
        (any::<u64>(), any::<u64>(), any::<bool>(), any::<[u64; 3]>()).prop_map(|(gen_cap, ops, fault, dsa_caps)| {
            Capabilities::new(0x200, gen_cap, [ops, 0, 0, 0]).with_block_on_fault(fault).with_dsa_caps(dsa_caps)
        }),
    ]
}

fn any_record() -> impl Strategy<Value = CompletionRecord> {
    let status = prop_oneof![4 => Just(0x03), 2 => Just(0x83), 2 => Just(0x06), 1 => any::<u8>()];
    // Some of what is completed is whole: words, entries, blocks.
    let unit = prop_oneof![Just(8), Just(10), Just(512), Just(520), Just(4104)];
    let whole = (0..20_u32, unit).prop_map(|(count, unit)| count * unit);
    let completed = prop_oneof![3 => 0..5000_u32, 3 => whole, 1 => any::<u32>()];
    let words = prop_oneof![1 => any::<[u64; 2]>(), 1 => (0..20_u64).prop_map(|n| [(n << 32) | (n * 10), n])];
    (status, prop_oneof![3 => 0..2_u8, 1 => any::<u8>()], any::<u8>(), completed, words).prop_map(
        |(status, result, fault_info, bytes_completed, op_specific)| CompletionRecord {
            status,
            result,
            fault_info,
            reserved: 0,
            bytes_completed,
            fault_addr: op_specific[1],
            op_specific,
        },
    )
}

fn position(descriptor: &Descriptor, member: bool) -> Position {
    // Batch, drain and update window have no member form.
    if member && !matches!(descriptor.opcode(), 0x01 | 0x02 | 0x21) { Position::BatchMember } else { Position::Queue }
}

/// The memory regions that a descriptor names: (start, size), in a fixed order per operation. Not the blocks that a list
/// names.
fn regions(d: &Descriptor) -> Vec<(u64, u64)> {
    let size = u64::from(d.xfer_size);
    let [first, second, _] = d.op_specific;
    let types = u64::from(d.op_u8(56));
    let [read, written] =
        [types & 0xf, types >> 4].map(|code| [1, 2, 4, 8, 1, 1, 2, 2, 4, 8][code as usize % 10] * size);
    let block = [512, 520, 4096, 4104][d.op_u8(42) as usize & 3];
    let list = u64::from(d.op_u16(44)) * if d.op_u8(59) >> 4 == 2 { 4 } else { 8 };
    match d.opcode() {
        0x01 => vec![(d.src_addr, size * 64)],
        0x03 | 0x05 | 0x11 | 0x15 | 0x23 | 0x25 => vec![(d.src_addr, size), (d.dst_addr, size)],
        0x04 | 0x20 | 0x24 => vec![(d.dst_addr, size)],
        0x06 | 0x0a | 0x10 | 0x12 | 0x26 => vec![(d.src_addr, size)],
        0x07 => vec![(d.src_addr, size), (d.dst_addr, size), (first, second)],
        0x08 => vec![(d.src_addr, first), (d.dst_addr, size)],
        0x09 => vec![(d.src_addr, size), (d.dst_addr, size), (first, size)],
        0x13 => vec![(d.src_addr, size), (d.dst_addr, size / block * (block + 8))],
        0x14 => vec![(d.src_addr, size), (d.dst_addr, size / (block + 8) * block)],
        0x17 => vec![(d.src_addr, size), (d.dst_addr, size / block * 8)],
        0x18 => vec![(d.src_addr, read), (d.dst_addr, written)],
        0x19 => vec![(d.src_addr, read), (d.dst_addr, read), (first, written)],
        0x1a => vec![(d.src_addr, read), (d.dst_addr, read), (first, written), (second, written)],
        0x1b => vec![(d.src_addr, list), (d.dst_addr, written)],
        0x1c => vec![(d.src_addr, list), (d.dst_addr, size)],
        0x1d => vec![(d.src_addr, size), (d.dst_addr, list)],
        0x1e => vec![(d.dst_addr, list)],
        _ => vec![],
    }
}

/// What `advanced` counts, at most.
fn extent(d: &Descriptor) -> u64 {
    match d.opcode() {
        0x08 => d.op_u32(40).into(),
        0x18..=0x1a => regions(d)[0].1,
        _ => d.xfer_size.into(),
    }
}

#[test]
fn every_operation_is_built_by_some_seed() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut built = [0_u32; 256];
    for _ in 0..40_000 {
        let seed = seeds().new_tree(&mut runner).expect("seeds are not filtered").current();
        if let Ok(descriptor) = seed.build(&everything()) {
            built[descriptor.opcode() as usize] += 1;
        }
    }
    for &op in idxd_sys::opcode::ALL {
        assert!(built[op as usize] >= 20, "opcode {op:#x} was built {} times", built[op as usize]);
    }
    assert_eq!(idxd_sys::opcode::ALL.len(), usize::from(OPERATIONS));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_built_validates(seed in seeds(), caps in any_capabilities()) {
        match seed.build(&caps) {
            Ok(descriptor) => {
                prop_assert_eq!(validate(&descriptor, &caps, position(&descriptor, seed.member)), Ok(()));
            }
            Err(error) => {
                prop_assert_ne!(error.status(), 0);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn what_validates_has_no_reserved_bit_to_set(seed in seeds(), byte in 0..64_usize, bit in 0..8_u32) {
        // A bit of an accepted descriptor that changes nothing for the device does not exist: either the changed one is
        // refused, or the bit lies in a field. What lies in no field is literal here.
        let Ok(descriptor) = seed.build(&everything()) else { return Ok(()) };
        let reserved = match descriptor.opcode() {
            0x07 => matches!(byte, 38 | 39 | 52..=55 | 57..=63),
            0x08 => matches!(byte, 38 | 39 | 44..=63),
            0x0a => matches!(byte, 24..=31 | 38..=47 | 52..=63),
            0x12 => matches!(byte, 24..=31 | 38 | 39 | 41 | 43..=47 | 56..=63),
            0x13 | 0x17 => matches!(byte, 38..=40 | 43..=55),
            0x14 => matches!(byte, 38 | 39 | 41 | 43..=47 | 56..=63),
            0x15 => matches!(byte, 38 | 39 | 43..=47),
            0x18 => matches!(byte, 38..=55 | 59),
            0x19 => matches!(byte, 38 | 39 | 48..=55),
            0x1a => matches!(byte, 38 | 39),
            0x1b => matches!(byte, 38..=43 | 46 | 47 | 60..=63),
            0x1c | 0x1d => matches!(byte, 38 | 39 | 46 | 47 | 57 | 58),
            0x1e => matches!(byte, 38 | 39 | 46 | 47 | 57 | 58 | 60 | 61),
            0x21 => matches!(byte, 32..=35 | 38..=60),
            0x23 => matches!(byte, 38..=59),
            0x24 => matches!(byte, 38 | 39 | 48..=61),
            0x25 => matches!(byte, 38 | 39 | 41..=59),
            0x26 => matches!(byte, 38 | 39 | 41..=59 | 62 | 63),
            _ => matches!(byte, 38 | 39),
        };
        let mut bytes = bytes_of(&descriptor);
        bytes[byte] ^= 1 << bit;
        if reserved {
            let verdict = validate(&from_bytes(&bytes), &everything(), position(&descriptor, seed.member));
            let (opcode, offset) = (descriptor.opcode(), byte as u8);
            prop_assert_eq!(verdict, Err(DescriptorError::ReservedField { opcode, offset, value: 1 << bit }));
        }
    }

    #[test]
    fn what_a_poor_queue_takes_a_rich_one_takes(seed in seeds()) {
        if seed.build(&nothing()).is_ok() {
            prop_assert!(seed.build(&everything()).is_ok());
        }
    }

    #[test]
    fn any_64_bytes_can_be_judged(low in any::<[u8; 32]>(), high in any::<[u8; 32]>(), op in 0..0x30_u8) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        bytes[7] = op;
        for position in [Position::Queue, Position::BatchMember] {
            if let Err(error) = validate(&from_bytes(&bytes), &everything(), position) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_plan_never_leaves_the_regions(seed in seeds(), record in any_record(), continued in any::<bool>()) {
        let caps = if continued { everything() } else { first_generation() };
        let Ok(sent) = seed.build(&caps) else { return Ok(()) };
        match Resume::plan(&sent, &record, &caps) {
            Resume::Continue(Continuation { descriptor, advanced }) => {
                prop_assert_eq!(validate(&descriptor, &caps, Position::Queue), Ok(()));
                prop_assert_eq!(descriptor.opcode(), sent.opcode());
                prop_assert!(u64::from(advanced) <= extent(&sent));
                for (old, new) in regions(&sent).into_iter().zip(regions(&descriptor)) {
                    prop_assert!(new.0 >= old.0 && new.0 + (new.1 - 1) <= old.0 + (old.1 - 1));
                }
            }
            Resume::LastMember { address, .. } => {
                prop_assert_eq!(address, sent.src_addr + u64::from(sent.xfer_size - 1) * 64);
            }
            Resume::Complete(completion) => prop_assert!(!completion.to_string().is_empty()),
            Resume::Fail(status) => prop_assert!(!status.is_success() && status.is_in_records()),
            Resume::Protocol(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn arbitrary_bytes_can_be_planned(low in any::<[u8; 32]>(), high in any::<[u8; 32]>(), op in 0..0x30_u8, record in any_record()) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        bytes[7] = op;
        let sent = from_bytes(&bytes);
        if let Resume::Continue(rest) = Resume::plan(&sent, &record, &everything()) {
            prop_assert!(rest.descriptor.xfer_size <= sent.xfer_size);
        }
        is_restartable(&sent);
    }
}
