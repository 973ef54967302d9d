//! General capabilities: the GENCAP register, as the driver's `gen_cap` attribute shows it (specification section
//! 9.2.2).
//!
//! ```
//! use idxd_sys::gencap;
//!
//! let gen_cap = 0x40_915f_0107; // a production part of the first generation
//! assert_ne!(gen_cap & gencap::OVERLAPPING_COPY, 0);
//! assert_eq!(gencap::max_transfer_size(gen_cap), 1 << 31);
//! assert_eq!(gencap::max_batch_size(gen_cap), 1024);
//! ```
//!
//! The limits here are the device's. Those of a work queue may be lower and are the ones that count.

/// Bit 0: block on fault can be enabled for a queue.
pub const BLOCK_ON_FAULT: u64 = 1 << 0;
/// Bit 1: a memory move may have overlapping regions; without it, they end with status 0x16.
pub const OVERLAPPING_COPY: u64 = 1 << 1;
/// Bit 2: the cache control flag, that is, writes directed to the cache.
pub const CACHE_CONTROL: u64 = 1 << 2;
/// Bit 4: the command capability register (CMDCAP) is there.
pub const COMMAND_CAPABILITIES: u64 = 1 << 4;
/// Bit 5: durable writes (3.0: cache control 100).
pub const DURABLE_WRITE: u64 = 1 << 5;
/// Bit 6: inter-domain operations (2.0).
pub const INTER_DOMAIN: u64 = 1 << 6;
/// Bit 7: translation fetch with a stride (2.0).
pub const TRANSLATION_FETCH_STRIDE: u64 = 1 << 7;
/// Bit 8: destination readback.
pub const DEST_READBACK: u64 = 1 << 8;
/// Bit 9: drain with readback addresses.
pub const DRAIN_READBACK: u64 = 1 << 9;
/// Bit 10: fill with a 16-byte pattern (2.0).
pub const FILL_16: u64 = 1 << 10;
/// Bit 11: the 64-bit CRC (2.0).
pub const CRC_64: u64 = 1 << 11;
/// Bit 12: completion records carry fault information (2.0).
pub const FAULT_INFO: u64 = 1 << 12;
/// Bits 14:13: event log support (2.0), 0 for none.
pub const EVENT_LOG: u64 = 3 << 13;
/// Bit 15: batch continuation, the Batch Error flag and the Result of a batch (2.0).
pub const BATCH_CONTINUATION: u64 = 1 << 15;
/// Bits 20:16: binary logarithm of the largest transfer size.
pub const MAX_TRANSFER_SHIFT: u64 = 0x1f << 16;
/// Bits 24:21: binary logarithm of the largest batch.
pub const MAX_BATCH_SHIFT: u64 = 0xf << 21;
/// Bits 30:25: interrupt message storage entries, in units of 256.
pub const IMS_SIZE: u64 = 0x3f << 25;
/// Bit 31: groups, queues and engines can be configured.
pub const CONFIGURABLE: u64 = 1 << 31;
/// Bit 32: the event log can report its own overflow (2.0).
pub const EVENT_LOG_OVERFLOW: u64 = 1 << 32;
/// Bit 52: a batch may have a single descriptor (3.0).
pub const BATCH_OF_ONE: u64 = 1 << 52;

/// The largest transfer size of the device, in bytes.
#[inline]
pub const fn max_transfer_size(gen_cap: u64) -> u64 {
    1 << ((gen_cap & MAX_TRANSFER_SHIFT) >> 16)
}

/// The largest number of descriptors in one batch.
#[inline]
pub const fn max_batch_size(gen_cap: u64) -> u32 {
    1 << ((gen_cap & MAX_BATCH_SHIFT) >> 21)
}

/// The number of interrupt message storage entries.
#[inline]
pub const fn ims_size(gen_cap: u64) -> u32 {
    ((gen_cap & IMS_SIZE) >> 25) as u32 * 256
}

/// The event log support field, bits 14:13: 0 for none.
#[inline]
pub const fn event_log(gen_cap: u64) -> u8 {
    ((gen_cap & EVENT_LOG) >> 13) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_production_value_decodes_as_documented() {
        let value = 0x40_915f_0107;
        let expected = BLOCK_ON_FAULT | OVERLAPPING_COPY | CACHE_CONTROL | DEST_READBACK | CONFIGURABLE;
        // Bit 38 is set on real parts and reserved in the specification.
        assert_eq!(value & !(MAX_TRANSFER_SHIFT | MAX_BATCH_SHIFT | IMS_SIZE | 1 << 38), expected);
        assert_eq!(max_transfer_size(value), 1 << 31);
        assert_eq!(max_batch_size(value), 1 << 10);
        assert_eq!(ims_size(value), 2048);
        assert_eq!(event_log(value), 0);
    }

    #[test]
    fn fields_at_their_ends() {
        assert_eq!(max_transfer_size(0), 1);
        assert_eq!(max_transfer_size(u64::MAX), 1 << 31);
        assert_eq!(max_batch_size(0), 1);
        assert_eq!(max_batch_size(u64::MAX), 1 << 15);
        assert_eq!(ims_size(u64::MAX), 63 * 256);
        assert_eq!(event_log(1 << 14), 2);
    }

    #[test]
    fn no_two_fields_share_a_bit() {
        let all = [
            BLOCK_ON_FAULT,
            OVERLAPPING_COPY,
            CACHE_CONTROL,
            COMMAND_CAPABILITIES,
            DURABLE_WRITE,
            INTER_DOMAIN,
            TRANSLATION_FETCH_STRIDE,
            DEST_READBACK,
            DRAIN_READBACK,
            FILL_16,
            CRC_64,
            FAULT_INFO,
            EVENT_LOG,
            BATCH_CONTINUATION,
            MAX_TRANSFER_SHIFT,
            MAX_BATCH_SHIFT,
            IMS_SIZE,
            CONFIGURABLE,
            EVENT_LOG_OVERFLOW,
            BATCH_OF_ONE,
        ];
        let mut seen = 0;
        for field in all {
            assert_eq!(seen & field, 0, "{field:#x}");
            seen |= field;
        }
    }
}
