//! A page fault that a device reports: the page that was missing, and those after it that will be needed.

use super::job::{Operands, Region};
use crate::descriptor::Completion;

/// Makes the page present that the device stumbled over, and those after it that the rest of the operation needs.
pub(super) fn touch(operands: &Operands, completion: &Completion) {
    use rustix::mm::{Advice, madvise};
    let Some(fault) = completion.fault else { return };
    let Some(Region { start, len }) = missing(operands, fault.address) else { return };
    let advice = if fault.is_write { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead };
    let page = std::ptr::with_exposed_provenance_mut(start as usize);
    // SAFETY: populating makes pages present and changes no byte, wherever the range may reach. A kernel that does not
    // know the advice, or a range with holes, yields an error, which costs nothing but another fault.
    let _ = unsafe { madvise(page, len as usize, advice) };
}

const PAGE: u64 = 4096;

/// How far ahead of the fault pages are made present.
const AHEAD: u64 = 2 << 20;

/// The pages from the one that holds `fault` to the end of the operand that it belongs to. `None` if it belongs to none.
fn missing(operands: &Operands, fault: u64) -> Option<Region> {
    let start = fault & !(PAGE - 1);
    let end = operands
        .iter()
        .filter(|operand| operand.len != 0 && operand.start < start.saturating_add(PAGE))
        .map(|operand| operand.start.saturating_add(operand.len))
        .filter(|&end| end > start)
        .min()?;
    Some(Region { start, len: (end - start).min(AHEAD).next_multiple_of(PAGE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(operands: &[(u64, u64)], fault: u64) -> Option<(u64, u64)> {
        let mut all = Operands::default();
        for (place, &(start, len)) in all.iter_mut().zip(operands) {
            *place = Region { start, len };
        }
        missing(&all, fault).map(|Region { start, len }| (start, len))
    }

    #[test]
    fn what_is_touched_ends_with_the_operand() {
        let operands = [(0x1_0100, 0x2000), (0x5_0000, 0x1000)];
        // The first page begins before the operand does; devices may hide the low bits of the address.
        assert_eq!(pages(&operands, 0x1_0100), Some((0x1_0000, 0x3000)));
        assert_eq!(pages(&operands, 0x1_0000), Some((0x1_0000, 0x3000)));
        assert_eq!(pages(&operands, 0x1_2080), Some((0x1_2000, 0x1000)));
        assert_eq!(pages(&operands, 0x5_0fff), Some((0x5_0000, 0x1000)));
    }

    #[test]
    fn operands_have_sizes_of_their_own() {
        // A short list before a long region, and an empty operand.
        let operands = [(0x1_0000, 16), (0x1_1000, 0x1_0000), (0, 0)];
        assert_eq!(pages(&operands, 0x1_0008), Some((0x1_0000, 0x1000)));
        assert_eq!(pages(&operands, 0x1_1000), Some((0x1_1000, 0x1_0000)));
        assert_eq!(pages(&operands, 0), None);
    }

    #[test]
    fn what_no_operand_has_is_left_alone() {
        let operands = [(0x1_0000, 0x1000)];
        for fault in [0, 0xf000, 0x1_1000, u64::MAX] {
            assert_eq!(pages(&operands, fault), None, "{fault:#x}");
        }
        assert_eq!(pages(&[(u64::MAX - 0x1fff, 0x1fff)], u64::MAX - 0x1000), Some((0xffff_ffff_ffff_e000, 0x2000)));
    }

    #[test]
    fn no_more_than_so_much_at_once() {
        assert_eq!(pages(&[(0x1_0000, 1 << 30)], 0x1_0000), Some((0x1_0000, AHEAD)));
    }
}
