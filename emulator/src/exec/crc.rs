//! CRC generation, with and without a copy (specification sections 8.3.12 and 8.3.13, and appendix A).
//!
//! The specification describes a register that takes data most significant bit first. By default the seed is reflected and
//! inverted into it, each data byte is reflected, and the result is inverted and reflected back. Two flags take
//! these steps away: one the treatment of seed and result, one the reflection of data. A reflected register fed with
//! unreflected bytes is the same thing mirrored, so two engines per width suffice: least significant bit first (the usual
//! CRC-32C and CRC-64/NVMe), and most significant bit first. Only what goes in and comes out differs.

use std::sync::OnceLock;

use crc_fast::{CrcAlgorithm, CrcParams, Digest};
use idxd_sys::{Descriptor, flag};

use super::{CompletionRecord, Fault, Halt, Op, Operand, Outcome};
use crate::memory::Access;

/// Bytes copied out at a time where the source may change underfoot.
const BLOCK: usize = 4096;

const POLY_32: u64 = 0x1edc_6f41;
const POLY_64: u64 = 0xad93_d235_94c9_3659;

impl Op<'_, '_> {
    /// CRC generation; with `copy` also a memory copy.
    pub(super) fn crc(&mut self, copy: bool) -> Outcome {
        let (src, dst, size) = (self.d.src_addr, self.d.dst_addr, self.size());
        let kind = Kind::of(self.d);
        let seed = match self.seed(kind) {
            Ok(seed) => seed,
            Err(fault) => return self.partial(Halt::Fault(fault), 0),
        };
        let mut register = Register::new(kind, seed);
        let shared = self.x.shared.space.is_shared();
        let mut block = [0; BLOCK];
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            let most = if shared { (size - done).min(BLOCK as u64) } else { size - done };
            let spans = self.data(Operand::Source, src, done, most, Access::Read).and_then(|from| {
                if !copy {
                    return Ok((from, None));
                }
                let to = self.data(Operand::Destination, dst, done, from.len as u64, Access::Write)?;
                Ok((from, Some(to)))
            });
            let (from, to) = match spans {
                Ok(spans) => spans,
                Err(halt) if self.again(&halt) => continue,
                Err(halt) => {
                    let ended = self.partial(halt, done)?;
                    // The value counts only if something was summed.
                    let value = if done > 0 { register.value() } else { 0 };
                    return Ok(CompletionRecord { op_specific: [value, 0], ..ended });
                }
            };
            let n = to.map_or(from.len, |to| to.len);
            let bytes = if shared {
                // SAFETY: `n <= BLOCK` bytes of a span for reading. No reference to memory that others may write is
                // formed.
                unsafe { self.x.shared.space.load(from.ptr, &mut block[..n]) };
                &block[..n]
            } else {
                // SAFETY: trusted memory; the submitter promised that it is initialised, and that nobody writes it before
                // the record is written.
                unsafe { std::slice::from_raw_parts(from.ptr, n) }
            };
            register.update(bytes);
            if let Some(to) = to {
                // The sum and the copy see the same bytes, also where the source changes in between.
                // SAFETY: `n` is the length of the destination span, and the checks refused overlapping operands.
                unsafe { self.x.shared.space.store(bytes, to.ptr) };
            }
            done += n as u64;
        }
        Ok(CompletionRecord { op_specific: [register.value(), 0], ..self.success() })
    }

    /// The seed, from the descriptor or from memory.
    fn seed(&mut self, kind: Kind) -> Result<u64, Fault> {
        let mask = if kind.wide { u64::MAX } else { u64::from(u32::MAX) };
        if !self.flag(flag::CRC_READ_SEED) {
            return Ok(self.d.op_specific[0] & mask);
        }
        let mut bytes = [0; 8];
        let block = self.flag(flag::BLOCK_ON_FAULT);
        let used = if kind.wide { &mut bytes[..] } else { &mut bytes[..4] };
        self.fetch(Operand::Source2, self.d.op_specific[1], used, block)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Which of the eight functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    wide: bool,
    /// Seed and result are taken and given as the register has them.
    raw_ends: bool,
    /// Data bytes are not reflected.
    raw_data: bool,
}

impl Kind {
    fn of(d: &Descriptor) -> Self {
        let set = |bit: u32| d.flags() & bit != 0;
        Self {
            wide: set(flag::CRC_64),
            raw_ends: set(flag::CRC_BYPASS_INVERT),
            raw_data: set(flag::CRC_BYPASS_REFLECT),
        }
    }

    fn reflect(self, value: u64) -> u64 {
        if self.wide { value.reverse_bits() } else { u64::from((value as u32).reverse_bits()) }
    }

