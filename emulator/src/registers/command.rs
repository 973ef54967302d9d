//! The command register: what each command checks and does (specification section 9.2).
//!
//! Commands are executed by a thread of their own, one at a time, in the order of their writes; the register says so
//! until they are done.
#![forbid(unsafe_code)]

use idxd_sys::{cmd_status, idpt};

use super::control::Control;
use super::layout::{GENCFG_READ_BUFFERS, READ_BUFFERS};
use super::{errors, groups, queue_config};
use crate::command::CommandError;
use crate::device::{Device, DeviceState};
use crate::permissions::PermissionsError;

/// Bits 16:0 of an operand: bytes of a bitmap that have changed.
const BITMAP_PART: u32 = 0x1_ffff;
/// Bit 16 of an operand: the handle is one of the interrupt message storage.
const MESSAGE_STORAGE: u32 = 1 << 16;

/// Executes a command. The error is the code for CMDSTS.
pub(super) fn execute(word: u32, device: &Device, control: &Control) -> Result<u16, u32> {
    let operand = word & 0xf_ffff;
    match word >> 20 & 0x1f {
        1 => enable_device(device, control),
        2 => device.disable().map_err(|_| cmd_status::HW_DISABLE_NOT_ENABLED),
        3 => when_enabled(device).map(|()| device.drain_all()),
        4 => device.abort_all().map_err(|_| cmd_status::HW_WQ_NOT_ENABLED),
        5 => {
            device.reset();
            control.clear(device);
            Ok(())
        }
        6 => enable_queue(operand as usize, device, control),
        7 => for_each_queue(operand, device, control, |wq| device.disable_wq(wq)),
        8 => for_each_queue(operand, device, control, |wq| device.drain_wq(wq)),
        9 => for_each_queue(operand, device, control, |wq| device.abort_wq(wq)),
        10 => reset_queues(operand, device, control),
        11 => when_enabled(device).map(|()| device.drain_pasid(operand)),
        12 => when_enabled(device).map(|()| device.abort_pasid(operand)),
        command @ (13 | 14) if control.layout.commands() >> command & 1 != 0 => {
            let mut contents = control.lock();
            let (number, message_storage) = (operand as u16, operand & MESSAGE_STORAGE != 0);
            if command == 13 {
                return contents.handles.request(number, message_storage);
            }
            contents.handles.release(number, message_storage)
        }
        command @ 15..=17 if control.layout.commands() >> command & 1 != 0 => {
            return permissions_command(command, operand, device, control);
        }
        _ => Err(cmd_status::INVAL_CMD),
    }
    .map(|()| 0)
}

/// Handles of the permissions table, and its bitmaps.
fn permissions_command(command: u32, operand: u32, device: &Device, control: &Control) -> Result<u16, u32> {
    let permissions = device.permissions();
    let refused = |error| match error {
        PermissionsError::NoEntry => idpt::COMMAND_NO_ENTRY,
        PermissionsError::NoHandle => idpt::COMMAND_NO_HANDLE,
    };
    match command {
        15 => permissions.handle(operand as u16).map_err(refused),
        16 => permissions.release_handle(operand as u16).map(|()| 0).map_err(refused),
        _ => {
            let addr = control.lock().parameter();
            permissions.invalidate_bitmaps(addr, u64::from(operand & BITMAP_PART));
            Ok(0)
        }
    }
}

