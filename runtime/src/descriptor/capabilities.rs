//! What one work queue of one device can do.
//!
//! Three sources meet here: the device's registers (version, GENCAP, OPCAP: specification section 9.2), the limits of
//! the work queue, which may be lower, and what the queue's owner switched on. Nothing is assumed from the version:
//! production parts hide operations that their generation defines.

use idxd_sys::{flag, gencap, opcode};

/// What one work queue offers. Cheap to copy; the checks of the builders read it once per descriptor.
///
/// Start from the registers with [`Capabilities::new`], then lower the limits to those of the queue:
///
/// ```
/// use dsa::descriptor::Capabilities;
///
/// let caps = Capabilities::new(0x100, 0x40_915f_0107, [0x1_003f_03ff, 0, 0, 0])
///     .with_max_transfer_size(2 << 20)
///     .with_block_on_fault(true);
/// assert!(caps.overlapping_copy());
/// assert_eq!(caps.max_batch_size(), 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    version: u16,
    gen_cap: u64,
    op_cap: [u64; 4],
    max_transfer_size: u32,
    max_batch_size: u32,
    wq_block_on_fault: bool,
    user_interrupts: bool,
    /// Flags that this queue can accept at all; the op-specific bits 23:16 are judged per operation.
    flag_mask: u32,
    /// Bit n is set if cache control value n (CC3 CC2 CC1) may be used.
    cache_controls: u8,
}

macro_rules! gen_cap_queries {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        /// What GENCAP says (specification section 9.2.2).
        impl Capabilities {
            $(
                $(#[$doc])*
                #[inline]
                pub const fn $name(&self) -> bool {
                    self.gen_cap >> $bit & 1 == 1
                }
            )*
        }
    };
}

gen_cap_queries! {
    /// The device can block on a page fault (bit 0). The queue must allow it too:
    /// [`may_block_on_fault`](Self::may_block_on_fault).
    block_on_fault = 0;
    /// A move may have overlapping source and destination (bit 1).
    overlapping_copy = 1;
    /// Writes can be directed to the cache (bit 2).
    cache_control = 2;
    /// The device lists the commands that it supports (bit 4).
    command_capabilities = 4;
    /// Writes can be made durable without a readback (bit 5).
    durable_write = 5;
    /// Inter-domain operations (bit 6).
    inter_domain = 6;
    /// Translation fetch takes a stride (bit 7).
    translation_fetch_stride = 7;
    /// Destination readback, cache control 2 (bit 8).
    destination_readback = 8;
    /// Drain takes readback addresses (bit 9).
    drain_readback = 9;
    /// Fill takes a 16-byte pattern (bit 10).
    fill_16 = 10;
    /// CRC operations know the 64-bit polynomial (bit 11).
    crc64 = 11;
    /// Completion records carry fault information (bit 12).
    fault_info = 12;
    /// A batch can be continued after a fault on its list (bit 15).
    batch_continuation = 15;
    /// The driver may change the configuration (bit 31).
    configurable = 31;
    /// A batch may have a single member (bit 52).
    batch_of_one = 52;
}

impl Capabilities {
    /// Capabilities of a queue that takes over the limits of its device.
    ///
    /// `version` is the VERSION register (0x100, 0x200, 0x300), `gen_cap` and `op_cap` are GENCAP and OPCAP, in sysfs
    /// `gen_cap` and `op_cap`. The transfer and batch limits are those of GENCAP (bits 20:16 and 24:21). Block on fault
    /// and user interrupts are off until they are switched on here.
    pub const fn new(version: u16, gen_cap: u64, op_cap: [u64; 4]) -> Self {
        // The size field of a descriptor has 32 bits, so a limit beyond that means nothing.
        Self {
            version,
            gen_cap,
            op_cap,
            max_transfer_size: gencap::max_transfer_size(gen_cap) as u32,
            max_batch_size: gencap::max_batch_size(gen_cap),
            wq_block_on_fault: false,
            user_interrupts: false,
            flag_mask: 0,
            cache_controls: 0,
        }
        .derive()
    }

    /// A first-generation part (DSA 1.0) with every operation of that generation.
    ///
    /// GENCAP is that of a production Sapphire Rapids. Real queues may offer less; this is for tests and the emulator.
    pub const fn sapphire_rapids() -> Self {
        Self::new(0x100, 0x40_915f_0107, [0x1_003f_03ff, 0, 0, 0])
    }

