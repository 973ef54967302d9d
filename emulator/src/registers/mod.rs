//! The device as a PCI function: registers in BAR 0, portals in BAR 2, MSI-X interrupts (specification chapter 9).
//!
//! This is what an operating system's driver sees. A front end puts a [`Function`] behind a PCI configuration space and
//! passes on reads, writes and the 64-byte lines that arrive at portals; it brings an [`AddressSpace`], through which the
//! function reaches memory as a bus master, and [`Interrupts`].
//!
//! ```
//! use std::sync::Arc;
//! use dsa_emulator::{CheckedMemory, Config, Function, Interrupts};
//!
//! struct Deaf;
//! impl Interrupts for Deaf {
//!     fn raise(&self, _vector: u16) {}
//! }
//!
//! let function = Function::new(Config::sapphire_rapids(), Arc::new(CheckedMemory::new()), Arc::new(Deaf))?;
//! let mut version = [0; 4];
//! function.read(0, &mut version);
//! assert_eq!(u32::from_le_bytes(version), 0x100);
//! function.write(0xa0, &(5u32 << 20).to_le_bytes()); // command 5: reset
//! let mut status = [0; 4];
//! while {
//!     function.read(0xa8, &mut status);
//!     status[3] & 0x80 != 0
//! } {}
//! assert_eq!(status, [0; 4]);
//! # Ok::<(), dsa_emulator::ConfigError>(())
//! ```

mod command;
mod control;
mod errors;
mod event_log;
mod groups;
mod handles;
mod layout;
mod queue_config;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use idxd_sys::limits::PASID_MASK;
use idxd_sys::{Descriptor, portal};
use zerocopy::FromBytes;

use self::control::{After, Command, Control};
use self::layout::Layout;
use crate::client::Enqcmd;
use crate::config::{Config, ConfigError};
use crate::device::Device;
use crate::gate::Way;
use crate::memory::{AddressSpace, Requester, Space};
use crate::observe::Counters;

/// Size of BAR 0.
pub const BAR0_LEN: u64 = 0x1_0000;
/// Offset in BAR 0 of a place for the MSI-X table, which the front end keeps: nothing of the function lies there.
pub const MSIX_TABLE: u64 = 0x2000;
/// Offset in BAR 0 of a place for the MSI-X pending bits, likewise.
pub const MSIX_PENDING: u64 = 0x3000;

/// Where a function's interrupts go.
pub trait Interrupts: Send + Sync {
    /// Raises an MSI-X vector. Called from any thread; must neither wait for the function nor call it, except to submit.
    fn raise(&self, vector: u16);
}

/// The instruction that carried a line to a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// MOVDIR64B: posted.
    Movdir64b,
    /// ENQCMD, by user software: the PASID is the CPU's, the access unprivileged. Without one the CPU would not have
    /// sent anything; the answer is then a retry.
    Enqcmd {
        /// What the CPU's PASID register says, if it is valid.
        pasid: Option<u32>,
    },
    /// ENQCMDS, by supervisor software: PASID and privilege stand in the first four bytes of the line.
    Enqcmds,
}

/// What the CPU hears from a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PortalAnswer {
    /// The descriptor was accepted. MOVDIR64B hears this always, as it hears nothing.
    Accepted,
    /// It was not (EFLAGS.ZF = 1).
    Retry,
}

/// What the PCI configuration space allows the function. All of it, until a front end says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // three bits of the PCI specifications
pub struct PciControl {
    /// Bus Master Enable of the command register.
    pub bus_master: bool,
    /// PASID Enable of the PASID capability.
    pub pasid: bool,
    /// Privileged Mode Enable of the PASID capability.
    pub privileged: bool,
}

impl Default for PciControl {
    fn default() -> Self {
        Self { bus_master: true, pasid: true, privileged: true }
    }
}

/// A DSA function. Share it among threads by reference or in an `Arc`; dropping it discards what is queued.
///
/// It comes up as after a reset: disabled, with all queues, groups and engines that [`Config::limits`] allows, and none of
/// them configured. `Config::queues` and `Config::engines` are not looked at.
pub struct Function {
    device: Device,
    control: Arc<Control>,
    /// Held while a command is executed.
    execution: Arc<Mutex<()>>,
    commands: Option<Sender<Command>>,
    worker: Option<JoinHandle<()>>,
}

