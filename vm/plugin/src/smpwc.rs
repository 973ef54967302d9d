//! One bit of the emulated IOMMU: ECAP.SMPWC, "scalable mode page walk coherency".
//!
//! QEMU never sets it, and has no option for it. Linux takes the page tables of processes for first-stage translation
//! only where the IOMMU reads them coherently, so without the bit a user queue cannot be opened. It is true of memory
//! that exists only in the emulator. There is no interface for setting it: the pair of capability registers is looked up
//! in QEMU's memory, before the guest's kernel reads them, and the bit is added.
//!
//! This can go when QEMU sets the bit itself; nothing is patched then.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::Cpu;
use crate::rig;

/// The IOMMU's capability registers, CAP and ECAP.
const CAP: u64 = 0xfed9_0008;
const ECAP: u64 = 0xfed9_0010;
/// ECAP: scalable mode is there, so the IOMMU has been set up.
const SCALABLE_MODE: u64 = 1 << 43;
/// ECAP: page walks are coherent.
const COHERENT_WALK: u64 = 1 << 48;
/// Mappings above this size are guest memory, which is not searched (bytes).
const LARGEST: u64 = 256 << 20;

static DONE: AtomicBool = AtomicBool::new(false);

/// Sets the bit, once, as soon as the registers are there.
pub(crate) fn set_once(cpu: &Cpu) {
    if DONE.load(Ordering::Relaxed) {
        return;
    }
    let (Some(cap), Some(ecap)) = (cpu.load_physical(CAP), cpu.load_physical(ECAP)) else { return };
    if cap == 0 || cap == u64::MAX || ecap & SCALABLE_MODE == 0 || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    if ecap & COHERENT_WALK != 0 {
        rig().note("the IOMMU has SMPWC already");
        return;
    }
    let places = replace(cap, ecap, ecap | COHERENT_WALK);
    let now = cpu.load_physical(ECAP).unwrap_or(0);
    if now & COHERENT_WALK == 0 {
        eprintln!("dsa-vm-plugin: SMPWC could not be set in the IOMMU's registers; user queues cannot be opened");
        std::process::exit(1);
    }
    rig().note(&format!("SMPWC set in {places:?} place(s): cap {cap:#x}, ecap {now:#x}"));
}

/// Replaces the second word of every aligned pair (`first`, `second`) in this process's writable memory.
///
/// Through /proc/self/mem instead of pointers: other threads may unmap memory at the same time, which then is an error and
/// not a crash. The registers are bytes in an array of QEMU's; their next reader is the guest.
fn replace(first: u64, second: u64, with: u64) -> std::io::Result<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let memory = File::options().read(true).write(true).open("/proc/self/mem")?;
    let mut pair = [0; 16];
    pair[..8].copy_from_slice(&first.to_le_bytes());
    pair[8..].copy_from_slice(&second.to_le_bytes());
    let mut places = 0;
    let mut block = Vec::new();
    for (start, end) in maps.lines().filter_map(searched) {
        block.resize((end - start) as usize, 0);
        let Ok(len) = memory.read_at(&mut block, start) else { continue };
        for at in (0..len.saturating_sub(pair.len() - 1)).step_by(8) {
            if block[at..].starts_with(&pair) && memory.write_at(&with.to_le_bytes(), start + at as u64 + 8).is_ok() {
                places += 1;
            }
        }
    }
    Ok(places)
}

/// Range of a line of /proc/self/maps, if QEMU may keep a register there.
fn searched(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace();
    let (range, rights, name) = (fields.next()?, fields.next()?, fields.nth(3).unwrap_or(""));
    let (start, end) = range.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let private = rights == "rw-p" && !name.starts_with("/dev") && !name.starts_with("[v") && name != "[stack]";
    (private && end - start <= LARGEST).then_some((start, end))
}
