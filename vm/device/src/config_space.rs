//! PCI configuration space of the function: what the guest's PCI core and its IOMMU driver look at.
//!
//! One byte array with a mask of writable bits, which is all that most registers are.

use dsa_emulator::{PciControl, registers};
use idxd_sys::portal;

/// Bytes of extended configuration space.
pub const CONFIG_LEN: usize = 4096;
/// Bytes of BAR 2: the portals of eight queues.
pub const BAR2_LEN: u64 = (8 * portal::PAGES_PER_QUEUE * portal::PAGE_SIZE) as u64;
/// MSI-X vectors: one for commands and errors, eight for completions.
pub const VECTORS: u16 = 9;

const COMMAND: usize = 0x04;
const COMMAND_MEMORY: u8 = 1 << 1;
const COMMAND_BUS_MASTER: u8 = 1 << 2;
const BAR0: usize = 0x10;
const BAR2: usize = 0x18;
const BARS_LEN: usize = 16;
const PCIE: usize = 0x40;
const PCIE_CONTROL: usize = PCIE + 0x08;
const MSIX: usize = 0x80;
const ATS: usize = 0x100;
const PASID: usize = 0x110;
const PRI: usize = 0x120;

/// "Initiate function level reset", bit 15 of the `PCIe` device control register.
const INITIATE_RESET: u8 = 1 << 7;
/// Bit of the high byte of the ATS control register.
const ATS_ENABLE: u8 = 1 << 7;
/// Bits of the PASID control register.
const PASID_ENABLE: u8 = 1 << 0;
const PASID_PRIVILEGED: u8 = 1 << 2;
/// Enable bit of the page request interface's control register.
const PRI_ENABLE: u8 = 1;

/// The registers, in the order of the bus: little endian bytes.
#[derive(Clone)]
pub struct ConfigSpace {
    value: Box<[u8; CONFIG_LEN]>,
    writable: Box<[u8; CONFIG_LEN]>,
    initial: Box<[u8; CONFIG_LEN]>,
}

impl ConfigSpace {
    /// The function as it is after power-on. `page_requests` adds the page request interface, which kernels before
    /// 6.16 ask for before they bind a process, and which block on fault needs.
    pub fn new(page_requests: bool) -> Self {
        let mut space = Self {
            value: Box::new([0; CONFIG_LEN]),
            writable: Box::new([0; CONFIG_LEN]),
            initial: Box::new([0; CONFIG_LEN]),
        };
        space.header();
        space.pcie();
        space.msix();
        space.extended(page_requests);
        space.initial = space.value.clone();
        space
    }

