//! WQCFG: what the registers of a queue say, and whether it can be enabled like that (specification section 9.2).
#![forbid(unsafe_code)]

use idxd_sys::compute::dsacap0;
use idxd_sys::limits::PASID_MASK;
use idxd_sys::{cmd_status, gencap};

use super::PciControl;
use super::layout::Layout;
use crate::config::{Mode, WqConfig};
use crate::memory::Requester;

/// Size.
pub(super) const SIZE: usize = 0;
/// Threshold.
pub(super) const THRESHOLD: usize = 1;
/// Mode, flags, priority, PASID.
pub(super) const FLAGS: usize = 2;
/// Largest transfer, batch and list.
pub(super) const SHIFTS: usize = 3;
/// Handle of the occupancy interrupt.
pub(super) const OCCUPANCY_HANDLE: usize = 4;
/// Limit of the occupancy interrupt.
pub(super) const OCCUPANCY_LIMIT: usize = 5;
/// Occupancy and state.
pub(super) const STATE: usize = 6;
/// Eight words with a bit for each operation.
pub(super) const OPERATIONS: usize = 8;

/// Enables the occupancy interrupt.
pub(super) const OCCUPANCY_ENABLE: u32 = 1 << 16;
/// The occupancy interrupt has been raised.
pub(super) const OCCUPANCY_RAISED: u32 = 1 << 16;

const DEDICATED: u32 = 1 << 0;
const BLOCK_ON_FAULT: u32 = 1 << 1;
const ATS_DISABLE: u32 = 1 << 2;
const PRS_DISABLE: u32 = 1 << 3;
const PASID_ENABLE: u32 = 1 << 28;
const PRIVILEGED: u32 = 1 << 29;

/// The words of a queue as they are after a reset.
pub(super) fn defaults(layout: &Layout) -> [u32; 16] {
    let mut words = [0; 16];
    for (pair, bits) in words[OPERATIONS..].chunks_exact_mut(2).zip(layout.opcap) {
        (pair[0], pair[1]) = (bits as u32, (bits >> 32) as u32);
    }
    words
}

/// Takes the words of a queue apart, if it may be enabled; else the code that the command ends with.
///
/// `group` is the group that the queue belongs to.
pub(super) fn decode(
    words: &[u32; 16],
    group: Option<usize>,
    layout: &Layout,
    pci: PciControl,
) -> Result<(WqConfig, Requester), u32> {
    let flags = words[FLAGS];
    let set = |bit: u32| flags & bit != 0;
    let fail = |wrong: bool, code: u32| if wrong { Err(code) } else { Ok(()) };
    let mode = if set(DEDICATED) { Mode::Dedicated } else { Mode::Shared };
    let (size, threshold) = (words[SIZE] as u16, words[THRESHOLD] as u16);
    // A queue that no engine serves can have no entries.
    let group = group.filter(|_| size != 0 && u32::from(size) <= layout.total_entries).ok_or(cmd_status::HW_WQ_SIZE)?;
    fail(mode == Mode::Shared && !(1..=size).contains(&threshold), cmd_status::HW_WQ_SIZE)?;
    let priority = (flags >> 4) as u8 & 0xf;
    fail(priority == 0, cmd_status::HW_WQ_PRIORITY)?;
    fail(set(BLOCK_ON_FAULT) && !layout.has(gencap::BLOCK_ON_FAULT), cmd_status::HW_BOF)?;
    let without = mode == Mode::Shared && !set(PASID_ENABLE) || set(PASID_ENABLE) && !pci.pasid;
    let privilege = mode == Mode::Dedicated && set(PASID_ENABLE) && set(PRIVILEGED) && !pci.privileged;
    fail(without || privilege, cmd_status::HW_PASID)?;
    let max_batch_size = 1 << (words[SHIFTS] >> 5 & 0xf);
    fail(max_batch_size > gencap::max_batch_size(layout.gencap), cmd_status::HW_MAX_BATCH)?;
    let max_sgl_size = 1 << (words[SHIFTS] >> 9 & 0xf);
    let most = dsacap0::max_sgl_size(layout.dsacap[0]);
    fail(layout.has_lists && max_sgl_size > most, cmd_status::HW_MAX_BATCH)?;
    let max_transfer_size = 1 << (words[SHIFTS] & 0x1f);
    fail(max_transfer_size > gencap::max_transfer_size(layout.gencap), cmd_status::HW_MAX_TRANSFER)?;
    let mut op_config = [0; 4];
    for (bits, pair) in op_config.iter_mut().zip(words[OPERATIONS..].chunks_exact(2)) {
        *bits = u64::from(pair[0]) | u64::from(pair[1]) << 32;
    }
    let config = WqConfig {
        mode,
        size,
        threshold,
        priority,
        group,
        block_on_fault: set(BLOCK_ON_FAULT),
        ats: !set(ATS_DISABLE),
        page_requests: !set(PRS_DISABLE),
        max_transfer_size,
        max_batch_size,
        max_sgl_size,
        op_config,
    };
    let requester = if set(PASID_ENABLE) {
        Requester { pasid: Some(flags >> 8 & PASID_MASK), privileged: set(PRIVILEGED) }
    } else {
        Requester::DEVICE
    };
    Ok((config, requester))
}

/// Bits of a word that a write changes, while queue and device are disabled or not.
pub(super) fn writable(word: usize, layout: &Layout, queue_disabled: bool, device_disabled: bool) -> u32 {
    let when = |condition: bool, bits: u32| if condition { bits } else { 0 };
    match word {
        SIZE => when(device_disabled, 0xffff),
        THRESHOLD => when(queue_disabled, 0xffff),
        FLAGS => when(queue_disabled, layout.queue_flags()),
        SHIFTS => when(queue_disabled, if layout.has_lists { 0x1fff } else { 0x1ff }),
        OCCUPANCY_HANDLE => when(queue_disabled, 0x1_ffff),
        OCCUPANCY_LIMIT => 0xffff | OCCUPANCY_ENABLE,
        OPERATIONS.. => {
            let bits = layout.opcap[(word - OPERATIONS) / 2];
            when(queue_disabled, if word.is_multiple_of(2) { bits as u32 } else { (bits >> 32) as u32 })
        }
        _ => 0,
    }
}