impl Function {
    /// Makes a function that reaches memory through `memory`.
    pub fn new(
        config: Config,
        memory: Arc<dyn AddressSpace>,
        interrupts: Arc<dyn Interrupts>,
    ) -> Result<Self, ConfigError> {
        let config = config.unconfigured()?;
        let space = Space::Custom(Arc::clone(&memory));
        let control = Arc::new(Control::new(Layout::new(&config), space, interrupts));
        let device = Device::unconfigured(config, Space::Custom(memory), Arc::clone(&control) as _)?;
        let execution = Arc::new(Mutex::new(()));
        let (commands, receiver) = channel();
        let worker = std::thread::Builder::new()
            .name("dsa-commands".into())
            .spawn({
                let (device, control, execution) = (device.clone(), Arc::clone(&control), Arc::clone(&execution));
                move || execute_commands(&receiver, &device, &control, &execution)
            })
            .map_err(|_| ConfigError::Thread)?;
        Ok(Self { device, control, execution, commands: Some(commands), worker: Some(worker) })
    }

    /// Size of BAR 0 in bytes.
    pub fn bar0_len(&self) -> u64 {
        BAR0_LEN
    }

    /// Size of BAR 2 in bytes: four portals for each queue. A front end rounds it up to a power of two.
    pub fn bar2_len(&self) -> u64 {
        (self.control.layout.queues * portal::PAGES_PER_QUEUE * portal::PAGE_SIZE) as u64
    }

    /// MSI-X vectors: 0 for commands and errors, and one for each queue.
    pub fn vectors(&self) -> u16 {
        self.control.layout.vectors()
    }

