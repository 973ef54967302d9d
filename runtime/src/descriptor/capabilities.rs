//! What one work queue of one device can do.
//!
//! Three sources meet here: the device's registers (version, GENCAP, OPCAP, DSACAP0 to DSACAP2: specification section
//! 9.2), the limits of the work queue, which may be lower, and what the queue's owner switched on. Nothing is assumed
//! from the version: production parts hide operations that their generation defines. What nobody shows is off until it
//! is switched on here.

use idxd_sys::compute::dsacap0;
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
    dsa_caps: [u64; 3],
    inter_domain: InterDomainCapabilities,
    max_transfer_size: u32,
    max_batch_size: u32,
    max_sgl_size: u32,
    wq_block_on_fault: bool,
    user_interrupts: bool,
    /// Flags that this queue can accept at all; the op-specific bits 23:16 are judged per operation.
    flag_mask: u32,
    /// Bit n is set if cache control value n (CC3 CC2 CC1) may be used.
    cache_controls: u8,
}

/// What IDCAP says about inter-domain operations (specification section 9.2.18). Linux does not show it, so that
/// everything in it is off, or not known, until somebody knows better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterDomainCapabilities {
    /// The size of the permissions table, where handles are the numbers of its entries; `None` if it is not known, or
    /// if handles are given out by a command. Then no handle is refused here.
    pub handles: Option<u32>,
    /// A window may be in offset mode (bit 24).
    pub offset_mode: bool,
    /// An update window need not drain (bit 25).
    pub suppress_drain: bool,
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
    /// and user interrupts are off until they are switched on here, and typed and list operations have nothing to work
    /// with until [`with_dsa_caps`](Self::with_dsa_caps).
    pub const fn new(version: u16, gen_cap: u64, op_cap: [u64; 4]) -> Self {
        // The size field of a descriptor has 32 bits, so a limit beyond that means nothing.
        Self {
            version,
            gen_cap,
            op_cap,
            dsa_caps: [0; 3],
            inter_domain: InterDomainCapabilities { handles: None, offset_mode: false, suppress_drain: false },
            max_transfer_size: gencap::max_transfer_size(gen_cap) as u32,
            max_batch_size: gencap::max_batch_size(gen_cap),
            max_sgl_size: 0,
            wq_block_on_fault: false,
            user_interrupts: false,
            flag_mask: 0,
            cache_controls: 0,
        }
        .derive()
    }

    /// Takes over DSACAP0, DSACAP1 and DSACAP2 (DSA 3.0; sysfs `dsacaps`, which has them in the opposite order): data
    /// types, conversions, compute types and flags, list formats, operations that may name IDPT handles. The limit of
    /// a scatter-gather list becomes that of DSACAP0.
    #[must_use]
    pub const fn with_dsa_caps(mut self, registers: [u64; 3]) -> Self {
        self.dsa_caps = registers;
        let has_lists = registers[0] & dsacap0::SGL_FORMATS != 0;
        self.max_sgl_size = if has_lists { dsacap0::max_sgl_size(registers[0]) } else { 0 };
        self
    }

    /// Lowers the maximum number of entries of a scatter-gather list. A value above the present one changes nothing.
    ///
    /// The limit is one of the queue, but no kernel shows it; Linux configures every queue with that of DSACAP0.
    #[must_use]
    pub const fn with_max_sgl_size(mut self, entries: u32) -> Self {
        if entries < self.max_sgl_size {
            self.max_sgl_size = entries;
        }
        self
    }

    /// Says what the device can do beyond GENCAP bit 6 in inter-domain operations.
    #[must_use]
    pub const fn with_inter_domain_capabilities(mut self, capabilities: InterDomainCapabilities) -> Self {
        self.inter_domain = capabilities;
        self
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

    /// The registers DSACAP0, DSACAP1 and DSACAP2, see [`idxd_sys::compute`]; 0 where they do not exist.
    #[inline]
    pub const fn dsa_caps(&self) -> [u64; 3] {
        self.dsa_caps
    }

    /// What is known of IDCAP.
    #[inline]
    pub const fn inter_domain_capabilities(&self) -> InterDomainCapabilities {
        self.inter_domain
    }

    /// Whether this conversion, reduce, gather or scatter operation may reach memory through IDPT handles (GENCAP bit 6
    /// and DSACAP0). The operations that are inter-domain by nature are not meant: they are in
    /// [`op_cap`](Self::op_cap), or not.
    #[inline]
    pub const fn may_name_handles(&self, opcode: u8) -> bool {
        let bit = match opcode {
            opcode::TYPE_CONV => dsacap0::INTER_DOMAIN_TYPE_CONV,
            opcode::REDUCE => dsacap0::INTER_DOMAIN_REDUCE,
            opcode::REDUCE_DUALCAST => dsacap0::INTER_DOMAIN_REDUCE_DUALCAST,
            opcode::GATHER_COPY => dsacap0::INTER_DOMAIN_GATHER_COPY,
            opcode::SCATTER_COPY => dsacap0::INTER_DOMAIN_SCATTER_COPY,
            opcode::SCATTER_FILL => dsacap0::INTER_DOMAIN_SCATTER_FILL,
            _ => 0,
        };
        // The field means nothing without the capability.
        self.inter_domain() && self.dsa_caps[0] & bit != 0
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

    /// The largest number of entries of a scatter-gather list; 0 where there are no lists.
    #[inline]
    pub const fn max_sgl_size(&self) -> u32 {
        self.max_sgl_size
    }

    /// The largest block of a gather-reduce, in bytes, input and output alike.
    #[inline]
    pub const fn max_gather_reduce_block(&self) -> u32 {
        dsacap0::max_gather_reduce_block(self.dsa_caps[0])
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