    /// Reads `data.len()` bytes; what lies beyond the space reads as 0.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = index(offset, i).map_or(0, |at| self.value[at]);
        }
    }

    /// Writes the writable bits of `data.len()` bytes. True if a function level reset was asked for.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        for (i, &byte) in data.iter().enumerate() {
            let Some(at) = index(offset, i) else { break };
            if at == PCIE_CONTROL + 1 && byte & INITIATE_RESET != 0 {
                return true;
            }
            self.value[at] = self.value[at] & !self.writable[at] | byte & self.writable[at];
        }
        false
    }

    /// Back to the state after power-on, as a reset of the function leaves it, but for the BARs: a virtual machine shows
    /// its guest BARs of its own, which survive, so the guest does not write them again.
    pub fn reset(&mut self) {
        let bars = *self.bytes::<BARS_LEN>(BAR0);
        self.value = self.initial.clone();
        self.value[BAR0..BAR0 + BARS_LEN].copy_from_slice(&bars);
    }

    /// Guest-physical address of BAR 2, while the function decodes it.
    pub fn portals(&self) -> Option<u64> {
        let base = u64::from_le_bytes(*self.bytes(BAR2)) & !0xf;
        (self.value[COMMAND] & COMMAND_MEMORY != 0 && base != 0).then_some(base)
    }

    /// What software allows the function to do.
    pub fn control(&self) -> PciControl {
        let pasid = self.value[PASID + 6];
        PciControl {
            bus_master: self.value[COMMAND] & COMMAND_BUS_MASTER != 0,
            pasid: pasid & PASID_ENABLE != 0,
            privileged: pasid & PASID_PRIVILEGED != 0,
        }
    }

    /// Whether software lets the function cache translations.
    pub fn translations_enabled(&self) -> bool {
        self.value[ATS + 7] & ATS_ENABLE != 0
    }

    /// Whether software has enabled page requests.
    pub fn page_requests_enabled(&self) -> bool {
        self.value[PRI + 4] & PRI_ENABLE != 0
    }

    fn bytes<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.value[at..].first_chunk().expect("registers lie inside the space")
    }

    fn set<const N: usize>(&mut self, at: usize, value: [u8; N], writable: [u8; N]) {
        self.value[at..at + N].copy_from_slice(&value);
        self.writable[at..at + N].copy_from_slice(&writable);
    }

    /// Identity and BARs.
    fn header(&mut self) {
        self.set(0x00, 0x0b25_8086_u32.to_le_bytes(), [0; 4]);
        // Memory decoding, bus master, interrupt disable; status: there is a capability list.
        self.set(COMMAND, 0x0010_0000_u32.to_le_bytes(), 0x0000_0546_u32.to_le_bytes());
        // Class: base system peripheral, other.
        self.set(0x08, 0x0880_0000_u32.to_le_bytes(), [0; 4]);
        self.set(0x0c, [0; 4], [0xff, 0, 0, 0]);
        for (at, len) in [(BAR0, registers::BAR0_LEN), (BAR2, BAR2_LEN)] {
            // 64 bits wide, prefetchable.
            self.set(at, 0x0c_u64.to_le_bytes(), (!(len - 1)).to_le_bytes());
        }
        self.set(0x2c, 0x0000_8086_u32.to_le_bytes(), [0; 4]);
        self.set(0x34, [PCIE as u8], [0]);
        self.set(0x3c, [0; 4], [0xff, 0, 0, 0]);
    }

    /// PCI Express: an endpoint inside the root complex, with function level reset, and with the TLP prefixes that
    /// carry a PASID.
    fn pcie(&mut self) {
        self.set(PCIE, 0x0092_0010_u32.to_le_bytes(), [0; 4]);
        self.set(PCIE + 1, [MSIX as u8], [0]);
        self.set(PCIE + 0x04, (1_u32 << 28 | 1 << 15).to_le_bytes(), [0; 4]);
        self.set(PCIE_CONTROL, [0; 2], [0xff, 0x7f]);
        self.set(PCIE + 0x24, (1_u32 << 21).to_le_bytes(), [0; 4]);
    }

    fn msix(&mut self) {
        self.set(MSIX, [0x11, 0, (VECTORS - 1) as u8, 0], [0, 0, 0, 0xc0]);
        self.set(MSIX + 4, (registers::MSIX_TABLE as u32).to_le_bytes(), [0; 4]);
        self.set(MSIX + 8, (registers::MSIX_PENDING as u32).to_le_bytes(), [0; 4]);
    }

    /// Address translation services, PASID and, if wanted, page requests.
    fn extended(&mut self, page_requests: bool) {
        let header = |id: u32, next: usize| (id | 1 << 16 | (next as u32) << 20).to_le_bytes();
        self.set(ATS, header(0x0f, PASID), [0; 4]);
        // Page-aligned requests; queue depth 0 stands for 32. The enable bit and the smallest unit are writable.
        self.set(ATS + 4, 0x0000_0020_u32.to_le_bytes(), 0x801f_0000_u32.to_le_bytes());
        self.set(PASID, header(0x1b, if page_requests { PRI } else { 0 }), [0; 4]);
        // 20 bits, privileged mode; all of the control register is writable.
        self.set(PASID + 4, 0x0000_1404_u32.to_le_bytes(), 0x0007_0000_u32.to_le_bytes());
        if page_requests {
            self.set(PRI, header(0x13, 0), [0; 4]);
            // Status: stopped, responses carry the PASID.
            self.set(PRI + 4, 0x8100_0000_u32.to_le_bytes(), 0x0000_0001_u32.to_le_bytes());
            self.set(PRI + 8, 64_u32.to_le_bytes(), [0; 4]);
            self.set(PRI + 12, [0; 4], [0xff; 4]);
        }
    }
}

