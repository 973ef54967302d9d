//! Capabilities of the known generations, for tests, tools and the emulator.

use idxd_sys::gencap;

use super::capabilities::Capabilities;

/// GENCAP of a production Sapphire Rapids: block on fault, overlapping copies, cache control, destination readback,
/// 2 GiB, 1024 members, 2048 interrupt slots, configurable.
const FIRST: u64 = 0x40_915f_0107;

/// OPCAP of a production Sapphire or Emerald Rapids, with the batches that the kernel hides: neither delta operations
/// nor translation fetch.
const FIRST_OPERATIONS: u64 = 0x1_003f_027f;

/// What the second generation added.
const SECOND: u64 = FIRST
    | gencap::COMMAND_CAPABILITIES
    | gencap::INTER_DOMAIN
    | gencap::TRANSLATION_FETCH_STRIDE
    | gencap::DRAIN_READBACK
    | gencap::FILL_16
    | gencap::CRC_64
    | gencap::FAULT_INFO
    | 1 << gencap::EVENT_LOG.trailing_zeros()
    | gencap::EVENT_LOG_OVERFLOW
    | gencap::BATCH_CONTINUATION;

/// Delta operations (0x07, 0x08), translation fetch (0x0a), DIX generate (0x17), update window (0x21), inter-domain
/// copy, fill, compare and compare pattern (0x23 to 0x26).
const SECOND_OPERATIONS: u64 = FIRST_OPERATIONS | 0x80_0580 | 0x7a << 32;

/// Type conversion, reduce, gather and scatter (0x18 to 0x1e).
const THIRD_OPERATIONS: u64 = SECOND_OPERATIONS | 0x7f00_0000;

impl Capabilities {
    /// A first-generation part (DSA 1.0), as it is in production: without the operations that such parts hide.
    ///
    /// Real queues may offer less; this is for tests and the emulator.
    pub const fn sapphire_rapids() -> Self {
        Self::new(0x100, FIRST, [FIRST_OPERATIONS, 0, 0, 0])
    }

    /// A second-generation part (DSA 2.0) with every operation of that generation, and every optional feature that
    /// GENCAP has for the operations of users.
    ///
    /// For tests and the emulator: no part is known to offer exactly this.
    pub const fn granite_rapids() -> Self {
        Self::new(0x200, SECOND, [SECOND_OPERATIONS, 0, 0, 0])
    }

    /// A third-generation part (DSA 3.0) with every operation, data type, conversion, compute type, compute flag,
    /// rounding type and list format, lists of 1024 entries, 16 KiB blocks of gather-reduce, and IDPT handles wherever
    /// the specification has them. The emulator's preset of the same name has the same registers.
    ///
    /// For tests and the emulator: no part is known to offer exactly this.
    pub const fn diamond_rapids() -> Self {
        // 1024 entries, 16 KiB, handles in all six operations, formats 1 to 3, 16 such descriptors in progress.
        const DSACAP0: u64 = 0xa | 0xe << 4 | 0x77 << 8 | 0xe << 32 | 0x10 << 48;
        // Ten types, nine conversions up and nine down, compute types 1 and 3 to 7.
        const DSACAP1: u64 = 0x3ff | 0x1ff << 16 | 0x1ff << 32 | 0xfa << 48;
        // Negate, flush to zero, denormals are zero, signed, saturate, four rounding types.
        const DSACAP2: u64 = 0x18d | 0xf << 12;
        Self::new(0x300, SECOND | gencap::DURABLE_WRITE | gencap::BATCH_OF_ONE, [THIRD_OPERATIONS, 0, 0, 0])
            .with_dsa_caps([DSACAP0, DSACAP1, DSACAP2])
    }
}

#[cfg(test)]
mod tests {
    use idxd_sys::compute::{compute_type, data_type, dsacap1, dsacap2, sgl_format};
    use idxd_sys::opcode;

    use super::*;

    fn operations(caps: Capabilities) -> Vec<u8> {
        (0..=u8::MAX).filter(|&op| caps.supports(op)).collect()
    }

    #[test]
    fn operations_of_the_generations() {
        let first = [0, 1, 2, 3, 4, 5, 6, 9, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x20];
        assert_eq!(operations(Capabilities::sapphire_rapids()), first);
        let mut second = [&first[..], &[7, 8, 0xa, 0x17, 0x21, 0x23, 0x24, 0x25, 0x26]].concat();
        second.sort_unstable();
        assert_eq!(operations(Capabilities::granite_rapids()), second);
        let third: Vec<u8> = opcode::ALL.to_vec();
        assert_eq!(operations(Capabilities::diamond_rapids()), third);
    }

    #[test]
    fn each_generation_has_what_the_one_before_has() {
        let all = [Capabilities::sapphire_rapids(), Capabilities::granite_rapids(), Capabilities::diamond_rapids()];
        for pair in all.windows(2) {
            assert!(pair[0].version() < pair[1].version());
            assert_eq!(pair[0].gen_cap() & !pair[1].gen_cap(), 0);
            assert_eq!(pair[0].op_cap()[0] & !pair[1].op_cap()[0], 0);
        }
        for caps in &all[..2] {
            assert_eq!((caps.dsa_caps(), caps.max_sgl_size()), ([0; 3], 0));
        }
    }

    #[test]
    fn the_third_generation_has_every_type_and_format() {
        let caps = Capabilities::diamond_rapids();
        let [_, one, two] = caps.dsa_caps();
        let in_16 = |offered: &dyn Fn(u8) -> bool| -> Vec<u8> { (0..16).filter(|&code| offered(code)).collect() };
        assert_eq!(in_16(&|code| dsacap1::has_data_type(one, code)), data_type::ALL);
        assert_eq!(in_16(&|code| dsacap1::has_compute_type(one, code)), compute_type::ALL);
        assert_eq!(in_16(&|code| dsacap2::has_rounding(two, code)), [0, 1, 2, 3]);
        let zero = caps.dsa_caps()[0];
        assert_eq!(in_16(&|code| idxd_sys::compute::dsacap0::has_sgl_format(zero, code)), sgl_format::ALL);
        assert!(dsacap1::CONVERSIONS.iter().all(|&(from, to, _)| dsacap1::has_conversion(one, from, to)));
        assert_eq!((caps.max_sgl_size(), caps.max_gather_reduce_block()), (1024, 16 << 10));
        let with_handles: Vec<u8> = (0..=u8::MAX).filter(|&op| caps.may_name_handles(op)).collect();
        assert_eq!(with_handles, [0x18, 0x19, 0x1a, 0x1c, 0x1d, 0x1e]);
    }
}
