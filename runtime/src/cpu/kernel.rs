//! Kernels by name, so that a benchmark can run each by itself and say which is the best where.

#![cfg_attr(not(feature = "internals"), allow(unreachable_pub, reason = "tests use it from inside"))]

use super::Tier;

/// One way to do an operation.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<F> {
    /// What it is called in tables.
    pub name: &'static str,
    /// The least tier that it needs.
    pub tier: Tier,
    /// The function. To be called only on a CPU of that [`tier`](Self::tier).
    pub run: F,
}

/// From, to, bytes: two regions that do not overlap.
pub type Copy = unsafe fn(*const u8, *mut u8, usize);
/// From, both destinations, bytes.
pub type Dualcast = unsafe fn(*const u8, *mut u8, *mut u8, usize);
/// To, bytes, pattern.
pub type Fill = unsafe fn(*mut u8, usize, [u64; 2]);
/// Seed, from, bytes.
pub type Crc32c = unsafe fn(u32, *const u8, usize) -> u32;
/// Seed, from, to, bytes.
pub type CopyCrc32c = unsafe fn(u32, *const u8, *mut u8, usize) -> u32;
/// Both regions, bytes.
pub type Compare = unsafe fn(*const u8, *const u8, usize) -> Option<usize>;
/// Region, bytes, pattern.
pub type ComparePattern = unsafe fn(*const u8, usize, u64) -> Option<usize>;
/// From, to, bytes of the source, whole blocks of 512: plain flags, tags from 0.
pub type DifInsert = unsafe fn(*const u8, *mut u8, usize);
/// From, bytes: a block of one of the sizes that DIF flags name.
pub type Guard = unsafe fn(*const u8, usize) -> u16;
