//! Kernels of the CPU engine, one operation at a time, against plain oracles.

use arbitrary::Arbitrary;
use dsa::cpu::Tier;
use dsa::internals::kernels;

/// What lies round everything that is written.
const GUARD: u8 = 0xa5;
/// Guard bytes before and behind.
const MARGIN: usize = 64;

/// An operation for every kernel.
#[derive(Arbitrary, Debug)]
pub struct Case {
    /// Bytes, up to 64 KiB, more often few.
    pub size: u16,
    /// Whether it has the size as it is, or the lowest bits of it alone.
    pub is_small: bool,
    /// How far source and destinations are from multiples of 64.
    pub shifts: [u8; 3],
    /// The first bytes of the source; others follow from them.
    pub data: [u8; 16],
    /// Seed, or pattern.
    pub pattern: [u64; 2],
    /// Where the second source differs, if it does.
    pub difference: Option<u16>,
}

/// Memory at a chosen distance from a multiple of 64, between guards.
struct Region {
    bytes: Vec<u8>,
    at: usize,
    len: usize,
}

impl Region {
    fn new(len: usize, shift: u8) -> Self {
        let bytes = vec![GUARD; len + 2 * MARGIN + 128];
        let at = MARGIN + bytes.as_ptr().wrapping_add(MARGIN).align_offset(64) + usize::from(shift) % 64;
        Self { bytes, at, len }
    }

    fn of(data: &[u8], shift: u8) -> Self {
        let mut region = Self::new(data.len(), shift);
        region.bytes[region.at..region.at + data.len()].copy_from_slice(data);
        region
    }

    fn start(&mut self) -> *mut u8 {
        self.bytes[self.at..].as_mut_ptr()
    }

    /// Panics unless it has these bytes, and guards round them.
    fn is(&self, data: &[u8], what: &str) {
        assert!(self.bytes[self.at..self.at + self.len] == *data, "{what}");
        let (before, behind) = (&self.bytes[..self.at], &self.bytes[self.at + self.len..]);
        assert!(before.iter().chain(behind).all(|byte| *byte == GUARD), "{what}: something beyond");
    }
}

/// CRC-32C, a bit at a time.
fn crc(seed: u32, data: &[u8]) -> u32 {
    !data.iter().fold(!seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0x82f6_3b78 })
    })
}

/// Runs every kernel that this CPU has.
///
/// # Panics
///
/// If one does not do what the oracle does, or writes elsewhere.
pub fn check(case: &Case) {
    let len = usize::from(if case.is_small { case.size % 700 } else { case.size });
    let data: Vec<u8> = (0..len).map(|at| case.data[at % 16].wrapping_add((at / 16) as u8).wrapping_mul(31)).collect();
    let tier = Tier::of_cpu();
    let [from, to, second] = case.shifts;
    let mut src = Region::of(&data, from);
    let mut other = data.clone();
    let difference = case.difference.map(usize::from).filter(|at| *at < len);
    if let Some(at) = difference {
        other[at] ^= 0x10;
    }
    let mut other = Region::of(&other, to);
    let pattern: Vec<u8> = case.pattern.iter().flat_map(|word| word.to_le_bytes()).cycle().take(len).collect();
    let seed = case.pattern[0] as u32;
    let expected_crc = crc(seed, &data);

    // SAFETY, for every kernel below: the regions have that many bytes, are different allocations, and nobody else has them; the
    // CPU has the kernel's tier.
    for kernel in kernels::copy().iter().filter(|kernel| kernel.tier <= tier) {
        let mut dst = Region::new(len, to);
        // SAFETY: as above.
        unsafe { (kernel.run)(src.start(), dst.start(), len) };
        dst.is(&data, kernel.name);
    }
    for kernel in kernels::dualcast().iter().filter(|kernel| kernel.tier <= tier) {
        let (mut one, mut two) = (Region::new(len, to), Region::new(len, second));
        // SAFETY: as above.
        unsafe { (kernel.run)(src.start(), one.start(), two.start(), len) };
        one.is(&data, kernel.name);
        two.is(&data, kernel.name);
    }
    for kernel in kernels::fill().iter().filter(|kernel| kernel.tier <= tier) {
        // The instruction repeats one word: it is for patterns of two equal ones.
        let word = case.pattern[0];
        let (pattern, image) = match kernel.name {
            "rep stosq" => ([word; 2], word.to_le_bytes().into_iter().cycle().take(len).collect()),
            _ => (case.pattern, pattern.clone()),
        };
        let mut dst = Region::new(len, to);
        // SAFETY: as above.
        unsafe { (kernel.run)(dst.start(), len, pattern) };
        dst.is(&image, kernel.name);
    }
    for kernel in kernels::crc32c().iter().filter(|kernel| kernel.tier <= tier) {
        // SAFETY: as above.
        assert_eq!(unsafe { (kernel.run)(seed, src.start(), len) }, expected_crc, "{}", kernel.name);
    }
    for kernel in kernels::copy_crc32c().iter().filter(|kernel| kernel.tier <= tier) {
        let mut dst = Region::new(len, to);
        // SAFETY: as above.
        assert_eq!(unsafe { (kernel.run)(seed, src.start(), dst.start(), len) }, expected_crc, "{}", kernel.name);
        dst.is(&data, kernel.name);
    }
    for kernel in kernels::compare().iter().filter(|kernel| kernel.tier <= tier) {
        // SAFETY: as above.
        assert_eq!(unsafe { (kernel.run)(src.start(), other.start(), len) }, difference, "{}", kernel.name);
    }
    let word = case.pattern[0];
    let mut repeated: Vec<u8> = word.to_le_bytes().into_iter().cycle().take(len).collect();
    if let Some(at) = difference {
        repeated[at] ^= 1;
    }
    let mut repeated = Region::of(&repeated, second);
    for kernel in kernels::compare_pattern().iter().filter(|kernel| kernel.tier <= tier) {
        // SAFETY: as above.
        assert_eq!(unsafe { (kernel.run)(repeated.start(), len, word) }, difference, "{}", kernel.name);
    }
}
