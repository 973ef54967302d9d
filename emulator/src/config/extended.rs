//! The part of a configuration that concerns the operations of version 3.0, and inter-domain operations.

use idxd_sys::compute::{compute_type, dsacap0, dsacap1, dsacap2};
use idxd_sys::opcode;

use super::{Config, ConfigError, VERSION_3_0, WqConfig, gencap};

/// Bytes of BAR 0 that the permissions table may have.
pub(crate) const TABLE_SPACE: u64 = 0x5000;

/// The operations that need the permissions table.
const INTER_DOMAIN_OPERATIONS: u64 = 1 << opcode::UPDATE_WINDOW
    | 1 << opcode::INTER_DOMAIN_COPY
    | 1 << opcode::INTER_DOMAIN_FILL
    | 1 << opcode::INTER_DOMAIN_COMPARE
    | 1 << opcode::INTER_DOMAIN_COMPVAL;

/// Every operation that version 3.0 of the specification defines.
const ALL_OPERATIONS: u64 = 0x7b_7fbf_07ff;

/// What a device offers of inter-domain operations, mostly in its register IDCAP. Without
/// [`gencap::INTER_DOMAIN`] nothing of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // they are bits of a register
pub struct InterDomain {
    /// Entries of the permissions table.
    pub entries: u16,
    /// Bytes of an entry in the register space: 32, 64, 128 or 256.
    pub entry_size: u16,
    /// Types of entries offered: bit 0 for one submitter, bit 1 for many.
    pub types: u8,
    /// Windows may be addressed by offset.
    pub offset_mode: bool,
    /// An update of a window may go without a drain.
    pub suppress_drain: bool,
    /// Handles of entries have to be requested; else a handle is the index of an entry.
    pub request_handles: bool,
    /// What was read of submitter bitmaps is used again until software says that they have changed.
    pub bitmap_cache: bool,
}

impl Default for InterDomain {
    /// 64 entries of 32 bytes, of both types, with everything that exists: software that forgets to request a handle, or
    /// to invalidate a bitmap, then fails.
    fn default() -> Self {
        Self {
            entries: 64,
            entry_size: 32,
            types: 0b11,
            offset_mode: true,
            suppress_drain: true,
            request_handles: true,
            bitmap_cache: true,
        }
    }
}

impl WqConfig {
    /// Sets the most entries of a scatter-gather list, a power of two.
    #[must_use]
    pub const fn max_sgl_size(mut self, entries: u32) -> Self {
        self.max_sgl_size = entries;
        self
    }
}

impl Config {
    /// Diamond Rapids: version 3.0, with every operation, batches of one, all cache control, durable writes.
    ///
    /// No silicon could be asked: what DSACAP0 to 2 say is the model's own choice, and so is the rest that goes beyond
    /// [`granite_rapids`](Self::granite_rapids). Lists have up to 1024 entries in each format, blocks of a gather-reduce up
    /// to 16 KiB; every data type, conversion, function, compute flag and rounding type is there, and every operation that
    /// may name entries of the permissions table does so.
    pub fn diamond_rapids() -> Self {
        let base = Self::granite_rapids();
        let extra = gencap::BATCH_1 | gencap::DURABLE_WRITE | gencap::TRANSLATION_FETCH_STRIDE;
        Self {
            version: VERSION_3_0,
            gencap: base.gencap | extra,
            op_cap: [ALL_OPERATIONS, 0, 0, 0],
            dsacap: [full_dsacap0(), full_dsacap1(), full_dsacap2()],
            ..base
        }
    }

    /// The operations of a device with a permissions table, besides these.
    pub(super) const fn with_inter_domain(op_cap: [u64; 4]) -> [u64; 4] {
        [op_cap[0] | INTER_DOMAIN_OPERATIONS, op_cap[1], op_cap[2], op_cap[3]]
    }

    /// Whether operations may name entries of the permissions table.
    pub(crate) fn has_inter_domain(&self) -> bool {
        self.gencap & gencap::INTER_DOMAIN != 0
    }

    /// Whether the device has scatter-gather lists.
    pub(crate) fn has_lists(&self) -> bool {
        self.dsacap[0] & dsacap0::SGL_FORMATS != 0
    }

    /// Checks the fields of this part, and takes away what other fields rule out.
    pub(super) fn resolve_extended(&mut self) -> Result<(), ConfigError> {
        if self.version < VERSION_3_0 {
            self.dsacap = [0; 3];
        }
        if !self.has_inter_domain() {
            self.op_cap[0] &= !INTER_DOMAIN_OPERATIONS;
            return Ok(());
        }
        let InterDomain { entries, entry_size, types, .. } = self.inter_domain;
        let sizes = [32, 64, 128, 256];
        let fits = u64::from(entries) * u64::from(entry_size) <= TABLE_SPACE;
        if entries == 0 || !sizes.contains(&entry_size) || !fits || types == 0 || types > 0b11 {
            return Err(ConfigError::PermissionsTable);
        }
        Ok(())
    }