    /// A second-generation part (DSA 2.0) with every optional feature that the user operations can use.
    ///
    /// For tests and the emulator: no part is known to offer exactly this.
    pub const fn granite_rapids() -> Self {
        const ADDED: u64 = gencap::TRANSLATION_FETCH_STRIDE
            | gencap::DRAIN_READBACK
            | gencap::FILL_16
            | gencap::CRC_64
            | gencap::FAULT_INFO
            | gencap::BATCH_CONTINUATION;
        const OPS: u64 = 0x1_003f_03ff | 1 << opcode::TRANSL_FETCH | 1 << opcode::DIX_GEN;
        Self::new(0x200, 0x40_915f_0107 | ADDED, [OPS, 0, 0, 0])
    }

    /// Leaves only the operations that are also set in `op_config`, the queue's own mask (DSA 2.0, sysfs `op_config`).
    #[must_use]
    pub const fn with_op_config(mut self, op_config: [u64; 4]) -> Self {
        let mut word = 0;
        while word < 4 {
            self.op_cap[word] &= op_config[word];
            word += 1;
        }
        self
    }

    /// Lowers the maximum transfer size, in bytes. A value above the present one changes nothing.
    #[must_use]
    pub const fn with_max_transfer_size(mut self, bytes: u64) -> Self {
        if bytes < self.max_transfer_size as u64 {
            self.max_transfer_size = bytes as u32;
        }
        self
    }

    /// Lowers the maximum number of members in a batch. A value above the present one changes nothing.
    #[must_use]
    pub const fn with_max_batch_size(mut self, members: u32) -> Self {
        if members < self.max_batch_size {
            self.max_batch_size = members;
        }
        self
    }

    /// Says whether the queue allows block on fault (sysfs `block_on_fault` 1 and `prs_disable` 0).
    #[must_use]
    pub const fn with_block_on_fault(mut self, allowed: bool) -> Self {
        self.wq_block_on_fault = allowed;
        self.derive()
    }

    /// Says whether user descriptors may request completion interrupts. Linux does not offer it.
    #[must_use]
    pub const fn with_user_interrupts(mut self, allowed: bool) -> Self {
        self.user_interrupts = allowed;
        self.derive()
    }

    /// The VERSION register: major version in bits 15:8, minor in bits 7:0.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// The GENCAP register as read.
    pub const fn gen_cap(&self) -> u64 {
        self.gen_cap
    }

    /// The opcodes that are offered, one bit each: OPCAP and `op_config`.
    pub const fn op_cap(&self) -> [u64; 4] {
        self.op_cap
    }

    /// Whether the queue executes this opcode.
    #[inline]
    pub const fn supports(&self, opcode: u8) -> bool {
        self.op_cap[(opcode >> 6) as usize] >> (opcode & 63) & 1 == 1
    }

    /// The largest transfer of one descriptor, in bytes.
    #[inline]
    pub const fn max_transfer_size(&self) -> u64 {
        self.max_transfer_size as u64
    }

    /// The largest number of members in one batch.
    #[inline]
    pub const fn max_batch_size(&self) -> u32 {
        self.max_batch_size
    }

    /// The smallest number of members in one batch: 2, or 1 where GENCAP bit 52 says so.
    #[inline]
    pub const fn min_batch_size(&self) -> u32 {
        if self.batch_of_one() { 1 } else { 2 }
    }

    /// Whether a descriptor on this queue may set block on fault: the device can, and the queue allows it.
    #[inline]
    pub const fn may_block_on_fault(&self) -> bool {
        self.wq_block_on_fault && self.block_on_fault()
    }

    /// Whether user descriptors may request completion interrupts.
    pub const fn user_interrupts(&self) -> bool {
        self.user_interrupts
    }

    /// Event log support, GENCAP bits 14:13; 0 is none.
    pub const fn event_log(&self) -> u8 {
        gencap::event_log(self.gen_cap)
    }

    /// Interrupt message storage size, GENCAP bits 30:25 in units of 256 entries.
    pub const fn interrupt_message_slots(&self) -> u32 {
        gencap::ims_size(self.gen_cap)
    }

    /// The flags that can be accepted at all on this queue, op-specific bits included.
    #[inline]
    pub(super) const fn flag_mask(&self) -> u32 {
        self.flag_mask
    }

