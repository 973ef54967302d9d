//! The DMA API: buffers in physical memory get I/O addresses for as long as a device may use them.
//!
//! In strict mode an unmap ends with the invalidation and the wait. In lazy mode it only takes the page out of the tables; the
//! addresses wait in a queue until a flush invalidates them all at once, and are not given out again before. Until
//! then a device that has cached the page still reaches it: that is what lazy mode trades away.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex};

use super::domain::{Domain, Tables, physical};
use super::iova::IovaSpace;
use super::system::System;
use super::table::{Leaf, PageTable, leaves};
use super::{DomainId, DomainKind, FaultReason, IommuError, Pages, lock};
use crate::memory::{Access, PAGE_SIZE, Permission};

/// Which way the data of a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device reads.
    ToDevice,
    /// The device writes. It may not read: software that relies on more finds out.
    FromDevice,
    /// Both.
    Bidirectional,
}

impl Direction {
    const fn permission(self) -> Permission {
        match self {
            Self::ToDevice => Permission::ReadOnly,
            Self::FromDevice => Permission::WriteOnly,
            Self::Bidirectional => Permission::ReadWrite,
        }
    }
}

/// How a [`DmaDomain`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DmaMode {
    /// An unmap returns when the device is done with the page.
    Strict,
    /// An unmap returns at once; the page is done with after the next flush.
    Lazy,
    /// I/O addresses are physical addresses, and an unmap takes nothing away.
    PassThrough,
}

/// A run of bytes, physical or as the device sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// First address.
    pub addr: u64,
    /// Bytes, at least 1.
    pub len: u64,
}

/// What one call has mapped.
#[derive(Debug)]
struct Mapping {
    /// The range of I/O addresses.
    base: u64,
    len: u64,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Inner {
    table: PageTable,
    space: IovaSpace,
    /// By the first address of the first piece.
    mappings: BTreeMap<u64, Mapping>,
    /// First addresses of ranges that wait for a flush.
    queue: Vec<u64>,
}

/// The tables of a domain of I/O addresses.
#[derive(Debug)]
pub(super) struct DmaState {
    lazy: bool,
    inner: Mutex<Inner>,
    /// Held through a flush, so that another one does not return before the addresses that it took are invalid.
    flushing: Mutex<()>,
}

impl DmaState {
    pub(super) fn new(lazy: bool, limit: u64) -> Self {
        let inner = Inner {
            table: PageTable::default(),
            space: IovaSpace::new(limit),
            mappings: BTreeMap::new(),
            queue: Vec::new(),
        };
        Self { lazy, inner: Mutex::new(inner), flushing: Mutex::new(()) }
    }

    pub(super) fn walk(&self, addr: u64, access: Access) -> Result<Leaf, FaultReason> {
        lock(&self.inner).table.walk(addr, access)
    }

    /// Invalidates what waits for it, and gives the addresses free.
    pub(super) fn flush(&self, system: &System, domain: &Arc<Domain>) {
        let _flushing = lock(&self.flushing);
        let queue = std::mem::take(&mut lock(&self.inner).queue);
        if queue.is_empty() {
            return;
        }
        system.invalidate(domain, Pages::ALL);
        let mut inner = lock(&self.inner);
        for base in queue {
            inner.space.release(base);
        }
    }
}

/// A domain for the DMA API. Clones are the same domain.
#[derive(Clone, Debug)]
pub struct DmaDomain {
    pub(super) system: Arc<System>,
    pub(super) domain: Arc<Domain>,
}

impl DmaDomain {
    /// The number by which the IOTLB knows it.
    pub fn id(&self) -> DomainId {
        self.domain.id
    }

    /// [`Dma`](DomainKind::Dma), or [`Identity`](DomainKind::Identity) in pass-through mode.
    pub fn kind(&self) -> DomainKind {
        self.domain.kind()
    }

    /// Maps `len` bytes at a physical address for the device; returns where the device finds them.
    ///
    /// Whole pages are mapped: what else lies in them is within the device's reach.
    pub fn map_single(&self, addr: u64, len: u64, direction: Direction) -> Result<u64, IommuError> {
        Ok(self.map_list(&[Piece { addr, len }], direction)?[0].addr)
    }

