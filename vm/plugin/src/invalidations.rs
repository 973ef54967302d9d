//! The guest moves the tail of its IOMMU's invalidation queue: the device must hear of what is in the queue.
//!
//! QEMU tells vfio-user devices of invalidations without a PASID only. So the store to the tail register is watched. It is
//! one kind of instruction in all of the kernel, a MOV with a displacement, and few others look like it. The queue has been
//! carried out by QEMU when the callback comes, and the guest's processor has not gone on: as if the IOMMU had waited for
//! the device's answer.

use std::ffi::c_void;

use dsa_vm_device::tail_store;

use crate::cpu::Cpu;
use crate::{abi, rig};

/// The IOMMU's registers: tail and address of the queue.
const TAIL: u64 = 0xfed9_0000 + tail_store::TAIL as u64;
const ADDRESS: u64 = 0xfed9_0090;

/// Asks QEMU for a call after the store.
pub(crate) fn watch(instruction: *mut c_void) {
    // SAFETY: the instruction belongs to the block that is being translated; the datum is not used.
    unsafe {
        abi::qemu_plugin_register_vcpu_mem_cb(
            instruction,
            on_store,
            abi::READS_REGISTERS,
            abi::STORES,
            std::ptr::null_mut(),
        );
    }
}

extern "C" fn on_store(_vcpu: u32, info: u32, address: u64, _datum: *mut c_void) {
    // SAFETY: this is the callback of an access, where QEMU answers for its address. What comes back may be null, and is
    // looked at only here.
    let at = unsafe {
        let place = abi::qemu_plugin_get_hwaddr(info, address);
        (!place.is_null() && abi::qemu_plugin_hwaddr_is_io(place)).then(|| abi::qemu_plugin_hwaddr_phys_addr(place))
    };
    if at != Some(TAIL) {
        return;
    }
    // SAFETY: a callback on the thread of a virtual CPU; nothing but memory is read.
    let cpu = unsafe { Cpu::current() };
    if let (Some(queue), Some(tail)) = (cpu.load_physical(ADDRESS), cpu.load_physical(TAIL)) {
        rig().invalidations(queue, tail);
    }
}
