//! Sizes and alignments that no capability register states (specification chapter 8).

/// Bytes of a descriptor, and its alignment (specification section 8.1).
pub const DESCRIPTOR_SIZE: usize = 64;
/// Bytes of a DSA completion record, and its alignment.
pub const COMPLETION_SIZE: usize = 32;
/// Alignment of a batch's descriptor list; else status 0x18 (batch operation).
pub const BATCH_LIST_ALIGN: usize = 64;
/// Fewest descriptors in a batch, unless [`crate::gencap::BATCH_OF_ONE`] is set (batch operation).
pub const BATCH_MIN: u32 = 2;

/// Alignment of the addresses and the size of a delta operation (delta operations).
pub const DELTA_ALIGN: usize = 8;
/// Largest region that a delta record can describe: its offsets are 16 bits wide and count 8 bytes (delta operations).
pub const DELTA_MAX_REGION: u32 = 0x8_0000;
/// Bytes of one entry of a delta record: a 16-bit offset and 8 bytes of data (delta operations).
pub const DELTA_ENTRY: u32 = 10;
/// Smallest permitted maximum delta record size; it must also be a multiple of [`DELTA_ENTRY`] (delta operations).
pub const DELTA_MIN_RECORD: u32 = 80;

/// The two destinations of a dualcast must agree in these address bits; else status 0x17 (dualcast operation).
pub const DUALCAST_MASK: u64 = 0xfff;

/// Block sizes of the data-integrity operations, by the code in bits 1:0 of the DIF flags (DIF operations).
pub const DIF_BLOCKS: [u32; 4] = [512, 520, 4096, 4104];
/// Bytes of the tuple that follows each block: guard, application tag, reference tag.
pub const DIF_TUPLE: u32 = 8;

/// Smallest stride of a translation fetch; a stride must also be a power of two.
pub const TRANSLATION_FETCH_MIN_STRIDE: u32 = 4096;

/// A PASID has 20 bits.
pub const PASID_MASK: u32 = 0x000f_ffff;
/// Bits of OPCAP and of a queue's operation configuration: one for each opcode (section 9.2).
pub const OPCODE_BITS: usize = 256;

/// How often the driver's `write(2)` path repeats ENQCMDS by default before it gives up with `EAGAIN`.
pub const KERNEL_ENQCMDS_RETRIES: u32 = 32;
/// The most that the queue attribute `enqcmds_retries` accepts.
pub const KERNEL_ENQCMDS_RETRIES_MAX: u32 = 64;

const _: () = {
    assert!(DESCRIPTOR_SIZE == size_of::<crate::Descriptor>() && DESCRIPTOR_SIZE == align_of::<crate::Descriptor>());
    assert!(COMPLETION_SIZE == size_of::<crate::CompletionRecord>());
    assert!(DELTA_MAX_REGION == (1 << 16) * DELTA_ALIGN as u32);
    assert!(DELTA_MIN_RECORD.is_multiple_of(DELTA_ENTRY));
    assert!(KERNEL_ENQCMDS_RETRIES <= KERNEL_ENQCMDS_RETRIES_MAX);
};