    /// Maps several runs of physical memory at once; returns where the device finds them, in order. Runs that follow
    /// each other without a gap, for the device, are joined, so there may be fewer; in pass-through mode they come back as they
    /// are. The address of the first is the one to [unmap](Self::unmap).
    pub fn map_list(&self, list: &[Piece], direction: Direction) -> Result<Vec<Piece>, IommuError> {
        if list.is_empty() {
            return Err(IommuError::Misaligned);
        }
        let mut total = 0u64;
        for piece in list {
            if piece.len == 0 {
                return Err(IommuError::Misaligned);
            }
            let end = piece.addr.checked_add(piece.len - 1).ok_or(IommuError::OutOfRange(piece.addr))?;
            physical(&*self.system.ram, piece.addr, piece.len).map_err(IommuError::NoMemory)?;
            let pages = (end / PAGE_SIZE - piece.addr / PAGE_SIZE + 1) * PAGE_SIZE;
            total = total.checked_add(pages).ok_or(IommuError::NoIova(u64::MAX))?;
        }
        let Tables::Dma(state) = &self.domain.tables else { return Ok(list.to_vec()) };
        let mut inner = lock(&state.inner);
        let base = inner.space.allocate(total).ok_or(IommuError::NoIova(total))?;
        let mut pieces: Vec<Piece> = Vec::with_capacity(list.len());
        let mut at = base;
        for piece in list {
            let offset = piece.addr % PAGE_SIZE;
            let pages = (offset + piece.len).next_multiple_of(PAGE_SIZE);
            for (addr, leaf) in leaves(at, piece.addr - offset, pages, direction.permission()) {
                inner.table.insert(addr, leaf);
            }
            match pieces.last_mut().filter(|before| before.addr + before.len == at + offset) {
                Some(before) => before.len += piece.len,
                None => pieces.push(Piece { addr: at + offset, len: piece.len }),
            }
            at += pages;
        }
        inner.mappings.insert(pieces[0].addr, Mapping { base, len: total, pieces: pieces.clone() });
        Ok(pieces)
    }

    /// Ends a mapping, by the first address that the device was given.
    ///
    /// Strict: afterwards no access of a device reaches the pages. Lazy: after the next flush, which this is if enough
    /// ranges wait ([`IommuOptions::flush_after`](super::IommuOptions::flush_after)). Pass-through: nothing changes.
    pub fn unmap(&self, addr: u64) -> Result<(), IommuError> {
        let Tables::Dma(state) = &self.domain.tables else { return Ok(()) };
        let (mapping, waiting) = {
            let mut inner = lock(&state.inner);
            let mapping = inner.mappings.remove(&addr).ok_or(IommuError::NotMapped(addr))?;
            inner.table.remove(mapping.base, mapping.len);
            if state.lazy {
                inner.queue.push(mapping.base);
            }
            (mapping, inner.queue.len())
        };
        if !state.lazy {
            self.system.invalidate(&self.domain, Pages::covering(mapping.base, mapping.base + (mapping.len - 1)));
            lock(&state.inner).space.release(mapping.base);
        } else if waiting >= self.system.options.flush_after {
            state.flush(&self.system, &self.domain);
        }
        Ok(())
    }

    /// Gives a part of a mapping to the processor for a while: what the device wrote before its record is visible after this.
    pub fn sync_for_cpu(&self, addr: u64, len: u64) -> Result<(), IommuError> {
        self.sync(addr, len)
    }

    /// Gives a part of a mapping back to the device, which sees what the processor wrote before.
    pub fn sync_for_device(&self, addr: u64, len: u64) -> Result<(), IommuError> {
        self.sync(addr, len)
    }

    /// Invalidates what lazy unmaps have left, waits for the device, and gives the addresses free.
    pub fn flush(&self) {
        if let Tables::Dma(state) = &self.domain.tables {
            state.flush(&self.system, &self.domain);
        }
    }

    /// Ranges that wait for a flush.
    pub fn pending(&self) -> usize {
        if let Tables::Dma(state) = &self.domain.tables { lock(&state.inner).queue.len() } else { 0 }
    }

    /// Mappings that have not been unmapped. Pass-through domains do not count.
    pub fn mappings(&self) -> usize {
        if let Tables::Dma(state) = &self.domain.tables { lock(&state.inner).mappings.len() } else { 0 }
    }

    /// Memory is coherent and nothing is copied: the order is all there is to do, and a mistake to find.
    fn sync(&self, addr: u64, len: u64) -> Result<(), IommuError> {
        let inside = |piece: &Piece| {
            addr.checked_sub(piece.addr)
                .is_some_and(|offset| offset.checked_add(len).is_some_and(|end| end <= piece.len))
        };
        let mapped = match &self.domain.tables {
            Tables::Dma(state) => {
                let inner = lock(&state.inner);
                let mapping = inner.mappings.range(..=addr).next_back();
                mapping.is_some_and(|(_, mapping)| mapping.pieces.iter().any(inside))
            }
            _ => physical(&*self.system.ram, addr, len).is_ok(),
        };
        fence(Ordering::SeqCst);
        if mapped { Ok(()) } else { Err(IommuError::NotMapped(addr)) }
    }
}
