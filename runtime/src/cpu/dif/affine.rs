//! Guards by the affine instruction of GFNI, a vector of 32 or 64 bytes a step.
//!
//! The instruction multiplies each byte by a matrix of 8 by 8 bits, eight bytes in a row by the same one. That is enough for any
//! multiplication by a constant modulo P: one matrix makes the upper byte of the product, another the lower. So each word of 512
//! bytes has two matrices of its own, for its distance to the end; exclusive or adds up the products, and no step waits for the one
//! before. It takes half the time of carry-less multiplications, does not care about the order of the bits, and leaves the
//! multiplier to the last step: what came of the bytes at the same place in their words are two bytes, for eight places.
//!
//! A longer block goes on from 512 bytes to the next by multiplying those by x^4096, in the same way.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadl_epi64, _mm_set_epi64x, _mm_shuffle_epi8, _mm_storel_epi64, _mm_xor_si128,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_gf2p8affine_epi64_epi8, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi64, _mm256_xor_si256, _mm512_castsi512_si256, _mm512_clmulepi64_epi128,
    _mm512_extracti64x4_epi64, _mm512_gf2p8affine_epi64_epi8, _mm512_set_epi64, _mm512_shuffle_epi8,
    _mm512_shuffle_i64x2, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64, _mm512_xor_si512,
};
use std::arch::asm;
use std::marker::PhantomData;
use std::ptr;

use super::super::vector::Vector;
use super::blocks::{Blocks, GROUP, Shape};
use super::clmul::reduce;
use super::constants::{LOWER, POLYNOMIAL, QUOTIENT, STEP, UPPER};

/// A vector with an affine instruction.
///
/// # Safety
///
/// As for [`Vector`]; the CPU has GFNI and PCLMULQDQ as well, and VPCLMULQDQ with vectors of 64 bytes.
pub(super) trait Affine: Vector {
    /// All words the same.
    unsafe fn broadcast(word: u64) -> Self;
    /// Each byte times the matrix in its word of `matrices`.
    unsafe fn times(self, matrices: Self) -> Self;
    /// Exclusive or of three.
    unsafe fn xor3(self, second: Self, third: Self) -> Self;
    /// Lanes of 16 bytes whose lower words add up to the sum of the words of `self`, the upper ones to that of `other`.
    unsafe fn pairs(self, other: Self) -> Self;
    /// The sum of the lanes of 16 bytes.
    unsafe fn sum(self) -> __m128i;
    /// The guards of a group of blocks, of which these are the pairs and what follows; see [`guard_of`].
    unsafe fn guards_of(pairs: [Self; GROUP], tails: Option<[u64; GROUP]>) -> [u16; GROUP];
}

impl Affine for __m256i {
    #[inline(always)]
    unsafe fn broadcast(word: u64) -> Self {
        // SAFETY: the CPU has AVX2 and GFNI, as the trait asks for; so in all of this block.
        unsafe { Self::splat([word, word]) }
    }

