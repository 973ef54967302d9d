//! Where the registers lie, and the capabilities that they state (specification chapter 9).
#![forbid(unsafe_code)]

use idxd_sys::idpt::idcap;
use idxd_sys::{gencap, wqcap};

use crate::config::{Config, VERSION_2_0};

pub(super) const VERSION: u64 = 0x00;
pub(super) const GENCAP: u64 = 0x10;
pub(super) const WQCAP: u64 = 0x20;
pub(super) const GRPCAP: u64 = 0x30;
pub(super) const ENGCAP: u64 = 0x38;
pub(super) const OPCAP: u64 = 0x40;
pub(super) const OFFSETS: u64 = 0x60;
const OFFSETS_2: u64 = 0x68;
pub(super) const GENCFG: u64 = 0x80;
pub(super) const GENCTRL: u64 = 0x88;
pub(super) const GENSTS: u64 = 0x90;
pub(super) const INTCAUSE: u64 = 0x98;
pub(super) const CMD: u64 = 0xa0;
pub(super) const CMDSTS: u64 = 0xa8;
pub(super) const CMDCAP: u64 = 0xb0;
pub(super) const SWERROR: u64 = 0xc0;
pub(super) const EVLCFG: u64 = 0xe0;
pub(super) const EVLSTATUS: u64 = 0xf0;
const IDCAP: u64 = 0x100;
pub(super) const IDBR: u64 = 0x108;
const DSACAP: u64 = 0x180;
/// Where most tables begin, as on production parts.
const TABLES: u64 = 0x300;
/// Where the Inter-Domain Permissions Table begins, if there is one.
const DOMAIN_TABLE: u64 = 0x9000;
pub(super) const CMDPARAM: u64 = 0xe000;

const _: () = assert!(DOMAIN_TABLE + crate::config::TABLE_SPACE <= CMDPARAM);

/// GENCFG: read buffer limit.
pub(super) const GENCFG_READ_BUFFERS: u32 = 0xff;
/// GENCFG: user-mode interrupts.
pub(super) const GENCFG_USER_INTERRUPTS: u32 = 1 << 12;
/// GENCFG: event log.
pub(super) const GENCFG_EVENT_LOG: u32 = 1 << 13;
/// GENCTRL: interrupt at a software error.
pub(super) const GENCTRL_ERROR: u32 = 1 << 0;
/// GENCTRL: interrupt at a halt.
pub(super) const GENCTRL_HALT: u32 = 1 << 1;
/// GENCTRL: interrupt at an entry of the event log.
pub(super) const GENCTRL_EVENT_LOG: u32 = 1 << 2;

/// INTCAUSE: software error.
pub(super) const CAUSE_ERROR: u32 = 1 << 0;
/// INTCAUSE: a command is done.
pub(super) const CAUSE_COMMAND: u32 = 1 << 1;
/// INTCAUSE: the occupancy of a queue is at its limit.
pub(super) const CAUSE_OCCUPANCY: u32 = 1 << 2;
/// INTCAUSE: the device has halted.
pub(super) const CAUSE_HALT: u32 = 1 << 4;
/// INTCAUSE: the event log has an entry.
pub(super) const CAUSE_EVENT_LOG: u32 = 1 << 5;
/// INTCAUSE: interrupt handles are not valid any more.
pub(super) const CAUSE_HANDLES_REVOKED: u32 = 1 << 31;

/// Bytes of one group's configuration.
pub(super) const GROUP_SIZE: u64 = 64;
/// Bytes of one queue's configuration.
pub(super) const QUEUE_SIZE: u64 = 64;
/// Bytes of one entry of the MSI-X permission table.
pub(super) const PERMISSION_SIZE: u64 = 8;
/// Read buffers that all groups share, as on Sapphire Rapids.
pub(super) const READ_BUFFERS: u32 = 96;

/// Commands 1 to 14.
const ALL_COMMANDS: u32 = 0x7ffe;
/// Commands that request and release handles of the permissions table.
const DOMAIN_HANDLES: u32 = 1 << 15 | 1 << 16;
/// The command that makes the device forget bitmaps.
const INVALIDATE_BITMAPS: u32 = 1 << 17;

