//! The software error register and the event log, as a driver reads them.

use dsa_emulator::{Config, Permission, PortalAnswer};
use idxd_sys::swerr::SwError;
use idxd_sys::{CompletionRecord, Descriptor};
use zerocopy::FromBytes;

use super::super::common::PAGE;
use super::{Driver, ENABLE_DEVICE, ENABLE_WQ, EVLCFG, GENCFG, GENCTRL, Queue, SWERROR, function};

/// Bits of INTCAUSE.
pub const CAUSE_ERROR: u32 = 1;
pub const CAUSE_EVENT_LOG: u32 = 0x20;
/// Where the event log lies.
pub const LOG: u64 = 0x90_0000;
/// Where nothing lies.
pub const NOWHERE: u64 = 0x80_0000;

pub fn software_error(d: &Driver) -> Option<SwError> {
    SwError::decode([0, 8, 16, 24].map(|at| d.r64(SWERROR + at)))
}

/// A function of version 2.0, run by hand, with an event log of `size` entries and its interrupt enabled.
pub fn logging(size: u64, queues: &[Queue]) -> Driver {
    logging_with(Config::granite_rapids().manual(), size, queues)
}

/// The same of another configuration.
pub fn logging_with(config: Config, size: u64, queues: &[Queue]) -> Driver {
    let d = function(config);
    d.memory.map(LOG, 4 * PAGE, Permission::ReadWrite).unwrap();
    d.configure(queues);
    // As the driver does it.
    d.w64(EVLCFG, LOG);
    d.w64(EVLCFG + 8, size);
    d.w32(GENCTRL, 7);
    d.w32(GENCFG, 1 << 13);
    assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
    for wq in 0..queues.len() {
        assert_eq!(d.command(ENABLE_WQ, wq as u32), 0);
    }
    d.interrupts.take();
    d
}

pub fn run(d: &Driver, pasid: u32, descriptor: &Descriptor) {
    assert_eq!(d.enqcmd(0, pasid, descriptor), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
}

/// An entry of the event log, taken apart.
#[derive(Debug)]
pub struct Entry {
    pub head: u64,
    pub details: u64,
    pub addr: u64,
    pub record: CompletionRecord,
}

impl Entry {
    pub fn read(d: &Driver, index: u64) -> Self {
        let mut bytes = [0; 64];
        d.memory.read(LOG + 64 * index, &mut bytes).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let record = CompletionRecord::read_from_bytes(&bytes[32..]).unwrap();
        Self { head: word(0), details: word(8), addr: word(16), record }
    }

    pub fn error(&self) -> u8 {
        (self.head >> 8) as u8
    }

    pub fn bit(&self, bit: u32) -> bool {
        self.head >> bit & 1 != 0
    }
}
