//! The CPU engine's cases: what a call costs above the kernel that does the work.
//!
//! The kernels are those that the engine chooses by the CPU's model: under valgrind that is AVX2. A kernel is called here by its
//! address, as the engine's own caller would.

use std::hint::black_box;

use dsa::Accelerator;
use dsa::cpu::{self, Hint, Tier};
use dsa::internals::kernels;
use dsa::stats::Path;

/// Bytes of an operation: more than are done without a choice.
const SIZE: usize = 4096;

/// Two regions, known by address.
struct Regions {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Regions {
    fn new() -> Self {
        Self { from: vec![7; SIZE], to: vec![7; SIZE] }
    }

    /// Calls `work` with both, so many times.
    fn each(mut self, rounds: u32, mut work: impl FnMut(*const u8, *mut u8, usize)) {
        for _ in 0..rounds {
            work(black_box(self.from.as_ptr()), black_box(self.to.as_mut_ptr()), black_box(SIZE));
        }
    }
}

/// Copies of 4 KiB by the engine.
pub(crate) fn copies(rounds: u32) {
    // SAFETY: two vectors of that size.
    Regions::new().each(rounds, |from, to, len| unsafe { cpu::copy_with(Hint::Hot, from, to, len) });
}

/// The same by a blocking call, of a program without a device.
pub(crate) fn blocking_copies(rounds: u32) {
    let accelerator = Accelerator::cpu();
    Regions::new().each(rounds, |from, to, len| {
        // SAFETY: two vectors of that size.
        let (from, to) = unsafe { (std::slice::from_raw_parts(from, len), std::slice::from_raw_parts_mut(to, len)) };
        let path = accelerator.blocking().hint(Hint::Hot).memcpy(to, from);
        assert_eq!(path, Ok(Path::Cpu));
    });
}

/// The same by the kernel.
pub(crate) fn kernel_of_copies(rounds: u32) {
    let tier = Tier::current();
    let kernel = cpu::Tuning::current().copy.kernel(Hint::Hot, SIZE);
    let kernel = kernels::copy().into_iter().find(|one| one.name == kernel.name() && one.tier <= tier);
    let run = black_box(kernel.expect("the engine's own").run);
    // SAFETY: two vectors of that size; the kernel is one of this CPU.
    Regions::new().each(rounds, |from, to, len| unsafe { run(from, to, len) });
}