    fn invert(self, value: u64) -> u64 {
        if self.wide { !value } else { u64::from(!(value as u32)) }
    }

    /// Between the form seeds and results have and that of the engine's register. Its own inverse.
    fn convert(self, value: u64) -> u64 {
        // In the specification's register, most significant bit first: raw, or inverted and reflected.
        let msb_first = if self.raw_ends { value } else { self.invert(self.reflect(value)) };
        // The engine for reflected data is the mirror image of that register.
        if self.raw_data { msb_first } else { self.reflect(msb_first) }
    }
}

/// A sum in progress.
struct Register {
    kind: Kind,
    digest: Digest,
}

impl Register {
    fn new(kind: Kind, seed: u64) -> Self {
        let state = kind.convert(seed);
        let digest = match (kind.raw_data, kind.wide) {
            (false, false) => Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state),
            (false, true) => Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, state),
            (true, wide) => {
                let mut params = *msb_first(wide);
                params.init = state;
                params.init_algorithm = state;
                Digest::new_with_params(params)
            }
        };
        Self { kind, digest }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    fn value(&self) -> u64 {
        self.kind.convert(self.digest.get_state())
    }
}

/// Parameters for data taken most significant bit first; their tables are made once.
fn msb_first(wide: bool) -> &'static CrcParams {
    static NARROW: OnceLock<CrcParams> = OnceLock::new();
    static WIDE: OnceLock<CrcParams> = OnceLock::new();
    if wide {
        WIDE.get_or_init(|| CrcParams::new("CRC-64, most significant bit first", 64, POLY_64, 0, false, 0, 0))
    } else {
        NARROW.get_or_init(|| CrcParams::new("CRC-32C, most significant bit first", 32, POLY_32, 0, false, 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &[u8] = b"123456789";

    fn kinds() -> impl Iterator<Item = Kind> {
        (0..8).map(|i| Kind { wide: i & 1 != 0, raw_ends: i & 2 != 0, raw_data: i & 4 != 0 })
    }

    fn sum(kind: Kind, seed: u64, bytes: &[u8]) -> u64 {
        let mut register = Register::new(kind, seed);
        register.update(bytes);
        register.value()
    }

    /// The specification's description, bit by bit.
    fn oracle(kind: Kind, seed: u64, bytes: &[u8]) -> u64 {
        let (width, poly) = if kind.wide { (64, POLY_64) } else { (32, POLY_32) };
        let mask = if kind.wide { u64::MAX } else { 0xffff_ffff };
        let reflect = |v: u64| v.reverse_bits() >> (64 - width);
        let mut state = if kind.raw_ends { seed } else { !reflect(seed) & mask };
        for byte in bytes {
            let byte = if kind.raw_data { *byte } else { byte.reverse_bits() };
            state ^= u64::from(byte) << (width - 8);
            for _ in 0..8 {
                let top = state >> (width - 1) & 1;
                state = state << 1 & mask ^ if top == 1 { poly } else { 0 };
            }
        }
        if kind.raw_ends { state } else { reflect(!state & mask) }
    }

    #[test]
    fn check_vectors() {
        let narrow = Kind { wide: false, raw_ends: false, raw_data: false };
        assert_eq!(sum(narrow, 0, CHECK), 0xe306_9283);
        assert_eq!(sum(Kind { wide: true, ..narrow }, 0, CHECK), 0xae8b_1486_0a79_9888);
        assert_eq!(sum(Kind { raw_ends: true, ..narrow }, 0, CHECK), 0x045f_c71a);
        assert_eq!(sum(Kind { raw_ends: true, raw_data: true, ..narrow }, 0, CHECK), 0xc052_a8c8);
        assert_eq!(sum(Kind { raw_data: true, ..narrow }, 0, CHECK), 0xa8f0_22a0);
        assert_eq!(sum(narrow, 0, &[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn every_kind_equals_the_bitwise_description() {
        let data: Vec<u8> = (0..1500u32).map(|i| (i * 7 + i / 5) as u8).collect();
        for kind in kinds() {
            for seed in [0, 1, 0xdead_beef, if kind.wide { u64::MAX / 3 } else { 0x8000_0001 }] {
                for len in [0, 1, 3, 8, 31, 64, 255, 256, 1024, 1500] {
                    assert_eq!(sum(kind, seed, &data[..len]), oracle(kind, seed, &data[..len]), "{kind:?} {len}");
                }
            }
        }
    }

    #[test]
    fn a_result_is_the_seed_for_the_rest() {
        for kind in kinds() {
            let whole = sum(kind, 5, CHECK);
            assert!((0..=9).all(|at| sum(kind, sum(kind, 5, &CHECK[..at]), &CHECK[at..]) == whole));
        }
    }
}
