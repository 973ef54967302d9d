//! What the operations beyond copy, fill, compare and CRC-32C have to give, written as plainly as possible.

/// CRC-64/NVME bit by bit, continuing from `seed`.
pub(crate) fn crc64(seed: u64, data: &[u8]) -> u64 {
    let mut crc = !seed;
    for &byte in data {
        crc ^= u64::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x9a6c_9329_ac4b_c9b5 } else { crc >> 1 };
        }
    }
    !crc
}

/// `len` bytes of a repeated pattern of sixteen.
pub(crate) fn wide_fill(pattern: [u8; 16], len: usize) -> Vec<u8> {
    (0..len).map(|i| pattern[i % 16]).collect()
}

/// The delta record of all differences.
pub(crate) fn delta(first: &[u8], second: &[u8]) -> Vec<u8> {
    assert_eq!(first.len(), second.len());
    let mut record = Vec::new();
    for (number, (a, b)) in first.chunks(8).zip(second.chunks(8)).enumerate() {
        if a != b {
            record.extend((number as u16).to_le_bytes());
            record.extend(b);
        }
    }
    record
}

/// CRC-16/T10-DIF bit by bit.
pub(crate) fn guard(data: &[u8], seed: u16) -> u16 {
    let mut crc = seed;
    for &byte in data {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc >> 15 == 1 { crc << 1 ^ 0x8bb7 } else { crc << 1 };
        }
    }
    crc
}

/// A side of a data-integrity operation: tags and how they go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) reference: u32,
    pub(crate) application: u16,
    pub(crate) mask: u16,
    pub(crate) fixed_reference: bool,
    pub(crate) counting_application: bool,
}

impl Side {
    /// Reference and application tag in memory of block number `number`.
    pub(crate) fn tags(&self, number: usize) -> (u32, u16) {
        let (reference, application) = self.next(number);
        (reference, application & !self.mask)
    }

    /// The same before the mask is applied.
    pub(crate) fn next(&self, number: usize) -> (u32, u16) {
        let reference = if self.fixed_reference { 0 } else { number as u32 };
        let application = if self.counting_application { number as u16 } else { 0 };
        (self.reference.wrapping_add(reference), self.application.wrapping_add(application))
    }
}

/// How guards are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guards {
    pub(crate) invert_seed: bool,
    pub(crate) invert_result: bool,
}

impl Guards {
    pub(crate) fn of(self, data: &[u8]) -> u16 {
        let crc = guard(data, if self.invert_seed { 0xffff } else { 0 });
        if self.invert_result { !crc } else { crc }
    }
}

/// The field of a block, as it is in memory.
pub(crate) fn field(guards: Guards, side: &Side, number: usize, data: &[u8]) -> [u8; 8] {
    let (reference, application) = side.tags(number);
    let mut field = [0; 8];
    field[..2].copy_from_slice(&guards.of(data).to_be_bytes());
    field[2..4].copy_from_slice(&application.to_be_bytes());
    field[4..].copy_from_slice(&reference.to_be_bytes());
    field
}

/// Blocks, each with its field behind it.
pub(crate) fn protect(guards: Guards, side: &Side, block: usize, data: &[u8]) -> Vec<u8> {
    data.chunks(block).enumerate().flat_map(|(at, data)| [data, &field(guards, side, at, data)].concat()).collect()
}

/// The fields of blocks.
pub(crate) fn fields(guards: Guards, side: &Side, block: usize, data: &[u8]) -> Vec<u8> {
    data.chunks(block).enumerate().flat_map(|(at, data)| field(guards, side, at, data)).collect()
}

/// The blocks that begin at `places`, one behind the other.
pub(crate) fn gather(base: &[u8], places: &[usize], block: usize) -> Vec<u8> {
    places.iter().flat_map(|&place| base[place..place + block].to_vec()).collect()
}

/// `base` with blocks of `source` at `places`.
pub(crate) fn scatter(base: &[u8], places: &[usize], block: usize, source: &[u8]) -> Vec<u8> {
    let mut after = base.to_vec();
    for (number, &place) in places.iter().enumerate() {
        after[place..place + block].copy_from_slice(&source[number * block..(number + 1) * block]);
    }
    after
}
