//! Lists that say where blocks lie in a buffer.

#![forbid(unsafe_code)]

use super::check;
use crate::descriptor::SglFormat;
use crate::error::Error;

/// Where the blocks of a gather or scatter operation lie in a buffer, and how long each of them is.
///
/// A place is an offset from the start of the buffer, in bytes or in blocks. A device has a limit for the length of a
/// list (DSACAP0), and gets a longer one in parts.
///
/// ```
/// use dsa::BlockList;
///
/// let by_bytes = BlockList::offsets(vec![1024, 0], 512);
/// let by_blocks = BlockList::indices(vec![2, 0], 512);
/// assert!(by_bytes.places().eq(by_blocks.places()));
/// assert_eq!((by_bytes.len(), by_bytes.total()), (2, 1024));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockList {
    places: Places,
    block: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Places {
    Offsets(Vec<u64>),
    Indices(Vec<u32>),
    WideIndices(Vec<u64>),
}

impl BlockList {
    /// Blocks of `block` bytes at these offsets, in bytes. Every offset may be anything; a device wants those of typed
    /// elements to be multiples of the element.
    pub const fn offsets(offsets: Vec<u64>, block: usize) -> Self {
        Self { places: Places::Offsets(offsets), block }
    }

    /// Blocks of `block` bytes with these numbers, of which 0 is at the start of the buffer.
    pub const fn indices(indices: Vec<u32>, block: usize) -> Self {
        Self { places: Places::Indices(indices), block }
    }

    /// As [`indices`](Self::indices), with numbers of 64 bits.
    pub const fn wide_indices(indices: Vec<u64>, block: usize) -> Self {
        Self { places: Places::WideIndices(indices), block }
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        match &self.places {
            Places::Offsets(list) | Places::WideIndices(list) => list.len(),
            Places::Indices(list) => list.len(),
        }
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of a block.
    pub const fn block(&self) -> usize {
        self.block
    }

    /// Bytes of all blocks together; the largest number if it is too large for one.
    pub fn total(&self) -> usize {
        self.len().saturating_mul(self.block)
    }

    /// Where each block begins, in bytes from the start of the buffer; the largest number if it is too large for one.
    pub fn places(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).map(|entry| self.place(entry))
    }

    fn place(&self, entry: usize) -> u64 {
        let block = self.block as u64;
        match &self.places {
            Places::Offsets(list) => list[entry],
            Places::Indices(list) => u64::from(list[entry]).saturating_mul(block),
            Places::WideIndices(list) => list[entry].saturating_mul(block),
        }
    }

    /// Address and format of the list, for a descriptor.
    pub(super) fn raw(&self) -> (*const u8, SglFormat) {
        match &self.places {
            Places::Offsets(list) => (list.as_ptr().cast(), SglFormat::Offset64),
            Places::Indices(list) => (list.as_ptr().cast(), SglFormat::Index32),
            Places::WideIndices(list) => (list.as_ptr().cast(), SglFormat::Index64),
        }
    }

    /// Every block must lie inside of `len` bytes.
    pub(super) fn check_bounds(&self, len: usize) -> Result<(), Error> {
        // Blocks without bytes are nowhere.
        if self.block == 0 {
            return Ok(());
        }
        let last = (len as u64).checked_sub(self.block as u64);
        match self.places().enumerate().find(|&(_, start)| last.is_none_or(|last| start > last)) {
            None => Ok(()),
            Some((entry, start)) => Err(Error::BlockOutOfBounds { entry, start, block: self.block, len }),
        }
    }

