//! The part of QEMU's plugin interface that this plugin uses, written by hand for one version of it.
//!
//! QEMU refuses to load a plugin whose version it does not support, and [`VERSION`] is the only one whose signatures
//! stand here. A newer QEMU therefore needs a look at its `qemu-plugin.h` before the number may change.

use std::ffi::{c_char, c_int, c_void};

/// Version of the plugin interface that these declarations are of (QEMU 11.1).
pub(crate) const VERSION: c_int = 7;

/// Identifies this plugin to QEMU.
pub(crate) type PluginId = u64;

/// Flag of an instruction callback: it reads registers.
pub(crate) const READS_REGISTERS: c_int = 1;
/// Flag of an instruction callback: it reads and writes registers.
pub(crate) const WRITES_REGISTERS: c_int = 2;
/// Flag of an instruction callback: it reads and writes registers, and may set the program counter.
pub(crate) const SETS_PC: c_int = 3;

/// Flag of a memory callback: for stores.
pub(crate) const STORES: c_int = 2;

/// `GLib`'s growing array of bytes, its public part.
#[repr(C)]
pub(crate) struct GByteArray {
    pub(crate) data: *mut u8,
    pub(crate) len: u32,
}

/// `GLib`'s array of elements of one size, its public part.
#[repr(C)]
pub(crate) struct GArray {
    pub(crate) data: *mut u8,
    pub(crate) len: u32,
}

/// One register, as QEMU describes it.
#[repr(C)]
pub(crate) struct RegisterDescriptor {
    pub(crate) handle: *mut c_void,
    pub(crate) name: *const c_char,
    pub(crate) feature: *const c_char,
}

/// What QEMU tells a plugin that it loads.
#[repr(C)]
pub struct Info {
    pub(crate) target_name: *const c_char,
    pub(crate) minimum: c_int,
    pub(crate) current: c_int,
}

/// Called when an instruction executes: index of the virtual CPU, and the datum given at registration.
pub(crate) type OnExecution = extern "C" fn(vcpu: u32, datum: *mut c_void);
/// Called when an instruction has accessed memory: what it did, where, and the datum given at registration.
pub(crate) type OnAccess = extern "C" fn(vcpu: u32, info: u32, address: u64, datum: *mut c_void);
/// Called when a block has been translated.
pub(crate) type OnTranslation = extern "C" fn(block: *mut c_void, datum: *mut c_void);
/// Called when a virtual CPU starts, on its thread.
pub(crate) type OnCpu = extern "C" fn(vcpu: u32, datum: *mut c_void);

unsafe extern "C" {
    pub(crate) fn g_byte_array_new() -> *mut GByteArray;
    pub(crate) fn g_byte_array_set_size(array: *mut GByteArray, size: u32) -> *mut GByteArray;
    pub(crate) fn g_array_get_element_size(array: *mut GArray) -> u32;
    pub(crate) fn g_array_free(array: *mut GArray, free_segment: c_int) -> *mut c_char;

    pub(crate) fn qemu_plugin_register_vcpu_init_cb(id: PluginId, callback: OnCpu, datum: *mut c_void);
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, callback: OnTranslation, datum: *mut c_void);
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut c_void,
        callback: OnExecution,
        flags: c_int,
        datum: *mut c_void,
    );

    pub(crate) fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut c_void,
        callback: OnAccess,
        flags: c_int,
        accesses: c_int,
        datum: *mut c_void,
    );
    /// What is at a virtual address, for the callback of an access only.
    pub(crate) fn qemu_plugin_get_hwaddr(info: u32, address: u64) -> *mut c_void;
    pub(crate) fn qemu_plugin_hwaddr_is_io(place: *const c_void) -> bool;
    pub(crate) fn qemu_plugin_hwaddr_phys_addr(place: *const c_void) -> u64;

    pub(crate) fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    pub(crate) fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    pub(crate) fn qemu_plugin_insn_data(instruction: *const c_void, to: *mut u8, len: usize) -> usize;
    pub(crate) fn qemu_plugin_insn_vaddr(instruction: *const c_void) -> u64;

    pub(crate) fn qemu_plugin_get_registers() -> *mut GArray;
    pub(crate) fn qemu_plugin_read_register(handle: *mut c_void, to: *mut GByteArray) -> c_int;
    pub(crate) fn qemu_plugin_write_register(handle: *mut c_void, from: *mut GByteArray) -> c_int;
    pub(crate) fn qemu_plugin_read_memory_vaddr(address: u64, to: *mut GByteArray, len: usize) -> bool;
    pub(crate) fn qemu_plugin_write_memory_vaddr(address: u64, from: *mut GByteArray) -> bool;
    pub(crate) fn qemu_plugin_read_memory_hwaddr(address: u64, to: *mut GByteArray, len: usize) -> c_int;
    pub(crate) fn qemu_plugin_translate_vaddr(address: u64, physical: *mut u64) -> bool;
    /// Leaves the callback and goes on at `pc`: does not return, and runs no destructors of the frames above it.
    pub(crate) fn qemu_plugin_set_pc(pc: u64) -> !;
}