    #[inline(always)]
    unsafe fn times(self, matrices: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_gf2p8affine_epi64_epi8::<0>(self, matrices) }
    }

    #[inline(always)]
    unsafe fn xor3(self, second: Self, third: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(_mm256_xor_si256(self, second), third) }
    }

    #[inline(always)]
    unsafe fn pairs(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(_mm256_unpacklo_epi64(self, other), _mm256_unpackhi_epi64(self, other)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> __m128i {
        // SAFETY: as above.
        unsafe { _mm_xor_si128(_mm256_castsi256_si128(self), _mm256_extracti128_si256::<1>(self)) }
    }

    #[inline(always)]
    unsafe fn guards_of(pairs: [Self; GROUP], tails: Option<[u64; GROUP]>) -> [u16; GROUP] {
        let mut guards = [0; GROUP];
        for block in 0..GROUP {
            let tail = tails.map(|tails| tails[block]);
            // SAFETY: as above.
            guards[block] = unsafe { guard_of(pairs[block].sum(), tail) };
        }
        guards
    }
}

impl Affine for __m512i {
    #[inline(always)]
    unsafe fn broadcast(word: u64) -> Self {
        // SAFETY: the CPU has AVX-512 F and BW and GFNI, as the trait asks for; so in all of this block.
        unsafe { Self::splat([word, word]) }
    }

    #[inline(always)]
    unsafe fn times(self, matrices: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(self, matrices) }
    }

    #[inline(always)]
    unsafe fn xor3(self, second: Self, third: Self) -> Self {
        // SAFETY: as above. The number is the truth table of the exclusive or.
        unsafe { _mm512_ternarylogic_epi64::<0x96>(self, second, third) }
    }

    #[inline(always)]
    unsafe fn pairs(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_xor_si512(_mm512_unpacklo_epi64(self, other), _mm512_unpackhi_epi64(self, other)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> __m128i {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(_mm512_castsi512_si256(self), _mm512_extracti64x4_epi64::<1>(self)).sum() }
    }

    #[inline(always)]
    unsafe fn guards_of(pairs: [Self; GROUP], tails: Option<[u64; GROUP]>) -> [u16; GROUP] {
        // SAFETY: as above. Each step is one of `guard_of`, for a block in each lane.
        unsafe {
            let (first, second) = (halves(pairs[0], pairs[1]), halves(pairs[2], pairs[3]));
            let sums = _mm512_xor_si512(
                _mm512_shuffle_i64x2::<0x88>(first, second),
                _mm512_shuffle_i64x2::<0xdd>(first, second),
            );
            let upper = _mm512_shuffle_epi8(sums, Self::splat(UPPER_ORDER));
            let lower = _mm512_shuffle_epi8(sums, Self::splat(LOWER_ORDER));
            let rest = match tails {
                None => _mm512_xor_si512(upper, lower),
                Some([first, second, third, fourth]) => {
                    let tails =
                        _mm512_set_epi64(number(fourth), 0, number(third), 0, number(second), 0, number(first), 0);
                    upper.xor3(lower, tails)
                }
            };
            let factors = Self::splat([POLYNOMIAL, QUOTIENT]);
            let quotient = _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x11>(rest, factors), rest);
            let words = _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x01>(quotient, factors), rest);
            // By way of memory: to take words out of a vector costs more, and so does what the compiler makes of it.
            let words: [u64; 8] = std::mem::transmute(words);
            let mut guards = [0; GROUP];
            for (block, guard) in guards.iter_mut().enumerate() {
                *guard = ((&raw const words[2 * block]).read_volatile() >> 48) as u16;
            }
            guards
        }
    }
}

/// The lower lanes of two vectors, added to the upper ones.
#[inline(always)]
unsafe fn halves(first: __m512i, second: __m512i) -> __m512i {
    // SAFETY: the CPU has AVX-512, as the callers' types ask for.
    unsafe {
        _mm512_xor_si512(_mm512_shuffle_i64x2::<0x44>(first, second), _mm512_shuffle_i64x2::<0xee>(first, second))
    }
}

/// Eight bytes as a number, the first the most significant.
#[inline(always)]
fn number(bytes: u64) -> i64 {
    u64::from_be_bytes(bytes.to_ne_bytes()).cast_signed()
}

/// Orders of bytes that make numbers of the sums, times x^48: the bytes of upper * x^8, highest first; 0xff is for 0.
const UPPER_ORDER: [u64; 2] = [0x07ff_ffff_ffff_ffff, 0xff00_0102_0304_0506];
/// And those of lower.
const LOWER_ORDER: [u64; 2] = [0x0e0f_ffff_ffff_ffff, 0xffff_0809_0a0b_0c0d];

/// The guard that sums make, with the 8 bytes that follow.
///
/// # Safety
///
/// The CPU has SSSE3 and PCLMULQDQ.
#[inline(always)]
unsafe fn guard_of(sums: __m128i, tail: Option<u64>) -> u16 {
    // SAFETY: the caller's promise.
    unsafe {
        let (upper, lower) = (_mm_shuffle_epi8(sums, bytes(UPPER_ORDER)), _mm_shuffle_epi8(sums, bytes(LOWER_ORDER)));
        let rest = _mm_xor_si128(upper, lower);
        reduce(match tail {
            None => rest,
            Some(tail) => _mm_xor_si128(rest, _mm_set_epi64x(number(tail), 0)),
        })
    }
}

