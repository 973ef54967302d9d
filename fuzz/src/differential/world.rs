//! Where cases run: real memory, checked memory at the same addresses, and devices of three generations on both.
//!
//! The arena has an own part, and behind it one that belongs to another PASID. Records and lists of batches lie behind both.
//! All of the arena is compared after each operation, so everything around the operands guards them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::Arc;

use dsa::descriptor::Capabilities;
use dsa_emulator::memory::PAGE_SIZE;
use dsa_emulator::{CheckedMemory, Client, Config, Device, Enqcmd, PasidMemory, Permission, PermissionEntry, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, status};
use zerocopy::{FromBytes, IntoBytes};

use super::case::Place;
use crate::capabilities_of;

/// The PASID whose descriptors run.
pub(super) const OWN: u32 = 5;
/// The PASID behind the handles.
const OTHER: u32 = 9;
/// The handle of a window that is addressed by offset. Those below it are addressed as they are.
pub(super) const OFFSET_HANDLE: u16 = 2;
/// The handle of the entry whose window is updated.
pub(super) const UPDATED_HANDLE: u16 = 3;

/// A run of bytes in which operands are placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) base: u64,
    pub(super) len: u64,
}

impl Room {
    /// The address of `len` bytes; `None` if there is no room.
    pub(super) fn place(self, place: Place, len: u64, align: u64) -> Option<u64> {
        let first = self.base.next_multiple_of(align);
        let most = (self.base + self.len).checked_sub(first + len)? / align;
        Some(first + u64::from(place.0) % (most + 1) * align)
    }
}

/// The arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    base: u64,
    own_pages: u64,
    other_pages: u64,
}

impl Extent {
    pub(super) fn own(self) -> Room {
        Room { base: self.base, len: self.own_pages * PAGE_SIZE }
    }

    pub(super) fn other(self) -> Room {
        Room { base: self.base + self.own_pages * PAGE_SIZE, len: self.other_pages * PAGE_SIZE }
    }

    /// Bytes of own and other part together.
    pub(super) fn len(self) -> u64 {
        self.own().len + self.other().len
    }

    pub(super) fn base(self) -> u64 {
        self.base
    }

    fn part(self, index: u64, parts: u64) -> Room {
        let len = self.own().len / parts;
        Room { base: self.base + index * len, len }
    }

    pub(super) fn halves(self) -> [Room; 2] {
        [self.part(0, 2), self.part(1, 2)]
    }

    /// Bytes of a third.
    pub(super) fn third(self) -> u64 {
        self.part(0, 3).len
    }

    /// Three rooms, in one of six orders. They begin anywhere in a page.
    pub(super) fn thirds(self, order: u8) -> [Room; 3] {
        let [a, b, c] = [0, 1, 2].map(|index| self.part(index, 3));
        [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]][usize::from(order) % 6]
    }

    /// Two places that agree in their lowest 12 bits.
    pub(super) fn pair(self, place: Place, pages: u8, len: u64, align: u64) -> Option<(u64, u64)> {
        let own = self.own();
        let apart = PAGE_SIZE * (1 + u64::from(pages) % (self.own_pages - 1));
        let first = own.place(place, len + apart, align)?;
        Some(if pages & 0x80 == 0 { (first, first + apart) } else { (first + apart, first) })
    }

    /// Where record `slot` lies.
    pub(super) fn record(self, slot: usize) -> u64 {
        self.base + self.len() + 32 * slot as u64
    }

    /// Where the list of a batch lies.
    pub(super) fn list(self) -> u64 {
        self.base + self.len() + PAGE_SIZE
    }
}

/// Real memory.
pub(super) struct Buffer {
    pointer: *mut u8,
    layout: Layout,
}

impl Buffer {
    fn new(pages: u64) -> Self {
        let layout = Layout::from_size_align((pages * PAGE_SIZE) as usize, PAGE_SIZE as usize).expect("a few pages");
        // SAFETY: the layout has a size.
        let pointer = unsafe { alloc_zeroed(layout) };
        if pointer.is_null() {
            handle_alloc_error(layout);
        }
        Self { pointer, layout }
    }

    fn base(&self) -> u64 {
        self.pointer.expose_provenance() as u64
    }

    fn offset(&self, address: u64, len: usize) -> usize {
        let offset = address.checked_sub(self.base()).expect("inside the buffer") as usize;
        assert!(offset + len <= self.layout.size(), "inside the buffer");
        offset
    }

    fn read(&self, address: u64, bytes: &mut [u8]) {
        let offset = self.offset(address, bytes.len());
        // SAFETY: the bytes lie inside the allocation, which is initialised. Devices run in this thread, between calls.
        unsafe { self.pointer.add(offset).copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let offset = self.offset(address, bytes.len());
        // SAFETY: as above.
        unsafe { self.pointer.add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.pointer, self.layout) };
    }
}

/// The two kinds of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Pages with bits.
    Checked,
    /// This process's own.
    Trusted,
}

/// A device and its client.
pub(super) struct Machine {
    pub(super) space: Space,
    pub(super) device: Device,
    client: Client,
    pub(super) caps: Capabilities,
    pub(super) masks_addresses: bool,
}

impl Machine {
    fn new(config: Config, space: Space, memory: &Arc<PasidMemory>, extent: Extent) -> Self {
        let mut config = config.queue(WqConfig::shared(4).block_on_fault(true)).manual();
        config.inter_domain.request_handles = false;
        let masks_addresses = config.mask_fault_address;
        let device = match space {
            Space::Checked => Device::with_memory(config, memory.clone()),
            Space::Trusted => Device::new(config),
        };
        let device = device.expect("the configuration is valid");
        let client = device.open_with_pasid(0, OWN).expect("the queue is enabled");
        let caps = capabilities_of(&device, client.info());
        let machine = Self { space, device, client, caps, masks_addresses };
        machine.set_entries(extent);
        machine
    }

