//! The virtual CPU that executes the current callback: registers, memory, and how to go on elsewhere.
//!
//! Every function must be called on the thread of a virtual CPU, inside a callback that was registered with the flags
//! for what the function does. That is what [`Cpu`] stands for: only callbacks make one.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::sync::OnceLock;

use dsa_vm_device::zero_flag;

use crate::abi;

/// Registers that the plugin reads besides the sixteen general ones.
#[derive(Clone, Copy)]
pub(crate) enum Special {
    Rip = 16,
    Cr3 = 17,
    FsBase = 18,
    GsBase = 19,
    Cs = 20,
}

const NAMES: [&str; 21] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rip", "cr3", "fs_base", "gs_base", "cs",
];

/// Handles of the registers in [`NAMES`], as integers. QEMU's handles are the same for all virtual CPUs of a machine.
static HANDLES: OnceLock<[usize; NAMES.len()]> = OnceLock::new();

thread_local! {
    /// Made once for each thread and never freed.
    static TRANSFER: Cell<*mut abi::GByteArray> = const { Cell::new(std::ptr::null_mut()) };
}

/// Looks the registers up. Called when a virtual CPU starts, on its thread, the only place where QEMU allows it.
pub(crate) fn find_registers() -> Result<(), String> {
    let mut handles = [0; NAMES.len()];
    // SAFETY: this is the callback for the start of a virtual CPU, as the function demands. The array belongs to us
    // and holds `len` elements of the size it states, each of which starts with a `RegisterDescriptor`; the
    // names in it are strings that live as long as QEMU.
    unsafe {
        let array = abi::qemu_plugin_get_registers();
        let size = abi::g_array_get_element_size(array) as usize;
        for i in 0..(*array).len as usize {
            let register = (*array).data.add(i * size).cast::<abi::RegisterDescriptor>().read_unaligned();
            let name = CStr::from_ptr(register.name).to_bytes();
            if let Some(at) = NAMES.iter().position(|wanted| wanted.as_bytes() == name) {
                handles[at] = register.handle.expose_provenance();
            }
        }
        abi::g_array_free(array, 1);
    }
    if let Some(missing) = handles.iter().position(|handle| *handle == 0) {
        Err(format!("QEMU does not show the register {}", NAMES[missing]))
    } else {
        HANDLES.get_or_init(|| handles);
        Ok(())
    }
}

/// The virtual CPU of the current callback.
pub(crate) struct Cpu {
    /// Array for transfers from and to QEMU, the one of this thread.
    transfer: *mut abi::GByteArray,
}

impl Cpu {
    /// # Safety
    ///
    /// The caller is a callback of QEMU on a virtual CPU's thread. Its registration allows reading registers; writing
    /// them and [`resume_at`](Self::resume_at) are used only if it allows these too.
    pub(crate) unsafe fn current() -> Self {
        let transfer = TRANSFER.with(|transfer| {
            if transfer.get().is_null() {
                // SAFETY: makes an array that nobody else knows.
                transfer.set(unsafe { abi::g_byte_array_new() });
            }
            transfer.get()
        });
        Self { transfer }
    }

    /// Reads a general register by its number in encodings.
    pub(crate) fn general(&self, number: u8) -> u64 {
        self.read(usize::from(number))
    }

    /// Reads another register.
    pub(crate) fn special(&self, register: Special) -> u64 {
        self.read(register as usize)
    }

    /// The privilege level, which is in the selector of the code segment: 0 is the kernel's.
    pub(crate) fn privilege_level(&self) -> u64 {
        self.special(Special::Cs) & 3
    }

    fn read(&self, index: usize) -> u64 {
        let mut value = [0; 8];
        // SAFETY: the handle is QEMU's, found at start; registers may be read here (see `current`). Some registers are
        // shorter than 8 bytes; what comes is copied, at most 8 bytes.
        unsafe {
            let array = self.array(0);
            abi::qemu_plugin_read_register(handle(index), array);
            let len = ((*array).len as usize).min(8);
            std::ptr::copy_nonoverlapping((*array).data, value.as_mut_ptr(), len);
        }
        u64::from_le_bytes(value)
    }

