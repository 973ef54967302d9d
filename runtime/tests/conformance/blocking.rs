//! Blocking calls on borrowed memory.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dsa::stats::Path;

use crate::backend::{Backend, By};
use crate::moves::{SIZES, by_size};
use crate::support::{Rng, assert_same, crc_oracle, fill_oracle, seed};

pub(crate) async fn single_calls(backend: &Backend) {
    let mut rng = Rng::new(seed());
    let (blocking, path) =
        (backend.accelerator.blocking(), if backend.has_device() { Path::Device } else { Path::Cpu });
    for len in SIZES {
        let (src, by) = (rng.bytes(len), by_size(len));
        let mut dst = vec![0; len];
        let done_by = backend.call(by, 1, "memcpy", || blocking.memcpy(&mut dst, &src)).unwrap();
        assert_same(&dst, &src, "memcpy");
        assert!(len == 0 || done_by == path);
        let difference = backend.call(by, 1, "compare", || blocking.first_difference(&dst, &src));
        assert_eq!(difference, Ok(None));
        let pattern = [1, 2, 3, 4, 5, 6, 7, 8];
        backend.call(by, 1, "memset", || blocking.memset(&mut dst, pattern));
        assert_same(&dst, &fill_oracle(pattern, len), "memset");
        // The oracle works bit by bit, too slowly for the long ones on every back end.
        let crc = backend.call(by, 1, "copy_crc32c", || blocking.copy_crc32c(&mut dst, &src)).unwrap();
        assert_same(&dst, &src, "copy_crc32c");
        assert_eq!(backend.call(by, 1, "crc32c", || blocking.crc32c(&src)), crc);
        if len <= 70_000 {
            assert_eq!(crc, crc_oracle(0, &src));
            let seeded = backend.call(by, 1, "crc32c", || blocking.crc32c_from(99, &src));
            assert_eq!(seeded, crc_oracle(99, &src));
            dst.fill(0);
            let seeded = backend.call(by, 1, "copy_crc32c", || blocking.copy_crc32c_from(99, &mut dst, &src));
            assert_eq!(seeded, Ok(crc_oracle(99, &src)));
            assert_same(&dst, &src, "copy_crc32c");
        }
    }
    let (mut short, long) = ([0; 3], [0; 4]);
    let mismatch = |left, right| dsa::Error::LengthMismatch { left, right };
    assert_eq!(blocking.memcpy(&mut short, &long), Err(mismatch(3, 4)));
    assert_eq!(blocking.copy_crc32c(&mut short, &long), Err(mismatch(3, 4)));
    assert_eq!(blocking.first_difference(&short, &long), Err(mismatch(3, 4)));
}

pub(crate) async fn moves_in_place(backend: &Backend) {
    let blocking = backend.accelerator.blocking();
    let before = Rng::new(seed()).bytes(100_000);
    for (from, to, len) in [(0, 50_000, 50_000), (0, 4096, 90_000), (5000, 0, 90_001), (10, 11, 99_989), (9, 9, 5000)] {
        let (mut expected, mut after) = (before.clone(), before.clone());
        expected.copy_within(from..from + len, to);
        let by = if from.abs_diff(to) < 4096 { By::Cpu } else { By::Device };
        backend.call(by, 1, "memmove", || blocking.memmove(&mut after, from..from + len, to)).unwrap();
        assert_same(&after, &expected, &format!("move of {len} from {from} to {to}"));
    }
    let mut buf = vec![0; 100];
    let out = |start, end| Err(dsa::Error::OutOfBounds { start, end, len: 100 });
    assert_eq!(blocking.memmove(&mut buf, 50..101, 0), out(50, 101));
    assert_eq!(blocking.memmove(&mut buf, 0..60, 41), out(41, 101));
    assert_eq!(blocking.memmove(&mut buf, 0..2, usize::MAX), out(usize::MAX, usize::MAX));
}

pub(crate) async fn orderings(backend: &Backend) {
    let blocking = backend.accelerator.blocking();
    let a = Rng::new(seed()).bytes(9000);
    let mut b = a.clone();
    assert_eq!(blocking.memcmp(&a, &b), Ordering::Equal);
    assert_eq!(blocking.memcmp(&a, &b[..8999]), Ordering::Greater);
    assert_eq!(blocking.memcmp(&a[..1], &b), Ordering::Less);
    assert_eq!(blocking.memcmp(&[], &[]), Ordering::Equal);
    for at in [0, 1, 4096, 8999] {
        b[at] = b[at].wrapping_add(1);
        assert_eq!(blocking.memcmp(&a, &b), a.cmp(&b), "difference at {at}");
        assert_eq!(blocking.memcmp(&b, &a), b.cmp(&a), "difference at {at}");
        b[at] = a[at];
    }
}

pub(crate) async fn scopes(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for len in [1, 4097, 200_000] {
        let (a, b) = (rng.bytes(len), rng.bytes(len));
        let (mut copied, mut plain, mut filled) = (vec![0; len], vec![0; len], vec![0; len]);
        let (crc, copied_crc, difference) = backend.call(By::Device, 5, "scope", || {
            backend.accelerator.blocking().scope(|s| {
                let crc = s.crc32c(&a);
                let copied_crc = s.copy_crc32c(&mut copied, &b).unwrap();
                s.copy(&mut plain, &a).unwrap();
                s.fill(&mut filled, 3u8).wait();
                let difference = s.compare(&a, &b).unwrap();
                (crc.wait(), copied_crc.wait(), difference.wait())
            })
        });
        assert_same(&copied, &b, "copy with crc");
        assert_same(&plain, &a, "copy");
        assert_same(&filled, &vec![3; len], "fill");
        assert_eq!((crc, copied_crc), (crc_oracle(0, &a), crc_oracle(0, &b)));
        assert_eq!(difference, a.iter().zip(&b).position(|(a, b)| a != b));
    }
    let (mut dst, src) = ([0; 3], [0; 4]);
    backend.call(By::Nobody, 0, "scope", || {
        backend.accelerator.blocking().scope(|s| {
            let mismatch = |left, right| Some(dsa::Error::LengthMismatch { left, right });
            assert_eq!(s.compare(&src, &src[1..]).err(), mismatch(4, 3));
            assert_eq!(s.copy(&mut dst, &src).err(), mismatch(3, 4));
        });
    });
}

/// The memory is free again when the panic comes out of the scope.
pub(crate) async fn scopes_that_panic(backend: &Backend) {
    let src = Rng::new(seed()).bytes(1 << 20);
    let mut dst = vec![vec![0; 1 << 20]; 3];
    let panic = catch_unwind(AssertUnwindSafe(|| {
        backend.accelerator.blocking().scope(|s| {
            for dst in &mut dst {
                s.copy(dst, &src).unwrap();
            }
            std::panic::panic_any("out of here");
        });
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "out of here");
    for dst in &dst {
        assert_same(dst, &src, "copy");
    }
    assert_eq!(backend.accelerator.in_flight(), 0);
}
