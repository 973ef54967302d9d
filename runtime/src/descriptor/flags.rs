//! Descriptor flags as a type, and their names. Bits 23:16 mean something else for every operation.

use core::fmt;

use idxd_sys::{Descriptor, flag, opcode};

bitflags::bitflags! {
    /// The 24 flag bits of a descriptor (specification section 8.1.3).
    ///
    /// Only the bits that mean the same for every operation have a constant here. Bits 23:16 belong to the operation;
    /// [`Flags::display`] knows their names.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Flags: u32 {
        /// Wait for all earlier members of the batch.
        const FENCE = flag::FENCE;
        /// Wait for the page instead of ending with a partial completion.
        const BLOCK_ON_FAULT = flag::BLOCK_ON_FAULT;
        /// The completion record address is valid.
        const RECORD_VALID = flag::CRAV;
        /// Write a completion record on success too.
        const REQUEST_RECORD = flag::RCR;
        /// Raise a completion interrupt.
        const REQUEST_INTERRUPT = flag::RCI;
        /// Cache control 3.
        const CACHE_CONTROL_3 = flag::CACHE_CONTROL_3;
        /// Turn (result, expected result) into the status.
        const CHECK_RESULT = flag::CHECK_RESULT;
        /// Cache control 1.
        const CACHE_CONTROL_1 = flag::CACHE_CONTROL;
        /// Address 1 uses traffic class B.
        const ADDRESS_1_TC = flag::ADDR1_TC;
        /// Address 2 uses traffic class B.
        const ADDRESS_2_TC = flag::ADDR2_TC;
        /// Address 3 uses traffic class B.
        const ADDRESS_3_TC = flag::ADDR3_TC;
        /// The completion record uses traffic class B.
        const RECORD_TC = flag::CR_TC;
        /// Writes become visible in order.
        const STRICT_ORDER = flag::STRICT_ORDER;
        /// Cache control 2, once destination readback.
        const CACHE_CONTROL_2 = flag::DEST_READBACK;
        /// All other bits are known too: to the operation, or as reserved.
        const _ = 0x00ff_ffff;
    }
}

impl Flags {
    /// The flags of a descriptor.
    pub const fn of(descriptor: &Descriptor) -> Self {
        Self::from_bits_retain(descriptor.flags())
    }

    /// The names of the flags as `opcode` understands them, separated by commas.
    pub const fn display(self, opcode: u8) -> impl fmt::Display {
        Names { opcode, bits: self.bits() }
    }
}

