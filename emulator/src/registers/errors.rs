//! Software errors as registers show them, and those that software makes without a descriptor (specification sections 5.7,
//! 5.8.2, 9.1.3 and 9.2.15).
#![forbid(unsafe_code)]

use idxd_sys::status;
use idxd_sys::swerr::{self, SwError};

use super::control::{Contents, Control};
use super::{PciControl, groups};
use crate::device::{Device, DeviceState};
use crate::events::{Events, LogEntry, Logged};
use crate::observe::SoftwareError;

/// SWERROR, word 0: the error information is there.
const INFORMATION_VALID: u64 = 1 << 7;

impl Control {
    /// A command was written while another one was active: 0x52, in the event log or in the register.
    pub(super) fn command_lost(&self, device: &Device) {
        let error = SoftwareError::without_descriptor(status::SWERR_COMMAND_ACTIVE);
        // A device that is disabled or halted writes no memory, and with that no log.
        let logs = matches!(device.state(), DeviceState::Enabled | DeviceState::Draining);
        let logged = if logs { self.log(&LogEntry::without_descriptor(error)) } else { Logged::Off };
        match logged {
            Logged::Taken => {}
            // Who writes a register must not wait for room in the log.
            Logged::Off | Logged::Full => device.shared().report(error),
            Logged::Lost => device.shared().report_lost_entry(),
        }
    }

    /// What the PCI configuration space allows has changed, or not.
    pub(super) fn set_pci(&self, pci: PciControl, device: &Device) {
        let mut c = self.lock();
        let changed = std::mem::replace(&mut c.pci, pci) != pci;
        let enabling = c.enabling;
        drop(c);
        if changed {
            configuration_changed(device, enabling);
        }
    }

    /// The traffic classes that virtual channels carry have changed.
    pub(super) fn set_traffic_classes(&self, carried: u8, device: &Device) {
        let mut c = self.lock();
        c.traffic_classes = carried;
        tell_classes(&c, device);
    }
}

/// The PCI configuration space was changed, which is 0x51 and a halt unless the device is disabled. `enabling` if it is
/// about to be enabled with the old one.
pub(super) fn configuration_changed(device: &Device, enabling: bool) {
    let works = !matches!(device.state(), DeviceState::Disabled | DeviceState::Halted);
    if works || enabling {
        device.shared().report(SoftwareError::without_descriptor(status::SWERR_PCI_CONFIG));
        device.halt();
    }
}

/// Tells each queue which traffic classes of its group no virtual channel carries. To be called with the groups that the
/// device is, or is about to be, enabled with.
pub(super) fn tell_classes(c: &Contents, device: &Device) {
    for (queue, of_queue) in device.shared().queues.iter().enumerate() {
        let [first, second] = match groups::group_of_queue(&c.groups, queue) {
            Some(group) => groups::traffic_classes(&c.groups[group]).map(|class| c.traffic_classes >> class & 1 == 0),
            None => [false; 2],
        };
        of_queue.setup.set_unusable_classes(u8::from(first) | u8::from(second) << 1);
    }
}

/// SWERROR as words.
pub(super) fn encode(e: &SoftwareError) -> [u64; 4] {
    let when = |condition: bool, bit: u64| if condition { bit } else { 0 };
    let mut error = SwError::default();
    error.flags = when(e.descriptor, swerr::DESC_VALID | swerr::WQ_VALID)
        | when(e.overflow, swerr::OVERFLOW)
        | when(e.in_batch, swerr::BATCH)
        | when(e.write, swerr::FAULT_WRITE)
        | when(e.privileged, swerr::PRIVILEGED);
    (error.error, error.wq, error.opcode, error.pasid) = (e.error, e.wq, e.opcode, e.pasid);
    // Flags, or an operand and a handle of the permissions table.
    let handle = e.idpt_handle.map_or(0, u32::from);
    let more = e.idpt_handle.is_some() || e.operand != 0 && e.error != status::CR_FAULT;
    let information = if more { u32::from(e.operand) << 29 | handle } else { e.invalid_flags };
    (error.batch_index, error.invalid_flags, error.fault_addr) = (e.batch_index, information, e.addr);
    let mut words = error.encode();
    words[0] |= when(more, INFORMATION_VALID);
    words
}
