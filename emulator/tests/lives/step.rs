//! What each step changes: in the machine, and in the description.

use std::collections::BTreeMap;

use dsa_emulator::iommu::{DmaMode, Pasid, Process};
use dsa_emulator::{Access, AddressSpace};

use super::{DEVICES, Known, Life, Lives, Old, Page, Target, WINDOW};
use crate::machine::*;

impl Lives {
    /// Takes a step, and holds the machine's answer against the description.
    pub(crate) fn step(&mut self, step: &Life) {
        match *step {
            Life::Start(device) => {
                let process = self.machine.iommu.process();
                let (bindings, pages) = (Vec::new(), BTreeMap::new());
                self.all.push(Known { process, pasid: None, bindings, pages, exited: false });
                self.step(&Life::Bind { process: self.all.len() - 1, device });
            }
            Life::Share { space, pasid } => {
                for device in 0..DEVICES.len() {
                    if let Some(pasid) = pasid {
                        self.step(&Life::AttachPasid { device, pasid, space });
                    } else {
                        self.step(&Life::Attach { device, space });
                        self.step(&Life::Enable(device));
                    }
                }
            }
            Life::Clear(pasid) => {
                let devices = (0..DEVICES.len()).filter(|device| self.entries.contains_key(&(*device, pasid)));
                for device in devices.collect::<Vec<_>>() {
                    self.step(&Life::DetachPasid { device, pasid });
                }
                self.step(&Life::Free(pasid));
            }
            Life::Request { device, pasid, page, access } => self.request(device, pasid, page, access),
            Life::Attach { .. }
            | Life::Detach(_)
            | Life::Enable(_)
            | Life::Disable(_)
            | Life::Allocate(_)
            | Life::AttachPasid { .. }
            | Life::DetachPasid { .. }
            | Life::Free(_) => self.attachment(step),
            Life::MapDma { .. } | Life::UnmapDma { .. } | Life::Flush(_) | Life::Tick => self.mapping(step),
            Life::Bind { process, .. } | Life::Unbind { process, .. } | Life::Exit(process) | Life::Drop(process) => {
                if !self.all.is_empty() {
                    self.life(process % self.all.len(), step);
                }
            }
            Life::Map { process, page, .. }
            | Life::Unmap { process, page }
            | Life::Protect { process, page, .. }
            | Life::Evict { process, page }
            | Life::Touch { process, page }
            | Life::Migrate { process, page } => {
                let fresh = self.frame();
                if !self.all.is_empty() {
                    let n = process % self.all.len();
                    self.all[n].page(page, fresh, step);
                }
            }
        }
    }

    /// Binds of a process, and its end.
    fn life(&mut self, n: usize, step: &Life) {
        let lowest = self.lowest();
        let it = &mut self.all[n];
        match *step {
            Life::Bind { device, .. } => match self.machine.iommu.bind(DEVICES[device], &it.process) {
                Ok(binding) => {
                    assert!(!it.exited);
                    assert_eq!(binding.pasid().get(), *it.pasid.get_or_insert(lowest));
                    it.bindings.push((device, binding));
                }
                Err(_) => assert!(it.exited),
            },
            Life::Unbind { binding, .. } => {
                if !it.bindings.is_empty() {
                    drop(it.bindings.swap_remove(binding % it.bindings.len()));
                }
            }
            Life::Exit(_) | Life::Drop(_) => {
                it.process.exit();
                it.pages.clear();
                it.exited = true;
                if matches!(step, Life::Drop(_)) {
                    it.bindings.clear();
                }
            }
            _ => unreachable!(),
        }
        if it.exited && it.bindings.is_empty() {
            self.all.remove(n);
        }
    }

    /// A device asks for a page: only a process that is bound to it has some to give.
    fn request(&mut self, device: usize, pasid: u32, page: u64, access: Access) {
        let by = Pasid::new(pasid).unwrap().user();
        let granted = self.memories[device].resolve(by, frame(page) + 5, access);
        let allows = |known: &Known| known.pages.get(&page).is_some_and(|page| page.permission.allows(access));
        let expected = matches!(self.target((device, Some(pasid))), Target::Process(known) if allows(known));
        assert_eq!(granted, expected, "device {device}, PASID {pasid}, page {page}, {access:?}");
        if granted {
            let known = self.all.iter_mut().find(|known| known.pasid == Some(pasid));
            known.and_then(|known| known.pages.get_mut(&page)).unwrap().present = true;
        }
    }

