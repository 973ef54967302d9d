//! Gather copy, scatter copy and scatter fill: blocks whose places a list names (specification sections 8.1.14 and 8.3.23
//! to 8.3.25).
//!
//! All blocks of a list have the same size: an element count times the size of an element. What the elements are does
//! not matter here.

use std::ptr;

use idxd_sys::compute::sgl_format;

use super::fill;

/// Blocks of equal size all over memory: a scatter-gather list, and how its entries become addresses.
#[derive(Clone, Copy, Debug)]
pub struct ScatterList {
    entries: *const u8,
    count: usize,
    format: u8,
    base: usize,
    block: usize,
    /// What an entry that is an index counts, in bytes: a block, of which only a part may be meant.
    unit: usize,
}

impl ScatterList {
    /// A list of `count` entries at `entries`, in one of the [formats](sgl_format) of the descriptor. `None` if the
    /// format is none of these.
    ///
    /// An entry is a byte offset from the address `base`, or it counts blocks of `block` bytes from there. Sums that
    /// exceed the address space wrap around. Neither list nor blocks need to be aligned.
    ///
    /// Nothing is looked at until the list is used. Then the list is read, and blocks are reached through pointers whose
    /// provenance has been exposed.
    pub const fn new(entries: *const u8, count: usize, format: u8, base: u64, block: usize) -> Option<Self> {
        match sgl_format::entry_size(format) {
            Some(_) => Some(Self { entries, count, format, base: base as usize, block, unit: block }),
            None => None,
        }
    }

    /// Number of entries.
    #[inline]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a block.
    #[inline]
    pub const fn block(&self) -> usize {
        self.block
    }

    /// The list without its first `done` entries, or no entries if it has no more than that.
    #[must_use]
    pub fn skip(mut self, done: usize) -> Self {
        let done = done.min(self.count);
        let size = sgl_format::entry_size(self.format).unwrap_or(0) as usize;
        self.entries = self.entries.wrapping_add(done * size);
        self.count -= done;
        self
    }

    /// Of each block only `len` bytes, from byte `from` on, which lie inside it.
    #[must_use]
    pub(crate) const fn columns(mut self, from: usize, len: usize) -> Self {
        debug_assert!(from + len <= self.block);
        self.base = self.base.wrapping_add(from);
        self.block = len;
        self
    }

    /// The address of a block.
    ///
    /// # Safety
    ///
    /// The list is valid for reading, and `index` is below its count.
    #[inline]
    pub(super) unsafe fn address(&self, index: usize) -> usize {
        // SAFETY: the caller's promise; entries need no alignment.
        unsafe {
            match self.format {
                sgl_format::OFFSET_64 => self.base.wrapping_add(self.entry::<u64>(index) as usize),
                sgl_format::INDEX_32 => {
                    self.base.wrapping_add((self.entry::<u32>(index) as usize).wrapping_mul(self.unit))
                }
                _ => self.base.wrapping_add((self.entry::<u64>(index) as usize).wrapping_mul(self.unit)),
            }
        }
    }

    /// # Safety
    ///
    /// The list is valid for reading, has entries of type `T`, and `index` is below its count.
    #[inline]
    unsafe fn entry<T: Copy>(&self, index: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { self.entries.cast::<T>().add(index).read_unaligned() }
    }

    /// Calls `each` with index and address of every block.
    ///
    /// # Safety
    ///
    /// The list is valid for reading.
    #[inline]
    unsafe fn for_each(&self, mut each: impl FnMut(usize, usize)) {
        for index in 0..self.count {
            // SAFETY: the caller's promise.
            each(index, unsafe { self.address(index) });
        }
    }
}

