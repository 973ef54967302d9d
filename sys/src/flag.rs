//! Descriptor flags, bits 23:0 of bytes 4 to 6 (specification section 8.1.3 and the operation sections).

/// Fence: waits for all earlier members. Only inside a batch.
pub const FENCE: u32 = 1 << 0;
/// Block on fault. Reserved if the queue has it disabled, and for no-op, batch and drain.
pub const BLOCK_ON_FAULT: u32 = 1 << 1;
/// Completion record address valid.
pub const CRAV: u32 = 1 << 2;
/// Request completion record. Must be 0 if [`CRAV`] is 0.
pub const RCR: u32 = 1 << 3;
/// Request completion interrupt. Reserved for user descriptors on Linux.
pub const RCI: u32 = 1 << 4;
/// Cache control 3 (3.0): with cache control 1 and 2 selects where writes go.
pub const CACHE_CONTROL_3: u32 = 1 << 5;
/// Check result: turns (result, expected result) into status 0x01 or 0x02.
pub const CHECK_RESULT: u32 = 1 << 7;
/// Cache control 1: write to cache (hint).
pub const CACHE_CONTROL: u32 = 1 << 8;
/// Traffic class selector of address 1.
pub const ADDR1_TC: u32 = 1 << 9;
/// Traffic class selector of address 2.
pub const ADDR2_TC: u32 = 1 << 10;
/// Traffic class selector of address 3.
pub const ADDR3_TC: u32 = 1 << 11;
/// Traffic class selector of the completion record. Reserved if [`CRAV`] is 0.
pub const CR_TC: u32 = 1 << 12;
/// Strict ordering of writes.
pub const STRICT_ORDER: u32 = 1 << 13;
/// Cache control 2, once "destination readback".
pub const DEST_READBACK: u32 = 1 << 14;
/// Bits reserved for every operation: 6 and 15.
pub const RESERVED: u32 = 1 << 6 | 1 << 15;

/// Batch: an earlier part of the list had failures (batch continuation, GENCAP bit 15).
pub const BATCH_ERROR: u32 = 1 << 16;
/// Drain: readback address 1 valid.
pub const DRAIN_READBACK_1: u32 = 1 << 16;
/// Drain: readback address 2 valid.
pub const DRAIN_READBACK_2: u32 = 1 << 17;
/// Drain: suppress the implicit readback of traffic class A.
pub const DRAIN_SUPPRESS_TC_A: u32 = 1 << 18;
/// Drain: suppress the implicit readback of traffic class B.
pub const DRAIN_SUPPRESS_TC_B: u32 = 1 << 19;
/// Fill: 16-byte pattern (GENCAP bit 10).
pub const FILL_16: u32 = 1 << 18;
/// CRC: read the seed from memory, at the CRC seed address.
pub const CRC_READ_SEED: u32 = 1 << 16;
/// CRC: bypass inversion and reflection of seed and result.
pub const CRC_BYPASS_INVERT: u32 = 1 << 17;
/// CRC: bypass bit reflection of the data bytes.
pub const CRC_BYPASS_REFLECT: u32 = 1 << 18;
/// CRC: the 64-bit polynomial (GENCAP bit 11).
pub const CRC_64: u32 = 1 << 19;

/// Translation fetch: the stride is valid (GENCAP bit 7).
pub const FETCH_STRIDE: u32 = 1 << 16;
/// Inter-domain, conversion, gather and scatter operations: the source is reached through an IDPT handle.
pub const ALTERNATE_SOURCE: u32 = 1 << 16;
/// The same operations: the destination (comparison: the second source) is reached through an IDPT handle.
pub const ALTERNATE_DESTINATION: u32 = 1 << 17;
/// Reduce: the inter-domain selector and the IDPT handles count.
pub const INTER_DOMAIN_SELECTOR: u32 = 1 << 16;
/// Reduce with dualcast: traffic class selector of the second destination.
pub const REDUCE_DEST2_TC: u32 = 1 << 17;
/// Update window: descriptors that use the old window are not waited for.
pub const SUPPRESS_DRAIN: u32 = 1 << 16;