/// Position of the `i`-th byte of an access at `offset`, if it is inside the space.
fn index(offset: u64, i: usize) -> Option<usize> {
    usize::try_from(offset).ok()?.checked_add(i).filter(|at| *at < CONFIG_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_u32(space: &ConfigSpace, at: u64) -> u32 {
        let mut data = [0; 4];
        space.read(at, &mut data);
        u32::from_le_bytes(data)
    }

    /// Offsets and ids of a chain of capabilities, as a PCI core walks it.
    fn chain(space: &ConfigSpace) -> Vec<(u64, u32)> {
        let mut found = Vec::new();
        let mut at = u64::from(read_u32(space, 0x34) & 0xff);
        while at != 0 {
            let header = read_u32(space, at);
            found.push((at, header & 0xff));
            at = u64::from(header >> 8 & 0xff);
        }
        let mut at = 0x100;
        while at != 0 {
            let header = read_u32(space, at);
            found.push((at, header & 0xffff));
            at = u64::from(header >> 20);
        }
        found
    }

    #[test]
    fn the_capability_lists_are_complete() {
        let plain = [(0x40, 0x10), (0x80, 0x11), (0x100, 0x0f), (0x110, 0x1b)];
        assert_eq!(chain(&ConfigSpace::new(false)), plain);
        let mut with = plain.to_vec();
        with.push((0x120, 0x13));
        assert_eq!(chain(&ConfigSpace::new(true)), with);
    }

    #[test]
    fn a_bar_tells_its_size_and_keeps_its_type() {
        let mut space = ConfigSpace::new(false);
        space.write(0x18, &[0xff; 8]);
        assert_eq!(read_u32(&space, 0x18), !(BAR2_LEN as u32 - 1) | 0xc);
        assert_eq!(read_u32(&space, 0x1c), u32::MAX);
        space.write(0x10, &[0xff; 8]);
        assert_eq!(read_u32(&space, 0x10), !(registers::BAR0_LEN as u32 - 1) | 0xc);
    }

    #[test]
    fn portals_exist_only_while_memory_is_decoded() {
        let mut space = ConfigSpace::new(false);
        space.write(0x18, &0xfebc_0000_u64.to_le_bytes());
        assert_eq!(space.portals(), None);
        space.write(0x04, &[0x02, 0x00]);
        assert_eq!(space.portals(), Some(0xfebc_0000));
        space.reset();
        assert_eq!(space.portals(), None, "nothing is decoded after a reset");
        space.write(0x04, &[0x02, 0x00]);
        assert_eq!(space.portals(), Some(0xfebc_0000), "at the address from before the reset");
    }

    #[test]
    fn bus_mastering_and_pasids_are_off_until_software_allows_them() {
        let mut space = ConfigSpace::new(false);
        assert_eq!(space.control(), PciControl { bus_master: false, pasid: false, privileged: false });
        space.write(0x04, &[0x06, 0x00]);
        space.write(0x116, &[0x01, 0x00]);
        assert_eq!(space.control(), PciControl { bus_master: true, pasid: true, privileged: false });
        space.write(0x116, &[0x05, 0x00]);
        assert!(space.control().privileged);
        space.reset();
        assert!(!space.control().bus_master);
    }

    #[test]
    fn function_level_reset_is_asked_for_and_not_stored() {
        let mut space = ConfigSpace::new(false);
        assert!(space.write(0x48, &0x8000_u16.to_le_bytes()));
        assert_eq!(read_u32(&space, 0x48) & 0xffff, 0);
        assert!(!space.write(0x48, &0x7fff_u16.to_le_bytes()));
    }

    #[test]
    fn read_only_registers_stay_and_no_offset_panics() {
        let mut space = ConfigSpace::new(true);
        space.write(0, &[0xff; 4]);
        assert_eq!(read_u32(&space, 0), 0x0b25_8086);
        for offset in [4094, 4096, u64::MAX - 1] {
            space.write(offset, &[0xff; 8]);
            space.read(offset, &mut [0; 8]);
        }
        assert!(!space.page_requests_enabled());
        space.write(0x124, &[1]);
        assert!(space.page_requests_enabled());
    }
}