/// Lists the flags by name; for error messages.
pub(super) struct Names {
    pub(super) opcode: u8,
    pub(super) bits: u32,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == 0 {
            return f.write_str("none");
        }
        let mut separator = "";
        for bit in (0..32).filter(|bit| self.bits >> bit & 1 == 1) {
            f.write_str(separator)?;
            match name(self.opcode, 1 << bit) {
                Some(name) => write!(f, "{name} (bit {bit})")?,
                None => write!(f, "reserved bit {bit}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// The name of one flag bit, `None` if it is reserved for this operation's family.
const fn name(opcode: u8, bit: u32) -> Option<&'static str> {
    Some(match bit {
        flag::FENCE => "fence",
        flag::BLOCK_ON_FAULT => "block-on-fault",
        flag::CRAV => "record-address-valid",
        flag::RCR => "request-record",
        flag::RCI => "request-interrupt",
        flag::CACHE_CONTROL_3 => "cache-control-3",
        flag::CHECK_RESULT => "check-result",
        flag::CACHE_CONTROL => "cache-control-1",
        flag::ADDR1_TC => "address-1-traffic-class",
        flag::ADDR2_TC => "address-2-traffic-class",
        flag::ADDR3_TC => "address-3-traffic-class",
        flag::CR_TC => "record-traffic-class",
        flag::STRICT_ORDER => "strict-ordering",
        flag::DEST_READBACK => "cache-control-2",
        _ => {
            return match (opcode, bit) {
                (opcode::BATCH, flag::BATCH_ERROR) => Some("batch-error"),
                (opcode::DRAIN, flag::DRAIN_READBACK_1) => Some("readback-1-valid"),
                (opcode::DRAIN, flag::DRAIN_READBACK_2) => Some("readback-2-valid"),
                (opcode::DRAIN, flag::DRAIN_SUPPRESS_TC_A) => Some("suppress-readback-a"),
                (opcode::DRAIN, flag::DRAIN_SUPPRESS_TC_B) => Some("suppress-readback-b"),
                (opcode::FILL | opcode::INTER_DOMAIN_FILL, flag::FILL_16) => Some("16-byte-pattern"),
                (opcode::CRCGEN | opcode::COPY_CRC, flag::CRC_READ_SEED) => Some("read-seed"),
                (opcode::CRCGEN | opcode::COPY_CRC, flag::CRC_BYPASS_INVERT) => Some("bypass-inversion"),
                (opcode::CRCGEN | opcode::COPY_CRC, flag::CRC_BYPASS_REFLECT) => Some("bypass-reflection"),
                (opcode::CRCGEN | opcode::COPY_CRC, flag::CRC_64) => Some("crc-64"),
                (opcode::TRANSL_FETCH, flag::FETCH_STRIDE) => Some("stride-valid"),
                (opcode::REDUCE | opcode::REDUCE_DUALCAST, flag::INTER_DOMAIN_SELECTOR) => {
                    Some("inter-domain-selector")
                }
                (opcode::REDUCE_DUALCAST, flag::REDUCE_DEST2_TC) => Some("destination-2-traffic-class"),
                (opcode::UPDATE_WINDOW, flag::SUPPRESS_DRAIN) => Some("suppress-drain"),
                (
                    opcode::TYPE_CONV
                    | opcode::GATHER_COPY
                    | opcode::SCATTER_COPY
                    | opcode::INTER_DOMAIN_COPY
                    | opcode::INTER_DOMAIN_COMPARE
                    | opcode::INTER_DOMAIN_COMPVAL,
                    flag::ALTERNATE_SOURCE,
                ) => Some("alternate-source"),
                (opcode::INTER_DOMAIN_COMPARE, flag::ALTERNATE_DESTINATION) => Some("alternate-source-2"),
                (
                    opcode::TYPE_CONV
                    | opcode::GATHER_COPY
                    | opcode::SCATTER_COPY
                    | opcode::SCATTER_FILL
                    | opcode::INTER_DOMAIN_COPY
                    | opcode::INTER_DOMAIN_FILL,
                    flag::ALTERNATE_DESTINATION,
                ) => Some("alternate-destination"),
                _ => None,
            };
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_the_operation() {
        let flags = Flags::from_bits_retain(1 << 18 | 1 << 1);
        assert_eq!(flags.display(opcode::FILL).to_string(), "block-on-fault (bit 1), 16-byte-pattern (bit 18)");
        assert_eq!(flags.display(opcode::CRCGEN).to_string(), "block-on-fault (bit 1), bypass-reflection (bit 18)");
        assert_eq!(flags.display(opcode::MEMMOVE).to_string(), "block-on-fault (bit 1), reserved bit 18");
        assert_eq!(Flags::empty().display(opcode::NOP).to_string(), "none");
    }

    #[test]
    fn every_common_bit_has_a_name() {
        for bit in 0..16 {
            let reserved = flag::RESERVED >> bit & 1 == 1;
            assert_eq!(name(opcode::NOP, 1 << bit).is_none(), reserved, "bit {bit}");
        }
    }

    #[test]
    fn flags_of_a_descriptor_leave_the_opcode_out() {
        let mut descriptor = Descriptor::default();
        descriptor.set_opcode_flags(0xff, flag::CRAV | flag::RCR);
        assert_eq!(Flags::of(&descriptor), Flags::RECORD_VALID | Flags::REQUEST_RECORD);
    }
}
