//! The function as the virtual machine sees it: regions and interrupts of the vfio-user protocol.

use std::fs::File;
use std::io::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dsa_emulator::Interrupts;
use dsa_emulator::registers::BAR0_LEN;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_NORESIZE, VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR2_REGION_INDEX,
    VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS,
    VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

use crate::config_space::{BAR2_LEN, CONFIG_LEN, ConfigSpace, VECTORS};
use crate::guest_memory;
use crate::interrupts::Vectors;
use crate::rig::Shared;

/// The vector for everything that is not a completion.
const MISC_VECTOR: u16 = 0;

/// Opens the socket. The virtual machine may connect from now on.
pub(crate) fn listen(socket: &Path) -> Result<Server, vfio_user::Error> {
    let regions = (0..VFIO_PCI_NUM_REGIONS).map(region).collect();
    let interrupts = (0..VFIO_PCI_NUM_IRQS).map(interrupt).collect();
    Server::new(socket, true, interrupts, regions)
}

fn region(index: u32) -> ServerRegion {
    let size = match index {
        VFIO_PCI_BAR0_REGION_INDEX => BAR0_LEN,
        VFIO_PCI_BAR2_REGION_INDEX => BAR2_LEN,
        VFIO_PCI_CONFIG_REGION_INDEX => CONFIG_LEN as u64,
        _ => 0,
    };
    let flags = if size == 0 { 0 } else { VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE };
    let region_info = vfio_region_info {
        argsz: size_of::<vfio_region_info>() as u32,
        flags,
        index,
        cap_offset: 0,
        size,
        offset: u64::from(index) << 40,
    };
    ServerRegion { region_info, sparse_areas: Vec::new(), mmap_fd: None }
}

fn interrupt(index: u32) -> IrqInfo {
    let (flags, count) = match index {
        VFIO_PCI_MSIX_IRQ_INDEX => (VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, u32::from(VECTORS)),
        _ => (0, 0),
    };
    IrqInfo { index, flags, count }
}

/// What answers the virtual machine's messages.
pub(crate) struct Backend {
    pub(crate) config: Arc<Mutex<ConfigSpace>>,
    /// A reset that software asked for has not ended yet.
    pub(crate) resetting: Arc<AtomicBool>,
    pub(crate) vectors: Arc<Vectors>,
    pub(crate) shared: Arc<Shared>,
}

impl Backend {
    fn config(&self) -> MutexGuard<'_, ConfigSpace> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reset that software asked for. Nothing of it may be done before the answer: until then the guest stands still.
    /// A function that needs longer than the 100 ms in which software leaves it alone is not ready, which software sees in
    /// its configuration space.
    fn start_reset(&self) {
        let (shared, config, resetting) = (self.shared.clone(), self.config.clone(), self.resetting.clone());
        resetting.store(true, Ordering::Release);
        std::thread::spawn(move || {
            shared.settle_and_reset(&config);
            resetting.store(false, Ordering::Release);
        });
    }

    /// Whether the function answers requests for its configuration space.
    fn is_ready(&self) -> bool {
        !self.resetting.load(Ordering::Acquire)
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        match region {
            VFIO_PCI_BAR0_REGION_INDEX => self.shared.function.read(offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX if self.is_ready() => self.config().read(offset, data),
            // Reads of a portal return ones, and so does a function that is not ready.
            _ => data.fill(0xff),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Error> {
        match region {
            VFIO_PCI_BAR0_REGION_INDEX => self.shared.write_register(offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX if self.is_ready() => {
                let mut config = self.config();
                if config.write(offset, data) {
                    self.start_reset();
                } else {
                    self.shared.apply(&config);
                }
            }
            VFIO_PCI_CONFIG_REGION_INDEX => {}
            // Submissions do not come this way, and a portal ignores stores of any other size.
            _ => self.shared.log(&format!("a store of {} bytes to portal {offset:#x} is ignored", data.len())),
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        _flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> Result<(), Error> {
        if let Some(file) = file
            && guest_memory::announce(&self.shared.ram, address, offset, size, &file)?
        {
            self.shared.log(&format!("guest memory: {size:#x} bytes at {address:#x}"));
        }
        Ok(())
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, _address: u64, _size: u64) -> Result<(), Error> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.shared.reset(&self.config);
        Ok(())
    }

    fn set_irqs(&mut self, index: u32, _flags: u32, start: u32, count: u32, fds: Vec<File>) -> Result<(), Error> {
        if index == VFIO_PCI_MSIX_IRQ_INDEX {
            match (fds.is_empty(), count) {
                // A count of 0 switches all of them off.
                (true, 0) => self.vectors.disconnect(0, u32::from(VECTORS)),
                (true, count) => self.vectors.disconnect(start, count),
                (false, _) => {
                    self.vectors.connect(start, fds);
                    // Linux takes its interrupts down and sets them up anew in the middle of a reset. What happens meanwhile,
                    // such as the end of a command for a queue that is closed, is told now: it is waited for without a limit.
                    if self.shared.has_cause() {
                        self.vectors.raise(MISC_VECTOR);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::rig::{Options, Rig};

    use super::*;

    const VENDOR: u64 = 0;
    const COMMAND: u64 = 0x04;
    const PCIE_CONTROL: u64 = 0x48;
    const INITIATE_RESET: u16 = 1 << 15;

    fn read(backend: &mut Backend, at: u64) -> u32 {
        let mut data = [0; 4];
        backend.region_read(VFIO_PCI_CONFIG_REGION_INDEX, at, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    fn write(backend: &mut Backend, at: u64, value: u16) {
        backend.region_write(VFIO_PCI_CONFIG_REGION_INDEX, at, &value.to_le_bytes()).unwrap();
    }

    #[test]
    fn a_function_that_is_being_reset_is_not_ready() {
        let directory = std::env::temp_dir().join(format!("dsa-vm-server-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let rig = Rig::start(&Options { directory: directory.clone(), ..Options::default() }).unwrap();
        let mut backend = Backend {
            config: Arc::new(Mutex::new(ConfigSpace::new(false))),
            resetting: Arc::default(),
            vectors: Arc::default(),
            shared: rig.0,
        };
        let identity = read(&mut backend, VENDOR);
        assert_ne!(identity, u32::MAX);

        backend.resetting.store(true, Ordering::Release);
        write(&mut backend, COMMAND, 6);
        assert_eq!(read(&mut backend, VENDOR), u32::MAX);
        backend.resetting.store(false, Ordering::Release);
        assert_eq!(read(&mut backend, COMMAND) & 0xffff, 0, "a request while it was not ready");

        write(&mut backend, COMMAND, 6);
        assert_eq!(read(&mut backend, COMMAND) & 0xffff, 6);
        write(&mut backend, PCIE_CONTROL, INITIATE_RESET);
        while !backend.is_ready() {
            std::thread::yield_now();
        }
        assert_eq!((read(&mut backend, VENDOR), read(&mut backend, COMMAND) & 0xffff), (identity, 0));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