    /// Writes a general register.
    pub(crate) fn set_general(&self, number: u8, value: u64) {
        // SAFETY: as in `read`; general registers have 8 bytes, and so has the array.
        unsafe {
            let array = self.array(8);
            std::ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), (*array).data, 8);
            abi::qemu_plugin_write_register(handle(usize::from(number)), array);
        }
    }

    /// Reads guest memory by virtual address; false if the page is not mapped.
    pub(crate) fn load(&self, address: u64, to: &mut [u8]) -> bool {
        // SAFETY: on success the array holds as many bytes as were asked for.
        unsafe {
            let array = self.array(0);
            let read = abi::qemu_plugin_read_memory_vaddr(address, array, to.len());
            if read {
                std::ptr::copy_nonoverlapping((*array).data, to.as_mut_ptr(), to.len());
            }
            read
        }
    }

    /// Writes guest memory by virtual address; false if that is not possible.
    pub(crate) fn store(&self, address: u64, from: &[u8; 64]) -> bool {
        // SAFETY: the array has room for the 64 bytes.
        unsafe {
            let array = self.array(64);
            std::ptr::copy_nonoverlapping(from.as_ptr(), (*array).data, 64);
            abi::qemu_plugin_write_memory_vaddr(address, array)
        }
    }

    /// Reads 8 bytes of guest memory, or of a register of a device, by physical address.
    pub(crate) fn load_physical(&self, address: u64) -> Option<u64> {
        let mut value = [0; 8];
        // SAFETY: on success (0) the array holds the 8 bytes that were asked for.
        unsafe {
            let array = self.array(0);
            if abi::qemu_plugin_read_memory_hwaddr(address, array, 8) != 0 {
                return None;
            }
            std::ptr::copy_nonoverlapping((*array).data, value.as_mut_ptr(), 8);
        }
        Some(u64::from_le_bytes(value))
    }

    /// Physical address behind a virtual one, if it is mapped.
    #[expect(clippy::unused_self, reason = "whose address space: the one of this virtual CPU")]
    pub(crate) fn physical(&self, address: u64) -> Option<u64> {
        let mut physical = 0;
        // SAFETY: QEMU writes one u64.
        let mapped = unsafe { abi::qemu_plugin_translate_vaddr(address, &raw mut physical) };
        mapped.then_some(physical)
    }

    /// Reads up to 15 bytes of code: fewer if the next page is not mapped.
    pub(crate) fn code<'a>(&self, pc: u64, buffer: &'a mut [u8; 15]) -> &'a [u8] {
        let in_page = (0x1000 - (pc & 0xfff)) as usize;
        let len = if self.load(pc, buffer) {
            buffer.len()
        } else if in_page < buffer.len() && self.load(pc, &mut buffer[..in_page]) {
            in_page
        } else {
            0
        };
        &buffer[..len]
    }

    /// Carries out a reader of the zero flag, and says where execution goes on.
    pub(crate) fn carry_out(&self, reader: zero_flag::Reader) -> u64 {
        use zero_flag::Reader;
        match reader {
            Reader::Jump { pc } => pc,
            Reader::Set { register, high, value, pc } => {
                let (shift, old) = (if high { 8 } else { 0 }, self.general(register));
                self.set_general(register, old & !(0xff << shift) | u64::from(value) << shift);
                pc
            }
            Reader::Move { to, from, wide, pc } => {
                let value = self.general(from);
                self.set_general(to, if wide { value } else { value & 0xffff_ffff });
                pc
            }
        }
    }

    /// Ends the callback and lets the virtual CPU go on at `pc`.
    ///
    /// # Safety
    ///
    /// The frames between here and QEMU own nothing that needs a destructor: QEMU jumps over them.
    pub(crate) unsafe fn resume_at(pc: u64) -> ! {
        // SAFETY: the caller's promise.
        unsafe { abi::qemu_plugin_set_pc(pc) }
    }

    /// The transfer array of this thread, `len` bytes long.
    fn array(&self, len: u32) -> *mut abi::GByteArray {
        // SAFETY: the array belongs to this thread and is never freed. Resizing may move its data; no pointer to the data is
        // kept from one use to the next.
        unsafe { abi::g_byte_array_set_size(self.transfer, len) }
    }
}

fn handle(index: usize) -> *mut c_void {
    let handles = HANDLES.get().expect("registers are looked up before any instruction executes");
    std::ptr::with_exposed_provenance_mut(handles[index])
}
