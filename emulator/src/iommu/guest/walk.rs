//! The walk through page tables (VT-d sections 3.6 to 3.8).

use super::context::ADDRESS;
use super::{Translation, TranslationFault as Fault};
use crate::memory::{Access, GuestRam, PAGE_SIZE};

/// A page of this size follows, at the levels that have large pages; same bit in both kinds of table.
const LARGE: u64 = 1 << 7;

/// First-level entries are those of a processor.
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;

const SECOND_READ: u64 = 1 << 0;
const SECOND_WRITE: u64 = 1 << 1;
const SECOND_ACCESSED: u64 = 1 << 8;
const SECOND_DIRTY: u64 = 1 << 9;

/// Walks started over because an entry changed underneath. Software changes entries now and then, not for ever.
const RESTARTS: u32 = 1000;

/// What translates for a requester.
#[derive(Clone, Copy, Debug)]
pub(super) enum Domain {
    PassThrough,
    First(FirstLevel),
    Second(SecondLevel),
}

/// Page tables of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstLevel {
    pub(super) table: u64,
    pub(super) levels: u32,
    pub(super) privileged: bool,
    /// Privileged writes respect read-only pages.
    pub(super) write_protect: bool,
    /// What translates the addresses of and in these tables.
    pub(super) nested_in: Option<SecondLevel>,
}

/// Page tables of a virtual machine, or of I/O addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecondLevel {
    pub(super) table: u64,
    pub(super) levels: u32,
    /// Accessed and dirty bits are set.
    pub(super) track: bool,
}

impl Domain {
    pub(super) fn translate(&self, ram: &dyn GuestRam, addr: u64, access: Access) -> Result<Translation, Fault> {
        match self {
            Self::PassThrough => Ok(Translation { addr, len: u64::MAX - addr.saturating_sub(1) }),
            Self::First(tables) => tables.translate(ram, addr, access),
            Self::Second(tables) => tables.translate(ram, addr, access),
        }
    }
}

impl FirstLevel {
    fn translate(&self, ram: &dyn GuestRam, addr: u64, access: Access) -> Result<Translation, Fault> {
        // The upper bits must all be like the highest that is translated.
        let unused = 63 - (12 + 9 * self.levels) + 1;
        if ((addr << unused).cast_signed() >> unused).cast_unsigned() != addr {
            return Err(Fault::Address);
        }
        let page = restart(|| self.walk(ram, addr, access))?;
        match &self.nested_in {
            None => Ok(page),
            Some(second) => {
                let inner = second.translate(ram, page.addr, access)?;
                Ok(Translation { len: inner.len.min(page.len), ..inner })
            }
        }
    }

    fn walk(&self, ram: &dyn GuestRam, addr: u64, access: Access) -> Step {
        let mut path = Path::default();
        let mut table = self.table;
        let mut rights = WRITABLE | USER;
        for level in (0..self.levels).rev() {
            let (at, entry) = self.entry(ram, table, addr, level)?;
            if entry & PRESENT == 0 {
                return Err(Fault::NotPresent.into());
            }
            let leaf = level == 0 || entry & LARGE != 0;
            if leaf && level > 2 {
                return Err(Fault::Reserved.into());
            }
            rights &= entry;
            path.push(at, entry);
            if !leaf {
                table = entry & ADDRESS;
                continue;
            }
            let read_only = rights & WRITABLE == 0 && (!self.privileged || self.write_protect);
            if rights & USER == 0 && !self.privileged || access == Access::Write && read_only {
                return Err(Fault::Permission.into());
            }
            path.mark(ram, ACCESSED, if access == Access::Write { DIRTY } else { 0 })?;
            return Ok(page(entry, addr, level));
        }
        unreachable!("level 0 is a leaf")
    }

    /// Reads an entry; returns where it lies, in physical memory, and what it is.
    fn entry(&self, ram: &dyn GuestRam, table: u64, addr: u64, level: u32) -> Result<(u64, u64), Fault> {
        let mut at = slot(table, addr, level);
        if let Some(second) = &self.nested_in {
            // Setting the accessed bit is a write.
            at = second.translate(ram, at, Access::Write)?.addr;
        }
        Ok((at, ram.load(at).ok_or(Fault::NoMemory)?))
    }
}

impl SecondLevel {
    fn translate(&self, ram: &dyn GuestRam, addr: u64, access: Access) -> Result<Translation, Fault> {
        if addr >> (12 + 9 * self.levels) != 0 {
            return Err(Fault::Address);
        }
        restart(|| self.walk(ram, addr, access))
    }

    fn walk(&self, ram: &dyn GuestRam, addr: u64, access: Access) -> Step {
        let mut path = Path::default();
        let mut table = self.table;
        let needed = if access == Access::Write { SECOND_WRITE } else { SECOND_READ };
        for level in (0..self.levels).rev() {
            let at = slot(table, addr, level);
            let entry = ram.load(at).ok_or(Fault::NoMemory)?;
            if entry & (SECOND_READ | SECOND_WRITE) == 0 {
                return Err(Fault::NotPresent.into());
            }
            if entry & needed == 0 {
                return Err(Fault::Permission.into());
            }
            let leaf = level == 0 || entry & LARGE != 0;
            if leaf && level > 2 {
                return Err(Fault::Reserved.into());
            }
            path.push(at, entry);
            if !leaf {
                table = entry & ADDRESS;
                continue;
            }
            if self.track {
                let dirty = if access == Access::Write { SECOND_DIRTY } else { 0 };
                path.mark(ram, SECOND_ACCESSED, dirty)?;
            }
            return Ok(page(entry, addr, level));
        }
        unreachable!("level 0 is a leaf")
    }
}

/// Why a walk ended without a page.
enum Stop {
    Fault(Fault),
    /// An entry has changed since it was read.
    Changed,
}

type Step = Result<Translation, Stop>;

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn restart(walk: impl Fn() -> Step) -> Result<Translation, Fault> {
    for _ in 0..RESTARTS {
        match walk() {
            Ok(page) => return Ok(page),
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Changed) => {}
        }
    }
    Err(Fault::NotPresent)
}

/// The entries of a walk, from the top.
#[derive(Default)]
struct Path {
    entries: [(u64, u64); 5],
    len: usize,
}

impl Path {
    fn push(&mut self, at: u64, entry: u64) {
        self.entries[self.len] = (at, entry);
        self.len += 1;
    }

    /// Sets bits in all entries, and more in the last.
    fn mark(&self, ram: &dyn GuestRam, all: u64, last: u64) -> Result<(), Stop> {
        for (i, (at, entry)) in self.entries[..self.len].iter().enumerate() {
            let bits = all | if i + 1 == self.len { last } else { 0 };
            if entry & bits == bits {
                continue;
            }
            match ram.replace(*at, *entry, entry | bits) {
                Some(true) => {}
                Some(false) => return Err(Stop::Changed),
                None => return Err(Fault::NoMemory.into()),
            }
        }
        Ok(())
    }
}

/// Where the entry for an address lies in a table of a level.
fn slot(table: u64, addr: u64, level: u32) -> u64 {
    table + 8 * (addr >> (12 + 9 * level) & 0x1ff)
}

/// The page of a leaf entry at a level.
fn page(entry: u64, addr: u64, level: u32) -> Translation {
    let size = PAGE_SIZE << (9 * level);
    let offset = addr & (size - 1);
    Translation { addr: entry & ADDRESS & !(size - 1) | offset, len: size - offset }
}