    /// What devices have, with and without a PASID.
    fn attachment(&mut self, step: &Life) {
        let iommu = &self.machine.iommu;
        let lowest = self.lowest();
        let joined = |device: usize| self.contexts[device].is_some_and(|n| self.spaces[n].enabled.contains(&device));
        match *step {
            Life::Attach { device, space } => {
                let attached = iommu.attach(DEVICES[device], &self.spaces[space].dma).is_ok();
                assert_eq!(attached, !joined(device));
                if attached {
                    self.set_context(device, Some(space));
                }
            }
            Life::Detach(device) => {
                let detached = iommu.detach(DEVICES[device]).is_ok();
                assert_eq!(detached, self.contexts[device].is_some() && !joined(device));
                if detached {
                    self.set_context(device, None);
                }
            }
            Life::Enable(device) => {
                let enabled = iommu.enable_pasid_dma(DEVICES[device]).ok();
                assert_eq!(enabled.is_some(), self.contexts[device].is_some());
                let Some(n) = self.contexts[device] else { return };
                let space = &mut self.spaces[n];
                space.pasid = space.pasid.or(Some(lowest));
                assert_eq!(enabled.map(Pasid::get), space.pasid);
                if space.enabled.insert(device) {
                    space.arrive((device, space.pasid));
                }
            }
            Life::Disable(device) => {
                let disabled = iommu.disable_pasid_dma(DEVICES[device]).is_ok();
                assert_eq!(disabled, joined(device));
                let Some(n) = self.contexts[device].filter(|_| disabled) else { return };
                let space = &mut self.spaces[n];
                space.leave((device, space.pasid));
                space.enabled.remove(&device);
                space.pasid = space.pasid.filter(|_| !space.enabled.is_empty());
            }
            // A few at a time, so that others get low numbers too.
            Life::Allocate(device) if self.numbers.len() < 3 => {
                assert_eq!(iommu.allocate_pasid(DEVICES[device]).unwrap().get(), lowest);
                self.numbers.insert(lowest);
            }
            Life::Allocate(_) => {}
            Life::AttachPasid { device, pasid, space } => {
                let number = Pasid::new(pasid).unwrap();
                let attached = iommu.attach_pasid(DEVICES[device], number, &self.spaces[space].dma).is_ok();
                let free = !self.entries.contains_key(&(device, pasid));
                assert_eq!(attached, free && self.numbers.contains(&pasid));
                if attached {
                    self.entries.insert((device, pasid), space);
                    self.spaces[space].arrive((device, Some(pasid)));
                }
            }
            Life::DetachPasid { device, pasid } => {
                let detached = iommu.detach_pasid(DEVICES[device], Pasid::new(pasid).unwrap()).is_ok();
                let was = self.entries.remove(&(device, pasid));
                assert_eq!(detached, was.is_some());
                if let Some(n) = was {
                    self.spaces[n].leave((device, Some(pasid)));
                }
            }
            Life::Free(pasid) => {
                let freed = iommu.free_pasid(Pasid::new(pasid).unwrap()).is_ok();
                let used = self.entries.keys().any(|(_, number)| *number == pasid);
                assert_eq!(freed, self.numbers.contains(&pasid) && !used);
                if freed {
                    self.numbers.remove(&pasid);
                }
            }
            _ => unreachable!(),
        }
    }

    fn set_context(&mut self, device: usize, new: Option<usize>) {
        if let Some(n) = self.contexts[device] {
            self.spaces[n].leave((device, None));
        }
        self.contexts[device] = new;
        if let Some(n) = new {
            self.spaces[n].arrive((device, None));
        }
    }

    /// Pages of domains for the DMA API, one a mapping.
    fn mapping(&mut self, step: &Life) {
        match *step {
            Life::MapDma { space, direction } => {
                let fresh = self.frame();
                let space = &mut self.spaces[space];
                if space.pages.len() + space.old.len() == WINDOW as usize {
                    return;
                }
                let at = space.dma.map_single(fresh, PAGE, direction).unwrap();
                if space.mode == DmaMode::PassThrough {
                    assert_eq!(at, fresh);
                    return;
                }
                assert!((frame(0)..frame(WINDOW)).contains(&at) && !space.old.contains_key(&at));
                assert_eq!(space.pages.insert(at, (fresh, direction)), None);
            }
            Life::UnmapDma { space: n, mapping } => {
                let ways = self.ways(n);
                let space = &mut self.spaces[n];
                let Some(at) = space.pages.keys().nth(mapping % space.pages.len().max(1)).copied() else { return };
                let (to, direction) = space.pages.remove(&at).unwrap();
                space.dma.unmap(at).unwrap();
                if space.mode == DmaMode::Lazy {
                    space.old.insert(at, Old { to, direction, ways });
                }
                if space.dma.pending() == 0 {
                    space.old.clear();
                }
            }
            Life::Flush(n) => {
                self.spaces[n].dma.flush();
                self.spaces[n].old.clear();
            }
            Life::Tick => {
                self.machine.iommu.tick();
                self.spaces.iter_mut().for_each(|space| space.old.clear());
            }
            _ => unreachable!(),
        }
    }
}

impl Known {
    /// A page of a process.
    fn page(&mut self, page: u64, fresh: u64, step: &Life) {
        let (process, pages, at) = (&self.process, &mut self.pages, frame(page));
        let there = pages.get_mut(&page);
        match *step {
            Life::Map { absent, permission, .. } => {
                let map = if absent { Process::map_absent } else { Process::map };
                let mapped = map(process, at, fresh, PAGE, permission).is_ok();
                assert_eq!(mapped, !self.exited && there.is_none());
                if mapped {
                    pages.insert(page, Page { to: fresh, permission, present: !absent });
                }
            }
            Life::Unmap { .. } => {
                assert_eq!(process.unmap(at, PAGE).is_ok(), pages.remove(&page).is_some());
            }
            Life::Protect { permission, .. } => {
                let changed = process.protect(at, PAGE, permission).is_ok();
                assert_eq!(changed, there.map(|page| page.permission = permission).is_some());
            }
            Life::Evict { .. } => {
                let changed = process.evict(at, PAGE).is_ok();
                assert_eq!(changed, there.map(|page| page.present = false).is_some());
            }
            Life::Touch { .. } => {
                let changed = process.touch(at, Access::Read);
                assert_eq!(changed, there.map(|page| page.present = true).is_some());
            }
            Life::Migrate { .. } => {
                let changed = process.migrate(at, fresh, PAGE).is_ok();
                assert_eq!(changed, there.map(|page| *page = Page { to: fresh, present: true, ..*page }).is_some());
            }
            _ => unreachable!(),
        }
    }
}
