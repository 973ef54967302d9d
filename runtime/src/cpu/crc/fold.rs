//! CRCs of reflected data by folding rows of 64 bytes, with or without a copy: AVX-512 with VPCLMULQDQ.
//!
//! Eight accumulators each take every eighth row, so that no multiplication waits for the one before. Below 512 bytes there are
//! four, two or one of them. Behind the last whole turn, half of the accumulators are folded onto the other half again and again,
//! and each time rows that are left over are taken in by as many accumulators as there are then. A last row that is not whole is
//! read from the end of the input, without the bytes that it shares with the row before, and folded onto by a distance of that
//! many bytes. What is left of the last accumulator is 16 bytes that have the CRC of the whole.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use core::arch::x86_64::{
    __m128i, __m512i, _MM_HINT_T0, _mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64,
    _mm_extract_epi64, _mm_prefetch, _mm_set_epi64x, _mm_sfence, _mm_xor_si128, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_xor_si256, _mm512_broadcast_i32x4, _mm512_castsi512_si256,
    _mm512_clmulepi64_epi128, _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_maskz_mov_epi8,
    _mm512_maskz_mov_epi64, _mm512_set_epi64, _mm512_setzero_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
    _mm512_zextsi128_si512,
};

use super::constants::{Field, POLYNOMIAL_32, POLYNOMIAL_64};
use super::sink::{Cached, Past, Sink};
use super::{base, short};

/// Bytes of a row.
pub(super) const ROW: usize = 64;
/// Bytes that eight accumulators take in a turn.
pub(super) const TURN: usize = 8 * ROW;

/// A polynomial, with its way from the last 16 bytes to the CRC.
pub(super) trait Polynomial {
    const FIELD: Field;
    /// For each distance below a row.
    const TAIL: &'static [[u64; 2]; 64];

    /// The state behind less than 64 bytes, from the state before them.
    ///
    /// # Safety
    ///
    /// The CPU has SSE4.2. `src` is valid for reading `len` initialised bytes and the sink for taking as many. The pointers may be
    /// anything if `len` is 0.
    unsafe fn short<S: Sink>(state: u64, src: *const u8, sink: S, len: usize) -> u64;

    /// The state behind 16 bytes, from state 0.
    ///
    /// # Safety
    ///
    /// The CPU has SSE4.2 and PCLMULQDQ.
    unsafe fn finish(last: __m128i) -> u64;
}

/// CRC-32C.
pub(super) struct Crc32c;

impl Polynomial for Crc32c {
    const FIELD: Field = Field::new(32, POLYNOMIAL_32);
    const TAIL: &'static [[u64; 2]; 64] = &Self::FIELD.folds();

    #[inline(always)]
    unsafe fn short<S: Sink>(state: u64, src: *const u8, sink: S, len: usize) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { short::by_words(state as u32, src, sink, len).into() }
    }

    #[inline(always)]
    unsafe fn finish(last: __m128i) -> u64 {
        // SAFETY: SSE4.2 is there, as the trait asks for. The instruction computes this very CRC.
        unsafe {
            let first = _mm_crc32_u64(0, _mm_cvtsi128_si64(last).cast_unsigned());
            _mm_crc32_u64(first, _mm_extract_epi64::<1>(last).cast_unsigned())
        }
    }
}

/// CRC-64/NVME.
pub(super) struct Crc64;

impl Polynomial for Crc64 {
    const FIELD: Field = Field::new(64, POLYNOMIAL_64);
    const TAIL: &'static [[u64; 2]; 64] = &Self::FIELD.folds();

    #[inline(always)]
    unsafe fn short<S: Sink>(state: u64, src: *const u8, sink: S, len: usize) -> u64 {
        // SAFETY: the caller's promise. No copy takes more than the bytes that are there.
        unsafe {
            sink.all(src, len);
            base::crc64(state, base::slice(src, len))
        }
    }

