//! The Inter-Domain Permissions Table: which descriptors reach the memory of another PASID (specification sections 3.14
//! and 9.2.29).
//!
//! **Stays.** An engine that executes a descriptor which names entries looks all of them up at once, and from then to the
//! end of the descriptor, its completion record included, it stays in those domains: the table knows which version of which
//! entries it uses. An update of a window makes a new version, in one step, then waits until no other engine uses an older
//! one. Commands that drain or abort the PASID behind an entry wait for such stays as well; an abort also asks the engine to
//! leave, which ends its descriptor with a status of its own.
//!
//! The lock is never held while memory is looked at, or anything waits.
#![forbid(unsafe_code)]

mod entry;
mod registers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use idxd_sys::idpt;
use idxd_sys::limits::PASID_MASK;
use thiserror::Error;

pub use self::entry::PermissionEntry;
pub(crate) use self::entry::ends_in_time;
use crate::config::{Config, InterDomain};
use crate::memory::Requester;

/// First handle that is handed out: no index of a table.
const FIRST_HANDLE: u16 = 0x1000;

/// Bytes of a bitmap that are read at once.
pub(crate) const LINE: u64 = 64;
/// Lines that are remembered; one more, and all are forgotten.
const MOST_LINES: usize = 256;

/// Handles that a descriptor can name.
pub(crate) const HANDLES: usize = 2;

/// Why the permissions table refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PermissionsError {
    /// There is no such entry, or no table at all.
    #[error("the permissions table has no such entry")]
    NoEntry,
    /// All handles have been handed out.
    #[error("no handle is left")]
    NoHandle,
}

/// The permissions table of a device, as privileged software in the same process uses it. Empty without
/// [`gencap::INTER_DOMAIN`](crate::config::gencap::INTER_DOMAIN).
///
/// A reset of the device clears it.
pub struct Permissions {
    offered: InterDomain,
    table: Mutex<Table>,
    /// For each engine: 0, or the PASID whose memory it must leave, plus 1.
    leave: Box<[AtomicU32]>,
}

struct Table {
    slots: Box<[Slot]>,
    next_handle: u16,
    /// By engine.
    stays: Box<[Stay]>,
    serial: u64,
    /// Register IDBR.
    bitmap_register: u32,
    lines: HashMap<u64, [u8; LINE as usize]>,
    /// Raised when lines are forgotten: what was read before must not be remembered after.
    lines_version: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    entry: PermissionEntry,
    version: u64,
    handle: Option<u16>,
}

/// The entries that an engine uses at the moment.
#[derive(Clone, Copy, Default)]
struct Stay {
    /// Different for each stay; 0 for none.
    serial: u64,
    uses: [Option<Use>; HANDLES],
}

#[derive(Clone, Copy)]
struct Use {
    index: usize,
    version: u64,
    access_pasid: u32,
}

