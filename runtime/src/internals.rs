//! For the project's own measurements: steps of an operation that no public call takes apart, and kernels that no call names. No
//! part of the interface.

use idxd_sys::{Descriptor, flag, opcode};

use crate::accelerator::Accelerator;
use crate::lane::Words;

/// Each kernel of the CPU engine by itself.
pub mod kernels {
    pub use crate::cpu::kernel::{
        Compare, ComparePattern, Copy, CopyCrc32c, Crc32c, DifInsert, Dualcast, Fill, Guard, Kernel,
    };

    /// Copies. Up to 256 bytes all but the library's are the engine's own way.
    pub fn copy() -> Vec<Kernel<Copy>> {
        crate::cpu::copy::kernels()
    }

    /// Copies to two destinations.
    pub fn dualcast() -> Vec<Kernel<Dualcast>> {
        crate::cpu::dualcast::kernels()
    }

    /// Fills.
    pub fn fill() -> Vec<Kernel<Fill>> {
        crate::cpu::fill::kernels()
    }

    /// Comparisons.
    pub fn compare() -> Vec<Kernel<Compare>> {
        crate::cpu::compare::kernels()
    }

    /// Comparisons with a pattern.
    pub fn compare_pattern() -> Vec<Kernel<ComparePattern>> {
        crate::cpu::compare::pattern_kernels()
    }

    /// Inserted data-integrity fields.
    pub fn dif_insert() -> Vec<Kernel<DifInsert>> {
        crate::cpu::dif::kernels::kernels()
    }

    /// Guards.
    pub fn guard() -> Vec<Kernel<Guard>> {
        crate::cpu::dif::kernels::guard_kernels()
    }

    /// CRC-32C.
    pub fn crc32c() -> Vec<Kernel<Crc32c>> {
        crate::cpu::crc::kernels()
    }

    /// Copies with CRC-32C.
    pub fn copy_crc32c() -> Vec<Kernel<CopyCrc32c>> {
        crate::cpu::crc::copy_kernels()
    }
}

/// A no-op with its record at address `record`, as words.
fn words(record: u64) -> Words {
    let mut d = Descriptor { completion_addr: record, ..Descriptor::default() };
    d.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
    [u64::from(d.flags_opcode) << 32, record, 0, 0, 0, 0, 0, 0]
}

/// Submits `rounds` no-ops, one after the other, from one slot, to a device that executes at once: the descriptor, the stamp, the
/// queue's gate and credit, and the way to the device.
///
/// # Panics
///
/// If the device does not take and execute one.
pub fn submit(accelerator: &Accelerator, rounds: u32) {
    let shared = accelerator.shared();
    let lane = shared.lane();
    let queue = &shared.queues[lane.home.queue as usize];
    let (near, place) = lane.acquire_near().expect("a lane that nobody uses");
    for _ in 0..rounds {
        // SAFETY: the slot was acquired here, and nothing of it is out: each was complete before the next.
        unsafe { place.fill(words(place.record.addr())) };
        // SAFETY: the descriptor names nothing but the slot's record.
        assert!(unsafe { queue.submit_place(lane, place, lane.home.clock.now()) }, "there is room");
        assert_ne!(place.record.status(), 0, "it is executed at once");
        queue.return_credit();
    }
    crate::lane::Lane::release_near(near, place);
}

/// The same for no-ops that are collected, `together` at a time: descriptors, stamps, bits, the list, and one submission.
///
/// # Panics
///
/// As [`submit`]; and if the lane has not as many slots.
pub fn submit_together(accelerator: &Accelerator, rounds: u32, together: u32) {
    let shared = accelerator.shared();
    let lane = shared.lane();
    let places: Vec<_> = (0..together).map(|_| lane.acquire_near().expect("a lane that nobody uses")).collect();
    for _ in 0..rounds / together {
        let now = lane.home.clock.now();
        for (near, place) in &places {
            // SAFETY: as in `submit`.
            unsafe { place.fill(words(place.record.addr())) };
            place.slot.stamp_staged(lane.home.queue, now);
            // SAFETY: as in `submit`.
            unsafe { lane.collector.stage(near.index) };
        }
        assert!(shared.flush(lane.home.lane), "nobody else sends");
        assert!(places.iter().all(|(_, place)| place.record.status() != 0), "all are executed at once");
    }
    for (near, place) in places {
        crate::lane::Lane::release_near(near, place);
    }
}