/// What the registers say that software cannot change.
pub(super) struct Layout {
    pub(super) queues: usize,
    pub(super) groups: usize,
    pub(super) engines: usize,
    pub(super) total_entries: u32,
    pub(super) version: u32,
    pub(super) gencap: u64,
    pub(super) opcap: [u64; 4],
    pub(super) dsacap: [u64; 3],
    /// Queues have a limit of list entries.
    pub(super) has_lists: bool,
    idcap: u64,
    commands: u32,
    /// Where the tables begin.
    pub(super) group_table: u64,
    pub(super) queue_table: u64,
    pub(super) permission_table: u64,
    /// 0 if there is none.
    pub(super) domain_table: u64,
}

impl Layout {
    /// For a configuration that is resolved.
    pub(super) fn new(config: &Config) -> Self {
        let limits = config.limits;
        let queue_table = (TABLES + GROUP_SIZE * limits.groups as u64).next_multiple_of(0x100);
        let permission_table = (queue_table + QUEUE_SIZE * limits.queues as u64).next_multiple_of(0x100);
        Self {
            queues: limits.queues,
            groups: limits.groups,
            engines: limits.engines,
            total_entries: u32::from(config.total_entries),
            version: config.version,
            // Interrupt message storage is not modelled.
            gencap: config.gencap & !gencap::IMS_SIZE,
            opcap: config.op_cap,
            dsacap: config.dsacap,
            has_lists: config.has_lists(),
            idcap: inter_domain_capabilities(config),
            commands: commands(config),
            group_table: TABLES,
            queue_table,
            permission_table,
            domain_table: if config.has_inter_domain() { DOMAIN_TABLE } else { 0 },
        }
    }

    /// Entries of the Inter-Domain Permissions Table.
    pub(super) fn domain_entries(&self) -> usize {
        usize::from(idcap::entries(self.idcap))
    }

    /// Bytes of one of them.
    pub(super) fn domain_entry_size(&self) -> u64 {
        u64::from(idcap::entry_size(self.idcap))
    }

    /// Whether an offset lies in that table.
    pub(super) fn is_domain_table(&self, offset: u64) -> bool {
        let size = self.domain_entries() as u64 * self.domain_entry_size();
        offset.checked_sub(self.domain_table).is_some_and(|at| at < size)
    }

    /// Whether register IDBR is there.
    pub(super) fn has_bitmaps(&self) -> bool {
        self.idcap & 0b10 != 0
    }

    /// MSI-X vectors: one for everything that is not a completion, one for each queue.
    pub(super) fn vectors(&self) -> u16 {
        self.queues as u16 + 1
    }

    pub(super) fn has(&self, gencap_bit: u64) -> bool {
        self.gencap & gencap_bit != 0
    }

    pub(super) fn has_event_log(&self) -> bool {
        gencap::event_log(self.gencap) != 0
    }

    /// Bits of a queue's flags (WQCFG, third word) that exist.
    pub(super) fn queue_flags(&self) -> u32 {
        let page_requests = if self.wqcap() & wqcap::PRS_DISABLE != 0 { 1 << 3 } else { 0 };
        0x3fff_fff7 | page_requests
    }

    /// A constant register, by its 4-byte offset.
    pub(super) fn constant(&self, offset: u64) -> Option<u32> {
        let half = |value: u64| (value >> (8 * (offset & 4))) as u32;
        Some(match offset & !7 {
            VERSION => half(u64::from(self.version)),
            GENCAP => half(self.gencap),
            WQCAP => half(self.wqcap()),
            GRPCAP => half(self.grpcap()),
            ENGCAP => half(self.engines as u64),
            OPCAP..0x60 => half(self.opcap[(offset - OPCAP) as usize / 8]),
            OFFSETS => half(self.group_table >> 8 | self.queue_table >> 8 << 16 | self.permission_table >> 8 << 32),
            OFFSETS_2 => half(self.domain_table >> 8 << 16),
            CMDCAP => half(u64::from(self.commands)),
            IDCAP => half(self.idcap),
            DSACAP..0x198 => half(self.dsacap[(offset - DSACAP) as usize / 8]),
            _ => return None,
        })
    }

    /// CMDCAP.
    pub(super) fn commands(&self) -> u32 {
        self.commands
    }