impl Permissions {
    pub(crate) fn new(config: &Config) -> Self {
        let count = if config.has_inter_domain() { usize::from(config.inter_domain.entries) } else { 0 };
        let table = Table {
            slots: vec![Slot::default(); count].into(),
            next_handle: FIRST_HANDLE,
            stays: vec![Stay::default(); config.engines.len()].into(),
            serial: 0,
            bitmap_register: 0,
            lines: HashMap::new(),
            lines_version: 0,
        };
        Self {
            offered: config.inter_domain.clone(),
            table: Mutex::new(table),
            leave: config.engines.iter().map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Number of entries.
    pub fn entries(&self) -> u16 {
        self.lock().slots.len() as u16
    }

    /// An entry as it is now.
    pub fn get(&self, index: u16) -> Option<PermissionEntry> {
        self.lock().slots.get(usize::from(index)).map(|slot| slot.entry)
    }

    /// Replaces an entry, whole and at once, whatever it was. (Writes to the registers of a
    /// [`Function`](crate::Function) are restricted while an entry is usable.) Descriptors under execution go on with what
    /// they have found.
    pub fn set(&self, index: u16, entry: PermissionEntry) -> Result<(), PermissionsError> {
        let mut table = self.lock();
        let slot = table.slots.get_mut(usize::from(index)).ok_or(PermissionsError::NoEntry)?;
        slot.replace(entry);
        Ok(())
    }

    /// The handle by which descriptors name an entry. Where handles must be requested, an entry that has none gets one.
    pub fn handle(&self, index: u16) -> Result<u16, PermissionsError> {
        let mut table = self.lock();
        let next = table.next_handle;
        let slot = table.slots.get_mut(usize::from(index)).ok_or(PermissionsError::NoEntry)?;
        if !self.offered.request_handles {
            return Ok(index);
        }
        if let Some(handle) = slot.handle {
            return Ok(handle);
        }
        let after = next.checked_add(1).ok_or(PermissionsError::NoHandle)?;
        slot.handle = Some(next);
        table.next_handle = after;
        Ok(next)
    }

    /// Takes a handle back. The specification calls the operand of the command an index in one place and a handle in
    /// another; no number is both, and either will do.
    pub fn release_handle(&self, number: u16) -> Result<(), PermissionsError> {
        let mut table = self.lock();
        let named = |(index, slot): &(usize, &mut Slot)| {
            slot.handle.is_some() && (slot.handle == Some(number) || *index == usize::from(number))
        };
        let (_, slot) = table.slots.iter_mut().enumerate().find(named).ok_or(PermissionsError::NoEntry)?;
        slot.handle = None;
        Ok(())
    }

    /// Takes all handles back, as a device may do at any time: descriptors that name one end with status 0x29.
    pub fn revoke_handles(&self) {
        self.lock().slots.iter_mut().for_each(|slot| slot.handle = None);
    }

    /// With whose accesses bitmaps are read.
    pub fn set_bitmap_requester(&self, by: Requester) {
        let privilege = if by.privileged { idpt::idbr::PRIVILEGED } else { 0 };
        let pasid = by.pasid.map_or(0, |pasid| idpt::idbr::PASID_ENABLE | privilege | (pasid & PASID_MASK) << 8);
        self.lock().bitmap_register = pasid;
    }

    /// Forgets what was read of bitmaps, which have changed in `size` bytes from an address on; all of them if `size` is 0.
    pub fn invalidate_bitmaps(&self, addr: u64, size: u64) {
        let mut table = self.lock();
        let changed =
            |line: u64| size == 0 || line < addr.saturating_add(size) && addr <= line.saturating_add(LINE - 1);
        table.lines.retain(|line, _| !changed(*line));
        table.lines_version += 1;
    }

    pub(crate) fn offered(&self) -> &InterDomain {
        &self.offered
    }

    /// What a reset does.
    pub(crate) fn clear(&self) {
        let mut table = self.lock();
        for slot in &mut table.slots {
            slot.replace(PermissionEntry::default());
            slot.handle = None;
        }
        table.bitmap_register = 0;
        table.lines.clear();
        table.lines_version += 1;
    }

    /// An engine begins to execute a descriptor that names these handles. Returns their entries, none for a handle that is
    /// not valid. [`leave`](Self::leave) ends the stay.
    pub(crate) fn enter(&self, engine: usize, handles: [Option<u16>; HANDLES]) -> [Option<PermissionEntry>; HANDLES] {
        let mut table = self.lock();
        let found = handles.map(|handle| table.index_of(handle?, &self.offered));
        table.serial += 1;
        let used = |index: usize| {
            let Slot { entry, version, .. } = table.slots[index];
            Use { index, version, access_pasid: entry.access_pasid() }
        };
        let stay = Stay { serial: table.serial, uses: found.map(|index| index.map(used)) };
        table.stays[engine] = stay;
        self.leave[engine].store(0, Ordering::Release);
        found.map(|index| index.map(|index| table.slots[index].entry))
    }

    /// The descriptor has ended, its record is written.
    pub(crate) fn leave(&self, engine: usize) {
        self.lock().stays[engine] = Stay::default();
    }

    /// The PASID whose memory an engine has to leave at once.
    #[inline]
    pub(crate) fn must_leave(&self, engine: usize) -> Option<u32> {
        self.leave[engine].load(Ordering::Acquire).checked_sub(1)
    }

    /// Stays in the memory of a PASID, by engine and serial number.
    pub(crate) fn stays_in(&self, pasid: u32) -> Vec<(usize, u64)> {
        let table = self.lock();
        let inside = |stay: &Stay| stay.uses.iter().flatten().any(|used| used.access_pasid == pasid);
        table.stays.iter().enumerate().filter(|(_, stay)| inside(stay)).map(|(i, stay)| (i, stay.serial)).collect()
    }

    /// The same, and all of them are asked to end.
    pub(crate) fn evict(&self, pasid: u32) -> Vec<(usize, u64)> {
        let stays = self.stays_in(pasid);
        let table = self.lock();
        for (engine, serial) in &stays {
            if table.stays[*engine].serial == *serial {
                self.leave[*engine].store(pasid + 1, Ordering::Release);
            }
        }
        stays
    }

    /// Whether these stays have ended.
    pub(crate) fn have_ended(&self, stays: &[(usize, u64)]) -> bool {
        let table = self.lock();
        stays.iter().all(|(engine, serial)| table.stays[*engine].serial != *serial)
    }

    /// Changes a window on behalf of its owner; `None` if that is not allowed. Stays that began before go on with the old
    /// one; see [`is_settled`](Self::is_settled).
    pub(crate) fn update(&self, handle: u16, owner: u32, window: &Window) -> Option<Update> {
        let mut table = self.lock();
        let index = table.index_of(handle, &self.offered)?;
        let slot = &mut table.slots[index];
        let allowed = slot.entry.is_valid(&self.offered)
            && slot.entry.has(idpt::ALLOW_UPDATE)
            && slot.entry.access_pasid() == owner;
        if !allowed {
            return None;
        }
        slot.replace(window.applied_to(slot.entry));
        Some(Update { index, version: slot.version })
    }

    /// Whether no engine but the one that asks uses an older version of an entry.
    pub(crate) fn is_settled(&self, update: &Update, engine: usize) -> bool {
        let table = self.lock();
        let old = |used: &Use| used.index == update.index && used.version < update.version;
        let others = table.stays.iter().enumerate().filter(|(other, _)| *other != engine);
        !others.flat_map(|(_, stay)| stay.uses.iter().flatten()).any(old)
    }

    /// What is remembered of the line at an address, or else the version to hand in with what is read.
    pub(crate) fn line(&self, addr: u64) -> Result<[u8; LINE as usize], u64> {
        let table = self.lock();
        table.lines.get(&addr).copied().ok_or(table.lines_version)
    }

    /// Remembers a line, unless lines were forgotten meanwhile.
    pub(crate) fn remember(&self, addr: u64, line: [u8; LINE as usize], version: u64) {
        let mut table = self.lock();
        if !self.offered.bitmap_cache || table.lines_version != version {
            return;
        }
        if table.lines.len() >= MOST_LINES {
            table.lines.clear();
        }
        table.lines.insert(addr, line);
    }

    /// With whose accesses bitmaps are read.
    pub(crate) fn bitmap_requester(&self) -> Requester {
        let word = self.bitmap_register();
        if word & idpt::idbr::PASID_ENABLE == 0 {
            return Requester::DEVICE;
        }
        Requester { privileged: word & idpt::idbr::PRIVILEGED != 0, ..Requester::user(word >> 8) }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn index_of(&self, handle: u16, offered: &InterDomain) -> Option<usize> {
        if offered.request_handles {
            self.slots.iter().position(|slot| slot.handle == Some(handle))
        } else {
            Some(usize::from(handle)).filter(|index| *index < self.slots.len())
        }
    }
}

impl Slot {
    fn replace(&mut self, entry: PermissionEntry) {
        self.entry = entry;
        self.version += 1;
    }
}

/// What an update of a window asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// As in the descriptor ([`idpt::UPDATE_READ`] and so on).
    pub(crate) flags: u8,
    pub(crate) base: u64,
    pub(crate) size: u64,
}

impl Window {
    fn applied_to(&self, entry: PermissionEntry) -> PermissionEntry {
        let set = |flag: u8| self.flags & flag != 0;
        let open = entry.window(0, 0);
        let windowed = match (set(idpt::UPDATE_ENABLE), set(idpt::UPDATE_OFFSET)) {
            (true, true) => open.offset_window(self.base, self.size),
            (true, false) => open.window(self.base, self.size),
            (false, _) => {
                let mut words = open.words();
                words[0] &= !idpt::WINDOW_ENABLE;
                PermissionEntry::from_words(words)
            }
        };
        windowed.permit(set(idpt::UPDATE_READ), set(idpt::UPDATE_WRITE))
    }
}

/// An update that was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    index: usize,
    version: u64,
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.lock();
        let used = table.slots.iter().enumerate().filter(|(_, slot)| slot.entry != PermissionEntry::default());
        f.debug_map().entries(used.map(|(index, slot)| (index, slot.entry))).finish()
    }
}