    #[inline(always)]
    unsafe fn finish(last: __m128i) -> u64 {
        const fn vector(low: u64) -> i64 {
            low.cast_signed()
        }
        // The state is `last` times x^64, modulo the polynomial x^64 + p. First its upper word times x^128, where x^127 is known
        // (and one x comes with the multiplication), plus its lower word times x^64: 128 bits, high and low.
        let power = const { vector(Self::FIELD.power(127)) };
        // Then Barrett's reduction. By x^128 / P = x^64 + quotient, the multiple of the polynomial to subtract from high * x^64 is
        // high + the upper word of (high * quotient); of its product with P, the lower word is that of multiple * p.
        let constants = const { [vector(Self::FIELD.quotient()), vector(Self::FIELD.polynomial())] };
        // SAFETY: PCLMULQDQ is there, as the trait asks for.
        unsafe {
            let words =
                |vector| (_mm_cvtsi128_si64(vector).cast_unsigned(), _mm_extract_epi64::<1>(vector).cast_unsigned());
            let constants = _mm_set_epi64x(constants[1], constants[0]);
            let product = _mm_clmulepi64_si128::<0x00>(last, _mm_cvtsi64_si128(power));
            let (upper, low) = words(product);
            let high = upper ^ _mm_extract_epi64::<1>(last).cast_unsigned();
            let (upper, _) = words(_mm_clmulepi64_si128::<0x00>(_mm_cvtsi64_si128(high.cast_signed()), constants));
            // Both products come times x, so their words lie one bit off.
            let multiple = high ^ upper << 1;
            let (upper, lower) =
                words(_mm_clmulepi64_si128::<0x10>(_mm_cvtsi64_si128(multiple.cast_signed()), constants));
            low ^ (lower << 1 | upper >> 63)
        }
    }
}

/// What moves each 16 bytes of a row by `BYTES`.
///
/// # Safety
///
/// The CPU has the instructions of the tier; so for all functions of this file.
#[inline(always)]
pub(super) unsafe fn distance<P: Polynomial, const BYTES: usize>() -> __m512i {
    let [first, second] = const { P::FIELD.fold(BYTES) };
    // SAFETY: the caller's promise.
    unsafe { _mm512_broadcast_i32x4(_mm_set_epi64x(second.cast_signed(), first.cast_signed())) }
}

/// An accumulator, moved, plus a row.
#[inline(always)]
pub(super) unsafe fn fold(accumulator: __m512i, distance: __m512i, row: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let first = _mm512_clmulepi64_epi128::<0x00>(accumulator, distance);
        let second = _mm512_clmulepi64_epi128::<0x11>(accumulator, distance);
        _mm512_ternarylogic_epi64::<0x96>(first, second, row)
    }
}

/// `N` rows of the input, which go into the sink.
#[inline(always)]
pub(super) unsafe fn load<S: Sink, const N: usize>(src: *const u8, sink: S, at: usize) -> [__m512i; N] {
    // SAFETY: the caller's promise.
    let mut rows = [unsafe { _mm512_setzero_si512() }; N];
    for (index, row) in rows.iter_mut().enumerate() {
        // SAFETY: as above, and so many rows are left.
        unsafe {
            *row = _mm512_loadu_si512(src.add(at + index * ROW).cast());
            sink.row(at + index * ROW, *row);
        }
    }
    rows
}

/// A turn of `N` accumulators: the next `N` rows.
#[inline(always)]
pub(super) unsafe fn turn<S: Sink, const N: usize>(
    accumulators: &mut [__m512i; N],
    distance: __m512i,
    src: *const u8,
    sink: S,
    at: usize,
) {
    for (index, accumulator) in accumulators.iter_mut().enumerate() {
        // SAFETY: the caller's promise; so many rows are left.
        unsafe {
            let row = _mm512_loadu_si512(src.add(at + index * ROW).cast());
            sink.row(at + index * ROW, row);
            *accumulator = fold(*accumulator, distance, row);
        }
    }
}

/// A state, to be added to the first row.
#[inline(always)]
pub(super) unsafe fn beginning(state: u64) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_zextsi128_si512(_mm_cvtsi64_si128(state.cast_signed())) }
}

