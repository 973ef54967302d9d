//! Rules that operations share: header, reserved bytes, sizes, ranges, overlaps, handles.
//!
//! Each check is a compare and a branch; what makes up an error is out of line, so that a builder with constant opcode
//! and constant zero fields comes down to a few dozen instructions.

use idxd_sys::{Descriptor, flag};

use super::capabilities::Capabilities;
use super::common::CacheControl;
use super::completion::Operand;
use super::error::DescriptorError;
use super::validate::Position;

/// Flags that every operation takes on every device.
const ALWAYS: u32 = flag::CRAV | flag::RCR | flag::CR_TC;

/// What the header of one operation may contain (specification table 5-3).
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) opcode: u8,
    /// Flags the operation defines besides those of every operation; cache control bits are in `cache_controls`.
    pub(super) defined: u32,
    /// Those of `defined` that this device does not offer.
    pub(super) missing: u32,
    /// Bit n is set if the operation defines cache control value n.
    pub(super) cache_controls: u8,
    /// The operation yields a result: record address and request are mandatory.
    pub(super) record_required: bool,
    /// The operation may be a member of a batch.
    pub(super) in_batch: bool,
}

/// Cache control values of an operation that only reads.
pub(super) const NO_CACHE_CONTROL: u8 = 0b1;
/// Cache control values of an operation that writes; 101 and 111 are reserved.
pub(super) const WRITE_CACHE_CONTROL: u8 = 0b0101_1111;

impl Header {
    /// Checks opcode, position, flags, record address, and the fields 0 to 3 and 36 to 39.
    ///
    /// Inlined always: as a call it costs a builder three times as much, since header and flags are constants there.
    #[expect(clippy::inline_always, reason = "measured in instructions; see above")]
    #[inline(always)]
    pub(super) fn check(self, d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
        let flags = d.flags();
        let member = matches!(position, Position::BatchMember);
        if !caps.supports(self.opcode) {
            return Err(unsupported(self.opcode));
        }
        if member && !self.in_batch {
            return Err(not_in_batch(self.opcode));
        }

        let cache_bits = if self.cache_controls == NO_CACHE_CONTROL { 0 } else { CacheControl::MASK };
        let fence = if member { flag::FENCE } else { 0 };
        let allowed = ALWAYS | fence | (flag::RCI | cache_bits | self.defined & !self.missing) & caps.flag_mask();
        if flags & !allowed != 0 {
            return Err(self.bad_flags(flags & !allowed, member));
        }
        if flags & cache_bits != 0 {
            let value = CacheControl::value_of(flags);
            if self.cache_controls & caps.cache_controls() & 1 << value == 0 {
                return Err(bad_cache_control(self.opcode, value));
            }
        }

        if flags & flag::CRAV != 0 {
            if d.completion_addr & 31 != 0 {
                return Err(record_misaligned(d.completion_addr));
            }
            if d.completion_addr == 0 {
                return Err(record_null());
            }
        } else {
            if flags & (flag::RCR | flag::CR_TC) != 0 {
                return Err(record_flags(flags & (flag::RCR | flag::CR_TC)));
            }
            self.reserved(d.completion_addr, u64::MAX, 8)?;
        }
        if self.record_required && flags & (flag::CRAV | flag::RCR) != flag::CRAV | flag::RCR {
            return Err(record_required(self.opcode));
        }

        // The PASID of a member is that of its batch, and ignored.
        if !member {
            self.reserved(u64::from(d.pasid), u64::MAX, 0)?;
        }
        if flags & flag::RCI == 0 {
            self.reserved(u64::from(d.int_handle), u64::MAX, 36)?;
        }
        self.reserved(u64::from(d.reserved), u64::MAX, 38)
    }

    /// Requires the bits of `mask` in a field that starts at byte `offset` to be zero.
    #[inline]
    pub(super) fn reserved(self, field: u64, mask: u64, offset: u8) -> Result<(), DescriptorError> {
        if field & mask != 0 {
            return Err(reserved(self.opcode, field & mask, offset));
        }
        Ok(())
    }

    #[cold]
    fn bad_flags(self, bad: u32, member: bool) -> DescriptorError {
        if bad == flag::FENCE && !member && self.in_batch {
            return DescriptorError::FenceOutsideBatch;
        }
        let undefined = bad & !(self.defined | flag::RCI);
        if undefined == 0 {
            DescriptorError::FlagsNotOffered { opcode: self.opcode, flags: bad }
        } else {
            DescriptorError::FlagsNotAllowed { opcode: self.opcode, flags: undefined }
        }
    }
}

/// The size field for a length; [`transfer`] checks it against the queue.
#[inline]
pub(super) fn size_field(len: u64, caps: &Capabilities) -> Result<u32, DescriptorError> {
    match u32::try_from(len) {
        Ok(size) => Ok(size),
        Err(_) => Err(bad_size(len, caps.max_transfer_size())),
    }
}

/// Transfer size: 1 to the queue's maximum (specification section 8.1.5).
#[inline]
pub(super) fn transfer(d: &Descriptor, caps: &Capabilities) -> Result<(), DescriptorError> {
    let (size, max) = (u64::from(d.xfer_size), caps.max_transfer_size());
    // Zero wraps around and is above any maximum.
    if size.wrapping_sub(1) >= max {
        return Err(bad_size(size, max));
    }
    Ok(())
}