    fn wqcap(&self) -> u64 {
        let config_shift = u64::from(QUEUE_SIZE.ilog2() - 5) << 24;
        let page_requests = if self.version >= VERSION_2_0 { wqcap::PRS_DISABLE } else { 0 };
        let modes = wqcap::SHARED | wqcap::DEDICATED;
        let features = wqcap::ATS_DISABLE | wqcap::PRIORITY | wqcap::OCCUPANCY | wqcap::OCCUPANCY_INTERRUPT;
        u64::from(self.total_entries)
            | (self.queues as u64) << 16
            | config_shift
            | modes
            | features
            | wqcap::OP_CONFIG
            | page_requests
    }

    fn grpcap(&self) -> u64 {
        // Bits 16 and 17: read buffers can be controlled and limited; 18: progress limits.
        let progress = if self.version >= VERSION_2_0 { 1 << 18 } else { 0 };
        self.groups as u64 | u64::from(READ_BUFFERS) << 8 | 1 << 16 | 1 << 17 | progress
    }
}

fn commands(config: &Config) -> u32 {
    if config.gencap & gencap::COMMAND_CAPABILITIES == 0 {
        return 0;
    }
    let when = |condition: bool, bits: u32| if condition && config.has_inter_domain() { bits } else { 0 };
    let offered = &config.inter_domain;
    ALL_COMMANDS | when(offered.request_handles, DOMAIN_HANDLES) | when(offered.bitmap_cache, INVALIDATE_BITMAPS)
}

/// IDCAP.
fn inter_domain_capabilities(config: &Config) -> u64 {
    if !config.has_inter_domain() {
        return 0;
    }
    let offered = &config.inter_domain;
    let when = |condition: bool, bit: u64| if condition { bit } else { 0 };
    u64::from(offered.types)
        | u64::from(offered.entries) << idcap::ENTRIES.trailing_zeros()
        | when(offered.offset_mode, idcap::OFFSET_MODE)
        | when(offered.suppress_drain, idcap::SUPPRESS_DRAIN)
        | u64::from(offered.entry_size.ilog2() - 5) << idcap::ENTRY_SIZE.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn tables_do_not_meet_and_leave_room_for_msix() {
        for (queues, groups) in [(8, 4), (1, 1), (64, 16)] {
            let limits = Limits { queues, groups, ..Config::sapphire_rapids().limits };
            let config = Config { limits, ..Config::sapphire_rapids() }.unconfigured().unwrap();
            let layout = Layout::new(&config);
            assert!(layout.group_table + GROUP_SIZE * groups as u64 <= layout.queue_table);
            assert!(layout.queue_table + QUEUE_SIZE * queues as u64 <= layout.permission_table);
            assert!(layout.permission_table + PERMISSION_SIZE * (queues as u64 + 1) <= super::super::MSIX_TABLE);
        }
    }

    #[test]
    fn capabilities_of_the_presets() {
        let of = |config: Config| Layout::new(&config.unconfigured().unwrap());
        let one = of(Config::sapphire_rapids());
        assert_eq!(one.wqcap(), 0x007f_0000_0108_0080, "a production part, with operation configuration");
        assert_eq!((one.grpcap(), one.commands(), one.has_event_log()), (0x3_6004, 0, false));
        assert_eq!(one.constant(OFFSETS), Some(0x0004_0003));
        let two = of(Config::granite_rapids());
        assert_eq!(two.wqcap() >> 48, 0xff);
        assert_eq!((two.grpcap(), two.commands(), two.has_event_log()), (0x7_6004, 0x3_fffe, true));
        assert_eq!((one.constant(0x68), one.constant(0x100), one.constant(0x180)), (Some(0), Some(0), Some(0)));
        assert_eq!(
            (two.constant(0x68), two.constant(0x100), two.constant(0x104)),
            (Some(0x90_0000), Some(0x0300_4003), Some(0))
        );
        assert_eq!((two.is_domain_table(0x8fff), two.is_domain_table(0x9000)), (false, true));
        assert_eq!(
            (two.is_domain_table(0x97ff), two.is_domain_table(0x9800), one.is_domain_table(0)),
            (true, false, false)
        );
        let three = of(Config::diamond_rapids());
        let dsacap = [0, 1, 2].map(|i| three.constant(0x180 + 8 * i).zip(three.constant(0x184 + 8 * i)));
        let words = |value: u64| Some((value as u32, (value >> 32) as u32));
        assert_eq!(dsacap, three.dsacap.map(words));
        assert_eq!(three.constant(0x198), None);
    }
}