/// Copies the blocks of a list one behind the other (gather copy, opcode 0x1c).
///
/// What is written is unspecified where the destination overlaps a block.
///
/// # Safety
///
/// The list is valid for reading its entries, which nobody writes meanwhile and which the destination does not overlap.
/// Every block is valid for reading, and `dst` for writing all of them; nobody else accesses the destination or writes
/// the blocks. Pointers may be anything where there are no bytes.
pub unsafe fn gather_copy(list: &ScatterList, dst: *mut u8) {
    let block = list.block;
    // SAFETY: the caller vouches for list, blocks and destination; block `index` has its place in the destination.
    unsafe {
        match block {
            0 => {}
            1 => list.for_each(|index, address| move_block::<1>(address, dst.add(index))),
            2 => list.for_each(|index, address| move_block::<2>(address, dst.add(index * 2))),
            4 => list.for_each(|index, address| move_block::<4>(address, dst.add(index * 4))),
            8 => list.for_each(|index, address| move_block::<8>(address, dst.add(index * 8))),
            16 => list.for_each(|index, address| move_block::<16>(address, dst.add(index * 16))),
            64 => list.for_each(|index, address| move_block::<64>(address, dst.add(index * 64))),
            _ => list.for_each(|index, address| ptr::copy(block_at(address), dst.add(index * block), block)),
        }
    }
}

/// Copies blocks that lie one behind the other to the places that a list names (scatter copy, opcode 0x1d).
///
/// What is written is unspecified where blocks overlap each other or the source.
///
/// # Safety
///
/// The list is valid for reading its entries, which nobody writes meanwhile and which no block overlaps. `src` is valid
/// for reading all blocks, and every block of the list for writing; nobody else accesses the latter or writes the
/// source. Pointers may be anything where there are no bytes.
pub unsafe fn scatter_copy(src: *const u8, list: &ScatterList) {
    let block = list.block;
    // SAFETY: the caller vouches for list, blocks and source; block `index` has its place in the source.
    unsafe {
        match block {
            0 => {}
            1 => list.for_each(|index, address| place_block::<1>(src.add(index), address)),
            2 => list.for_each(|index, address| place_block::<2>(src.add(index * 2), address)),
            4 => list.for_each(|index, address| place_block::<4>(src.add(index * 4), address)),
            8 => list.for_each(|index, address| place_block::<8>(src.add(index * 8), address)),
            16 => list.for_each(|index, address| place_block::<16>(src.add(index * 16), address)),
            64 => list.for_each(|index, address| place_block::<64>(src.add(index * 64), address)),
            _ => list.for_each(|index, address| ptr::copy(src.add(index * block), block_at(address), block)),
        }
    }
}

/// Fills the blocks of a list with an 8-byte pattern (scatter fill, opcode 0x1e).
///
/// Each block begins with the pattern's low byte, whatever its size.
///
/// # Safety
///
/// The list is valid for reading its entries, which nobody writes meanwhile and which no block overlaps. Every block is
/// valid for writing, and nobody else accesses it. Pointers may be anything where there are no bytes.
pub unsafe fn scatter_fill(list: &ScatterList, pattern: u64) {
    let block = list.block;
    let bytes = pattern.to_le_bytes();
    // SAFETY: the caller vouches for list and blocks; up to 8 bytes are taken from the pattern's.
    unsafe {
        match block {
            0 => {}
            1 => list.for_each(|_, address| block_at(address).write(bytes[0])),
            2 => list.for_each(|_, address| place_block::<2>(bytes.as_ptr(), address)),
            4 => list.for_each(|_, address| place_block::<4>(bytes.as_ptr(), address)),
            8 => list.for_each(|_, address| place_block::<8>(bytes.as_ptr(), address)),
            _ => list.for_each(|_, address| fill(block_at(address), block, pattern)),
        }
    }
}

/// The pointer that an address of a list stands for.
#[inline]
pub(super) fn block_at(address: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address)
}

/// Reads all of a block before it writes any of it, so overlap is no undefined behaviour.
///
/// # Safety
///
/// `N` bytes at `address` are valid for reading and `N` at `dst` for writing.
#[inline]
unsafe fn move_block<const N: usize>(address: usize, dst: *mut u8) {
    // SAFETY: the caller's promise; byte arrays have no alignment.
    unsafe { dst.cast::<[u8; N]>().write(block_at(address).cast::<[u8; N]>().read()) };
}

