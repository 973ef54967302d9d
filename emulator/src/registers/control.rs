//! The register file: its contents, reads and writes of 4-byte words, and what the device tells it.
//!
//! All contents are behind one lock, which is never held while anything waits or interrupts: callers of [`Control`] get
//! told what remains to be done, and do it after.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use idxd_sys::{gencap, swerr};

use super::errors;
use super::event_log::{Appended, EventLog};
use super::groups::{self, GroupWords};
use super::handles::{Handles, PERMISSION_BITS};
use super::layout::{self as reg, Layout};
use super::queue_config as wqcfg;
use super::{Interrupts, PciControl};
use crate::device::{Device, DeviceState};
use crate::events::{Events, LogEntry, Logged, Target};
use crate::gate::wq_state;
use crate::memory::{Requester, Space};
use crate::shared::Shared;

/// Bit 31 of CMDSTS: a command is being executed.
const COMMAND_ACTIVE: u32 = 1 << 31;
/// Bit 31 of CMD: an interrupt is requested.
const COMMAND_INTERRUPT: u32 = 1 << 31;
/// GENSTS: what kind of reset ends a halt. A function level reset, which the driver makes by itself.
const RESET_TYPE_FLR: u32 = 1 << 2;

/// The vector for everything that is not a completion.
const MISC_VECTOR: u16 = 0;

/// What can change of the registers.
pub(super) struct Contents {
    gencfg: u32,
    genctrl: u32,
    cause: u32,
    command_status: u32,
    log: EventLog,
    pub(super) groups: Vec<GroupWords>,
    pub(super) queues: Vec<[u32; 16]>,
    pub(super) handles: Handles,
    pub(super) pci: PciControl,
    /// Traffic classes that a virtual channel carries, one bit each: as the PCI configuration space says, which no reset of
    /// the registers changes.
    pub(super) traffic_classes: u8,
    /// CMDPARAM.
    parameter: [u32; 2],
    /// The device is being enabled: what has been checked must stay until it is.
    pub(super) enabling: bool,
    /// Raised by a function level reset: commands that were given before it come to nothing.
    generation: u64,
}

impl Contents {
    fn clear(&mut self, layout: &Layout) {
        (self.gencfg, self.genctrl, self.cause) = (0, 0, 0);
        self.parameter = [0; 2];
        self.log = EventLog::default();
        self.groups.fill([0; 16]);
        self.queues.fill(wqcfg::defaults(layout));
        self.handles.reset();
    }

    pub(super) fn gencfg(&self) -> u32 {
        self.gencfg
    }

    /// What software has given to commands that need more than an operand.
    pub(super) fn parameter(&self) -> u64 {
        u64::from(self.parameter[0]) | u64::from(self.parameter[1]) << 32
    }

    /// Whether the event log is on and written with a PASID.
    pub(super) fn log_needs_pasid(&self) -> bool {
        self.gencfg & reg::GENCFG_EVENT_LOG != 0 && self.log.config(0) & 1 != 0
    }

    /// Puts a queue back to its defaults, apart from its size, which stays while the device is enabled.
    pub(super) fn clear_queue(&mut self, queue: usize, layout: &Layout) {
        let size = self.queues[queue][wqcfg::SIZE];
        self.queues[queue] = wqcfg::defaults(layout);
        self.queues[queue][wqcfg::SIZE] = size;
    }
}

/// What a write leaves to be done after the lock has been released.
pub(super) enum After {
    Nothing,
    /// A command is to be executed.
    Command(Command),
    /// A command came while another one was executed, and is lost.
    LostCommand,
    /// The occupancy limit of a queue has changed.
    Occupancy(usize),
}

/// A command as it was written, and when.
#[derive(Clone, Copy)]
pub(super) struct Command {
    pub(super) word: u32,
    generation: u64,
}

/// The register file.
pub(super) struct Control {
    pub(super) layout: Layout,
    contents: Mutex<Contents>,
    /// For the event log.
    space: Space,
    interrupts: Arc<dyn Interrupts>,
}

