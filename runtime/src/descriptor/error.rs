//! Why a descriptor was refused before it reached a device.

use core::fmt;

use idxd_sys::{opcode, status};

use super::completion::Operand;
use super::compute_names::{ComputeFlagNames, ComputeTypeName, DataTypeName};
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
    #[error(
        "the regions of {first_size} bytes at {first:#x} and of {second_size} bytes at {second:#x} overlap, which {} does \
         not allow here; separate them",
        Op(*opcode)
    )]
    Overlap {
        /// The opcode.
        opcode: u8,
        /// Where the one region starts.
        first: u64,
        /// Its size in bytes.
        first_size: u64,
        /// Where the other region starts.
        second: u64,
        /// Its size in bytes.
        second_size: u64,
    },
    /// The destinations of a dualcast, or of a reduce with dualcast, differ in bits 11:0.
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
    /// The size of a delta operation is no multiple of 8.
    #[error("the size {size} of {} is not a multiple of {alignment}; round the region up or down", Op(*opcode))]
    SizeMisaligned {
        /// The opcode.
        opcode: u8,
        /// The size asked for, in bytes.
        size: u32,
        /// What it must be a multiple of, in bytes.
        alignment: u32,
    },
    /// A delta operation on a larger region than the offsets of a delta record can describe.
    #[error("{} describes at most {max} bytes, not {size}; split the region", Op(*opcode))]
    DeltaRegionTooLarge {
        /// The opcode.
        opcode: u8,
        /// The size asked for, in bytes.
        size: u32,
        /// The largest region, in bytes.
        max: u32,
    },
    /// The size of a delta record, or the room for one, is out of range.
    #[error(
        "{} cannot use a delta record of {size} bytes; give a multiple of {entry} from {min} to {max}",
        Op(*opcode),
        entry = idxd_sys::limits::DELTA_ENTRY
    )]
    DeltaRecordSize {
        /// The opcode.
        opcode: u8,
        /// The size given, in bytes.
        size: u32,
        /// The smallest size, in bytes.
        min: u32,
        /// The largest size, in bytes: the queue's largest transfer.
        max: u64,
    },
    /// The stride of a translation fetch is too small, or no power of two.
    #[error("the stride {stride} of a translation fetch must be a power of two, and at least {min}")]
    Stride {
        /// The stride given, in bytes.
        stride: u32,
        /// The smallest stride, in bytes.
        min: u32,
    },
    /// The size of a data-integrity operation is no whole number of blocks.
    #[error("{} works on whole blocks of {unit} bytes, not on {size} bytes; round the size to blocks", Op(*opcode))]
    SizeNotBlocks {
        /// The opcode.
        opcode: u8,
        /// The size asked for, in bytes.
        size: u32,
        /// What a block takes in the source, in bytes: the data, and 8 bytes where the source has tuples.
        unit: u32,
    },
    /// A data type that is reserved, or not offered.
    #[error("data type {code} ({}) is not offered by this device (DSACAP1); use another type or the CPU", DataTypeName(*code))]
    DataTypeNotOffered {
        /// The code of the data type.
        code: u8,
    },
    /// A conversion that is not defined, or not offered.
    #[error(
        "elements of {} cannot be converted to {} by this device (DSACAP1); convert in steps or on the CPU",
        DataTypeName(*from),
        DataTypeName(*to)
    )]
    ConversionNotOffered {
        /// The code of the data type that is read.
        from: u8,
        /// The code of the data type that is written.
        to: u8,
    },
    /// A compute type that is reserved, not offered, or not defined for this data type.
    #[error(
        "compute type {code} ({}) is not offered by this device (DSACAP1), or not defined for {}; bitwise operations \
         take integers only",
        ComputeTypeName(*code),
        DataTypeName(*data_type)
    )]
    ComputeTypeNotOffered {
        /// The code of the compute type.
        code: u8,
        /// The code of the data type that is read.
        data_type: u8,
    },
    /// Compute flags that this operation does not define, or not for these data types.
    #[error(
        "{} does not take these compute flags with elements of {}: {}; clear them",
        Op(*opcode),
        DataTypeName(*data_type),
        ComputeFlagNames(*flags)
    )]
    ComputeFlagsNotAllowed {
        /// The opcode.
        opcode: u8,
        /// The code of the data type that is read.
        data_type: u8,
        /// The offending bits of the 12 compute flags.
        flags: u16,
    },
    /// Compute flags that the operation defines, but this device does not offer.
    #[error("these compute flags are not offered by this device (DSACAP2): {}; clear them", ComputeFlagNames(*flags))]
    ComputeFlagsNotOffered {
        /// The offending bits of the 12 compute flags.
        flags: u16,
    },
    /// A rounding type that is reserved, or not offered.
    #[error("rounding type {code} is reserved or not offered by this device (DSACAP2); choose another one")]
    RoundingNotOffered {
        /// The code of the rounding type.
        code: u8,
    },
    /// A format of a scatter-gather list that is reserved, or not offered.
    #[error(
        "format {code} of a scatter-gather list is reserved or not offered by this device (DSACAP0); choose another one"
    )]
    SglFormatNotOffered {
        /// The code of the format.
        code: u8,
    },
    /// A scatter-gather list with no or too many entries.
    #[error("a scatter-gather list of {entries} entries is outside 1 to {max} of this queue; split it")]
    SglSize {
        /// The number of entries asked for.
        entries: u32,
        /// The largest number of entries.
        max: u32,
    },
    /// A gather-reduce with a larger block than the device can hold.
    #[error("the block of {size} bytes is above the {max} that this device can gather and reduce; use fewer elements")]
    BlockTooLarge {
        /// The larger one of input block and output block, in bytes.
        size: u64,
        /// The largest block, in bytes.
        max: u32,
    },
    /// The transfer size of a list operation is not that of all its entries.
    #[error(
        "the transfer size is {size}, but the entries of the scatter-gather list take {expected} bytes; make them equal"
    )]
    SizeNotOfList {
        /// The transfer size, in bytes.
        size: u32,
        /// Entries times elements times bytes of an element.
        expected: u64,
    },
    /// The inter-domain selector of a reduce is zero, or has a reserved value.
    #[error("the inter-domain selector {value:#04x} of {} selects nothing, or has a field with the reserved value 3", Op(*opcode))]
    InterDomainSelector {
        /// The opcode.
        opcode: u8,
        /// The selector.
        value: u8,
    },
    /// More different handles than a descriptor has room for.
    #[error("{} has room for two different IDPT handles; reach the other operands without, or through one of the two", Op(*opcode))]
    TooManyHandles {
        /// The opcode.
        opcode: u8,
    },
    /// The operation must reach an address through a handle, and does not.
    #[error(
        "{} needs an IDPT handle, that is, one of these flags: {}; without, use the operation in the own address space",
        Op(*opcode),
        Names { opcode: *opcode, bits: *flags }
    )]
    HandleRequired {
        /// The opcode.
        opcode: u8,
        /// The flags, of which one is needed.
        flags: u32,
    },
    /// A handle that is no entry of the permissions table.
    #[error(
        "the IDPT handle {handle} is not below {handles}, the size of the table; ask the owner of the memory for a handle"
    )]
    HandleOutOfRange {
        /// The opcode.
        opcode: u8,
        /// The handle.
        handle: u16,
        /// The size of the table, in entries.
        handles: u32,
    },
    /// A window of no bytes.
    #[error("the window is enabled, but has no bytes; give it a size or disable it")]
    WindowEmpty,
    /// A window that runs past the end of the address space.
    #[error("the window of {size} bytes at {base:#x} runs past the end of the address space")]
    WindowWraps {
        /// Where it starts.
        base: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// Offset mode of a window that is not enabled, or on a device without offset mode.
    #[error("offset mode needs an enabled window, and a device that has it (IDCAP); use addresses")]
    WindowOffsetMode,
}

