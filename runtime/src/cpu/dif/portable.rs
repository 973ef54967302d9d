//! Guards by tables, for every CPU: 16 bytes a step, each looked up by itself.

use std::ptr;

use super::blocks::{Blocks, Shape};
use super::constants::SLICES;

/// Bytes of a step.
const STEP: usize = SLICES.len();

#[derive(Clone, Copy)]
pub(super) struct Tables {
    shape: Shape,
}

impl Tables {
    /// # Safety
    ///
    /// None, unlike for other kernels.
    #[inline]
    pub(super) unsafe fn new(shape: Shape) -> Self {
        Self { shape }
    }
}

impl Blocks for Tables {
    fn shape(self) -> Shape {
        self.shape
    }

    #[inline]
    unsafe fn guard(self, src: *const u8) -> u16 {
        // SAFETY: a block, as the caller promises.
        by_tables(unsafe { std::slice::from_raw_parts(src, self.shape.bytes()) })
    }

    #[inline]
    unsafe fn copy_guard(self, src: *const u8, dst: *mut u8) -> u16 {
        // SAFETY: blocks that do not overlap, as the caller promises.
        unsafe {
            self.copy(src, dst);
            self.guard(src)
        }
    }

    #[inline]
    unsafe fn copy(self, src: *const u8, dst: *mut u8) {
        // SAFETY: blocks that do not overlap, as the caller promises.
        unsafe { ptr::copy_nonoverlapping(src, dst, self.shape.bytes()) };
    }
}

/// The guard of any bytes.
pub(super) fn by_tables(data: &[u8]) -> u16 {
    let (steps, rest) = data.as_chunks::<STEP>();
    let state = steps.iter().fold(0_u16, |state, step| {
        let [first, second] = state.to_be_bytes();
        let mut next = SLICES[STEP - 1][usize::from(step[0] ^ first)] ^ SLICES[STEP - 2][usize::from(step[1] ^ second)];
        for (table, &byte) in SLICES[..STEP - 2].iter().rev().zip(&step[2..]) {
            next ^= table[usize::from(byte)];
        }
        next
    });
    rest.iter().fold(state, |state, &byte| (state << 8) ^ SLICES[0][usize::from((state >> 8) as u8 ^ byte)])
}
