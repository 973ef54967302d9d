//! What the tests of all kernels go through: every tier, size and alignment.

pub(super) use super::guard::Guarded;

/// Sizes up to which every pair of alignments is tried.
const ALL_PAIRS: usize = 130;

/// Each size from 0 to 4,096 and those around each of `thresholds`.
pub(super) fn sizes(thresholds: &[usize]) -> Vec<usize> {
    let around = thresholds.iter().flat_map(|at| at.saturating_sub(65)..=at + 65);
    let mut sizes: Vec<usize> = (0..=4096).chain(around).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Alignments of two pointers, 0 to 63: for small sizes every pair of them, for others each one of either with a partner that
/// differs from size to size.
pub(super) fn alignments(size: usize) -> Vec<(usize, usize)> {
    if size <= ALL_PAIRS {
        return (0..64).flat_map(|first| (0..64).map(move |second| (first, second))).collect();
    }
    (0..64).map(|first| (first, (first * 29 + size * 7) % 64)).collect()
}

/// Bytes that are all over the place, the same for a seed.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
