//! Wide fills, comparisons with a pattern, CRC-64, cache flushes, translation fetches, drains.

use std::sync::LazyLock;

use dsa::buf::{StableBuf, StableBufMut};
use dsa::descriptor::Capabilities;
use dsa::stats::{Operation, Path, Reason};
use dsa::{Error, Pattern};
use idxd_sys::opcode;

use crate::backend::{Backend, By};
use crate::compare::positions;
use crate::moves::{SIZES, by_size};
use crate::support::oracle::{self, wide_fill};
use crate::support::{Rng, assert_same, fill_oracle, poll_once, seed, within};

const PATTERN: [u8; 16] = *b"0123456789abcdef";

pub(crate) async fn wide_fills_of_every_size(backend: &Backend) {
    for len in SIZES {
        let what = format!("wide fill of {len}");
        let by = backend.by(len, Capabilities::fill_16);
        let fill = backend.accelerator.fill_wide(Vec::with_capacity(len), len, PATTERN);
        let dst = backend.run_as(opcode::FILL, by, &what, fill).await.unwrap();
        assert_same(&dst, &wide_fill(PATTERN, len), &what);
        // A pattern of eight bytes in disguise needs no capability.
        let narrow = *b"01234567";
        let fill = backend.accelerator.fill_wide(dst, len, Pattern::from(narrow));
        let dst = backend.run_as(opcode::FILL, by_size(len), &what, fill).await.unwrap();
        assert_same(&dst, &fill_oracle(narrow, len), &what);
    }
}

pub(crate) async fn wide_fills_start_with_the_pattern(backend: &Backend) {
    for start in [0, 1, 7, 8, 15, 64] {
        for len in [1, 15, 16, 17, 4099, 65_543] {
            let by = backend.by(len, Capabilities::fill_16);
            let dst = vec![0; start + len + 11].slice_mut(start..start + len);
            let fill = backend.accelerator.fill_wide(dst, len, PATTERN);
            let dst = backend.run(by, "wide fill", fill).await.unwrap().into_inner();
            assert_same(&dst[start..start + len], &wide_fill(PATTERN, len), &format!("{len} from {start}"));
            assert!(dst[..start].iter().chain(&dst[start + len..]).all(|&byte| byte == 0), "out of bounds");
        }
    }
}

pub(crate) async fn regions_of_a_pattern(backend: &Backend) {
    let pattern = [1, 2, 3, 4, 5, 6, 7, 8];
    for len in SIZES {
        let what = format!("comparison of {len} with a pattern");
        for start in [0, 1, 7] {
            let data = [vec![9; start], fill_oracle(pattern, len)].concat().slice(start..);
            let compare = backend.accelerator.compare_pattern(data, pattern);
            let (difference, data) = backend.run_as(opcode::COMPVAL, by_size(len), &what, compare).await.unwrap();
            assert_eq!(difference, None, "{what} from {start}");
            assert_same(&data, &fill_oracle(pattern, len), &what);
        }
    }
}

/// A device says only about where a difference is.
pub(crate) async fn every_difference_from_a_pattern(backend: &Backend) {
    let pattern = [1, 2, 3, 4, 5, 6, 7, 8];
    let mut rng = Rng::new(seed());
    for len in SIZES {
        let mut data = fill_oracle(pattern, len);
        for at in positions(len) {
            let (right, also) = (data[at], rng.below(len - at) + at);
            data[at] ^= 1 << (at % 8);
            // Later differences do not matter.
            let later = data[also];
            if also != at {
                data[also] = !later;
            }
            let difference;
            let compare = backend.accelerator.compare_pattern(data, pattern);
            let what = format!("difference at {at} of {len}");
            (difference, data) = backend.run_as(opcode::COMPVAL, By::Device, &what, compare).await.unwrap();
            assert_eq!(difference, Some(at), "{what}");
            data[also] = later;
            data[at] = right;
        }
    }
}

/// Data of every size with its CRC from 0 and from a seed, once for all back ends.
static CASES: LazyLock<Vec<(Vec<u8>, u64, u64)>> = LazyLock::new(|| {
    let mut rng = Rng::new(seed());
    let case = |data: Vec<u8>| (oracle::crc64(0, &data), oracle::crc64(SEED, &data), data);
    SIZES.map(|len| case(rng.bytes(len))).into_iter().map(|(crc, seeded, data)| (data, crc, seeded)).collect()
});

const SEED: u64 = 0xdead_beef_0bad_cafe;