    /// No two blocks may overlap. Takes memory for a sorted copy, unless the list is in ascending order.
    pub(super) fn check_disjoint(&self) -> Result<(), Error> {
        let block = self.block as u64;
        if self.is_empty() || block == 0 || self.places().zip(self.places().skip(1)).all(|(a, b)| b >= a + block) {
            return Ok(());
        }
        let mut sorted: Vec<(u64, usize)> = self.places().zip(0..).collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[1].0 - pair[0].0 < block) {
            None => Ok(()),
            Some(pair) => {
                let (first, second) = (pair[0].1.min(pair[1].1), pair[0].1.max(pair[1].1));
                Err(Error::BlocksOverlap { first, second })
            }
        }
    }

    /// The blocks must be whole elements. Gives the number of elements in one.
    pub(super) fn elements(&self, size: usize) -> Result<usize, Error> {
        check::multiple(self.block, size)?;
        Ok(self.block / size)
    }

    /// Whether every block begins on a multiple of `size` from the start of the buffer.
    pub(super) fn is_aligned(&self, size: usize) -> bool {
        match &self.places {
            Places::Offsets(list) => list.iter().all(|offset| offset.is_multiple_of(size as u64)),
            // Blocks are whole elements.
            Places::Indices(_) | Places::WideIndices(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_bytes_and_by_blocks() {
        let places = |list: &BlockList| list.places().collect::<Vec<_>>();
        assert_eq!(places(&BlockList::offsets(vec![5, 0, 7], 4)), [5, 0, 7]);
        assert_eq!(places(&BlockList::indices(vec![5, 0, 7], 4)), [20, 0, 28]);
        assert_eq!(places(&BlockList::wide_indices(vec![1 << 40, u64::MAX], 8)), [8 << 40, u64::MAX]);
        assert_eq!(BlockList::indices(vec![0; 3], usize::MAX).total(), usize::MAX);
        assert!(BlockList::indices(Vec::new(), 9).is_empty());
    }

    #[test]
    fn bounds_are_those_of_whole_blocks() {
        let check = |list: BlockList, len| list.check_bounds(len);
        assert_eq!(check(BlockList::offsets(vec![0, 6], 4), 10), Ok(()));
        let out = Error::BlockOutOfBounds { entry: 1, start: 7, block: 4, len: 10 };
        assert_eq!(check(BlockList::offsets(vec![0, 7], 4), 10), Err(out));
        let out = Error::BlockOutOfBounds { entry: 0, start: 0, block: 4, len: 3 };
        assert_eq!(check(BlockList::indices(vec![0], 4), 3), Err(out));
        let out = Error::BlockOutOfBounds { entry: 2, start: u64::MAX, block: 16, len: usize::MAX };
        assert_eq!(check(BlockList::wide_indices(vec![0, 1, u64::MAX], 16), usize::MAX), Err(out));
        assert_eq!(check(BlockList::wide_indices(vec![u64::MAX], 0), 0), Ok(()));
        assert_eq!(check(BlockList::indices(Vec::new(), 4), 0), Ok(()));
    }

    #[test]
    fn overlaps_are_found_in_any_order() {
        let overlap = |offsets: &[u64]| BlockList::offsets(offsets.to_vec(), 10).check_disjoint();
        let pair = |first, second| Err(Error::BlocksOverlap { first, second });
        assert_eq!(overlap(&[0, 10, 20]), Ok(()));
        assert_eq!(overlap(&[20, 0, 10]), Ok(()));
        assert_eq!(overlap(&[0, 9]), pair(0, 1));
        assert_eq!(overlap(&[40, 0, 31]), pair(0, 2));
        assert_eq!(overlap(&[7, 50, 7]), pair(0, 2));
        assert_eq!(BlockList::indices(vec![3, 1, 3], 1).check_disjoint(), pair(0, 2));
        assert_eq!(BlockList::indices(vec![3, 3], 0).check_disjoint(), Ok(()));
        assert_eq!(BlockList::indices(Vec::new(), 1).check_disjoint(), Ok(()));
    }

    #[test]
    fn blocks_of_elements() {
        let list = BlockList::offsets(vec![8, 4], 12);
        assert_eq!((list.elements(4), list.is_aligned(4), list.is_aligned(8)), (Ok(3), true, false));
        assert_eq!(list.elements(8), Err(Error::SizeNotMultiple { size: 12, unit: 8 }));
        assert!(BlockList::indices(vec![1], 12).is_aligned(4));
    }
}