/// The kernel of a block size, with `N` vectors for 512 bytes. It exists only where the CPU has the instructions of the vector,
/// GFNI and PCLMULQDQ, and its methods are inlined into functions that enable them.
#[derive(Clone, Copy)]
pub(super) struct Products<V, const N: usize, const CHUNKS: usize> {
    has_tail: bool,
    matrices: Matrices,
    vectors: PhantomData<V>,
}

/// Where the matrices of the first word of 512 bytes are.
#[derive(Clone, Copy)]
struct Matrices {
    upper: *const u64,
    lower: *const u64,
}

impl Matrices {
    /// The same, but the compiler does not know that, and so leaves them in memory from one use to the next.
    #[inline(always)]
    fn anew(mut self) -> Self {
        // SAFETY: no instruction at all.
        unsafe {
            asm!(
                "/* {0} {1} */", inout(reg) self.upper, inout(reg) self.lower,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        self
    }
}

impl<V: Affine, const N: usize, const CHUNKS: usize> Products<V, N, CHUNKS> {
    /// # Safety
    ///
    /// The CPU has the instructions of `V`, GFNI and PCLMULQDQ.
    #[inline(always)]
    pub(super) unsafe fn new(shape: Shape) -> Self {
        const { assert!(N * V::BYTES == Shape::CHUNK) };
        // A tail is one word more behind all of them.
        let first = usize::from(!shape.has_tail);
        let matrices = Matrices { upper: UPPER.matrices[first..].as_ptr(), lower: LOWER.matrices[first..].as_ptr() };
        Self { has_tail: shape.has_tail, matrices, vectors: PhantomData }
    }

    /// What 512 bytes contribute; to be copied, if so asked.
    ///
    /// # Safety
    ///
    /// They are valid for reading, and as many at `dst` for writing if they are copied.
    #[inline(always)]
    unsafe fn chunk<const COPY: bool>(matrices: Matrices, src: *const u8, dst: *mut u8) -> (V, V) {
        // SAFETY: the caller's promise.
        unsafe {
            let first = Self::vector::<COPY>(matrices, src, dst, 0);
            let second = Self::vector::<COPY>(matrices, src, dst, 1);
            let (mut upper, mut lower) = (first.0.xor(second.0), first.1.xor(second.1));
            for at in (2..N).step_by(2) {
                let first = Self::vector::<COPY>(matrices, src, dst, at);
                let second = Self::vector::<COPY>(matrices, src, dst, at + 1);
                (upper, lower) = (upper.xor3(first.0, second.0), lower.xor3(first.1, second.1));
            }
            (upper, lower)
        }
    }

    /// What one vector of them contributes. A function, as a closure would have to be without the kernel's instructions.
    ///
    /// # Safety
    ///
    /// As of [`chunk`](Self::chunk), of which `at` is a vector.
    #[inline(always)]
    unsafe fn vector<const COPY: bool>(matrices: Matrices, src: *const u8, dst: *mut u8, at: usize) -> (V, V) {
        let at = at * V::BYTES;
        // SAFETY: the caller's promise; the matrices are those of 64 words.
        unsafe {
            let bytes = V::load(src.add(at));
            if COPY {
                bytes.store(dst.add(at));
            }
            let (upper, lower) = (matrices.upper.cast::<u8>(), matrices.lower.cast::<u8>());
            (bytes.times(V::load(upper.add(at))), bytes.times(V::load(lower.add(at))))
        }
    }

    /// # Safety
    ///
    /// As of [`Blocks::copy_guard`]; `dst` may be anything if nothing is copied.
    #[inline(always)]
    unsafe fn run<const COPY: bool>(&self, src: *const u8, dst: *mut u8) -> u16 {
        // SAFETY: the CPU has the instructions; chunks and tail make up the block, for which the caller vouches.
        unsafe {
            // As if they were others for each short block: a few of those have no use for them in registers.
            let matrices = if CHUNKS == 1 { self.matrices.anew() } else { self.matrices };
            let (mut upper, mut lower) = Self::chunk::<COPY>(matrices, src, dst);
            for chunk in 1..CHUNKS {
                let (src, dst) = (src.add(chunk * Shape::CHUNK), dst.wrapping_add(chunk * Shape::CHUNK));
                let next = Self::chunk::<COPY>(matrices, src, dst);
                (upper, lower) = (
                    upper.times(V::broadcast(STEP[0])).xor3(lower.times(V::broadcast(STEP[1])), next.0),
                    upper.times(V::broadcast(STEP[2])).xor3(lower.times(V::broadcast(STEP[3])), next.1),
                );
            }
            let tail = if self.has_tail {
                let at = CHUNKS * Shape::CHUNK;
                Some(tail::<COPY>(src.add(at), dst.wrapping_add(at)))
            } else {
                None
            };
            guard_of(upper.pairs(lower).sum(), tail)
        }
    }

    /// Four blocks of one chunk.
    ///
    /// # Safety
    ///
    /// As of [`Blocks::copy_guards`]; `dst` may be anything if nothing is copied.
    #[inline(always)]
    unsafe fn group<const COPY: bool>(&self, src: *const u8, step: usize, dst: *mut u8, to: usize) -> [u16; GROUP] {
        // SAFETY: the CPU has the instructions; the caller vouches for the blocks. A pointer that may be anything is not used.
        unsafe {
            let mut pairs = [V::broadcast(0); GROUP];
            for (block, pairs) in pairs.iter_mut().enumerate() {
                let (upper, lower) =
                    Self::chunk::<COPY>(self.matrices, src.add(block * step), dst.wrapping_add(block * to));
                *pairs = upper.pairs(lower);
            }
            if !self.has_tail {
                return V::guards_of(pairs, None);
            }
            let mut tails = [0; GROUP];
            for (block, bytes) in tails.iter_mut().enumerate() {
                let (from, to) = (block * step + Shape::CHUNK, block * to + Shape::CHUNK);
                *bytes = tail::<COPY>(src.add(from), dst.wrapping_add(to));
            }
            V::guards_of(pairs, Some(tails))
        }
    }
}

/// The 8 bytes behind the chunks; to be copied, if so asked.
///
/// # Safety
///
/// As of [`Products::chunk`], for 8 bytes.
#[inline(always)]
unsafe fn tail<const COPY: bool>(src: *const u8, dst: *mut u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        let tail = src.cast::<u64>().read_unaligned();
        if COPY {
            dst.cast::<u64>().write_unaligned(tail);
        }
        tail
    }
}

impl<V: Affine, const N: usize, const CHUNKS: usize> Blocks for Products<V, N, CHUNKS> {
    const GROUPED: bool = CHUNKS == 1;

