//! Submission portals: where in BAR 2 each queue takes descriptors (specification section 3.3).
//!
//! Every queue has four pages. A *limited* portal accepts ENQCMD while the queue holds fewer descriptors than its
//! threshold, an *unlimited* one while it has room. Each kind exists for MSI-X and for IMS interrupt handles. The
//! kernel maps the limited MSI-X page into a process, whatever offset the process asks for, so user space needs
//! [`PAGE_SIZE`] and [`SLOT_SIZE`] only; the page offsets are for models of the device.

/// Size of one portal, in bytes. A mapping may not be longer.
pub const PAGE_SIZE: usize = 4096;
/// Portals per queue.
pub const PAGES_PER_QUEUE: usize = 4;
/// Offset of the unlimited MSI-X portal within a queue's pages.
pub const UNLIMITED_MSIX: usize = 0;
/// Offset of the limited MSI-X portal: the one that user space gets.
pub const LIMITED_MSIX: usize = PAGE_SIZE;
/// Offset of the unlimited IMS portal.
pub const UNLIMITED_IMS: usize = 2 * PAGE_SIZE;
/// Offset of the limited IMS portal.
pub const LIMITED_IMS: usize = 3 * PAGE_SIZE;

/// Bytes of one submission, and the alignment of its target address. Any other alignment raises #GP.
pub const SLOT_SIZE: usize = 64;
/// Number of equivalent target addresses in a page: address bits 11:6 do not matter to the device.
///
/// Stores to one and the same line are serialised by the CPU; taking the next slot for every MOVDIR64B avoids that.
pub const SLOTS: usize = PAGE_SIZE / SLOT_SIZE;

/// Offset in BAR 2 of a portal: `queue` counts from 0, `kind` is one of the four page offsets above.
#[inline]
pub const fn bar_offset(queue: u8, kind: usize) -> usize {
    queue as usize * PAGES_PER_QUEUE * PAGE_SIZE + kind
}

/// Offset in the page of submission number `n`: walks through all [`SLOTS`], then starts again.
#[inline]
pub const fn slot_offset(n: usize) -> usize {
    n % SLOTS * SLOT_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_different_queues_do_not_meet() {
        assert_eq!(bar_offset(0, UNLIMITED_MSIX), 0);
        assert_eq!(bar_offset(0, LIMITED_IMS) + PAGE_SIZE, bar_offset(1, UNLIMITED_MSIX));
        assert_eq!(bar_offset(7, LIMITED_MSIX), 0x1d000);
    }

    #[test]
    fn slots_stay_aligned_and_inside_the_page() {
        for n in 0..3 * SLOTS {
            let offset = slot_offset(n);
            assert!(offset.is_multiple_of(SLOT_SIZE) && offset + SLOT_SIZE <= PAGE_SIZE);
        }
        assert_ne!(slot_offset(0), slot_offset(1));
        assert_eq!(slot_offset(0), slot_offset(SLOTS));
    }
}
