//! One anonymous mapping whose pages are all there: the memory below a pool.

use std::io;
use std::ptr::{self, NonNull};

use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const HUGE_PAGE: usize = 2 << 20;

/// What kind of pages a [`Pool`](super::Pool) was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageSize {
    /// Pages of the base size.
    Standard,
    /// Base pages, aligned and marked for the kernel to use 2 MiB pages where it can. It does not tell whether it did.
    /// This is what a request for huge pages falls back to where none are reserved.
    Transparent,
    /// 2 MiB pages, out of those that the administrator has reserved (`vm.nr_hugepages`).
    Huge,
}

impl PageSize {
    /// The size of a page, in bytes, that can be relied on: the base size for [`Transparent`](Self::Transparent).
    pub fn bytes(self) -> usize {
        match self {
            Self::Standard | Self::Transparent => rustix::param::page_size(),
            Self::Huge => HUGE_PAGE,
        }
    }
}

/// Private, zeroed, readable and writable memory, backed by pages from the start.
pub(super) struct Mapping {
    /// What `mmap` gave, for `munmap`.
    map: NonNull<u8>,
    map_len: usize,
    /// The beginning of the part that is used.
    base: NonNull<u8>,
    pages: PageSize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and `Mapping` itself never accesses the memory once it is
// constructed; who may access which bytes is settled by whoever hands out `base`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps at least `len` bytes, which must not be 0.
    ///
    /// # Errors
    ///
    /// What `mmap` or `madvise` says, mostly that there is not enough memory. The lack of huge pages is no error.
    pub(super) fn new(len: usize, huge: bool) -> io::Result<Self> {
        if huge { Self::huge(len).or_else(|_| Self::transparent(len)) } else { Self::standard(len) }.map_err(Into::into)
    }

    /// The first byte. At least page aligned.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn pages(&self) -> PageSize {
        self.pages
    }

    fn standard(len: usize) -> Result<Self, Errno> {
        let mapping = Self::map(len, MapFlags::empty(), PageSize::Standard)?;
        mapping.populate(len)?;
        Ok(mapping)
    }

    fn huge(len: usize) -> Result<Self, Errno> {
        let len = len.checked_next_multiple_of(HUGE_PAGE).ok_or(Errno::NOMEM)?;
        let mapping = Self::map(len, MapFlags::HUGETLB | MapFlags::HUGE_2MB, PageSize::Huge)?;
        // Where the kernel cannot do this, do not touch the pages instead: a limit on the control group would show as
        // SIGBUS there.
        mapping.populate_by_kernel(len)?;
        Ok(mapping)
    }

    fn transparent(len: usize) -> Result<Self, Errno> {
        // Room to begin at a multiple of the huge page size, which `mmap` does not promise.
        let map_len = len.checked_next_multiple_of(HUGE_PAGE).and_then(|len| len.checked_add(HUGE_PAGE));
        let map_len = map_len.ok_or(Errno::NOMEM)?;
        let mut mapping = Self::map(map_len, MapFlags::empty(), PageSize::Transparent)?;
        let gap = mapping.map.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: `gap` is less than the huge page size, by which the mapping exceeds the rounded length.
        mapping.base = unsafe { mapping.map.add(gap) };
        let used = map_len - HUGE_PAGE;
        // SAFETY: the range is part of this mapping, and the advice changes no byte of it.
        if unsafe { madvise(mapping.base.as_ptr().cast(), used, Advice::LinuxHugepage) }.is_err() {
            // Not compiled into this kernel.
            mapping.pages = PageSize::Standard;
        }
        mapping.populate(len)?;
        Ok(mapping)
    }

    fn map(len: usize, flags: MapFlags, pages: PageSize) -> Result<Self, Errno> {
        // SAFETY: with a null hint and without MAP_FIXED the kernel picks addresses that nobody uses.
        let map = unsafe {
            mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | flags)?
        };
        let map = NonNull::new(map.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { map, map_len: len, base: map, pages })
    }

    /// Gives the first `len` bytes from `base` writable pages.
    fn populate(&self, len: usize) -> Result<(), Errno> {
        match self.populate_by_kernel(len) {
            // Linux before 5.14 does not know the advice.
            Err(Errno::INVAL) => {
                for at in (0..len).step_by(rustix::param::page_size()) {
                    // SAFETY: inside the mapping, of which nobody else knows yet. The byte is 0 already. Volatile, for
                    // the compiler may not see the point.
                    unsafe { self.base.add(at).write_volatile(0) };
                }
                Ok(())
            }
            result => result,
        }
    }

    /// `MADV_POPULATE_WRITE`: unlike `MAP_POPULATE` it says when it could not.
    fn populate_by_kernel(&self, len: usize) -> Result<(), Errno> {
        let len = len.checked_next_multiple_of(rustix::param::page_size()).ok_or(Errno::NOMEM)?;
        // SAFETY: the range is part of this mapping (its length is rounded up to whole pages), and the advice changes no
        // byte of it.
        retry_on_intr(|| unsafe { madvise(self.base.as_ptr().cast(), len, Advice::LinuxPopulateWrite) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` gave, unmapped once; whoever uses the memory keeps the mapping alive.
        let result = unsafe { munmap(self.map.as_ptr().cast(), self.map_len) };
        debug_assert!(result.is_ok(), "munmap of a whole mapping failed: {result:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(mapping: &Mapping, len: usize) -> usize {
        let page = rustix::param::page_size();
        let mut pages = vec![0_u8; len.div_ceil(page)];
        // SAFETY: the range is mapped, the vector has a byte per page.
        let rc = unsafe { libc::mincore(mapping.base.as_ptr().cast(), len, pages.as_mut_ptr()) };
        assert_eq!(rc, 0);
        pages.iter().filter(|&&page| page & 1 == 1).count()
    }

    #[test]
    fn all_pages_are_there_from_the_start() {
        let page = rustix::param::page_size();
        for mapping in [Mapping::standard(33 * page), Mapping::transparent(33 * page)] {
            let mapping = mapping.unwrap();
            assert_eq!(resident(&mapping, 33 * page), 33);
        }
    }

    #[test]
    fn untouched_memory_would_be_noticed() {
        let page = rustix::param::page_size();
        let mapping = Mapping::map(8 * page, MapFlags::empty(), PageSize::Standard).unwrap();
        assert_eq!(resident(&mapping, 8 * page), 0);
    }

    #[test]
    fn a_length_that_is_no_multiple_of_a_page_is_rounded_up() {
        let mapping = Mapping::new(1, false).unwrap();
        // SAFETY: a whole page is mapped.
        unsafe { mapping.base().add(rustix::param::page_size() - 1).write(1) };
    }

    #[test]
    fn huge_pages_are_aligned_and_never_an_error() {
        let mapping = Mapping::new(3 << 20, true).unwrap();
        assert_eq!(mapping.base().addr().get() % HUGE_PAGE, 0);
        // SAFETY: the last byte of what was asked for.
        assert_eq!(unsafe { mapping.base().add((3 << 20) - 1).read() }, 0);
    }

    #[test]
    fn a_length_that_nobody_has_is_an_error() {
        for huge in [false, true] {
            assert!(Mapping::new(1 << 60, huge).is_err());
            assert!(Mapping::new(usize::MAX, huge).is_err());
        }
    }
}