impl Control {
    pub(super) fn new(layout: Layout, space: Space, interrupts: Arc<dyn Interrupts>) -> Self {
        let contents = Contents {
            gencfg: 0,
            genctrl: 0,
            cause: 0,
            command_status: 0,
            log: EventLog::default(),
            groups: vec![[0; 16]; layout.groups],
            queues: vec![wqcfg::defaults(&layout); layout.queues],
            handles: Handles::new(layout.vectors(), layout.has(gencap::COMMAND_CAPABILITIES)),
            pci: PciControl::default(),
            traffic_classes: u8::MAX,
            parameter: [0; 2],
            enabling: false,
            generation: 0,
        };
        Self { layout, contents: Mutex::new(contents), space, interrupts }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The word at a multiple of 4.
    pub(super) fn read(&self, c: &Contents, device: &Device, offset: u64) -> u32 {
        if let Some(word) = self.layout.constant(offset) {
            return word;
        }
        match offset {
            reg::GENCFG => c.gencfg,
            reg::GENCTRL => c.genctrl,
            reg::GENSTS => general_status(device.state()),
            reg::INTCAUSE => c.cause,
            reg::CMDSTS => c.command_status,
            reg::SWERROR..0xe0 => {
                let words = device.software_error().map_or([0; 4], |e| errors::encode(&e));
                let at = offset - reg::SWERROR;
                (words[at as usize / 8] >> (8 * (at & 4))) as u32
            }
            reg::EVLCFG..0xf0 if self.layout.has_event_log() => c.log.config((offset - reg::EVLCFG) as usize / 4),
            reg::EVLSTATUS..0xf8 if self.layout.has_event_log() => c.log.status((offset - reg::EVLSTATUS) as usize / 4),
            reg::IDBR => device.permissions().bitmap_register(),
            reg::CMDPARAM..0xe008 => c.parameter[(offset - reg::CMDPARAM) as usize / 4],
            _ => match self.table(offset) {
                Some(Table::Group(group, word)) => c.groups[group][word],
                Some(Table::Queue(queue, word)) => {
                    c.queues[queue][word] | if word == wqcfg::STATE { queue_status(device.shared(), queue) } else { 0 }
                }
                Some(Table::Permission(vector)) => c.handles.permissions[vector],
                Some(Table::Domain(index, word)) => device.permissions().read_register(index, word),
                None => 0,
            },
        }
    }

    /// Writes the bytes of a word that `mask` covers.
    pub(super) fn write(&self, c: &mut Contents, device: &Device, offset: u64, value: u32, mask: u32) -> After {
        let layout = &self.layout;
        let merge = |old: u32, bits: u32| old & !(mask & bits) | value & mask & bits;
        let when = |condition: bool, bits: u32| if condition { bits } else { 0 };
        match offset {
            reg::GENCFG => {
                let log = when(layout.has_event_log(), reg::GENCFG_EVENT_LOG);
                let new = merge(c.gencfg, reg::GENCFG_READ_BUFFERS | reg::GENCFG_USER_INTERRUPTS | log);
                if new & !c.gencfg & reg::GENCFG_EVENT_LOG != 0 {
                    c.log.restart();
                }
                c.gencfg = new;
            }
            reg::GENCTRL => {
                let log = when(layout.has_event_log(), reg::GENCTRL_EVENT_LOG);
                c.genctrl = merge(c.genctrl, reg::GENCTRL_ERROR | reg::GENCTRL_HALT | log);
            }
            reg::INTCAUSE => c.cause &= !(value & mask),
            // A command is one write of the whole register; one that comes while another is executed is lost.
            reg::CMD if mask == u32::MAX => {
                if c.command_status & COMMAND_ACTIVE != 0 {
                    return After::LostCommand;
                }
                c.command_status = COMMAND_ACTIVE;
                return After::Command(Command { word: value, generation: c.generation });
            }
            reg::SWERROR => {
                let errors = &device.shared().errors;
                if u64::from(value & mask) & swerr::VALID != 0 {
                    errors.clear();
                } else if u64::from(value & mask) & swerr::OVERFLOW != 0 {
                    errors.clear_overflow();
                }
            }
            reg::EVLCFG..0xf0 if layout.has_event_log() && c.gencfg & reg::GENCFG_EVENT_LOG == 0 => {
                c.log.set_config((offset - reg::EVLCFG) as usize / 4, value, mask);
            }
            reg::EVLSTATUS..0xf8 if layout.has_event_log() => {
                c.log.set_status((offset - reg::EVLSTATUS) as usize / 4, value, mask);
            }
            // Fixed while the device is enabled, as what it is made of.
            reg::IDBR if layout.has_bitmaps() && device.state() == DeviceState::Disabled && !c.enabling => {
                device.permissions().write_bitmap_register(value, mask);
            }
            reg::CMDPARAM..0xe008 => {
                let word = &mut c.parameter[(offset - reg::CMDPARAM) as usize / 4];
                *word = merge(*word, u32::MAX);
            }
            _ => return self.write_table(c, device, offset, value, mask),
        }
        After::Nothing
    }

    fn write_table(&self, c: &mut Contents, device: &Device, offset: u64, value: u32, mask: u32) -> After {
        if let Some(Table::Domain(index, word)) = self.table(offset) {
            device.permissions().write_register(index, word, value, mask);
            return After::Nothing;
        }
        if !self.layout.has(gencap::CONFIGURABLE) {
            return After::Nothing;
        }
        let merge = |old: u32, bits: u32| old & !(mask & bits) | value & mask & bits;
        let device_disabled = device.state() == DeviceState::Disabled && !c.enabling;
        match self.table(offset) {
            // Groups are fixed while the device is enabled.
            Some(Table::Group(group, word)) if device_disabled => {
                c.groups[group][word] = merge(c.groups[group][word], groups::writable(word, &self.layout));
            }
            Some(Table::Queue(queue, wqcfg::STATE)) => {
                c.queues[queue][wqcfg::STATE] &= !(value & mask & wqcfg::OCCUPANCY_RAISED);
            }
            Some(Table::Queue(queue, word)) => {
                let queue_disabled = queue_state(device.shared(), queue) == wq_state::DISABLED;
                let bits = wqcfg::writable(word, &self.layout, queue_disabled, device_disabled);
                c.queues[queue][word] = merge(c.queues[queue][word], bits);
                if word == wqcfg::OCCUPANCY_LIMIT {
                    return After::Occupancy(queue);
                }
            }
            Some(Table::Permission(vector)) => {
                c.handles.permissions[vector] = merge(c.handles.permissions[vector], PERMISSION_BITS);
            }
            _ => {}
        }
        After::Nothing
    }

    /// Whether a command may still be executed.
    pub(super) fn is_current(&self, command: Command) -> bool {
        self.lock().generation == command.generation
    }

    /// Publishes how a command ended: a result, or an error code.
    pub(super) fn finish(&self, command: Command, ended: Result<u16, u32>) {
        let mut c = self.lock();
        if c.generation != command.generation {
            return;
        }
        c.command_status = match ended {
            Ok(result) => u32::from(result) << 8,
            Err(code) => code,
        };
        if command.word & COMMAND_INTERRUPT != 0 {
            self.interrupt(c, reg::CAUSE_COMMAND);
        }
    }

    /// What the reset command does to the registers.
    pub(super) fn clear(&self, device: &Device) {
        self.lock().clear(&self.layout);
        (0..self.layout.queues).for_each(|queue| self.watch_occupancy(device, queue));
    }

    /// Cancels the command under execution, if there is one.
    pub(super) fn begin_reset(&self) {
        self.lock().generation += 1;
    }

    /// What a function level reset does to the registers.
    pub(super) fn end_reset(&self, device: &Device) {
        self.clear(device);
        self.lock().command_status = 0;
    }

    /// Makes all interrupt handles invalid and tells software, which has to request them again.
    pub(super) fn revoke_handles(&self) {
        let mut c = self.lock();
        if c.handles.revoke() {
            self.interrupt(c, reg::CAUSE_HANDLES_REVOKED);
        }
    }

    /// Arms or disarms the occupancy interrupt of a queue.
    pub(super) fn watch_occupancy(&self, device: &Device, queue: usize) {
        let limit = self.lock().queues[queue][wqcfg::OCCUPANCY_LIMIT];
        let limit = (limit & wqcfg::OCCUPANCY_ENABLE != 0).then_some(limit as u16);
        device.shared().queues[queue].watch_occupancy(device.shared(), limit);
    }

    /// Sets a cause, and interrupts when the lock is free.
    fn interrupt(&self, mut c: MutexGuard<'_, Contents>, cause: u32) {
        c.cause |= cause;
        drop(c);
        self.interrupts.raise(MISC_VECTOR);
    }

    fn table(&self, offset: u64) -> Option<Table> {
        let layout = &self.layout;
        let entry = |base: u64, size: u64, count: usize| {
            let at = offset.checked_sub(base)?;
            let index = (at / size) as usize;
            (index < count).then_some((index, (at % size) as usize / 4))
        };
        if let Some((vector, word)) =
            entry(layout.permission_table, reg::PERMISSION_SIZE, usize::from(layout.vectors()))
        {
            return (word == 0).then_some(Table::Permission(vector));
        }
        if layout.is_domain_table(offset) {
            let (index, word) = entry(layout.domain_table, layout.domain_entry_size(), layout.domain_entries())?;
            return Some(Table::Domain(index, word));
        }
        if let Some((queue, word)) = entry(layout.queue_table, reg::QUEUE_SIZE, layout.queues) {
            return Some(Table::Queue(queue, word));
        }
        entry(layout.group_table, reg::GROUP_SIZE, layout.groups).map(|(group, word)| Table::Group(group, word))
    }
}

/// A word of a table.
enum Table {
    Group(usize, usize),
    Queue(usize, usize),
    Permission(usize),
    /// Of the Inter-Domain Permissions Table.
    Domain(usize, usize),
}

impl Events for Control {
    fn may_interrupt(&self, by: Requester) -> bool {
        by.privileged || by.pasid.is_none() || self.lock().gencfg & reg::GENCFG_USER_INTERRUPTS != 0
    }