pub(crate) async fn crc64_check_vectors(backend: &Backend) {
    // NVM Express, NVM Command Set Specification, CRC-64 test cases; and the customary nine digits.
    let up: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let down: Vec<u8> = (0..=255).rev().cycle().take(4096).collect();
    let vectors = [
        (vec![0; 4096], 0x6482_d367_eb22_b64e),
        (vec![0xff; 4096], 0xc0dd_ba73_02ec_a3ac),
        (up, 0x3e72_9f5f_6750_449c),
        (down, 0x9a2d_f64b_8e9e_517e),
        (b"123456789".to_vec(), 0xae8b_1486_0a79_9888),
    ];
    for (data, crc) in vectors {
        let by = backend.by(data.len(), Capabilities::crc64);
        let operation = backend.accelerator.crc64(data);
        assert_eq!(backend.run_as(opcode::CRCGEN, by, "vector", operation).await.unwrap().0, crc);
    }
}

pub(crate) async fn crc64_of_every_size(backend: &Backend) {
    let acc = &backend.accelerator;
    for (data, crc, seeded) in CASES.iter() {
        let by = backend.by(data.len(), Capabilities::crc64);
        let what = format!("crc-64 of {}", data.len());
        let operation = acc.crc64(data.clone());
        let (found, src) = backend.run_as(opcode::CRCGEN, by, &what, operation).await.unwrap();
        assert_eq!(found, *crc, "{what}");
        let operation = acc.crc64(src).seed(SEED);
        let (found, src) = backend.run(by, &what, operation).await.unwrap();
        assert_eq!(found, *seeded, "{what}");
        let operation = acc.copy_crc64(src, Vec::with_capacity(data.len()));
        let (found, (src, dst)) = backend.run_as(opcode::COPY_CRC, by, &what, operation).await.unwrap();
        assert_eq!(found, *crc, "{what}");
        assert_same(&dst, data, &what);
        let operation = acc.copy_crc64(src, dst).seed(SEED);
        let (found, (src, dst)) = backend.run(by, &what, operation).await.unwrap();
        assert_eq!(found, *seeded, "{what}");
        assert_same(&dst, data, &what);
        // A result goes on behind what gave it.
        let middle = data.len() / 3;
        let (first, rest) = (data[..middle].to_vec(), src.slice(middle..));
        let (first, _) = within(&what, acc.crc64(first)).await.unwrap();
        let (chained, _) = within(&what, acc.crc64(rest).seed(first)).await.unwrap();
        assert_eq!(chained, *crc, "{what}");
    }
}

pub(crate) async fn flushes_and_fetches(backend: &Backend) {
    let acc = &backend.accelerator;
    let mut rng = Rng::new(seed());
    for len in SIZES {
        let data = rng.bytes(len);
        let buf = acc.cache_flush(data.clone(), ..);
        let buf = backend.run_as(opcode::CFLUSH, by_size(len), "flush", buf).await.unwrap();
        let (start, end) = (len / 3, len - len / 4);
        let flush = acc.cache_flush(buf, start..end).durable(true);
        let by = backend.by(end - start, Capabilities::destination_readback);
        let buf = backend.run_as(opcode::CFLUSH, by, "durable flush", flush).await.unwrap();
        assert_same(&buf, &data, "flushed");
        let by = backend.by(len, |caps| caps.supports(opcode::TRANSL_FETCH));
        let fetch = acc.translation_fetch(buf);
        let buf = backend.run_as(opcode::TRANSL_FETCH, by, "translation fetch", fetch).await.unwrap();
        assert_same(&buf, &data, "fetched");
    }
    let flush = acc.cache_flush(vec![1; 10], 5..=10);
    let (error, buf) = backend.run(By::Nobody, "out of bounds", flush).await.unwrap_err().into_parts();
    assert_eq!((error, buf), (Error::OutOfBounds { start: 5, end: 11, len: 10 }, Some(vec![1; 10])));
}

/// After a drain nothing is out any more of what was dropped before.
pub(crate) async fn drains(backend: &Backend) {
    let acc = &backend.accelerator;
    let before = acc.stats();
    within("nothing to wait for", acc.drain()).await.unwrap();
    for round in 0..5 {
        for _ in 0..6 {
            let mut operation = acc.copy(vec![round; 20_000], vec![0; 20_000]);
            let _ = poll_once(&mut operation);
        }
        if round % 2 == 0 {
            within("drain", acc.drain()).await.unwrap();
        } else {
            acc.blocking().drain();
        }
        // Whatever its queue was told, there is nothing left for the poller but to notice.
        crate::support::quiet(acc);
    }
    drop(acc.drain());
    let done = acc.stats().since(&before);
    let drains = |path| done.operations(path, Operation::Drain);
    assert_eq!(drains(Path::Device) + drains(Path::Cpu), 6, "{done}");
    if backend.has_device() && acc.capabilities().all(|caps| caps.supports(opcode::DRAIN)) {
        // A full queue has no room for a DRAIN.
        assert_eq!(drains(Path::Cpu), done.reason(Reason::QueueFull).min(drains(Path::Cpu)), "{done}");
    } else {
        assert_eq!(drains(Path::Cpu), 6, "{done}");
    }
}