    #[inline(always)]
    fn shape(self) -> Shape {
        Shape { chunks: CHUNKS, has_tail: self.has_tail }
    }

    #[inline(always)]
    unsafe fn guard(self, src: *const u8) -> u16 {
        // SAFETY: the caller's promise.
        unsafe { self.run::<false>(src, ptr::null_mut()) }
    }

    #[inline(always)]
    unsafe fn copy_guard(self, src: *const u8, dst: *mut u8) -> u16 {
        // SAFETY: the caller's promise.
        unsafe { self.run::<true>(src, dst) }
    }

    #[inline(always)]
    unsafe fn guards(self, src: *const u8, step: usize) -> [u16; GROUP] {
        // SAFETY: the caller's promise.
        unsafe { self.group::<false>(src, step, ptr::null_mut(), 0) }
    }

    #[inline(always)]
    unsafe fn copy_guards(self, src: *const u8, step: usize, dst: *mut u8, to: usize) -> [u16; GROUP] {
        // SAFETY: the caller's promise.
        unsafe { self.group::<true>(src, step, dst, to) }
    }

    #[inline(always)]
    unsafe fn copy(self, src: *const u8, dst: *mut u8) {
        // SAFETY: chunks and tail make up the block, for which the caller vouches.
        unsafe {
            for chunk in 0..CHUNKS {
                let (src, dst) = (src.add(chunk * Shape::CHUNK), dst.add(chunk * Shape::CHUNK));
                for at in 0..N {
                    V::load(src.add(at * V::BYTES)).store(dst.add(at * V::BYTES));
                }
            }
            if self.has_tail {
                let at = CHUNKS * Shape::CHUNK;
                _mm_storel_epi64(dst.add(at).cast(), _mm_loadl_epi64(src.add(at).cast()));
            }
        }
    }
}

#[inline(always)]
fn bytes(words: [u64; 2]) -> __m128i {
    // SAFETY: every CPU of the architecture has SSE2.
    unsafe { _mm_set_epi64x(words[1].cast_signed(), words[0].cast_signed()) }
}