/// The state behind `len` bytes, at least [`ROW`], from the state before them. `AHEAD` is by how many bytes lines are asked for in
/// advance, or 0.
///
/// # Safety
///
/// The CPU has the instructions of the tier. `src` is valid for reading `len` initialised bytes and the sink for taking as many.
#[inline(always)]
unsafe fn rows<P: Polynomial, S: Sink, const AHEAD: usize>(state: u64, src: *const u8, sink: S, len: usize) -> u64 {
    // SAFETY: the caller's promise; every load is preceded by a look at how many bytes are left.
    unsafe {
        if len >= TURN {
            let mut eight: [__m512i; 8] = load(src, sink, 0);
            eight[0] = _mm512_xor_si512(eight[0], beginning(state));
            return from_eight::<P, S, AHEAD>(eight, src, sink, TURN, len);
        }
        let first = |row: &mut __m512i| *row = _mm512_xor_si512(*row, beginning(state));
        if len >= 4 * ROW {
            let mut four = load(src, sink, 0);
            first(&mut four[0]);
            from_four::<P, S>(four, src, sink, 4 * ROW, len)
        } else if len >= 2 * ROW {
            let mut two = load(src, sink, 0);
            first(&mut two[0]);
            from_two::<P, S>(two, src, sink, 2 * ROW, len)
        } else {
            let [mut one] = load(src, sink, 0);
            first(&mut one);
            from_one::<P, S>(one, src, sink, ROW, len)
        }
    }
}

/// As [`rows`], with the accumulators of the 512 bytes before `at`.
#[inline(always)]
pub(super) unsafe fn from_eight<P: Polynomial, S: Sink, const AHEAD: usize>(
    mut eight: [__m512i; 8],
    src: *const u8,
    sink: S,
    mut at: usize,
    len: usize,
) -> u64 {
    // SAFETY: as for `rows`. Addresses to prefetch may lie anywhere.
    unsafe {
        let by_turn = distance::<P, TURN>();
        while len - at >= TURN {
            if AHEAD != 0 {
                for row in 0..8 {
                    _mm_prefetch::<_MM_HINT_T0>(src.wrapping_add(at + AHEAD + row * ROW).cast());
                }
            }
            turn(&mut eight, by_turn, src, sink, at);
            at += TURN;
        }
        let by_half = distance::<P, { TURN / 2 }>();
        // By hand: a closure over an array would not be inlined here, and pass each vector by way of memory.
        let four = [
            fold(eight[0], by_half, eight[4]),
            fold(eight[1], by_half, eight[5]),
            fold(eight[2], by_half, eight[6]),
            fold(eight[3], by_half, eight[7]),
        ];
        from_four::<P, S>(four, src, sink, at, len)
    }
}

/// As [`rows`], with the accumulators of the 256 bytes before `at` and less than 512 bytes left.
#[inline(always)]
unsafe fn from_four<P: Polynomial, S: Sink>(
    mut four: [__m512i; 4],
    src: *const u8,
    sink: S,
    mut at: usize,
    len: usize,
) -> u64 {
    // SAFETY: as for `rows`.
    unsafe {
        if len - at >= 4 * ROW {
            turn(&mut four, distance::<P, { 4 * ROW }>(), src, sink, at);
            at += 4 * ROW;
        }
        let by_half = distance::<P, { 2 * ROW }>();
        let two = [fold(four[0], by_half, four[2]), fold(four[1], by_half, four[3])];
        from_two::<P, S>(two, src, sink, at, len)
    }
}

/// As [`rows`], with the accumulators of the 128 bytes before `at` and less than 256 bytes left.
#[inline(always)]
unsafe fn from_two<P: Polynomial, S: Sink>(
    mut two: [__m512i; 2],
    src: *const u8,
    sink: S,
    mut at: usize,
    len: usize,
) -> u64 {
    // SAFETY: as for `rows`.
    unsafe {
        if len - at >= 2 * ROW {
            turn(&mut two, distance::<P, { 2 * ROW }>(), src, sink, at);
            at += 2 * ROW;
        }
        let one = fold(two[0], distance::<P, ROW>(), two[1]);
        from_one::<P, S>(one, src, sink, at, len)
    }
}

