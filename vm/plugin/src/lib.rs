//! A plugin for QEMU's translator: the instructions that a DSA client needs, and the device behind them.
//!
//! A stock QEMU knows none of MOVDIR64B, ENQCMD, ENQCMDS, UMONITOR, UMWAIT and TPAUSE. The plugin watches translation for
//! their encodings, carries them out where they execute, and steps over them; it shows them in CPUID leaf 7. Submissions
//! go to the model of the device, which runs in this process and serves its registers to QEMU over vfio-user. One bit
//! of the emulated IOMMU is set as well, without which Linux refuses to bind processes: see [`smpwc`].
//!
//! Arguments: `dir=PATH` (sockets and the log), `version=1`, `2` or `3`, `devfn=HEX`, `pri=on`.

mod abi;
mod cpu;
mod execute;
mod invalidations;
mod smpwc;
mod translate;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use dsa_vm_device::{Generation, Options, Rig};

/// The device. Set before the first instruction is translated.
static RIG: OnceLock<Rig> = OnceLock::new();

fn rig() -> &'static Rig {
    RIG.get().expect("the device is started before any instruction executes")
}

/// Tells QEMU which version of its plugin interface this library was written for; it refuses to load others.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = abi::VERSION;

/// Called by QEMU when it has loaded the library. Anything but 0 ends QEMU.
///
/// # Safety
///
/// Called by QEMU: `info` is valid, and `arguments` holds `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    info: *const abi::Info,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU's promise.
    let (info, arguments) = unsafe {
        let arguments = (0..usize::try_from(count).unwrap_or(0))
            .map(|i| CStr::from_ptr(*arguments.add(i)).to_string_lossy().into_owned());
        (&*info, arguments.collect::<Vec<_>>())
    };
    match install(id, info, &arguments) {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("dsa-vm-plugin: {message}");
            1
        }
    }
}

fn install(id: abi::PluginId, info: &abi::Info, arguments: &[String]) -> Result<(), String> {
    // QEMU also accepts plugins of older versions that it still supports, so this is not the same check as its own.
    if info.current != abi::VERSION {
        return Err(format!(
            "this QEMU has plugin interface {}, and only {} is known here; compare its qemu-plugin.h with \
             vm/plugin/src/abi.rs",
            info.current,
            abi::VERSION
        ));
    }
    // SAFETY: the target name is a string of QEMU's.
    let target = unsafe { CStr::from_ptr(info.target_name) }.to_string_lossy();
    if target != "x86_64" {
        return Err(format!("the guest must be x86_64, not {target}"));
    }
    let rig = Rig::start(&options(arguments)?).map_err(|error| error.to_string())?;
    RIG.set(rig).map_err(|_| "the plugin is loaded twice")?;
    // SAFETY: the callbacks have the signatures that this version of the interface asks for.
    unsafe {
        abi::qemu_plugin_register_vcpu_init_cb(id, on_cpu, std::ptr::null_mut());
        abi::qemu_plugin_register_vcpu_tb_trans_cb(id, translate::on_block, std::ptr::null_mut());
    }
    Ok(())
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut directory = None;
    for argument in arguments {
        let bad = || format!("argument {argument:?} is not known");
        let (name, value) = argument.split_once('=').ok_or_else(bad)?;
        match (name, value) {
            ("dir", path) => directory = Some(PathBuf::from(path)),
            ("version", "1") => options.generation = Generation::SapphireRapids,
            ("version", "2") => options.generation = Generation::GraniteRapids,
            ("version", "3") => options.generation = Generation::DiamondRapids,
            ("devfn", hex) => options.devfn = u8::from_str_radix(hex, 16).map_err(|_| bad())?,
            ("pri", "on") => options.page_requests = true,
            ("pri", "off") => options.page_requests = false,
            _ => return Err(bad()),
        }
    }
    options.directory = directory.ok_or("argument dir=PATH is missing")?;
    Ok(options)
}

extern "C" fn on_cpu(_vcpu: u32, _datum: *mut c_void) {
    if let Err(message) = cpu::find_registers() {
        eprintln!("dsa-vm-plugin: {message}");
        std::process::exit(1);
    }
}