    /// The entries of the permissions table. One of them is changed by descriptors.
    pub(super) fn set_entries(&self, extent: Extent) {
        let Room { base, len } = extent.other();
        let entry = PermissionEntry::single(OWN, OTHER);
        let all = [entry, entry.window(base, len), entry.offset_window(base, len), updated_entry()];
        for (index, entry) in all.into_iter().enumerate() {
            // A device without the table has no entries either.
            let _ = self.device.permissions().set(index as u16, entry);
        }
    }

    /// The words of the entry that descriptors change.
    pub(super) fn updated_words(&self) -> Option<[u64; 4]> {
        Some(self.device.permissions().get(UPDATED_HANDLE)?.words())
    }

    /// Submits and executes, to the end.
    ///
    /// # Safety
    ///
    /// With trusted memory all that the descriptor names lies in the world's buffer.
    pub(super) unsafe fn submit(&self, d: &Descriptor) -> Result<(), String> {
        // SAFETY: the caller vouches for it; checked memory takes anything.
        if unsafe { self.client.enqcmd(d) } != Enqcmd::Accepted {
            return Err("the empty queue did not accept".into());
        }
        self.device.run_until_idle();
        if self.client.outstanding() != 0 {
            return Err("the device is idle, and something is outstanding".into());
        }
        Ok(())
    }
}

/// The entry before each update: another PASID reaches all of the own memory.
pub(super) fn updated_entry() -> PermissionEntry {
    PermissionEntry::single(OTHER, OWN).allow_update(true)
}

/// See the module.
pub(super) struct World {
    pub(super) extent: Extent,
    buffer: Buffer,
    own: Arc<CheckedMemory>,
    other: Arc<CheckedMemory>,
    machines: Vec<[Machine; 2]>,
}

impl World {
    /// A world with pages of both parts.
    pub(super) fn new(own_pages: u64, other_pages: u64) -> Self {
        let buffer = Buffer::new(own_pages + other_pages + 2);
        let extent = Extent { base: buffer.base(), own_pages, other_pages };
        let memory = Arc::new(PasidMemory::new());
        let (own, other) = (memory.of(OWN), memory.of(OTHER));
        let map = |memory: &CheckedMemory, Room { base, len }| {
            memory.map(base, len, Permission::ReadWrite).expect("arenas are disjoint");
        };
        map(&own, extent.own());
        map(&own, Room { base: extent.record(0), len: 2 * PAGE_SIZE });
        map(&other, extent.other());
        let mut machines = Vec::new();
        for config in [Config::sapphire_rapids(), Config::granite_rapids(), Config::diamond_rapids()] {
            for is_odd in [false, true] {
                let mut config = config.clone();
                if is_odd {
                    config = config.chunk(61).backward_moves(1.0);
                    config.mask_fault_address = true;
                }
                machines.push(
                    [Space::Checked, Space::Trusted].map(|space| Machine::new(config.clone(), space, &memory, extent)),
                );
            }
        }
        Self { extent, buffer, own, other, machines }
    }

    /// The devices of a generation, 0 to 2.
    pub(super) fn machines(&self, generation: usize, is_odd: bool) -> &[Machine; 2] {
        &self.machines[2 * generation + usize::from(is_odd)]
    }

    pub(super) fn checked(&self) -> &CheckedMemory {
        &self.own
    }

    /// Replaces the arena.
    pub(super) fn load(&self, space: Space, bytes: &[u8]) {
        match space {
            Space::Trusted => self.buffer.write(self.extent.base, bytes),
            Space::Checked => {
                let (own, other) = bytes.split_at(self.extent.own().len as usize);
                self.own.write(self.extent.own().base, own).expect("mapped");
                self.other.write(self.extent.other().base, other).expect("mapped");
            }
        }
    }

    /// A copy of the arena.
    pub(super) fn store(&self, space: Space, bytes: &mut [u8]) {
        match space {
            Space::Trusted => self.buffer.read(self.extent.base, bytes),
            Space::Checked => {
                let (own, other) = bytes.split_at_mut(self.extent.own().len as usize);
                self.own.read(self.extent.own().base, own).expect("mapped");
                self.other.read(self.extent.other().base, other).expect("mapped");
            }
        }
    }

    /// Writes records or lists.
    pub(super) fn write_control(&self, space: Space, address: u64, bytes: &[u8]) {
        match space {
            Space::Trusted => self.buffer.write(address, bytes),
            Space::Checked => self.own.write(address, bytes).expect("mapped"),
        }
    }

    /// Record `slot`, if it was written.
    pub(super) fn record(&self, space: Space, slot: usize) -> Option<CompletionRecord> {
        let mut bytes = [0; 32];
        match space {
            Space::Trusted => self.buffer.read(self.extent.record(slot), &mut bytes),
            Space::Checked => self.own.read(self.extent.record(slot), &mut bytes).expect("mapped"),
        }
        let record = CompletionRecord::read_from_bytes(&bytes).expect("32 bytes");
        (record.status != status::NONE).then_some(record)
    }

    /// Writes the list of a batch.
    pub(super) fn write_list(&self, space: Space, members: &[Descriptor]) {
        self.write_control(space, self.extent.list(), members.as_bytes());
    }
}
