//! Comparisons.

use crate::backend::{Backend, By};
use crate::moves::{SIZES, by_size};
use crate::support::{Rng, assert_same, seed};

pub(crate) async fn equal_buffers(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in SIZES {
        let data = rng.bytes(len);
        let operation = backend.accelerator.compare(data.clone(), data.clone());
        let (difference, (a, b)) = backend.run(by_size(len), "compare", operation).await.unwrap();
        assert_eq!(difference, None, "{len} bytes");
        assert_same(&a, &data, "first");
        assert_same(&b, &data, "second");
    }
}

/// Where a difference may be overlooked: at the ends, and on both sides of every boundary.
pub(crate) fn positions(len: usize) -> Vec<usize> {
    let boundaries = [8, 16, 32, 64, 4096, 8192, 64 << 10, 128 << 10, 256 << 10, 512 << 10, len / 2, len];
    let mut all: Vec<_> = boundaries.iter().flat_map(|&at: &usize| [at.saturating_sub(1), at, at + 1]).collect();
    all.push(0);
    all.retain(|&at| at < len);
    all.sort_unstable();
    all.dedup();
    all
}

pub(crate) async fn every_difference_is_found(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in SIZES {
        let mut a = rng.bytes(len);
        let mut b = a.clone();
        for at in positions(len) {
            let bit = 1 << (at % 8);
            b[at] ^= bit;
            let difference;
            let operation = backend.accelerator.compare(a, b);
            (difference, (a, b)) = backend.run(By::Device, "compare", operation).await.unwrap();
            assert_eq!(difference, Some(at), "{len} bytes");
            b[at] ^= bit;
        }
    }
}

pub(crate) async fn the_first_difference_counts(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in [2, 65, 4097, 200_000] {
        for _ in 0..20 {
            let a = rng.bytes(len);
            let mut b = a.clone();
            let at = [rng.below(len), rng.below(len), rng.below(len)];
            for at in at {
                b[at] = !a[at];
            }
            let operation = backend.accelerator.compare(a, b);
            let (difference, _) = backend.run(By::Device, "compare", operation).await.unwrap();
            assert_eq!(difference, at.into_iter().min(), "{len} bytes, differences at {at:?}");
        }
    }
}