    /// Checks the list limit of a queue.
    pub(super) fn check_lists(&self, queue: &WqConfig) -> Result<(), ConfigError> {
        let most = dsacap0::max_sgl_size(self.dsacap[0]);
        let good = queue.max_sgl_size.is_power_of_two() && queue.max_sgl_size <= most;
        if !self.has_lists() || good { Ok(()) } else { Err(ConfigError::ListLimit) }
    }
}

const fn full_dsacap0() -> u64 {
    let operations = dsacap0::INTER_DOMAIN_TYPE_CONV
        | dsacap0::INTER_DOMAIN_REDUCE
        | dsacap0::INTER_DOMAIN_REDUCE_DUALCAST
        | dsacap0::INTER_DOMAIN_GATHER_COPY
        | dsacap0::INTER_DOMAIN_SCATTER_COPY
        | dsacap0::INTER_DOMAIN_SCATTER_FILL;
    // 2^10 entries, 2^14 bytes, formats 1 to 3, and 16 such descriptors in progress in an engine.
    0xa | 0xe << 4 | operations | 0b1110 << 32 | 0x10 << 48
}

const fn full_dsacap1() -> u64 {
    let mut value = 0x3ff;
    let mut i = 0;
    while i < dsacap1::CONVERSIONS.len() {
        value |= 1 << dsacap1::CONVERSIONS[i].2;
        i += 1;
    }
    let mut i = 0;
    while i < compute_type::ALL.len() {
        value |= 1 << (48 + compute_type::ALL[i]);
        i += 1;
    }
    value
}

const fn full_dsacap2() -> u64 {
    let flags = dsacap2::NEGATE | dsacap2::FLUSH_TO_ZERO | dsacap2::DENORMALS_ARE_ZERO;
    flags | dsacap2::SIGNED | dsacap2::SATURATE | 0xf << 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_has_everything() {
        let c = Config::diamond_rapids().resolve().unwrap();
        assert_eq!(ALL_OPERATIONS, opcode::ALL.iter().fold(0, |bits, code| bits | 1 << code));
        assert_eq!(c.dsacap, [0x0010_000e_0000_77ea, 0x00fa_01ff_01ff_03ff, 0xf18d]);
        assert_eq!((c.version, c.has_lists(), c.has_inter_domain()), (0x300, true, true));
        assert_eq!((c.queues[0].max_sgl_size, dsacap0::max_gather_reduce_block(c.dsacap[0])), (1024, 16384));
    }

    #[test]
    fn capabilities_of_later_versions_are_taken_away() {
        let mut c = Config::diamond_rapids();
        c.version = super::super::VERSION_2_0;
        assert_eq!(c.resolve().unwrap().dsacap, [0; 3]);
        let mut c = Config::granite_rapids();
        assert_eq!(c.clone().resolve().unwrap().op_cap[0] & INTER_DOMAIN_OPERATIONS, INTER_DOMAIN_OPERATIONS);
        c.gencap &= !gencap::INTER_DOMAIN;
        assert_eq!(c.resolve().unwrap().op_cap[0] & INTER_DOMAIN_OPERATIONS, 0);
    }

    #[test]
    fn impossible_tables_and_limits_are_refused() {
        let table = |entries, entry_size, types| {
            let mut c = Config::granite_rapids();
            (c.inter_domain.entries, c.inter_domain.entry_size, c.inter_domain.types) = (entries, entry_size, types);
            c.resolve().err()
        };
        for (entries, size, types) in
            [(0, 32, 3), (641, 32, 3), (81, 256, 3), (64, 48, 3), (64, 0, 3), (64, 512, 3), (64, 32, 0), (64, 32, 4)]
        {
            assert_eq!(table(entries, size, types), Some(ConfigError::PermissionsTable), "{entries} {size} {types}");
        }
        assert_eq!([table(640, 32, 1), table(80, 256, 2)], [None; 2]);
        let limit = |entries| Config::diamond_rapids().queue(WqConfig::shared(8).max_sgl_size(entries)).resolve().err();
        assert_eq!([1, 1024].map(limit), [None; 2]);
        assert_eq!([0, 3, 2048].map(limit), [Some(ConfigError::ListLimit); 3]);
        // Without lists the limit does not matter.
        assert!(Config::sapphire_rapids().queue(WqConfig::shared(8).max_sgl_size(0)).resolve().is_ok());
    }
}
