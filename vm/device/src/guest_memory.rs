//! Guest memory: the file behind it, mapped into this process.
//!
//! The virtual machine hands the file over with its first mappings, before the guest runs. Mappings that come later are
//! what the IOMMU lets the device reach at that moment. The model translates by itself and needs physical memory, so
//! these are not looked at.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsFd;

use dsa_emulator::{GuestRam, RamMap};
use rustix::mm::{MapFlags, ProtFlags};

/// Smallest mapping that is taken for guest memory, in bytes. Smaller ones are firmware and the like.
const SMALLEST: u64 = 64 << 20;
/// Where memory goes on that does not fit below the hole for devices.
const HIGH_MEMORY: u64 = 4 << 30;

/// Adds a mapping that the virtual machine announces to the guest's memory, if it is part of it.
pub(crate) fn announce(ram: &RamMap, address: u64, offset: u64, size: u64, file: &File) -> Result<bool> {
    let is_memory = match address {
        0 => offset == 0 && size >= SMALLEST,
        HIGH_MEMORY => offset != 0 && ram.span(0, 1).is_some(),
        _ => false,
    };
    if !is_memory || ram.span(address, 1).is_some() {
        return Ok(false);
    }
    let mapping = Mapping::of(file, offset, size)?;
    let pointer = mapping.0;
    // SAFETY: the mapping is `size` bytes of a file, valid until its owner unmaps it, and nothing but the map knows its
    // address. The guest's processors are threads of QEMU, maybe of this very process, and reach the memory through the
    // mappings that QEMU made.
    unsafe { ram.add(address, pointer, size, mapping) }.map_err(Error::other)?;
    Ok(true)
}

/// A mapped part of a file.
struct Mapping(*mut u8, usize);

// SAFETY: an address and a length, which any thread may unmap.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference allows nothing at all.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn of(file: &File, offset: u64, size: u64) -> Result<Self> {
        let len = usize::try_from(size).map_err(Error::other)?;
        if offset.checked_add(size).is_none_or(|end| file.metadata().is_ok_and(|m| m.len() < end)) {
            return Err(Error::other(format!("a mapping of {size:#x} bytes at {offset:#x} is larger than its file")));
        }
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let pointer =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, rights, MapFlags::SHARED, file.as_fd(), offset) }?;
        Ok(Self(pointer.cast(), len))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `of`, and its owner, the memory map, hands out no spans any more.
        let _ = unsafe { rustix::mm::munmap(self.0.cast(), self.1) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn file_of(len: u64) -> File {
        let fd = rustix::fs::memfd_create("guest memory of a test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(fd);
        file.set_len(len).unwrap();
        file
    }

    #[test]
    fn low_and_high_memory_are_parts_of_one_file() {
        let (ram, file) = (RamMap::new(), file_of(SMALLEST + 0x2000));
        file.write_all_at(&7_u64.to_le_bytes(), 0x1000).unwrap();
        file.write_all_at(&8_u64.to_le_bytes(), SMALLEST + 0x1000).unwrap();
        assert!(announce(&ram, 0, 0, SMALLEST, &file).unwrap());
        assert!(announce(&ram, HIGH_MEMORY, SMALLEST, 0x2000, &file).unwrap());
        assert_eq!([ram.load(0x1000), ram.load(HIGH_MEMORY + 0x1000), ram.load(SMALLEST)], [Some(7), Some(8), None]);
        assert_eq!(ram.replace(0x1000, 7, 9), Some(true));
        let mut stored = [0; 8];
        file.read_exact_at(&mut stored, 0x1000).unwrap();
        assert_eq!(stored, 9_u64.to_le_bytes());
    }

    #[test]
    fn other_mappings_are_not_memory() {
        let (ram, file) = (RamMap::new(), file_of(SMALLEST));
        assert!(!announce(&ram, 0x1000, 0, SMALLEST, &file).unwrap());
        assert!(!announce(&ram, 0, 0x1000, SMALLEST, &file).unwrap());
        assert!(!announce(&ram, 0, 0, 0x1000, &file).unwrap());
        assert!(!announce(&ram, HIGH_MEMORY, 0x1000, 0x1000, &file).unwrap(), "before low memory is known");
        assert!(announce(&ram, 0, 0, SMALLEST, &file).unwrap());
        assert!(!announce(&ram, 0, 0, SMALLEST, &file).unwrap(), "the first one counts");
    }

    #[test]
    fn a_mapping_larger_than_its_file_is_refused() {
        let (ram, file) = (RamMap::new(), file_of(SMALLEST - 1));
        assert!(announce(&ram, 0, 0, SMALLEST, &file).is_err());
        assert_eq!(ram.load(0), None);
    }
}