    fn may_be_privileged(&self) -> bool {
        self.lock().pci.privileged
    }

    fn vector(&self, target: Target, by: Requester) -> Option<u16> {
        self.lock().handles.vector(target, by)
    }

    fn completed(&self, vector: u16) {
        self.interrupts.raise(vector);
    }

    fn log(&self, entry: &LogEntry<'_>) -> Logged {
        let mut c = self.lock();
        if c.gencfg & reg::GENCFG_EVENT_LOG == 0 {
            return Logged::Off;
        }
        match c.log.append(&self.space, entry) {
            Appended::First => {
                if c.genctrl & reg::GENCTRL_EVENT_LOG != 0 {
                    self.interrupt(c, reg::CAUSE_EVENT_LOG);
                }
                Logged::Taken
            }
            Appended::More => Logged::Taken,
            Appended::Full if !self.layout.has(gencap::EVENT_LOG_OVERFLOW) => Logged::Full,
            Appended::Full | Appended::Unwritable => Logged::Lost,
        }
    }

    fn log_pending(&self) -> bool {
        let c = self.lock();
        c.gencfg & reg::GENCFG_EVENT_LOG != 0 && !c.log.is_empty()
    }

    fn software_error(&self) {
        let c = self.lock();
        // An interrupt is a write to memory: that bus mastering was taken away, for one, is an error that cannot be told by one.
        if c.genctrl & reg::GENCTRL_ERROR != 0 && c.pci.bus_master {
            self.interrupt(c, reg::CAUSE_ERROR);
        }
    }

