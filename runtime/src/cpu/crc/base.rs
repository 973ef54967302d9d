//! What `crc-fast` does: all CRCs on every CPU. The kernels of this folder stand in for it where they are faster.

use core::{ptr, slice};

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC-32C state behind `data`, from the state before it.
pub(super) fn crc32c(state: u32, data: &[u8]) -> u32 {
    // At the start of a message there is a shorter way in, which counts for short data.
    if state == u32::MAX {
        return !crc_fast::crc32_iscsi(data);
    }
    behind(Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state.into()), data) as u32
}

/// The CRC-64/NVME state behind `data`, from the state before it.
pub(super) fn crc64(state: u64, data: &[u8]) -> u64 {
    if state == u64::MAX {
        return !crc_fast::crc64_nvme(data);
    }
    behind(Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, state), data)
}

/// The state behind `data`.
pub(super) fn behind(mut digest: Digest, data: &[u8]) -> u64 {
    digest.update(data);
    digest.get_state()
}

/// As a slice, which may be empty wherever it is.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes while the slice lives. It may be anything if `len` is 0.
pub(super) unsafe fn slice<'a>(src: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    if len == 0 { &[] } else { unsafe { slice::from_raw_parts(src, len) } }
}

/// Copies in steps of `step` bytes, each of which is handed to `take` as soon as it has arrived. So the CRC vouches for the
/// destination, and finds it in the first-level cache.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes and `dst` for writing as many; they do not overlap, and nobody else touches
/// them meanwhile. The pointers may be anything if `len` is 0.
pub(super) unsafe fn copy_in_steps(src: *const u8, dst: *mut u8, len: usize, step: usize, mut take: impl FnMut(&[u8])) {
    let mut at = 0;
    while at < len {
        let step = (len - at).min(step);
        // SAFETY: `at + step <= len`, for which the caller vouches; `step` bytes of `dst` are initialised by the copy.
        take(unsafe {
            ptr::copy_nonoverlapping(src.add(at), dst.add(at), step);
            slice::from_raw_parts(dst.add(at), step)
        });
        at += step;
    }
}
