//! Software errors: the SWERROR register, 32 bytes, which the driver shows in the attribute `errors` (specification
//! section 9.2).
//!
//! It is the only trace of a descriptor that the device could not answer: one that was lost, or whose completion
//! record could not be written. The register keeps the first error until it is acknowledged.

pub use crate::status::SWERR_DWQ_OVERFLOW as DWQ_OVERFLOW;

/// Word 0, bit 0: the register holds an error.
pub const VALID: u64 = 1 << 0;
/// Word 0, bit 1: more errors came while it did; they are not recorded.
pub const OVERFLOW: u64 = 1 << 1;
/// Word 0, bit 2: the fields taken from the descriptor are valid.
pub const DESC_VALID: u64 = 1 << 2;
/// Word 0, bit 3: the queue number is valid.
pub const WQ_VALID: u64 = 1 << 3;
/// Word 0, bit 4: the descriptor was a member of a batch.
pub const BATCH: u64 = 1 << 4;
/// Word 0, bit 5: the faulting access was a write.
pub const FAULT_WRITE: u64 = 1 << 5;
/// Word 0, bit 6: the descriptor was privileged.
pub const PRIVILEGED: u64 = 1 << 6;

/// The register taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SwError {
    /// The flag bits, word 0 bits 6:0.
    pub flags: u64,
    /// The error: a status code ([`crate::status`]) or a code of this register alone, such as [`DWQ_OVERFLOW`].
    pub error: u8,
    /// The queue, if [`WQ_VALID`].
    pub wq: u8,
    /// The opcode, if [`DESC_VALID`].
    pub opcode: u8,
    /// The PASID, if [`DESC_VALID`].
    pub pasid: u32,
    /// The position in the batch, if [`BATCH`].
    pub batch_index: u16,
    /// The invalid flags, for status 0x11.
    pub invalid_flags: u32,
    /// The address of a page fault.
    pub fault_addr: u64,
}

impl SwError {
    /// Takes the four words of the register apart; `None` if it holds no error.
    pub const fn decode(words: [u64; 4]) -> Option<Self> {
        let [head, batch, fault_addr, _] = words;
        if head & VALID == 0 {
            return None;
        }
        Some(Self {
            flags: head & 0x7f,
            error: (head >> 8) as u8,
            wq: (head >> 16) as u8,
            opcode: (head >> 32) as u8,
            pasid: (head >> 40) as u32 & crate::limits::PASID_MASK,
            batch_index: batch as u16,
            invalid_flags: (batch >> 32) as u32,
            fault_addr,
        })
    }

    /// The words of a register that holds this error; [`VALID`] is added.
    pub const fn encode(&self) -> [u64; 4] {
        let head = (self.flags & 0x7f | VALID)
            | (self.error as u64) << 8
            | (self.wq as u64) << 16
            | (self.opcode as u64) << 32
            | ((self.pasid & crate::limits::PASID_MASK) as u64) << 40;
        [head, self.batch_index as u64 | (self.invalid_flags as u64) << 32, self.fault_addr, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_register_is_no_error() {
        assert_eq!(SwError::decode([OVERFLOW, 1, 2, 3]), None);
    }

    #[test]
    fn every_field_has_its_place() {
        let words = [0x0abc_de03_ff07_5313, 0x0012_3456_eeee_0040, 0xffff_8000_dead_b000, 0];
        let error = SwError::decode(words).expect("valid");
        assert_eq!(error.flags, VALID | OVERFLOW | BATCH);
        assert_eq!((error.error, error.wq, error.opcode), (DWQ_OVERFLOW, 7, crate::opcode::MEMMOVE));
        assert_eq!((error.pasid, error.batch_index), (0xa_bcde, 0x40));
        assert_eq!((error.invalid_flags, error.fault_addr), (0x12_3456, 0xffff_8000_dead_b000));
    }

    #[test]
    fn encoding_is_the_inverse() {
        let error = SwError {
            flags: VALID | WQ_VALID | DESC_VALID | FAULT_WRITE,
            error: DWQ_OVERFLOW,
            wq: 7,
            opcode: crate::opcode::MEMMOVE,
            pasid: 0xf_ffff,
            batch_index: 0xffff,
            invalid_flags: 0x80ff_ffff,
            fault_addr: u64::MAX,
        };
        assert_eq!(error.encode()[0], 0x0fff_ff03_0007_532d);
        assert_eq!(SwError::decode(error.encode()), Some(error));
    }
}
