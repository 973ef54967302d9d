//! Translation fetch (specification section 8.3.11): pages made present before they are needed.
//!
//! The device fills the translation caches on its way to memory. A CPU has none that a program could fill in advance; what
//! it can do is the expensive part: have the kernel make the pages present, so that whoever accesses them next does not
//! stumble.

use std::io;

use rustix::io::retry_on_intr;
use rustix::mm::{Advice, madvise};

/// Makes the pages of a region present for reading (translation fetch, opcode 0x0a).
///
/// With a stride, in bytes, only the page at every multiple of it from `address` is; one of 0 or below a page is as none.
/// No byte is changed or waited for, so this is safe wherever the region may lie. The kernel's own page is the unit.
///
/// # Errors
///
/// What `madvise` with `MADV_POPULATE_READ` says: `ENOMEM` or `EFAULT` where there is no readable memory - the device
/// reports a page fault - and `EINVAL` from a kernel before 5.14, or for memory of a device.
pub fn fetch(address: *const u8, len: usize, stride: usize) -> io::Result<()> {
    let page = rustix::param::page_size();
    let Some(last) = len.checked_sub(1) else { return Ok(()) };
    let last = address.addr().saturating_add(last);
    let first = address.addr() & !(page - 1);
    if stride <= page {
        return populate(address.with_addr(first), ((last - first) / page * page).saturating_add(page));
    }
    (address.addr()..=last).step_by(stride).try_for_each(|at| populate(address.with_addr(at & !(page - 1)), page))
}

fn populate(page: *const u8, len: usize) -> io::Result<()> {
    // SAFETY: populating for reading makes pages present and changes no byte, wherever the range may reach.
    retry_on_intr(|| unsafe { madvise(page.cast_mut().cast(), len, Advice::LinuxPopulateRead) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::guard::Guarded;

    /// Which pages of the memory are present.
    fn present(memory: &Guarded, pages: usize) -> Vec<bool> {
        let page = rustix::param::page_size();
        let mut out = vec![0; pages];
        // SAFETY: `pages` pages of a mapping, and a byte for each of them.
        let result = unsafe { libc::mincore(memory.start().cast(), pages * page, out.as_mut_ptr()) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        out.into_iter().map(|byte| byte & 1 != 0).collect()
    }

    /// False where the kernel does not know the advice.
    fn supported() -> bool {
        let memory = Guarded::new(1);
        fetch(memory.start(), 1, 0).map_err(|error| error.raw_os_error()) != Err(Some(libc::EINVAL))
    }

    #[test]
    fn the_pages_of_a_region_become_present_and_no_others() {
        if !supported() {
            return;
        }
        let page = rustix::param::page_size();
        for (from, len, expected) in [
            (page, 1, 1..2),
            (2 * page - 1, 1, 1..2),
            (2 * page - 1, 2, 1..3),
            (page, 3 * page, 1..4),
            (page + 5, 3 * page, 1..5),
            (0, 8 * page, 0..8),
            (7 * page + 3, page - 3, 7..8),
        ] {
            let memory = Guarded::new(8 * page);
            assert_eq!(present(&memory, 8), [false; 8]);
            fetch(memory.start().wrapping_add(from), len, 0).unwrap();
            let expected: Vec<bool> = (0..8).map(|index| expected.contains(&index)).collect();
            assert_eq!(present(&memory, 8), expected, "{len} bytes from {from}");
        }
    }

    #[test]
    fn a_stride_leaves_pages_out() {
        if !supported() {
            return;
        }
        let page = rustix::param::page_size();
        let memory = Guarded::new(8 * page);
        fetch(memory.start().wrapping_add(page + 7), 6 * page, 2 * page).unwrap();
        assert_eq!(present(&memory, 8), [false, true, false, true, false, true, false, false]);
        let memory = Guarded::new(8 * page);
        fetch(memory.start().wrapping_add(page), 2 * page, page).unwrap();
        assert_eq!(present(&memory, 8), [false, true, true, false, false, false, false, false]);
    }

    #[test]
    fn memory_that_is_not_there_is_an_error_and_not_a_signal() {
        let page = rustix::param::page_size();
        let memory = Guarded::new(page);
        assert!(fetch(memory.start().wrapping_add(page), 1, 0).is_err());
        assert!(fetch(memory.start(), 2 * page, 0).is_err());
        assert!(fetch(memory.start(), page + 1, 4096 * 4).is_ok() || !supported());
        assert!(fetch(std::ptr::null(), 1, 0).is_err());
        assert!(fetch(std::ptr::without_provenance(usize::MAX - 5), 100, 0).is_err());
    }

    #[test]
    fn nothing_is_asked_for_length_zero() {
        fetch(std::ptr::null(), 0, 0).unwrap();
    }
}