fn enable_device(device: &Device, control: &Control) -> Result<(), u32> {
    match device.state() {
        DeviceState::Disabled => {}
        DeviceState::Enabled => return Err(cmd_status::HW_DEV_ENABLED),
        _ => return Err(cmd_status::HW_ERR),
    }
    let mut contents = control.lock();
    if contents.gencfg() & GENCFG_READ_BUFFERS > READ_BUFFERS {
        return Err(cmd_status::HW_CONFIG);
    }
    if !contents.pci.bus_master {
        return Err(cmd_status::HW_BUS_MASTER);
    }
    let bitmaps = device.permissions().bitmap_requester();
    let pasid = contents.log_needs_pasid() || bitmaps.pasid.is_some();
    if pasid && !contents.pci.pasid || bitmaps.privileged && !contents.pci.privileged {
        return Err(cmd_status::HW_PASID_INVAL);
    }
    let sizes: u32 = contents.queues.iter().map(|words| words[queue_config::SIZE]).sum();
    if sizes > control.layout.total_entries {
        return Err(cmd_status::HW_WQ_SIZE_RANGE);
    }
    let engines = groups::check(&contents.groups, &control.layout)?;
    errors::tell_classes(&contents, device);
    // Another processor may be writing: a queue that slips into a group without engines would never be served.
    contents.enabling = true;
    drop(contents);
    let unassigned = device.shared().unassigned();
    let engines: Vec<_> = engines.into_iter().map(|group| group.unwrap_or(unassigned)).collect();
    device.configure_engines(&engines);
    let enabled = device.enable();
    control.lock().enabling = false;
    enabled.map_err(|_| cmd_status::HW_ERR)
}

fn enable_queue(wq: usize, device: &Device, control: &Control) -> Result<(), u32> {
    if wq >= control.layout.queues {
        return Err(cmd_status::INVAL_WQIDX);
    }
    when_enabled(device).map_err(|_| cmd_status::HW_DEV_NOT_ENABLED)?;
    let contents = control.lock();
    let group = groups::group_of_queue(&contents.groups, wq);
    let decoded = queue_config::decode(&contents.queues[wq], group, &control.layout, contents.pci);
    drop(contents);
    // An enabled queue is told first: its registers were right when it was enabled.
    if device.is_wq_enabled(wq) {
        return Err(cmd_status::HW_WQ_ENABLED);
    }
    let (config, requester) = decoded?;
    let refused = |error| match error {
        CommandError::WqEnabled => cmd_status::HW_WQ_ENABLED,
        _ => cmd_status::HW_DEV_NOT_ENABLED,
    };
    device.configure_wq(wq, &config, requester).map_err(refused)?;
    device.enable_wq(wq).map_err(refused)
}

/// Runs a command on enabled queues.
fn for_each_queue(
    operand: u32,
    device: &Device,
    control: &Control,
    command: impl Fn(usize) -> Result<(), CommandError>,
) -> Result<(), u32> {
    let queues = chosen(operand, device, control)?;
    if queues.iter().any(|wq| !device.is_wq_enabled(*wq)) {
        return Err(cmd_status::HW_WQ_NOT_ENABLED);
    }
    queues.into_iter().try_for_each(command).map_err(|_| cmd_status::HW_WQ_NOT_ENABLED)
}

/// Aborts and disables queues that are enabled, and forgets the configuration of all that are named.
fn reset_queues(operand: u32, device: &Device, control: &Control) -> Result<(), u32> {
    for wq in chosen(operand, device, control)? {
        if device.is_wq_enabled(wq) {
            device.reset_wq(wq).map_err(|_| cmd_status::HW_WQ_NOT_ENABLED)?;
        }
        control.lock().clear_queue(wq, &control.layout);
        control.watch_occupancy(device, wq);
    }
    Ok(())
}

/// The queues of an operand: a mask of 16, and in bits 19:16 which 16. The device must be enabled.
fn chosen(operand: u32, device: &Device, control: &Control) -> Result<Vec<usize>, u32> {
    let base = (operand >> 16) as usize * 16;
    let queues: Vec<_> = (0..16).filter(|bit| operand >> bit & 1 != 0).map(|bit| base + bit).collect();
    if queues.is_empty() || queues.iter().any(|wq| *wq >= control.layout.queues) {
        return Err(cmd_status::INVAL_WQIDX);
    }
    when_enabled(device).map(|()| queues)
}

fn when_enabled(device: &Device) -> Result<(), u32> {
    if device.state() == DeviceState::Enabled { Ok(()) } else { Err(cmd_status::HW_WQ_NOT_ENABLED) }
}