/// As [`rows`], with the accumulator of the 64 bytes before `at` and less than 128 bytes left.
#[inline(always)]
unsafe fn from_one<P: Polynomial, S: Sink>(one: __m512i, src: *const u8, sink: S, mut at: usize, len: usize) -> u64 {
    // SAFETY: as for `rows`.
    unsafe {
        let mut one = [one];
        if len - at >= ROW {
            turn(&mut one, distance::<P, ROW>(), src, sink, at);
            at += ROW;
        }
        let [mut one] = one;
        let left = len - at;
        if left != 0 {
            // The last row, of which the last `left` bytes are new.
            let row = _mm512_loadu_si512(src.add(len - ROW).cast());
            let mask = u64::MAX << (ROW - left);
            sink.last_row(len - ROW, row, mask);
            let by_left = _mm512_broadcast_i32x4(P::TAIL.as_ptr().add(left).cast::<__m128i>().read_unaligned());
            one = fold(one, by_left, _mm512_maskz_mov_epi8(mask, row));
        }
        P::finish(last_16::<P>(one))
    }
}

/// A row, folded onto its last 16 bytes.
#[inline(always)]
unsafe fn last_16<P: Polynomial>(row: __m512i) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe {
        let constants = const { [P::FIELD.fold(48), P::FIELD.fold(32), P::FIELD.fold(16)] };
        let word = |at: usize, index: usize| constants[at][index].cast_signed();
        let distances = _mm512_set_epi64(0, 0, word(2, 1), word(2, 0), word(1, 1), word(1, 0), word(0, 1), word(0, 0));
        let folded = fold(row, distances, _mm512_maskz_mov_epi64(0b1100_0000, row));
        let half = _mm256_xor_si256(_mm512_castsi512_si256(folded), _mm512_extracti64x4_epi64::<1>(folded));
        _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
    }
}

/// The state behind `len` bytes, at least 64, from the state before them.
///
/// # Safety
///
/// The CPU is of tier AVX-512. `src` is valid for reading `len` initialised bytes and the sink for taking as many.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq,avx2,bmi1,bmi2,lzcnt,sse4.2,pclmulqdq")]
pub(super) unsafe fn folded<P: Polynomial, S: Sink, const AHEAD: usize>(
    state: u64,
    src: *const u8,
    sink: S,
    len: usize,
) -> u64 {
    // SAFETY: the features are enabled here; the rest is the caller's promise.
    unsafe { rows::<P, S, AHEAD>(state, src, sink, len) }
}

/// As [`folded`] with a copy of at least 128 bytes, and stores to multiples of 64.
///
/// # Safety
///
/// As for [`folded`], with a `dst` that is valid for writing `len` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq,avx2,bmi1,bmi2,lzcnt,sse4.2,pclmulqdq")]
pub(super) unsafe fn aligned<P: Polynomial>(state: u64, src: *const u8, dst: *mut u8, len: usize) -> u64 {
    let skip = dst.addr().wrapping_neg() % ROW;
    // SAFETY: less than a row, and at least one is left behind it; the features are enabled here, the rest is the caller's promise.
    unsafe {
        let state = if skip == 0 { state } else { P::short(state, src, Cached(dst), skip) };
        rows::<P, Cached, 0>(state, src.add(skip), Cached(dst.add(skip)), len - skip)
    }
}

/// As [`folded`], and the bytes go past the caches; at least 128 of them.
///
/// # Safety
///
/// As for [`folded`], with a `dst` that is valid for writing `len` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq,avx2,bmi1,bmi2,lzcnt,sse4.2,pclmulqdq")]
pub(super) unsafe fn streamed<P: Polynomial, const AHEAD: usize>(
    state: u64,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> u64 {
    // Up to where the destination is aligned.
    let skip = dst.addr().wrapping_neg() % ROW;
    // SAFETY: less than a row, and at least one is left behind it; the features are enabled here, the rest is the caller's promise.
    unsafe {
        let state = if skip == 0 { state } else { P::short(state, src, Cached(dst), skip) };
        let state = rows::<P, Past, AHEAD>(state, src.add(skip), Past(dst.add(skip)), len - skip);
        // Whoever learns that the copy is done finds the bytes.
        _mm_sfence();
        state
    }
}
