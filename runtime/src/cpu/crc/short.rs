//! CRC-32C by the `crc32` instruction, for short inputs.
//!
//! The instruction takes a word per cycle, and the next step can have its result after three. So a single stream is a third as
//! fast as three; it has the least to do before and after.

use core::arch::asm;
use core::arch::x86_64::{_mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_xor_si128};
use core::ptr;

use super::constants::{Field, POLYNOMIAL_32};
use super::sink::{Nowhere, Sink};

/// The state behind `len` bytes, from the state before them.
///
/// # Safety
///
/// The CPU has SSE4.2; `src` is valid for reading `len` initialised bytes and the sink for taking as many. The pointers may be
/// anything if `len` is 0.
#[target_feature(enable = "sse4.2")]
pub(super) unsafe fn by_words<S: Sink>(state: u32, src: *const u8, sink: S, len: usize) -> u32 {
    let mut state = u64::from(state);
    let mut at = 0;
    while len - at >= 32 {
        for next in [at, at + 8, at + 16, at + 24] {
            // SAFETY: four words are left.
            state = unsafe { word(state, src, sink, next) };
        }
        at += 32;
    }
    while len - at >= 8 {
        // SAFETY: a word is left.
        state = unsafe { word(state, src, sink, at) };
        at += 8;
    }
    let left = len - at;
    if left == 0 {
        return state as u32;
    }
    let last = if len >= 8 {
        // SAFETY: the input has a word. Some of its bytes are dealt with; they fall out at the low end.
        unsafe {
            let word = ptr::read_unaligned(src.add(len - 8).cast::<u64>());
            sink.word(len - 8, word);
            word >> (8 * (8 - left))
        }
    } else if len >= 4 {
        // SAFETY: the input has 4 to 7 bytes, which are in one of two words that may overlap.
        unsafe {
            let first = ptr::read_unaligned(src.cast::<u32>());
            let second = ptr::read_unaligned(src.add(len - 4).cast::<u32>());
            sink.half(0, first);
            sink.half(len - 4, second);
            u64::from(first) | u64::from(second) << (8 * (len - 4))
        }
    } else {
        // SAFETY: the input has 1 to 3 bytes: the first, the middle one and the last.
        unsafe {
            let (first, middle, last) = (src.read(), src.add(len / 2).read(), src.add(len - 1).read());
            sink.byte(0, first);
            sink.byte(len / 2, middle);
            sink.byte(len - 1, last);
            u64::from(first) | u64::from(middle) << (8 * (len / 2)) | u64::from(last) << (8 * (len - 1))
        }
    };
    // The instruction takes 8 bytes, of which zeros in front count for nothing where the state is 0. So the state is added to the
    // bytes themselves; what of it lies behind them is left over.
    (_mm_crc32_u64(0, (last ^ state) << (64 - 8 * left)) ^ state >> (8 * left)) as u32
}

/// The state behind the word at `at`, which goes into the sink.
///
/// # Safety
///
/// As for [`by_words`], with a word left.
#[inline]
#[target_feature(enable = "sse4.2")]
unsafe fn word<S: Sink>(state: u64, src: *const u8, sink: S, at: usize) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        let word = ptr::read_unaligned(src.add(at).cast::<u64>());
        sink.word(at, word);
        _mm_crc32_u64(state, word)
    }
}

/// Words of each of three streams in one go of [`by_streams`].
const STREAM: usize = 42;

/// What moves a state by so many words towards the end: x to the power of 64 a word, less the 33 that a multiplication and the
/// `crc32` of the product add.
const BY_WORDS: [u32; 2 * STREAM + 1] = {
    let field = Field::new(32, POLYNOMIAL_32);
    let mut constants = [0; 2 * STREAM + 1];
    let mut words = 1;
    while words < constants.len() {
        constants[words] = (field.power(64 * words - 33) >> 32) as u32;
        words += 1;
    }
    constants
};

/// Makes each next step of one stream need the last step of all. The compiler would put several steps of a stream one behind the
/// other, where each waits for the last, and the CPU's queues fill up.
#[allow(clippy::inline_always, reason = "it has no instructions")]
#[inline(always)]
pub(super) fn in_step([a, b, c]: &mut [u64; 3]) {
    // SAFETY: no instructions.
    unsafe {
        asm!(
            "/* {} {} {} */",
            inout(reg) * a,
            inout(reg) * b,
            inout(reg) * c,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// As [`by_words`] without a copy, in three streams at a time.
///
/// # Safety
///
/// The CPU has SSE4.2 and PCLMULQDQ; `src` is valid for reading `len` initialised bytes. It may be anything if `len` is 0.
#[target_feature(enable = "sse4.2,pclmulqdq")]
pub(super) unsafe fn by_streams(state: u32, src: *const u8, len: usize) -> u32 {
    let mut state = u64::from(state);
    let mut at = 0;
    while len - at >= 3 * 16 {
        let words = ((len - at) / 24).min(STREAM);
        let mut streams = [state, 0, 0];
        for word in 0..words {
            for (stream, state) in streams.iter_mut().enumerate() {
                // SAFETY: three times so many words are left.
                let word = unsafe { ptr::read_unaligned(src.add(at + 8 * (stream * words + word)).cast::<u64>()) };
                *state = _mm_crc32_u64(*state, word);
            }
            in_step(&mut streams);
        }
        let moved = |state: u64, words: usize| {
            let constant = u64::from(BY_WORDS[words]);
            _mm_clmulepi64_si128::<0x00>(
                _mm_cvtsi64_si128(state.cast_signed()),
                _mm_cvtsi64_si128(constant.cast_signed()),
            )
        };
        let sum = _mm_xor_si128(moved(streams[0], 2 * words), moved(streams[1], words));
        state = streams[2] ^ _mm_crc32_u64(0, _mm_cvtsi128_si64(sum).cast_unsigned());
        at += 24 * words;
    }
    // SAFETY: what is left, of which nothing is copied.
    unsafe { by_words(state as u32, src.wrapping_add(at), Nowhere, len - at) }
}
