//! Sizes, counts, alignments, overlaps and ranges: one test per rule, on both sides of each limit.

use idxd_sys::{Descriptor, status};

use super::super::*;
use super::{everything, first_generation, nothing};

const RECORD: u64 = 0x40;

#[test]
fn sizes() {
    let caps = everything().with_max_transfer_size(4096);
    let build = |len: u64| {
        [
            Move::new(0x1000, 0x10_0000, len).build(&caps),
            Fill::new(0x1000, len, 0).build(&caps),
            Compare::new(0x1000, 0x10_0000, len).record(RECORD).build(&caps),
            ComparePattern::new(0x1000, len, 0).record(RECORD).build(&caps),
            Dualcast::new(0x1000, 0x10_0000, 0x20_0000, len).build(&caps),
            Crc::new(0x1000, len).record(RECORD).build(&caps),
            CopyCrc::new(0x1000, 0x10_0000, len).record(RECORD).build(&caps),
            CacheFlush::new(0x1000, len).build(&caps),
        ]
    };
    for built in build(1).into_iter().chain(build(4096)) {
        assert!(built.is_ok());
    }
    for built in build(0) {
        assert_eq!(built, Err(DescriptorError::SizeZero { max: 4096 }));
        assert_eq!(built.unwrap_err().status(), status::BAD_SIZE);
    }
    // The last ones would be valid if they were cut to 32 bits.
    for size in [4097, u64::from(u32::MAX), 1 << 32 | 1, u64::MAX] {
        for built in build(size) {
            assert_eq!(built, Err(DescriptorError::SizeTooLarge { size, max: 4096 }));
            assert_eq!(built.unwrap_err().status(), status::BAD_SIZE);
        }
    }
    let full = Move::new(0, 1 << 32, 1 << 31);
    assert!(full.build(&everything()).is_ok());
    assert!(full.build(&everything().with_max_transfer_size(0)).is_err());
}

#[test]
fn batch_counts_and_lists() {
    let build = |list, count, caps: &Capabilities| Batch::new(list, count).record(RECORD).build(caps);
    let caps = first_generation().with_max_batch_size(512);
    for count in [2, 512] {
        assert!(build(0x40, count, &caps).is_ok());
    }
    for count in [0, 1, 513, u32::MAX] {
        let error = build(0x40, count, &caps).unwrap_err();
        assert_eq!(error, DescriptorError::BatchCount { count, min: 2, max: 512 });
        assert_eq!(error.status(), status::BAD_COUNT);
    }
    assert!(build(0x40, 1, &everything()).is_ok());
    assert!(build(0x40, 0, &everything()).is_err());
    for bit in 0..6 {
        let address = 0x40 | 1 << bit;
        let error = build(address, 2, &caps);
        if bit == 6 {
            assert!(error.is_ok());
        } else {
            assert_eq!(error, Err(DescriptorError::ListMisaligned { address }));
            assert_eq!(error.unwrap_err().status(), status::LIST_ALIGN);
        }
    }
    assert!(build(!127, 2, &caps).is_ok());
    let error = build(!127, 3, &caps).unwrap_err();
    assert_eq!(error, DescriptorError::AddressWraps { operand: Operand::List, address: !127, size: 192 });
}

#[test]
fn overlaps() {
    let caps = first_generation();
    let is_overlap = |built: Result<Descriptor, DescriptorError>| match built {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.status(), status::OVERLAP);
            true
        }
    };
    for distance in -70_i64..=70 {
        let (a, b) = (0x10_0000, 0x10_0000_u64.wrapping_add_signed(distance));
        let expected = distance.abs() < 64;
        assert!(Move::new(a, b, 64).build(&caps).is_ok());
        assert_eq!(is_overlap(Move::new(a, b, 64).build(&nothing())), expected);
        assert_eq!(is_overlap(CopyCrc::new(a, b, 64).record(RECORD).build(&caps)), expected);
        assert_eq!(is_overlap(Dualcast::new(a, b, b ^ 0x20_0000, 64).build(&caps)), expected);
        assert_eq!(is_overlap(Dualcast::new(a, b ^ 0x20_0000, b, 64).build(&caps)), expected);
        assert!(Compare::new(a, b, 64).record(RECORD).build(&caps).is_ok());
    }
    assert!(is_overlap(Dualcast::new(0x50_0000, 0x1000, 0x3000, 0x2001).build(&caps)));
    assert!(!is_overlap(Dualcast::new(0x50_0000, 0x1000, 0x3000, 0x2000).build(&caps)));
}

