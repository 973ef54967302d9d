//! The event log: a ring of 64-byte entries in memory (version 2.0).
//!
//! The device writes an entry, then moves the tail; software reads entries and moves the head. A full ring takes
//! nothing: what becomes of the entry then depends on the device.

use idxd_sys::status;
use zerocopy::IntoBytes;

use crate::events::LogEntry;
use crate::memory::{Access, Requester, Space};

/// Bytes of an entry.
pub(super) const ENTRY_SIZE: usize = 64;

/// Bit 30 of the upper half of EVLSTATUS: an interrupt for new entries has been raised and not been acknowledged.
const PENDING: u32 = 1 << 30;

/// The registers of the log: EVLCFG and EVLSTATUS.
#[derive(Clone, Copy, Default)]
pub(super) struct EventLog {
    /// EVLCFG: PASID enable, privilege and base; size and PASID.
    config: [u32; 4],
    head: u16,
    tail: u16,
    pending: bool,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is in the log, and software has not been told of an earlier one.
    First,
    /// It is in the log.
    More,
    /// There is no room.
    Full,
    /// The memory of the log cannot be written, or there is none.
    Unwritable,
}

impl EventLog {
    /// EVLCFG, one word.
    pub(super) fn config(&self, word: usize) -> u32 {
        self.config[word]
    }

    pub(super) fn set_config(&mut self, word: usize, value: u32, mask: u32) {
        // PASID enable, privilege, base; base; size and PASID; PASID.
        let exists = [0xffff_f003, u32::MAX, u32::MAX, 0xf][word];
        self.config[word] = (self.config[word] & !mask | value & mask) & exists;
    }

    /// EVLSTATUS, one half.
    pub(super) fn status(&self, word: usize) -> u32 {
        match word {
            0 => u32::from(self.head),
            _ => u32::from(self.tail) | if self.pending { PENDING } else { 0 },
        }
    }

    /// Software moves the head, or acknowledges the interrupt.
    pub(super) fn set_status(&mut self, word: usize, value: u32, mask: u32) {
        match word {
            0 => self.head = (u32::from(self.head) & !mask | value & mask) as u16,
            _ => self.pending &= value & mask & PENDING == 0,
        }
    }

    /// Begins with an empty ring.
    pub(super) fn restart(&mut self) {
        (self.head, self.tail, self.pending) = (0, 0, false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Writes an entry and moves the tail.
    pub(super) fn append(&mut self, space: &Space, entry: &LogEntry<'_>) -> Appended {
        let size = self.config[2] as u16;
        let next = self.tail.checked_add(1).filter(|next| *next < size).unwrap_or(0);
        if size == 0 {
            return Appended::Unwritable;
        }
        if next == self.head {
            return Appended::Full;
        }
        let base = u64::from(self.config[0] & !0xfff) | u64::from(self.config[1]) << 32;
        let at = base.wrapping_add(u64::from(self.tail) * ENTRY_SIZE as u64);
        if !write(space, self.requester(), at, &encode(entry)) {
            return Appended::Unwritable;
        }
        self.tail = next;
        if std::mem::replace(&mut self.pending, true) { Appended::More } else { Appended::First }
    }

    fn requester(&self) -> Requester {
        let pasid = (u64::from(self.config[2]) | u64::from(self.config[3]) << 32) >> 16;
        if self.config[0] & 1 == 0 {
            Requester::DEVICE
        } else {
            Requester { privileged: self.config[0] & 2 != 0, ..Requester::user(pasid as u32) }
        }
    }
}

fn write(space: &Space, by: Requester, at: u64, bytes: &[u8]) -> bool {
    let _section = space.section();
    let mut done = 0;
    while done < bytes.len() {
        let Some(addr) = at.checked_add(done as u64) else { return false };
        let Ok(span) = space.translate(by, addr, (bytes.len() - done) as u64, Access::Write) else { return false };
        // SAFETY: the whole of a span for writing; it is not longer than the rest of `bytes`.
        unsafe { space.store(&bytes[done..done + span.len], span.ptr) };
        done += span.len;
    }
    true
}

fn encode(entry: &LogEntry<'_>) -> [u8; ENTRY_SIZE] {
    let e = &entry.error;
    let bit = |on: bool, at: u32| u64::from(on) << at;
    // Bits 2 and 3: descriptor and queue fields are valid. Bit 7: error information is.
    let descriptor = e.descriptor;
    let information = e.operand != 0 || e.idpt_handle.is_some() || e.invalid_flags != 0;
    let head = bit(descriptor, 2)
        | bit(descriptor, 3)
        | bit(e.in_batch, 4)
        | bit(e.write, 5)
        | bit(e.privileged, 6)
        | bit(information, 7)
        | u64::from(e.error) << 8
        | u64::from(e.wq) << 16
        | u64::from(entry.batch) << 24
        | u64::from(e.opcode) << 32
        | u64::from(e.pasid) << 40;
    let operand = u64::from(e.operand) << 29;
    let idpt_handle = e.idpt_handle.map_or(0, u64::from);
    let details = match e.error {
        _ if e.invalid_flags != 0 => u64::from(e.invalid_flags),
        // Nothing but the operand.
        status::BATCH_LIST_FAULT | status::DRAIN_FAULT => operand,
        status::PAGE_FAULT | status::PAGE_RESPONSE => operand | idpt_handle,
        status::INTER_DOMAIN_NO_PASID..=status::DOMAIN_GONE => idpt_handle,
        _ => {
            u64::from(entry.target.handle)
                | bit(entry.interrupt, 16)
                | bit(entry.target.message_storage, 17)
                | bit(entry.requested, 18)
                | bit(entry.first_in_batch, 19)
                | operand
        }
    };
    let mut bytes = [0; ENTRY_SIZE];
    let words = [head, u64::from(e.batch_index) | details << 32, e.addr, 0];
    bytes[..32].copy_from_slice(words.as_bytes());
    if let Some(record) = entry.record {
        bytes[32..].copy_from_slice(record.as_bytes());
    }
    bytes
}