    fn occupancy(&self, queue: usize) {
        let mut c = self.lock();
        let words = &mut c.queues[queue];
        words[wqcfg::STATE] |= wqcfg::OCCUPANCY_RAISED;
        words[wqcfg::OCCUPANCY_LIMIT] &= !wqcfg::OCCUPANCY_ENABLE;
        let target = Target { handle: words[wqcfg::OCCUPANCY_HANDLE] as u16, message_storage: false };
        c.cause |= reg::CAUSE_OCCUPANCY;
        let vector = c.handles.vector(target, Requester::DEVICE).unwrap_or(MISC_VECTOR);
        drop(c);
        self.interrupts.raise(vector);
    }

    fn halted(&self) {
        let c = self.lock();
        if c.genctrl & reg::GENCTRL_HALT != 0 && c.pci.bus_master {
            self.interrupt(c, reg::CAUSE_HALT);
        }
    }
}

fn general_status(state: DeviceState) -> u32 {
    match state {
        DeviceState::Disabled => 0,
        DeviceState::Enabled => 1,
        DeviceState::Draining => 2,
        DeviceState::Halted => 3 | RESET_TYPE_FLR,
    }
}

fn queue_state(shared: &Shared, queue: usize) -> u8 {
    shared.queues[queue].state()
}

/// Occupancy in bits 15:0, state in bits 31:30.
fn queue_status(shared: &Shared, queue: usize) -> u32 {
    let state = match queue_state(shared, queue) {
        wq_state::DISABLED => 0,
        wq_state::ENABLED => 1,
        _ => 2,
    };
    shared.queues[queue].occupancy() as u32 & 0xffff | state << 30
}