    /// Reads BAR 0, any number of bytes anywhere. What is not a register reads as 0.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let contents = self.control.lock();
        for (at, bytes) in words(offset, data.len()) {
            let word = self.control.read(&contents, &self.device, at).to_le_bytes();
            let first = (at + bytes.start as u64 - offset) as usize;
            data[first..first + bytes.len()].copy_from_slice(&word[bytes]);
        }
    }

    /// Writes BAR 0, any number of bytes anywhere. What is not a register, or cannot be written now, stays as it is.
    pub fn write(&self, offset: u64, data: &[u8]) {
        let mut words = words(offset, data.len());
        // An entry of the permissions table is written from its end: a write that makes it usable does so when the rest is
        // there, and what is fixed while it is usable is fixed for all of a write.
        let from_end = self.control.layout.is_domain_table(offset);
        while let Some((at, bytes)) = if from_end { words.next_back() } else { words.next() } {
            let first = (at + bytes.start as u64 - offset) as usize;
            let (mut value, mut mask) = ([0; 4], [0; 4]);
            value[bytes.clone()].copy_from_slice(&data[first..first + bytes.len()]);
            mask[bytes].fill(0xff);
            let (value, mask) = (u32::from_le_bytes(value), u32::from_le_bytes(mask));
            let after = self.control.write(&mut self.control.lock(), &self.device, at, value, mask);
            match after {
                After::Nothing => {}
                After::Command(command) => {
                    let sent = self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
                    debug_assert!(sent, "the worker lives as long as the function");
                }
                After::LostCommand => self.control.command_lost(&self.device),
                After::Occupancy(queue) => self.control.watch_occupancy(&self.device, queue),
            }
        }
    }

    /// A 64-byte line arrives in BAR 2. Bits 11:0 of the offset do not matter.
    pub fn portal(&self, offset: u64, line: &[u8; 64], by: Instruction) -> PortalAnswer {
        let page = offset / portal::PAGE_SIZE as u64;
        let (index, kind) = (page / portal::PAGES_PER_QUEUE as u64, page as usize % portal::PAGES_PER_QUEUE);
        let limited = matches!(kind * portal::PAGE_SIZE, portal::LIMITED_MSIX | portal::LIMITED_IMS);
        let message_storage = kind * portal::PAGE_SIZE >= portal::UNLIMITED_IMS;
        let shared = self.device.shared();
        let Some(queue) = usize::try_from(index).ok().and_then(|index| shared.queues.get(index)) else {
            return if by == Instruction::Movdir64b { PortalAnswer::Accepted } else { PortalAnswer::Retry };
        };
        // The lengths agree, and every pattern of bits is a descriptor.
        let descriptor = Descriptor::read_from_bytes(line).unwrap_or_default();
        let requester = match by {
            Instruction::Movdir64b => {
                let client = queue.client_of(queue.setup.requester());
                queue.movdir64b(shared, &client, &descriptor, message_storage);
                return PortalAnswer::Accepted;
            }
            Instruction::Enqcmd { pasid: Some(pasid) } => Some(Requester::user(pasid)),
            Instruction::Enqcmd { pasid: None } => None,
            Instruction::Enqcmds => {
                let privileged = descriptor.pasid >> 31 != 0;
                Some(Requester { privileged, ..Requester::user(descriptor.pasid & PASID_MASK) })
            }
        };
        let way = if limited { Way::Limited } else { Way::Unlimited };
        let answer = match requester {
            Some(requester) => queue.enqcmd(shared, &queue.client_of(requester), &descriptor, way, message_storage),
            None => queue.refused(),
        };
        if answer == Enqcmd::Accepted { PortalAnswer::Accepted } else { PortalAnswer::Retry }
    }

    /// A function level reset: everything queued or executing is discarded, a command under execution is cancelled, and
    /// all registers have their first values. Returns when that is done. Injection rules and counters stay.
    pub fn reset(&self) {
        self.control.begin_reset();
        // Ends what a command may be waiting for.
        self.device.reset();
        let _execution = self.execution.lock().unwrap_or_else(PoisonError::into_inner);
        // Again: that command may have gone on.
        self.device.reset();
        self.control.end_reset(&self.device);
    }

    /// Tells what the PCI configuration space allows; looked at by the commands that enable the device and queues.
    ///
    /// To be told of a change while the device is not disabled halts it, with software error 0x51 (sections 5.7 and 9.1.3).
    /// Neither interrupts if bus mastering is what was taken away.
    pub fn set_pci_control(&self, pci: PciControl) {
        self.control.set_pci(pci, &self.device);
    }

    /// Tells that software has changed something else in PCI configuration space that must stay while the device is not
    /// disabled: the enable bits of address translation (ATS) or of page requests (PRS), which a front end keeps. Same
    /// consequences as with [`set_pci_control`](Self::set_pci_control), none for a device that is disabled or halted.
    pub fn pci_configuration_changed(&self) {
        let enabling = self.control.lock().enabling;
        errors::configuration_changed(&self.device, enabling);
    }

    /// Tells which traffic classes the virtual channel capability maps to a channel that is enabled: bit n for class n. All
    /// of them until a front end says otherwise; class 0 always, on PCI Express, but nothing here insists on it.
    ///
    /// A descriptor that selects another class of its queue's group, for an operand, ends with status 0x1e; for its record,
    /// with the same software error (sections 4.2, 5.4 and 9.1.4). May be called at any time.
    pub fn set_traffic_classes(&self, carried: u8) {
        self.control.set_traffic_classes(carried, &self.device);
    }

    /// Takes all interrupt handles back, as a device does when its interrupts are remapped, and tells software. Nothing
    /// happens on a device without commands for handles.
    pub fn revoke_interrupt_handles(&self) {
        self.control.revoke_handles();
    }

    /// What the device has done so far, in all and for each queue.
    pub fn counters(&self) -> Counters {
        self.device.counters()
    }

    /// The device behind the registers: injection, halts, manual execution.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // A command must not keep this waiting for descriptors that take long.
        self.control.begin_reset();
        self.device.reset();
        self.commands = None;
        if let Some(worker) = self.worker.take() {
            // If it panicked it has printed its message.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("device", &self.device).finish_non_exhaustive()
    }
}

fn execute_commands(commands: &Receiver<Command>, device: &Device, control: &Control, execution: &Mutex<()>) {
    for command in commands {
        let _execution = execution.lock().unwrap_or_else(PoisonError::into_inner);
        if control.is_current(command) {
            let ended = command::execute(command.word, device, control);
            control.finish(command, ended);
        }
    }
}

/// The words that a run of bytes touches: the offset of each, and which of its bytes.
fn words(offset: u64, len: usize) -> impl DoubleEndedIterator<Item = (u64, std::ops::Range<usize>)> {
    // Nothing lies beyond the BAR.
    let end = offset.saturating_add(len as u64).min(BAR0_LEN);
    let start = offset.min(end);
    (start / 4..end.div_ceil(4)).map(move |word| {
        let at = 4 * word;
        let first = start.max(at) - at;
        let last = end.min(at + 4) - at;
        (at, first as usize..last as usize)
    })
}