/// The region must not run past the end of the address space. `size` is not zero.
#[inline]
pub(super) fn range(operand: Operand, address: u64, size: u64) -> Result<(), DescriptorError> {
    if address.checked_add(size - 1).is_none() {
        return Err(wraps(operand, address, size));
    }
    Ok(())
}

/// Two regions of the same size must not share a byte.
#[inline]
pub(super) fn disjoint(opcode: u8, first: u64, second: u64, size: u32) -> Result<(), DescriptorError> {
    if first.abs_diff(second) < u64::from(size) {
        return Err(overlap(opcode, (first, u64::from(size)), (second, u64::from(size))));
    }
    Ok(())
}

/// A region of memory: where it starts, and its size in bytes, which is not zero. It does not wrap around.
pub(super) type Region = (u64, u64);

/// Whether two regions share a byte.
#[inline]
pub(super) const fn overlaps(first: Region, second: Region) -> bool {
    if first.0 <= second.0 { second.0 - first.0 < first.1 } else { first.0 - second.0 < second.1 }
}

/// Two regions must not share a byte.
#[inline]
pub(super) fn apart(opcode: u8, first: Region, second: Region) -> Result<(), DescriptorError> {
    if overlaps(first, second) {
        return Err(overlap(opcode, first, second));
    }
    Ok(())
}

/// Source and destination of a typed operation share no byte, or are the same region with elements of the same type.
#[inline]
pub(super) fn apart_or_same(
    opcode: u8,
    is_same_type: bool,
    source: Region,
    destination: Region,
) -> Result<(), DescriptorError> {
    if is_same_type && source.0 == destination.0 {
        return Ok(());
    }
    apart(opcode, source, destination)
}

/// Two handles in their place in the word at byte 56.
#[inline]
pub(super) const fn handle_fields(handles: [u16; 2]) -> u64 {
    (handles[0] as u64) << 32 | (handles[1] as u64) << 48
}

/// The handle of an entry of the permissions table, in the two bytes at `offset`: below the size of the table where
/// that is known, and 0 if it is not used (specification sections 5.4 and 5.5).
#[inline]
pub(super) fn handle(
    header: Header,
    d: &Descriptor,
    caps: &Capabilities,
    is_used: bool,
    offset: u8,
) -> Result<(), DescriptorError> {
    let handle = d.op_u16(offset as usize);
    if !is_used {
        return header.reserved(u64::from(handle), u64::MAX, offset);
    }
    match caps.inter_domain_capabilities().handles {
        Some(handles) if u32::from(handle) >= handles => Err(bad_handle(header.opcode, handle, handles)),
        _ => Ok(()),
    }
}

/// An address must be a multiple of `alignment`, a power of two.
#[inline]
pub(super) fn aligned(operand: Operand, address: u64, alignment: u64) -> Result<(), DescriptorError> {
    if address & (alignment - 1) != 0 {
        return Err(misaligned(operand, address, alignment));
    }
    Ok(())
}

#[cold]
pub(super) fn unsupported(opcode: u8) -> DescriptorError {
    DescriptorError::UnsupportedOpcode { opcode }
}

#[cold]
fn not_in_batch(opcode: u8) -> DescriptorError {
    DescriptorError::NotInBatch { opcode }
}

#[cold]
fn bad_cache_control(opcode: u8, value: u8) -> DescriptorError {
    DescriptorError::CacheControl { opcode, value }
}

#[cold]
fn record_misaligned(address: u64) -> DescriptorError {
    DescriptorError::RecordMisaligned { address }
}

#[cold]
fn record_null() -> DescriptorError {
    DescriptorError::RecordNull
}

#[cold]
fn record_flags(flags: u32) -> DescriptorError {
    DescriptorError::RecordFlagsWithoutRecord { flags }
}

#[cold]
pub(super) fn record_required(opcode: u8) -> DescriptorError {
    DescriptorError::RecordRequired { opcode }
}

#[cold]
fn reserved(opcode: u8, bits: u64, offset: u8) -> DescriptorError {
    let byte = bits.trailing_zeros() as u8 / 8;
    DescriptorError::ReservedField { opcode, offset: offset + byte, value: (bits >> (8 * byte)) as u8 }
}

#[cold]
pub(super) fn bad_size(size: u64, max: u64) -> DescriptorError {
    if size == 0 { DescriptorError::SizeZero { max } } else { DescriptorError::SizeTooLarge { size, max } }
}

#[cold]
fn wraps(operand: Operand, address: u64, size: u64) -> DescriptorError {
    DescriptorError::AddressWraps { operand, address, size }
}

#[cold]
fn overlap(opcode: u8, first: Region, second: Region) -> DescriptorError {
    DescriptorError::Overlap { opcode, first: first.0, first_size: first.1, second: second.0, second_size: second.1 }
}

#[cold]
pub(super) fn dualcast_alignment(first: u64, second: u64) -> DescriptorError {
    DescriptorError::DualcastAlignment { first, second }
}

#[cold]
fn bad_handle(opcode: u8, handle: u16, handles: u32) -> DescriptorError {
    DescriptorError::HandleOutOfRange { opcode, handle, handles }
}

#[cold]
fn misaligned(operand: Operand, address: u64, alignment: u64) -> DescriptorError {
    DescriptorError::AddressMisaligned { operand, address, alignment }
}