/// As [`move_block`], the other way.
///
/// # Safety
///
/// `N` bytes at `src` are valid for reading and `N` at `address` for writing.
#[inline]
unsafe fn place_block<const N: usize>(src: *const u8, address: usize) {
    // SAFETY: the caller's promise; byte arrays have no alignment.
    unsafe { block_at(address).cast::<[u8; N]>().write(src.cast::<[u8; N]>().read()) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::guard::Guarded;

    /// The bytes of a list that names `places` (in bytes from the base) in a format; places are multiples of the block.
    fn entries(format: u8, block: usize, places: &[usize]) -> Vec<u8> {
        places
            .iter()
            .flat_map(|&place| match format {
                sgl_format::OFFSET_64 => (place as u64).to_le_bytes().to_vec(),
                sgl_format::INDEX_32 => ((place / block) as u32).to_le_bytes().to_vec(),
                _ => ((place / block) as u64).to_le_bytes().to_vec(),
            })
            .collect()
    }

    fn pseudo_random(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    /// All three operations on blocks at `places` of a region of `total` bytes, against copies block by block.
    fn check(format: u8, block: usize, places: &[usize], total: usize) {
        let list_bytes = entries(format, block, places);
        let gathered = places.len() * block;
        let (memory, list, flat) = (Guarded::new(total), Guarded::new(list_bytes.len()), Guarded::new(gathered));
        let data = pseudo_random(total);
        let base = memory.put(&data);
        let sgl = ScatterList::new(list.put(&list_bytes), places.len(), format, base.expose_provenance() as u64, block)
            .unwrap();
        assert_eq!((sgl.count(), sgl.block()), (places.len(), block));

        // SAFETY: the list, its blocks and the destination lie in mappings of their own, each large enough.
        unsafe { gather_copy(&sgl, flat.end(gathered)) };
        let expected: Vec<u8> = places.iter().flat_map(|&place| &data[place..place + block]).copied().collect();
        assert_eq!(flat.bytes(gathered), expected, "gather, format {format}, block {block}");
        assert_eq!(memory.bytes(total), data);

        let source: Vec<u8> = expected.iter().map(|byte| !byte).collect();
        flat.put(&source);
        // SAFETY: as above.
        unsafe { scatter_copy(flat.end(gathered), &sgl) };
        let mut expected = data.clone();
        for (&place, bytes) in places.iter().zip(source.chunks(block.max(1))) {
            expected[place..place + block].copy_from_slice(bytes);
        }
        assert_eq!(memory.bytes(total), expected, "scatter, format {format}, block {block}");

        memory.put(&data);
        // SAFETY: as above.
        unsafe { scatter_fill(&sgl, 0x0807_0605_0403_0201) };
        let mut expected = data.clone();
        for &place in places {
            for at in 0..block {
                expected[place + at] = (at % 8 + 1) as u8;
            }
        }
        assert_eq!(memory.bytes(total), expected, "fill, format {format}, block {block}");
    }

    #[test]
    fn every_format_at_every_small_block() {
        for &format in sgl_format::ALL {
            for block in (1..=70).chain([127, 128, 200, 4096]) {
                // In no order, and with gaps.
                let places = [5, 0, 3, 9, 1, 7].map(|index| index * block);
                check(format, block, &places, 10 * block);
                check(format, block, &[0], block);
            }
        }
    }

    #[test]
    fn byte_offsets_need_no_alignment() {
        for block in [1, 2, 4, 8, 16, 24, 64, 100] {
            for shift in 0..64 {
                check(sgl_format::OFFSET_64, block, &[2 * block + shift, shift], 3 * block + 64);
            }
        }
    }

    #[test]
    fn offsets_wrap_around_the_address_space() {
        let data = pseudo_random(64);
        let base = (data.as_ptr().expose_provenance() as u64).wrapping_add(32);
        let back = [-32_i64, -8, 0].map(i64::cast_unsigned);
        let list = ScatterList::new(back.as_ptr().cast(), 3, sgl_format::OFFSET_64, base, 8).unwrap();
        let mut out = [0; 24];
        // SAFETY: the blocks at 0, 24 and 32 of `data`, and an array for three of them.
        unsafe { gather_copy(&list, out.as_mut_ptr()) };
        assert_eq!(out[..], [&data[..8], &data[24..40]].concat());
        // Absolute addresses, from base 0.
        let places = [3, 1].map(|at| data.as_ptr().wrapping_add(at).expose_provenance() as u64);
        let list = ScatterList::new(places.as_ptr().cast(), 2, sgl_format::OFFSET_64, 0, 2).unwrap();
        // SAFETY: as above.
        unsafe { gather_copy(&list, out.as_mut_ptr()) };
        assert_eq!(out[..4], [data[3], data[4], data[1], data[2]]);
    }

    #[test]
    fn a_list_unaligned_and_in_part() {
        let data = pseudo_random(100);
        let base = data.as_ptr().expose_provenance() as u64;
        for &format in sgl_format::ALL {
            let mut bytes = vec![0];
            bytes.extend(entries(format, 5, &[50, 10, 95, 0]));
            let list = ScatterList::new(bytes.as_ptr().wrapping_add(1), 4, format, base, 5).unwrap();
            for done in 0..6 {
                let rest = list.skip(done);
                assert_eq!(rest.count(), 4_usize.saturating_sub(done));
                let mut out = vec![0; rest.count() * 5];
                // SAFETY: blocks inside `data`, and a vector for all of them.
                unsafe { gather_copy(&rest, out.as_mut_ptr()) };
                let places = &[50, 10, 95, 0][done.min(4)..];
                let expected: Vec<u8> = places.iter().flat_map(|&place| &data[place..place + 5]).copied().collect();
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn columns_are_parts_of_every_block() {
        let data = pseudo_random(200);
        let base = data.as_ptr().expose_provenance() as u64;
        for &format in sgl_format::ALL {
            let bytes = entries(format, 20, &[100, 0, 180]);
            let list = ScatterList::new(bytes.as_ptr(), 3, format, base, 20).unwrap().columns(7, 5);
            let mut out = [0; 15];
            // SAFETY: blocks inside `data`, and an array for a part of each.
            unsafe { gather_copy(&list, out.as_mut_ptr()) };
            assert_eq!(out[..], [&data[107..112], &data[7..12], &data[187..192]].concat());
            let whole = ScatterList::new(bytes.as_ptr(), 3, format, base, 20).unwrap().columns(0, 20).skip(2);
            let mut out = [0; 20];
            // SAFETY: as above.
            unsafe { gather_copy(&whole, out.as_mut_ptr()) };
            assert_eq!(out[..], data[180..]);
        }
    }

    #[test]
    fn formats_that_are_not_assigned_are_refused() {
        for format in 0..=255 {
            let list = ScatterList::new(ptr::null(), 0, format, 0, 1);
            assert_eq!(list.is_some(), sgl_format::ALL.contains(&format));
        }
    }

    #[test]
    fn nothing_is_touched_without_bytes() {
        let empty = ScatterList::new(ptr::null(), 0, sgl_format::INDEX_32, 0, 8).unwrap();
        let nothing = ScatterList::new(ptr::null(), 5, sgl_format::INDEX_32, 0, 0).unwrap();
        for list in [empty, nothing] {
            // SAFETY: the pointers may be anything where there are no bytes.
            unsafe {
                gather_copy(&list, ptr::null_mut());
                scatter_copy(ptr::null(), &list);
                scatter_fill(&list, 1);
            }
        }
    }

    proptest! {
        #[test]
        fn lists_of_any_length(
            format in 1_u8..4, block in 1_usize..300,
            order in (1_usize..60).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle()),
            used in any::<prop::sample::Index>(),
        ) {
            let places: Vec<usize> = order.iter().map(|&index| index * block).collect();
            check(format, block, &places[..=used.index(places.len())], order.len() * block);
        }
    }
}
