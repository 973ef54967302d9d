//! Processes: address spaces that a device shares.
//!
//! A page is somewhere in physical memory from the beginning; being absent only means that it is not in the tables, until
//! a page request, or [`Process::touch`], brings it in. So tests know where to look.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::domain::{Domain, PROCESS_BITS, Tables, physical};
use super::system::System;
use super::table::{Leaf, PageSize};
use super::{FaultReason, IommuError, Pages, Pasid, lock};
use crate::memory::{Access, PAGE_SIZE, PageRequest, Permission};

/// What a process does about page requests of devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PagePolicy {
    /// Grants those for its pages, if the permission suffices.
    #[default]
    Grant,
    /// Refuses all.
    Refuse,
    /// Keeps the device waiting until [`Process::answer`], or until the device has to stop.
    Ask,
}

#[derive(Clone, Copy, Debug)]
struct Page {
    to: u64,
    permission: Permission,
    present: bool,
}

/// The pages of a process.
#[derive(Debug, Default)]
pub(super) struct ProcessPages {
    pages: BTreeMap<u64, Page>,
    pub(super) policy: PagePolicy,
    pub(super) exited: bool,
}

impl ProcessPages {
    pub(super) fn walk(&self, addr: u64, access: Access) -> Result<Leaf, FaultReason> {
        let page = self.pages.get(&PageSize::Small.first(addr)).filter(|page| page.present);
        let page = page.ok_or(FaultReason::NotPresent)?;
        Leaf { to: page.to, size: PageSize::Small, permission: page.permission }.check(access)
    }

    /// Brings a page in, as the fault handler of a processor does.
    fn touch(&mut self, addr: u64, access: Access) -> bool {
        let Some(page) = self.pages.get_mut(&PageSize::Small.first(addr)) else { return false };
        let allowed = page.permission.allows(access);
        page.present |= allowed;
        allowed
    }

    /// Answers a page request at once.
    pub(super) fn grant(&mut self, addr: u64, access: Access) -> bool {
        self.policy == PagePolicy::Grant && self.touch(addr, access)
    }

    /// The pages of a range, all of which must be there.
    fn range(&mut self, addr: u64, len: u64) -> Result<impl Iterator<Item = &mut Page>, IommuError> {
        if let Some(hole) = pages(addr, len).find(|page| !self.pages.contains_key(page)) {
            return Err(IommuError::NotMapped(hole));
        }
        Ok(self.pages.range_mut(addr..addr + len).map(|(_, page)| page))
    }
}

/// A process. Dropping it is its [exit](Self::exit).
#[derive(Debug)]
pub struct Process {
    pub(super) system: Arc<System>,
    pub(super) domain: Arc<Domain>,
}

impl Process {
    /// Maps `len` bytes of physical memory at `to` to `addr`, all multiples of the page size, present at once. The range must
    /// lie in the lower half of the address space.
    pub fn map(&self, addr: u64, to: u64, len: u64, permission: Permission) -> Result<(), IommuError> {
        self.insert(addr, to, len, permission, true)
    }

    /// The same, with pages that are absent until they are touched.
    pub fn map_absent(&self, addr: u64, to: u64, len: u64, permission: Permission) -> Result<(), IommuError> {
        self.insert(addr, to, len, permission, false)
    }

    /// Takes pages away. Afterwards no access of a device reaches them.
    pub fn unmap(&self, addr: u64, len: u64) -> Result<(), IommuError> {
        self.change(addr, len, |all| {
            all.range(addr, len).map(drop)?;
            all.pages.retain(|page, _| !(addr..addr + len).contains(page));
            Ok(())
        })
    }

    /// Changes what may be done with pages. Afterwards no access that is not allowed reaches them.
    pub fn protect(&self, addr: u64, len: u64, permission: Permission) -> Result<(), IommuError> {
        self.change(addr, len, |all| {
            all.range(addr, len)?.for_each(|page| page.permission = permission);
            Ok(())
        })
    }

    /// Makes pages absent, as when memory is short. Afterwards no access of a device reaches them, until they are touched.
    pub fn evict(&self, addr: u64, len: u64) -> Result<(), IommuError> {
        self.change(addr, len, |all| {
            all.range(addr, len)?.for_each(|page| page.present = false);
            Ok(())
        })
    }

