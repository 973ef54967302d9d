//! A few elements of any type, in the CPU's own memory.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Elements of a tile: tiles and what is made of them fit the first-level cache.
pub(super) const TILE: usize = 128;

/// Up to [`TILE`] elements of one type.
#[repr(C, align(64))]
pub(super) struct Tile([u8; TILE * 8]);

impl Tile {
    pub(super) fn new() -> Self {
        Self([0; TILE * 8])
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// The first `n` elements.
    #[inline]
    pub(super) fn of<T: FromBytes + Immutable>(&self, n: usize) -> &[T] {
        <[T]>::ref_from_bytes(&self.0[..n * size_of::<T>()]).expect("a tile is aligned for every type")
    }

    /// The first `n` elements.
    #[inline]
    pub(super) fn of_mut<T: FromBytes + IntoBytes>(&mut self, n: usize) -> &mut [T] {
        <[T]>::mut_from_bytes(&mut self.0[..n * size_of::<T>()]).expect("a tile is aligned for every type")
    }

    /// The bits of an element of `size` bytes.
    #[inline]
    pub(super) fn get(&self, size: usize, index: usize) -> u64 {
        match size {
            1 => self.0[index].into(),
            2 => self.of::<u16>(index + 1)[index].into(),
            4 => self.of::<u32>(index + 1)[index].into(),
            _ => self.of::<u64>(index + 1)[index],
        }
    }

    /// Sets an element of `size` bytes, from the lowest bits of `bits`.
    #[inline]
    pub(super) fn set(&mut self, size: usize, index: usize, bits: u64) {
        match size {
            1 => self.0[index] = bits as u8,
            2 => self.of_mut::<u16>(index + 1)[index] = bits as u16,
            4 => self.of_mut::<u32>(index + 1)[index] = bits as u32,
            _ => self.of_mut::<u64>(index + 1)[index] = bits,
        }
    }
}
