//! Work queue capabilities: the WQCAP register (specification section 9.2).

/// Bits 15:0: entries to share out among the queues.
pub const TOTAL_SIZE: u64 = 0xffff;
/// Bits 23:16: number of queues.
pub const COUNT: u64 = 0xff << 16;
/// Bits 27:24: binary logarithm of the size of one queue's configuration, less 5.
pub const CONFIG_SHIFT: u64 = 0xf << 24;
/// Bit 48: shared mode.
pub const SHARED: u64 = 1 << 48;
/// Bit 49: dedicated mode.
pub const DEDICATED: u64 = 1 << 49;
/// Bit 50: address translation services can be disabled per queue.
pub const ATS_DISABLE: u64 = 1 << 50;
/// Bit 51: priorities.
pub const PRIORITY: u64 = 1 << 51;
/// Bit 52: the occupancy of a queue can be read.
pub const OCCUPANCY: u64 = 1 << 52;
/// Bit 53: occupancy interrupts.
pub const OCCUPANCY_INTERRUPT: u64 = 1 << 53;
/// Bit 54: operations can be disabled per queue.
pub const OP_CONFIG: u64 = 1 << 54;
/// Bit 55: page requests can be disabled per queue (2.0).
pub const PRS_DISABLE: u64 = 1 << 55;

/// The number of entries that all queues share.
#[inline]
pub const fn total_size(wq_cap: u64) -> u16 {
    (wq_cap & TOTAL_SIZE) as u16
}

/// The number of queues.
#[inline]
pub const fn count(wq_cap: u64) -> u8 {
    ((wq_cap & COUNT) >> 16) as u8
}

/// The size of one queue's configuration registers, in bytes.
#[inline]
pub const fn config_size(wq_cap: u64) -> u32 {
    1 << (((wq_cap & CONFIG_SHIFT) >> 24) + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_production_value_decodes_as_documented() {
        let value = 0x3f_0000_0008_0080;
        assert_eq!(total_size(value), 128);
        assert_eq!(count(value), 8);
        assert_eq!(config_size(value), 32);
        let modes = SHARED | DEDICATED | ATS_DISABLE | PRIORITY | OCCUPANCY | OCCUPANCY_INTERRUPT;
        assert_eq!(value & !(TOTAL_SIZE | COUNT | CONFIG_SHIFT), modes);
        assert_eq!(value & (OP_CONFIG | PRS_DISABLE), 0);
    }

    #[test]
    fn configuration_grows_in_powers_of_two() {
        assert_eq!(config_size(1 << 24), 64);
        assert_eq!(config_size(CONFIG_SHIFT), 1 << 20);
    }
}