    /// Bit n is set if cache control value n (CC3 CC2 CC1) may be used.
    #[inline]
    pub(super) const fn cache_controls(&self) -> u8 {
        self.cache_controls
    }

    /// Recomputes what follows from the other fields.
    const fn derive(mut self) -> Self {
        let mut mask = 0x00ff_ffff & !flag::RESERVED;
        if !self.may_block_on_fault() {
            mask &= !flag::BLOCK_ON_FAULT;
        }
        if !self.user_interrupts {
            mask &= !flag::RCI;
        }
        self.flag_mask = mask;

        // Values 101 and 111 are reserved (specification section 8.1.3).
        let (cache, readback, durable) = (self.cache_control(), self.destination_readback(), self.durable_write());
        self.cache_controls = 1
            | (cache as u8) << 0b001
            | (readback as u8) << 0b010
            | ((cache && readback) as u8) << 0b011
            | (durable as u8) << 0b100
            | ((durable && readback) as u8) << 0b110;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_a_production_gencap() {
        let caps = Capabilities::sapphire_rapids();
        assert!(
            caps.block_on_fault() && caps.overlapping_copy() && caps.cache_control() && caps.destination_readback()
        );
        assert!(!caps.durable_write() && !caps.fill_16() && !caps.crc64() && !caps.fault_info());
        assert!(!caps.batch_continuation() && !caps.batch_of_one() && !caps.drain_readback() && !caps.inter_domain());
        assert!(!caps.command_capabilities() && !caps.translation_fetch_stride() && caps.configurable());
        assert_eq!(caps.max_transfer_size(), 1 << 31);
        assert_eq!(caps.max_batch_size(), 1024);
        assert_eq!(caps.interrupt_message_slots(), 2048);
        assert_eq!(caps.event_log(), 0);
        assert_eq!((caps.version(), caps.gen_cap()), (0x100, 0x40_915f_0107));
    }

    #[test]
    fn op_config_only_takes_away() {
        let caps = Capabilities::sapphire_rapids().with_op_config([1 << 3 | 1 << 0x0a, u64::MAX, 0, 0]);
        assert_eq!(caps.op_cap(), [1 << 3, 0, 0, 0]);
        assert!(caps.supports(opcode::MEMMOVE) && !caps.supports(opcode::FILL) && !caps.supports(0x0a));
        assert!((64..=255).all(|op| !caps.supports(op)));
    }

    #[test]
    fn opcodes_above_63_use_the_other_words() {
        let caps = Capabilities::new(0x100, 0, [0, 1, 1 << 1, 1 << 63]);
        let offered: Vec<u8> = (0..=255).filter(|&op| caps.supports(op)).collect();
        assert_eq!(offered, [64, 129, 255]);
    }

    #[test]
    fn limits_are_only_lowered() {
        let caps = Capabilities::sapphire_rapids();
        assert_eq!(caps.with_max_transfer_size(u64::MAX), caps);
        assert_eq!(caps.with_max_batch_size(4096), caps);
        assert_eq!(caps.with_max_transfer_size(2 << 20).max_transfer_size(), 2 << 20);
        assert_eq!(caps.with_max_batch_size(512).max_batch_size(), 512);
    }

    #[test]
    fn block_on_fault_needs_device_and_queue() {
        let caps = Capabilities::sapphire_rapids();
        assert!(!caps.may_block_on_fault());
        assert!(caps.with_block_on_fault(true).may_block_on_fault());
        assert!(!caps.with_block_on_fault(true).with_block_on_fault(false).may_block_on_fault());
        assert!(!Capabilities::new(0x100, 0, [0; 4]).with_block_on_fault(true).may_block_on_fault());
    }

    #[test]
    fn cache_control_values_follow_the_capabilities() {
        let of = |gen_cap| Capabilities::new(0x300, gen_cap, [0; 4]).cache_controls();
        assert_eq!(of(0), 0b0000_0001);
        assert_eq!(of(1 << 2), 0b0000_0011);
        assert_eq!(of(1 << 8), 0b0000_0101);
        assert_eq!(of(1 << 2 | 1 << 8), 0b0000_1111);
        assert_eq!(of(1 << 5), 0b0001_0001);
        assert_eq!(of(1 << 2 | 1 << 5 | 1 << 8), 0b0101_1111);
    }
}
