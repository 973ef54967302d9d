//! CRC-32C with two execution units at once: folding of rows (AVX-512) beside three streams of the `crc32` instruction.
//!
//! A block is three scalar streams, one behind the other, and then the rows of eight accumulators. At the end of a block the states
//! of the streams are folded onto the last 16 bytes of the last accumulator; so the accumulators stand for all before.
//!
//! Zen 4 and 5 multiply a row in four cycles, in which the instruction could take half as much. With four streams it would, but
//! Zen 4 then takes longer for the rows; three come for nearly nothing. Server CPUs of Intel multiply a row in two cycles; there the
//! streams are no gain.
//!
//! Streams that come from memory are slower than one that the CPU's prefetching sees through, by far, and no prefetching by
//! instructions mends that. So [`probing`] looks how fast the data come before it goes on with streams.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use core::arch::x86_64::{
    __m512i, _mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_xor_si128, _mm512_inserti32x4,
    _mm512_loadu_si512, _mm512_setzero_si512, _mm512_xor_si512, _rdtsc,
};
use core::ptr;

use super::constants::Field;
use super::fold::{Crc32c, Polynomial, ROW, TURN, beginning, distance, fold, from_eight, load, turn};
use super::short;
use super::sink::Nowhere;

/// Turns of the accumulators in a block.
const TURNS: usize = 8;
/// Scalar streams.
const STREAMS: usize = 3;
/// Bytes of a stream: in each turn a line of it.
const STREAM: usize = TURNS * 64;
/// Bytes of a block before its rows.
const SCALAR: usize = STREAMS * STREAM;
/// Bytes of a block.
pub(super) const BLOCK: usize = SCALAR + TURNS * TURN;

/// What moves the state behind each stream to where it counts as part of the block's last 16 bytes.
const BY_STREAM: [u64; STREAMS] = {
    const FIELD: Field = Crc32c::FIELD;
    let mut constants = [0; STREAMS];
    let mut stream = 0;
    while stream < STREAMS {
        constants[stream] = FIELD.fold(BLOCK - (stream + 1) * STREAM - 16)[0];
        stream += 1;
    }
    constants
};

/// A turn of a block: a line of each stream, from `scalar` on, and a row for each accumulator, from `rows` on.
///
/// # Safety
///
/// As for [`hybrid`], with so many bytes left; so for all functions of this file.
#[inline(always)]
unsafe fn mixed_turn(
    eight: &mut [__m512i; 8],
    distance: __m512i,
    streams: &mut [u64; STREAMS],
    src: *const u8,
    (scalar, rows): (usize, usize),
) {
    for (index, accumulator) in eight.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            *accumulator = fold(*accumulator, distance, _mm512_loadu_si512(src.add(rows + index * ROW).cast()));
            for (stream, state) in streams.iter_mut().enumerate() {
                let word = ptr::read_unaligned(src.add(scalar + stream * STREAM + index * 8).cast::<u64>());
                *state = _mm_crc32_u64(*state, word);
            }
            short::in_step(streams);
        }
    }
}

/// A block from `at` on, with the accumulators of what is before it. Those of nothing are 0, and `state` is that before the block.
#[inline(always)]
unsafe fn block(eight: &mut [__m512i; 8], by_block: __m512i, state: u64, src: *const u8, at: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let by_turn = distance::<Crc32c, TURN>();
        let mut streams = [state, 0, 0];
        mixed_turn(eight, by_block, &mut streams, src, (at, at + SCALAR));
        for index in 1..TURNS {
            mixed_turn(eight, by_turn, &mut streams, src, (at + index * 64, at + SCALAR + index * TURN));
        }
        let mut sum = _mm_cvtsi64_si128(0);
        for (state, constant) in streams.into_iter().zip(BY_STREAM) {
            let moved = _mm_clmulepi64_si128::<0x00>(
                _mm_cvtsi64_si128(state.cast_signed()),
                _mm_cvtsi64_si128(constant.cast_signed()),
            );
            sum = _mm_xor_si128(sum, moved);
        }
        eight[7] = _mm512_xor_si512(eight[7], _mm512_inserti32x4::<3>(_mm512_setzero_si512(), sum));
    }
}

/// The CRC-32C state behind `len` bytes, at least [`BLOCK`], from the state before them.
///
/// # Safety
///
/// The CPU is of tier AVX-512. `src` is valid for reading `len` initialised bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq,avx2,bmi1,bmi2,lzcnt,sse4.2,pclmulqdq")]
pub(super) unsafe fn hybrid(state: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: the features are enabled here; the rest is the caller's promise, with a look at how much is left.
    unsafe {
        let by_block = distance::<Crc32c, { SCALAR + TURN }>();
        let mut eight = [_mm512_setzero_si512(); 8];
        let mut state = u64::from(state);
        let mut at = 0;
        while len - at >= BLOCK {
            block(&mut eight, by_block, state, src, at);
            state = 0;
            at += BLOCK;
        }
        from_eight::<Crc32c, Nowhere, 0>(eight, src, Nowhere, at, len) as u32
    }
}

/// Bytes from whose duration it is seen whether the data are in a cache. The clock is read without waiting for what is still on its way,
/// as that would cost more than it tells; so these are more bytes than a CPU has on its way.
const PROBE: usize = 16 * TURN;
/// Blocks between two looks at the time.
const BLOCKS: usize = 16;
/// The least that [`probing`] takes.
pub(super) const LEAST_TO_PROBE: usize = PROBE + BLOCK;

/// As [`hybrid`], where the data come as fast as from a cache, and otherwise by rows alone. At least [`LEAST_TO_PROBE`] bytes.
/// `ticks_per_kib` is how many ticks of the time-stamp counter a KiB from a cache takes at most.
///
/// # Safety
///
/// As for [`hybrid`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq,avx2,bmi1,bmi2,lzcnt,sse4.2,pclmulqdq")]
pub(super) unsafe fn probing(state: u32, src: *const u8, len: usize, ticks_per_kib: u64) -> u32 {
    // SAFETY: as for `hybrid`.
    unsafe {
        let by_turn = distance::<Crc32c, TURN>();
        let by_block = distance::<Crc32c, { SCALAR + TURN }>();
        let mut eight: [__m512i; 8] = load(src, Nowhere, 0);
        eight[0] = _mm512_xor_si512(eight[0], beginning(state.into()));
        let mut before = _rdtsc();
        let mut at = TURN;
        while at < PROBE {
            turn(&mut eight, by_turn, src, Nowhere, at);
            at += TURN;
        }
        let mut from = TURN;
        while len - at >= BLOCK {
            let now = _rdtsc();
            if now.wrapping_sub(before) / ((at - from) / 256) as u64 > ticks_per_kib / 4 {
                break;
            }
            (before, from) = (now, at);
            let end = at + ((len - at) / BLOCK).min(BLOCKS) * BLOCK;
            while at < end {
                block(&mut eight, by_block, 0, src, at);
                at += BLOCK;
            }
        }
        from_eight::<Crc32c, Nowhere, 0>(eight, src, Nowhere, at, len) as u32
    }
}
