//! The submission instructions, aimed at a portal: a page that belongs to the device.

use idxd_sys::{Descriptor, instr, portal};

use super::Verdict;

/// Which instruction a queue understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Shared queues: answered.
    Enqcmd,
    /// Dedicated queues: posted, never answered.
    Movdir64b,
}

/// Submits `descriptors`, in order, through the portal page at `page`. One fence for all of them, no system call.
///
/// Stores to one and the same 64 bytes of a portal wait for each other in the CPU, so descriptors that lie in different
/// places of a page go to different places of the portal. The descriptors of a lane lie side by side, and its slots are
/// used in turn.
///
/// # Safety
///
/// The CPU has the instruction, or something emulates it. `page` is the mapped portal of a queue that this process has
/// open, or a page that stands for one, and stays mapped during the call. What the descriptors name is as
/// [`super::Submitter::submit`] wants it.
#[inline]
pub(crate) unsafe fn submit(page: *mut u8, instruction: Instruction, descriptors: &[Descriptor]) -> Verdict {
    // Neither instruction is ordered after earlier stores: to buffers, records and batch lists (specification section
    // 3.3).
    instr::sfence();
    for (accepted, descriptor) in descriptors.iter().enumerate() {
        let from = std::ptr::from_ref(descriptor);
        let place = page.wrapping_add(portal::slot_offset(from.addr() / portal::SLOT_SIZE));
        // SAFETY: instruction and page are the caller's promise; the place lies in the page and is 64-byte aligned, the
        // descriptor is a reference. What follows from acceptance is the caller's promise.
        unsafe {
            match instruction {
                Instruction::Movdir64b => instr::movdir64b(place, from),
                Instruction::Enqcmd if instr::enqcmd(place, from) => {}
                Instruction::Enqcmd => return Verdict::Retry(accepted),
            }
        }
    }
    Verdict::Accepted
}