    /// Moves pages to another place in physical memory, where their contents are already: as when memory is compacted. They
    /// are absent meanwhile. Afterwards no access of a device reaches the old place.
    pub fn migrate(&self, addr: u64, to: u64, len: u64) -> Result<(), IommuError> {
        aligned(to, len)?;
        physical(&*self.system.ram, to, len).map_err(IommuError::NoMemory)?;
        self.evict(addr, len)?;
        let Tables::Process(pages) = &self.domain.tables else { unreachable!("a process has pages") };
        let mut all = lock(pages);
        for (place, page) in (to..).step_by(PAGE_SIZE as usize).zip(all.range(addr, len)?) {
            *page = Page { to: place, present: true, ..*page };
        }
        Ok(())
    }

    /// Touches a page as the process itself does; `false` if it may not, or there is none.
    pub fn touch(&self, addr: u64, access: Access) -> bool {
        self.pages(|all| all.touch(addr, access))
    }

    /// Whether the page of an address is in the tables.
    pub fn is_present(&self, addr: u64) -> bool {
        self.pages(|all| all.pages.get(&PageSize::Small.first(addr)).is_some_and(|page| page.present))
    }

    /// Decides about page requests that come after the call.
    pub fn set_page_policy(&self, policy: PagePolicy) {
        self.pages(|all| all.policy = policy);
    }

    /// Page requests that wait for [`answer`](Self::answer), oldest first.
    pub fn page_requests(&self) -> Vec<PageRequest> {
        self.system.requests.waiting(self.domain.serial)
    }

    /// Answers the waiting requests for the page of an address, and returns how many there were. One that is granted is
    /// refused all the same if the process has no such page, or may not do that with it.
    pub fn answer(&self, addr: u64, granted: bool) -> usize {
        let page = PageSize::Small.first(addr);
        let touch = |access| granted && self.touch(page, access);
        self.system.requests.answer(self.domain.serial, page, touch)
    }

    /// The PASID under which devices know the process, from the first bind until it has exited and all binds have ended.
    pub fn pasid(&self) -> Option<Pasid> {
        self.system.pasid_of(&self.domain)
    }

    /// Ends the process: its pages go, and no device reaches them afterwards. Its PASID stays reserved until everything
    /// that is bound to it is unbound; faults on it are not recorded.
    pub fn exit(&self) {
        let already = self.pages(|all| {
            all.pages.clear();
            std::mem::replace(&mut all.exited, true)
        });
        if !already {
            self.system.process_exited(&self.domain);
        }
    }

    fn pages<T>(&self, f: impl FnOnce(&mut ProcessPages) -> T) -> T {
        let Tables::Process(pages) = &self.domain.tables else { unreachable!("a process has pages") };
        f(&mut lock(pages))
    }

    fn insert(&self, addr: u64, to: u64, len: u64, permission: Permission, present: bool) -> Result<(), IommuError> {
        aligned(addr, len)?;
        aligned(to, len)?;
        if addr.checked_add(len).is_none_or(|end| end > 1 << (PROCESS_BITS - 1)) {
            return Err(IommuError::OutOfRange(addr));
        }
        physical(&*self.system.ram, to, len).map_err(IommuError::NoMemory)?;
        self.pages(|all| {
            if all.exited {
                return Err(IommuError::Exited);
            }
            if let Some((page, _)) = all.pages.range(addr..addr + len).next() {
                return Err(IommuError::Overlap(*page));
            }
            let places = (to..).step_by(PAGE_SIZE as usize);
            all.pages.extend(pages(addr, len).zip(places).map(|(page, to)| (page, Page { to, permission, present })));
            Ok(())
        })
    }

    /// Changes pages, then has the caches follow.
    fn change(
        &self,
        addr: u64,
        len: u64,
        f: impl FnOnce(&mut ProcessPages) -> Result<(), IommuError>,
    ) -> Result<(), IommuError> {
        aligned(addr, len)?;
        addr.checked_add(len).ok_or(IommuError::OutOfRange(addr))?;
        self.pages(f)?;
        self.system.invalidate(&self.domain, Pages::covering(addr, addr + (len - 1)));
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.exit();
    }
}

fn pages(addr: u64, len: u64) -> impl Iterator<Item = u64> {
    (addr..addr + len).step_by(PAGE_SIZE as usize)
}

fn aligned(addr: u64, len: u64) -> Result<(), IommuError> {
    if len == 0 || !addr.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
        return Err(IommuError::Misaligned);
    }
    Ok(())
}