impl DescriptorError {
    /// The completion status that a device gives for the same mistake (specification table 5-6).
    ///
    /// For the two mistakes about the completion record it is the code in the event log or software error register,
    /// because nothing can be reported in the record. For [`AddressWraps`](Self::AddressWraps) it is a translation
    /// failure; a device may also get as far as a page fault. [`TooManyHandles`](Self::TooManyHandles) cannot be
    /// written down as a descriptor; it has the status of the field that has no room.
    pub const fn status(&self) -> u8 {
        match self {
            Self::UnsupportedOpcode { .. } | Self::NotInBatch { .. } => status::BAD_OPCODE,
            Self::FenceOutsideBatch
            | Self::FlagsNotAllowed { .. }
            | Self::FlagsNotOffered { .. }
            | Self::CacheControl { .. }
            | Self::RecordRequired { .. }
            | Self::HandleRequired { .. }
            | Self::RecordFlagsWithoutRecord { .. } => status::BAD_FLAGS,
            Self::RecordNull => status::CR_FAULT,
            Self::RecordMisaligned { .. } => status::CR_ALIGN,
            Self::ReservedField { .. } => status::RESERVED_FIELD,
            Self::SizeZero { .. }
            | Self::SizeTooLarge { .. }
            | Self::DeltaRegionTooLarge { .. }
            | Self::SizeNotBlocks { .. }
            | Self::BlockTooLarge { .. }
            | Self::SizeNotOfList { .. } => status::BAD_SIZE,
            Self::BatchCount { .. } | Self::SglSize { .. } => status::BAD_COUNT,
            Self::DeltaRecordSize { .. }
            | Self::DataTypeNotOffered { .. }
            | Self::ConversionNotOffered { .. }
            | Self::ComputeTypeNotOffered { .. }
            | Self::ComputeFlagsNotAllowed { .. }
            | Self::ComputeFlagsNotOffered { .. }
            | Self::RoundingNotOffered { .. }
            | Self::SglFormatNotOffered { .. }
            | Self::InterDomainSelector { .. }
            | Self::TooManyHandles { .. } => status::BAD_FIELD_VALUE,
            Self::Overlap { .. } => status::OVERLAP,
            Self::DualcastAlignment { .. } => status::DUALCAST_ALIGN,
            Self::ListMisaligned { .. } => status::LIST_ALIGN,
            Self::AddressMisaligned { .. } | Self::SizeMisaligned { .. } | Self::Stride { .. } => status::ADDR_ALIGN,
            Self::AddressWraps { .. } => status::TRANSLATION,
            Self::HandleOutOfRange { opcode: opcode::UPDATE_WINDOW, .. } => status::IDPT_UPDATE,
            Self::HandleOutOfRange { .. } => status::IDPT_HANDLE,
            Self::WindowEmpty | Self::WindowWraps { .. } | Self::WindowOffsetMode => status::WINDOW_FIELDS,
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