#[test]
fn dualcast_alignment() {
    for bit in 0..40 {
        let (first, second) = (0x100_0000_0000, 0x200_0000_0000 ^ 1_u64 << bit);
        let built = Dualcast::new(0x10, first, second, 64).build(&first_generation());
        if bit < 12 {
            assert_eq!(built, Err(DescriptorError::DualcastAlignment { first, second }));
            assert_eq!(built.unwrap_err().status(), status::DUALCAST_ALIGN);
        } else {
            assert!(built.is_ok(), "bit {bit}");
        }
    }
}

#[test]
fn seeds_in_memory_are_naturally_aligned() {
    for (wide, alignment) in [(false, 4), (true, 8)] {
        for address in 0x100..0x110 {
            let expected = if address % alignment == 0 {
                Ok(())
            } else {
                Err(DescriptorError::AddressMisaligned { operand: Operand::Seed, address, alignment })
            };
            let crc = Crc::new(0x1000, 5).record(RECORD).crc64(wide).seed_address(address);
            assert_eq!(crc.build(&everything()).map(|_| ()), expected);
            let copy = CopyCrc::new(0x1000, 0x2000, 5).record(RECORD).crc64(wide).seed_address(address);
            assert_eq!(copy.build(&everything()).map(|_| ()), expected);
            if let Err(error) = expected {
                assert_eq!(error.status(), status::ADDR_ALIGN);
            }
        }
    }
}

#[test]
fn a_wide_seed_needs_the_wide_polynomial() {
    let crc = Crc::new(0x1000, 5).record(RECORD).seed(1_u64 << 32);
    let error = crc.build(&everything()).unwrap_err();
    assert_eq!(error, DescriptorError::ReservedField { opcode: 0x10, offset: 44, value: 1 });
    assert!(crc.crc64(true).build(&everything()).is_ok());
}

#[test]
fn seed_traffic_class_needs_a_seed_address() {
    let error = CopyCrc::new(0x1000, 0x2000, 5).record(RECORD).seed_traffic_class(TrafficClass::B).build(&everything());
    assert_eq!(error, Err(DescriptorError::FlagsNotAllowed { opcode: 0x11, flags: 1 << 11 }));
}

#[test]
fn regions_end_inside_the_address_space() {
    let caps = first_generation();
    let (last, low) = (u64::MAX - 15, 0x5000);
    let build = |len: u64| {
        [
            (Move::new(last, low, len).build(&caps), Operand::Source),
            (Move::new(low, last, len).build(&caps), Operand::Destination),
            (Fill::new(last, len, 0).build(&caps), Operand::Destination),
            (Compare::new(last, low, len).record(RECORD).build(&caps), Operand::Source),
            (Compare::new(low, last, len).record(RECORD).build(&caps), Operand::SecondSource),
            (ComparePattern::new(last, len, 0).record(RECORD).build(&caps), Operand::Source),
            (Dualcast::new(last, 0x1ff0, 0x2ff0, len).build(&caps), Operand::Source),
            (Dualcast::new(low, last, 0x2ff0, len).build(&caps), Operand::Destination),
            (Dualcast::new(low, 0x2ff0, last, len).build(&caps), Operand::SecondDestination),
            (Crc::new(last, len).record(RECORD).build(&caps), Operand::Source),
            (CopyCrc::new(last, low, len).record(RECORD).build(&caps), Operand::Source),
            (CopyCrc::new(low, last, len).record(RECORD).build(&caps), Operand::Destination),
            (CacheFlush::new(last, len).build(&caps), Operand::Destination),
        ]
    };
    for (built, operand) in build(16) {
        assert!(built.is_ok(), "{operand}");
    }
    for (built, operand) in build(17) {
        assert_eq!(built, Err(DescriptorError::AddressWraps { operand, address: last, size: 17 }));
    }
}
