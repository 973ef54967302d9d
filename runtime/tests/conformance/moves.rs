//! Copies, moves inside a buffer, dualcasts.

use dsa::buf::{Slice, StableBuf, StableBufMut};

use crate::backend::{Backend, By};
use crate::support::{Rng, assert_same, seed};

/// Sizes around everything that has a size: words, cache lines, pages, chunks of the model, transfer limits.
pub(crate) const SIZES: [usize; 14] =
    [0, 1, 7, 8, 63, 64, 65, 4095, 4096, 4097, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, (1 << 20) + 3];

/// The device, unless there is nothing to do.
pub(crate) fn by_size(len: usize) -> By {
    if len == 0 { By::Nobody } else { By::Device }
}

pub(crate) async fn copies_of_every_size(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in SIZES {
        let expected = rng.bytes(len);
        let copy = backend.accelerator.copy(expected.clone(), Vec::with_capacity(len));
        let (src, dst) = backend.run(by_size(len), &format!("copy of {len}"), copy).await.unwrap();
        assert_same(&src, &expected, "source");
        assert_same(&dst, &expected, "destination");
    }
}

pub(crate) async fn copies_at_every_alignment(backend: &Backend) {
    const OFFSETS: [usize; 9] = [0, 1, 2, 3, 4, 7, 8, 31, 63];
    let mut rng = Rng::new(seed());
    for len in [1, 100, 4097] {
        for from in OFFSETS {
            for to in OFFSETS {
                let whole = rng.bytes(from + len + 5);
                let src = whole.clone().slice(from..from + len);
                let dst = vec![0xaa; to + len + 5].slice_mut(to..to + len);
                let (src, dst) = backend.run(By::Device, "copy", backend.accelerator.copy(src, dst)).await.unwrap();
                assert_same(&src.into_inner(), &whole, "source");
                let mut expected = vec![0xaa; to + len + 5];
                expected[to..to + len].copy_from_slice(&whole[from..from + len]);
                assert_same(&dst.into_inner(), &expected, &format!("{len} bytes from {from} to {to}"));
            }
        }
    }
}

pub(crate) async fn copies_leave_the_rest_alone(backend: &Backend) {
    let src = Rng::new(seed()).bytes(5000);
    // Longer than the source: the length stays, and so do the bytes behind.
    let (src, dst) = backend.run(By::Device, "copy", backend.accelerator.copy(src, vec![0xaa; 9000])).await.unwrap();
    assert_same(&dst[..5000], &src, "copied");
    assert_same(&dst[5000..], &[0xaa; 4000], "behind");
    // Shorter, with room: the length grows.
    let mut dst = vec![0xaa; 10];
    dst.reserve_exact(6000);
    let (src, dst) = backend.run(By::Device, "copy", backend.accelerator.copy(src, dst)).await.unwrap();
    assert_same(&dst, &src, "grown");
}

pub(crate) async fn copies_to_fresh_memory(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in SIZES {
        let expected = rng.bytes(len);
        let copy = backend.accelerator.copy_to_vec(expected.clone());
        let (src, dst) = backend.run(by_size(len), &format!("copy of {len}"), copy).await.unwrap();
        assert_same(&src, &expected, "source");
        assert_same(&dst, &expected, "copy");
    }
}

pub(crate) async fn moves_inside_a_buffer(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in [0_usize, 1, 64, 4096, 5000, 70_001, 300_000] {
        let near = [0, 1, 7, 63, 64, 4095, 4096, 4097, 65_537];
        let distances = near.into_iter().chain([len / 2, len.saturating_sub(1), len, len + 1]);
        for distance in distances {
            for up in [false, true] {
                let before = rng.bytes(len + distance + 9);
                let (from, to) = if up { (4, 4 + distance) } else { (4 + distance, 4) };
                let mut expected = before.clone();
                expected[to..to + len].copy_from_slice(&before[from..from + len]);
                // A device is of no use where it could move less than a page at a time.
                let by = match len {
                    0 => By::Nobody,
                    _ if distance < len && distance < 4096 => By::Cpu,
                    _ => By::Device,
                };
                let what = format!("move of {len} from {from} to {to}");
                let operation = backend.accelerator.copy_within(before, from..from + len, to);
                let after = backend.run(by, &what, operation).await.unwrap();
                assert_same(&after, &expected, &what);
            }
        }
    }
    // Every way to write a range.
    let bytes: Vec<u8> = (0..100).collect();
    let acc = &backend.accelerator;
    assert_eq!(acc.copy_within(bytes.clone(), .., 0).await.unwrap(), bytes);
    assert_eq!(
        acc.copy_within(bytes.clone(), 90.., 0).await.unwrap()[..11],
        [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 10]
    );
    assert_eq!(acc.copy_within(bytes.clone(), ..2, 98).await.unwrap()[97..], [97, 0, 1]);
    assert_eq!(acc.copy_within(bytes.clone(), 5..=6, 0).await.unwrap()[..3], [5, 6, 2]);
    let after_four = (std::ops::Bound::Excluded(4), std::ops::Bound::Excluded(6));
    assert_eq!(acc.copy_within(bytes, after_four, 0).await.unwrap()[..2], [5, 1]);
}

/// Room for `len` bytes at an address with the given offset in its page, and zeros around it.
fn at_page_offset(len: usize, offset: usize) -> Slice<Vec<u8>> {
    let room = vec![0u8; len + 2 * 4096];
    let begin = (offset + 4096 - room.as_ptr().addr() % 4096) % 4096;
    let room = room.slice_mut(begin..begin + len);
    assert_eq!(StableBuf::as_ptr(&room).addr() % 4096, offset);
    room
}

async fn dualcast(backend: &Backend, by: By, src: Vec<u8>, first: usize, second: usize) {
    let len = src.len();
    let what = format!("dualcast of {len} to page offsets {first} and {second}");
    let operation = backend.accelerator.dualcast(src.clone(), at_page_offset(len, first), at_page_offset(len, second));
    let (back, first, second) = backend.run(by, &what, operation).await.unwrap();
    assert_same(&back, &src, &what);
    for dst in [first, second] {
        let range = dst.range();
        assert_same(&dst, &src, &what);
        let whole = dst.into_inner();
        assert!(whole[..range.start].iter().chain(&whole[range.end..]).all(|&byte| byte == 0), "{what}: out of bounds");
    }
}

pub(crate) async fn dualcasts_to_aligned_destinations(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in SIZES {
        for offset in [0, 1, 64, 4095] {
            dualcast(backend, by_size(len), rng.bytes(len), offset, offset).await;
        }
    }
}

pub(crate) async fn dualcasts_to_unaligned_destinations(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in SIZES {
        for (first, second) in [(0, 1), (64, 128), (4095, 0)] {
            let by = if len == 0 { By::Nobody } else { By::Cpu };
            dualcast(backend, by, rng.bytes(len), first, second).await;
        }
    }
}
