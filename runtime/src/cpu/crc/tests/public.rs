//! The functions that callers have, which choose by themselves: by the tier in use (`DSA_CPU_TIER`), and for small sizes by nothing else.

use super::every_kernel::{CRC32C, Expected, LONGEST};
use super::*;

/// What a caller gets: small sizes go by no limits.
#[test]
fn the_public_functions_at_every_size() {
    let expected = Expected::new(CRC32C, LONGEST);
    for hint in [Hint::Unknown, Hint::Hot, Hint::Cold] {
        let name = format!("{hint:?}");
        // SAFETY: regions of valid bytes, as in the other sweeps.
        expected.check(&name, &sizes(&[4096, 8192]), |seed, src, len| unsafe {
            crc32c_with(hint, seed as u32, src, len).into()
        });
        // SAFETY: the same, and they do not overlap.
        expected.check_copy(&name, &sizes(&[4096]), |seed, src, dst, len| unsafe {
            copy_crc32c_with(hint, seed as u32, src, dst, len).into()
        });
    }
}

#[test]
fn the_public_functions_touch_nothing_outside() {
    let (source, destination) = (Guarded::new(LONGEST), Guarded::new(LONGEST));
    let data = noise(LONGEST, 9);
    for size in (0..=200).chain([255, 256, 257, 511, 512, 513, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 4097]) {
        let value = oracle(CRC32C, 7, &data[..size]) as u32;
        let from_end = source.put(&data[..size]);
        // SAFETY: accessible bytes of memory that only the test uses.
        unsafe {
            assert_eq!(crc32c_at(7, from_end, size), value, "{size} bytes, at the end");
            assert_eq!(copy_crc32c(7, from_end, destination.end(size), size), value, "{size} bytes, at the end");
            assert!(destination.bytes(size) == data[..size], "{size} bytes, at the end");
            ptr::copy_nonoverlapping(data.as_ptr(), source.start(), size);
            assert_eq!(crc32c_at(7, source.start(), size), value, "{size} bytes, at the start");
            assert_eq!(copy_crc32c(7, source.start(), destination.start(), size), value, "{size} bytes, at the start");
        }
    }
}
