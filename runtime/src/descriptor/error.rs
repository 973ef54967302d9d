//! Why a descriptor was refused before it reached a device.

use core::fmt;

use idxd_sys::{opcode, status};

use super::completion::Operand;
use super::flags::Names;

/// A descriptor that must not be sent. Each variant carries the value and the limit it broke.
///
/// [`status`](Self::status) gives the completion status with which a device that checks the same rule would end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The queue does not execute this operation.
    #[error(
        "{} is not offered by this queue: it is missing in the device's op_cap or the queue's op_config, or not known \
         here; use another queue or the CPU",
        Op(*opcode)
    )]
    UnsupportedOpcode {
        /// The opcode.
        opcode: u8,
    },
    /// The operation may not be a member of a batch.
    #[error("{} may not be a member of a batch; submit it to the queue itself", Op(*opcode))]
    NotInBatch {
        /// The opcode.
        opcode: u8,
    },
    /// A fence outside a batch.
    #[error("the fence flag is only defined for members of a batch; build the descriptor as a member or clear it")]
    FenceOutsideBatch,
    /// Flags that this operation does not define, or not in this combination.
    #[error("{} does not take these flags: {}; clear them", Op(*opcode), Names { opcode: *opcode, bits: *flags })]
    FlagsNotAllowed {
        /// The opcode.
        opcode: u8,
        /// The offending bits.
        flags: u32,
    },
    /// Flags that the operation defines, but this device or queue does not offer.
    #[error(
        "{} with these flags is not offered by this device or queue: {}; clear them or configure the queue",
        Op(*opcode),
        Names { opcode: *opcode, bits: *flags }
    )]
    FlagsNotOffered {
        /// The opcode.
        opcode: u8,
        /// The offending bits.
        flags: u32,
    },
    /// A combination of the cache control bits that is reserved, or not offered.
    #[error("cache control {value:03b} (CC3 CC2 CC1) is reserved or not offered here for {}; 000 always works", Op(*opcode))]
    CacheControl {
        /// The opcode.
        opcode: u8,
        /// CC3 in bit 2, CC2 in bit 1, CC1 in bit 0.
        value: u8,
    },
    /// The operation yields a result and so needs a completion record on success too.
    #[error("{} needs a completion record address and the request for a record", Op(*opcode))]
    RecordRequired {
        /// The opcode.
        opcode: u8,
    },
    /// A flag about the completion record, without an address for it.
    #[error("these flags need a completion record address: {}", Names { opcode: opcode::NOP, bits: *flags })]
    RecordFlagsWithoutRecord {
        /// The offending bits.
        flags: u32,
    },
    /// The completion record address is null. The device could not report anything, not even this.
    #[error("the completion record address is null; give the address of 32 bytes that stay valid until completion")]
    RecordNull,
    /// The completion record is misaligned. The device could not report anything, not even this.
    #[error("the completion record address {address:#x} is not a multiple of 32")]
    RecordMisaligned {
        /// The address.
        address: u64,
    },
    /// A reserved byte is not zero.
    #[error("byte {offset} is reserved for {} and must be 0, but is {value:#04x}", Op(*opcode))]
    ReservedField {
        /// The opcode.
        opcode: u8,
        /// The first offending byte of the descriptor, 0 to 63.
        offset: u8,
        /// The reserved bits that are set in it.
        value: u8,
    },
    /// A transfer of no bytes. The device refuses it; the caller has nothing to do.
    #[error("the transfer size is 0, but must be between 1 and {max}; skip empty operations")]
    SizeZero {
        /// The largest transfer of the queue, in bytes.
        max: u64,
    },
    /// A transfer larger than the queue allows.
    #[error("the transfer size {size} is above the queue's maximum {max}; split the operation")]
    SizeTooLarge {
        /// The size asked for, in bytes.
        size: u64,
        /// The largest transfer of the queue, in bytes.
        max: u64,
    },
    /// A batch with too few or too many members.
    #[error(
        "a batch of {count} members is outside {min} to {max} of this queue; submit single descriptors or split it"
    )]
    BatchCount {
        /// The number of members asked for.
        count: u32,
        /// The smallest batch.
        min: u32,
        /// The largest batch.
        max: u32,
    },
    /// Regions overlap that must not.
    #[error("the regions at {first:#x} and {second:#x} of {size} bytes overlap, which {} does not allow here", Op(*opcode))]
    Overlap {
        /// The opcode.
        opcode: u8,
        /// Where the one region starts.
        first: u64,
        /// Where the other region starts.
        second: u64,
        /// The size of both, in bytes.
        size: u32,
    },
    /// The destinations of a dualcast differ in bits 11:0.
    #[error("the dualcast destinations {first:#x} and {second:#x} must agree in address bits 11:0")]
    DualcastAlignment {
        /// The first destination.
        first: u64,
        /// The second destination.
        second: u64,
    },
    /// The descriptor list of a batch is misaligned.
    #[error("the descriptor list address {address:#x} is not a multiple of 64")]
    ListMisaligned {
        /// The address.
        address: u64,
    },
    /// An operand is not aligned as the operation wants it.
    #[error("the {operand} address {address:#x} is not a multiple of {alignment}")]
    AddressMisaligned {
        /// Which operand.
        operand: Operand,
        /// Its address.
        address: u64,
        /// The alignment it needs, in bytes.
        alignment: u64,
    },
    /// A region that runs past the end of the address space.
    #[error("the {operand} at {address:#x} of {size} bytes runs past the end of the address space")]
    AddressWraps {
        /// Which operand.
        operand: Operand,
        /// Where it starts.
        address: u64,
        /// Its size in bytes.
        size: u64,
    },
}

impl DescriptorError {
    /// The completion status that a device gives for the same mistake (specification table 5-6).
    ///
    /// For the two mistakes about the completion record it is the code in the event log or software error register,
    /// because nothing can be reported in the record. For [`AddressWraps`](Self::AddressWraps) it is a translation
    /// failure; a device may also get as far as a page fault.
    pub const fn status(&self) -> u8 {
        match self {
            Self::UnsupportedOpcode { .. } | Self::NotInBatch { .. } => status::BAD_OPCODE,
            Self::FenceOutsideBatch
            | Self::FlagsNotAllowed { .. }
            | Self::FlagsNotOffered { .. }
            | Self::CacheControl { .. }
            | Self::RecordRequired { .. }
            | Self::RecordFlagsWithoutRecord { .. } => status::BAD_FLAGS,
            Self::RecordNull => status::CR_FAULT,
            Self::RecordMisaligned { .. } => status::CR_ALIGN,
            Self::ReservedField { .. } => status::RESERVED_FIELD,
            Self::SizeZero { .. } | Self::SizeTooLarge { .. } => status::BAD_SIZE,
            Self::BatchCount { .. } => status::BAD_COUNT,
            Self::Overlap { .. } => status::OVERLAP,
            Self::DualcastAlignment { .. } => status::DUALCAST_ALIGN,
            Self::ListMisaligned { .. } => status::LIST_ALIGN,
            Self::AddressMisaligned { .. } => status::ADDR_ALIGN,
            Self::AddressWraps { .. } => status::TRANSLATION,
        }
    }
}

/// Shows an opcode by name, or by number if it has none.
pub(super) struct Op(pub(super) u8);

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match opcode::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "operation {:#04x}", self.0),
        }
    }
}
