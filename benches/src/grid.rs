//! The grid of the CPU engine: which operations are measured at which sizes, in which memory, at which alignment.

use std::fmt;
use std::str::FromStr;

use crate::cell::Bytes;

/// Bytes of the data blocks of the operations with data-integrity fields.
pub const BLOCK: usize = 512;
/// Bytes of the field behind each.
pub const FIELD: usize = 8;
/// Bytes that a delta record can span.
pub const DELTA_MOST: usize = 512 << 10;
/// Bytes of the pool that slots in the last-level cache are spread over, on each side.
pub const L3_POOL: usize = 4 << 20;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Copy.
    Copy,
    /// Fill with a pattern of 8 bytes.
    Fill,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64,
    /// Copy with CRC-32C.
    CopyCrc32c,
    /// Comparison of two regions, which are equal.
    Compare,
    /// Comparison with a pattern of 8 bytes, which the region has.
    ComparePattern,
    /// Delta record of equal regions.
    DeltaEqual,
    /// Delta record, with one difference in each 512 bytes.
    DeltaSparse,
    /// Delta record, with one difference in each 64 bytes.
    DeltaDense,
    /// Copy to two destinations.
    Dualcast,
    /// DIF insert.
    DifInsert,
    /// DIF check.
    DifCheck,
    /// DIX generate.
    DixGenerate,
}

impl Operation {
    /// All, in the order of the report.
    pub const ALL: [Self; 14] = [
        Self::Copy,
        Self::Fill,
        Self::Crc32c,
        Self::Crc64,
        Self::CopyCrc32c,
        Self::Compare,
        Self::ComparePattern,
        Self::DeltaEqual,
        Self::DeltaSparse,
        Self::DeltaDense,
        Self::Dualcast,
        Self::DifInsert,
        Self::DifCheck,
        Self::DixGenerate,
    ];

    /// Its name on the command line and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Fill => "fill",
            Self::Crc32c => "crc32c",
            Self::Crc64 => "crc64",
            Self::CopyCrc32c => "copy-crc32c",
            Self::Compare => "compare",
            Self::ComparePattern => "compare-pattern",
            Self::DeltaEqual => "delta-equal",
            Self::DeltaSparse => "delta-512",
            Self::DeltaDense => "delta-64",
            Self::Dualcast => "dualcast",
            Self::DifInsert => "dif-insert",
            Self::DifCheck => "dif-check",
            Self::DixGenerate => "dix-generate",
        }
    }

    /// Whether it makes a delta record.
    pub const fn is_delta(self) -> bool {
        matches!(self, Self::DeltaEqual | Self::DeltaSparse | Self::DeltaDense)
    }

    /// Whether it works on blocks with data-integrity fields.
    pub const fn is_dif(self) -> bool {
        matches!(self, Self::DifInsert | Self::DifCheck | Self::DixGenerate)
    }

    /// Bytes between two differences of the regions of a delta record.
    pub const fn gap(self) -> Option<usize> {
        match self {
            Self::DeltaSparse => Some(512),
            Self::DeltaDense => Some(64),
            _ => None,
        }
    }

    /// Whether it can be done for that many bytes.
    pub fn allows(self, size: usize) -> bool {
        match self {
            _ if size == 0 => false,
            _ if self.is_delta() => size.is_multiple_of(8) && (self.gap().unwrap_or(1)..=DELTA_MOST).contains(&size),
            _ if self.is_dif() => size.is_multiple_of(BLOCK),
            _ => true,
        }
    }

    /// Bytes that it reads of the source, for so many of payload.
    pub const fn source_bytes(self, size: usize) -> usize {
        match self {
            Self::Fill => 0,
            Self::DifCheck => size / BLOCK * (BLOCK + FIELD),
            _ => size,
        }
    }

    /// Bytes that it reads or writes of the other region: for two of them, of each.
    pub const fn target_bytes(self, size: usize) -> usize {
        match self {
            Self::Crc32c | Self::Crc64 | Self::ComparePattern | Self::DifCheck => 0,
            Self::DifInsert => size / BLOCK * (BLOCK + FIELD),
            Self::DixGenerate => size / BLOCK * FIELD,
            _ => size,
        }
    }

    /// Whether there is a second region on the side of the destination: the other destination; for a delta record one that is
    /// equal to the source, for comparisons.
    pub const fn has_second(self) -> bool {
        matches!(self, Self::Dualcast) || self.is_delta()
    }

    /// Whether what is at the destination must fit the source, so that both go by the same slot.
    pub const fn is_paired(self) -> bool {
        matches!(self, Self::Compare) || self.is_delta()
    }

    /// Sizes of the full grid.
    fn sizes(self, residency: Residency) -> impl Iterator<Item = usize> {
        // A hot pair of more than 4 MiB is not hot, and a pool of 4 MiB has slots of 1 MiB at most.
        let most = match (residency, self) {
            (Residency::Hot, _) => 4 << 20,
            (Residency::L3, _) => 1 << 20,
            (Residency::Cold, Self::Copy | Self::Fill | Self::Crc32c | Self::Crc64) => 64 << 20,
            (Residency::Cold, _) => 16 << 20,
        };
        let all = (3..=13).map(|power| 1_usize << (2 * power)).chain(self.is_dif().then_some(BLOCK));
        let mut sizes: Vec<usize> = all.filter(|size| *size <= most && self.allows(*size)).collect();
        sizes.sort_unstable();
        sizes.into_iter()
    }
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Residency {
    /// One source and one destination, over and over.
    Hot,
    /// Slots of 4 MiB and 4 MiB, which are in the last-level cache.
    L3,
    /// Random slots of arenas that are far larger than the caches.
    Cold,
}

impl Residency {
    /// All.
    pub const ALL: [Self; 3] = [Self::Hot, Self::L3, Self::Cold];

    /// Its name on the command line and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::L3 => "L3",
            Self::Cold => "cold",
        }
    }
}

/// How far from a page's start slots begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alignment {
    /// To cache lines.
    Aligned,
    /// Source 17 bytes, destination 33 bytes behind that.
    Mis,
}

impl Alignment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Aligned, Self::Mis];

    /// Its name on the command line and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aligned => "aligned",
            Self::Mis => "mis",
        }
    }

    /// Bytes that the source is off.
    pub const fn source(self) -> usize {
        match self {
            Self::Aligned => 0,
            Self::Mis => 17,
        }
    }

    /// Bytes that the destination is off.
    pub const fn target(self) -> usize {
        match self {
            Self::Aligned => 0,
            Self::Mis => 33,
        }
    }
}

/// One cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What is done.
    pub operation: Operation,
    /// Where the bytes are.
    pub residency: Residency,
    /// How they lie.
    pub alignment: Alignment,
    /// Bytes of payload of one operation.
    pub size: usize,
}

/// A size as one writes it: `64`, `64B`, `4K`, `4KiB`, `1M`, `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// Which part of the grid is wanted; an empty list is all of it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Operations.
    pub operations: Vec<Operation>,
    /// Bytes; they need not be the grid's own.
    pub sizes: Vec<usize>,
    /// Where the bytes are.
    pub residencies: Vec<Residency>,
    /// How they lie.
    pub alignments: Vec<Alignment>,
}

impl Filter {
    /// The cells, those of one operation, residency and alignment in a row.
    pub fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for operation in chosen(&self.operations, &Operation::ALL) {
            for residency in chosen(&self.residencies, &Residency::ALL) {
                for alignment in chosen(&self.alignments, &Alignment::ALL) {
                    let mut sizes = self.sizes.clone();
                    sizes
                        .retain(|size| operation.allows(*size) && (residency != Residency::L3 || *size <= L3_POOL / 4));
                    if self.sizes.is_empty() {
                        sizes.extend(operation.sizes(residency));
                    }
                    places.extend(sizes.into_iter().map(|size| Place { operation, residency, alignment, size }));
                }
            }
        }
        places
    }
}

fn chosen<T: Copy + PartialEq>(wanted: &[T], all: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| wanted.is_empty() || wanted.contains(one)).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (residency, alignment) = (self.residency.name(), self.alignment.name());
        write!(f, "{} {} {residency} {alignment}", self.operation.name(), Bytes(self.size))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size: it should look like 64, 4K or 1MiB");
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor = match unit {
            "" | "B" => 1_usize,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            _ => return Err(wrong()),
        };
        let number: usize = number.parse().map_err(|_| wrong())?;
        number.checked_mul(factor).filter(|bytes| *bytes != 0).map(Self).ok_or_else(wrong)
    }
}

/// One of a few by its name.
fn named<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let names = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    let found = all.iter().copied().find(|one| name(*one).eq_ignore_ascii_case(text.trim()));
    found.ok_or_else(|| format!("{text:?} is none of {}", names()))
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &Self::ALL, Self::name)
    }
}

impl FromStr for Residency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &Self::ALL, Self::name)
    }
}

impl FromStr for Alignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &Self::ALL, Self::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for operation in Operation::ALL {
            assert_eq!(operation.name().parse(), Ok(operation));
        }
        for residency in Residency::ALL {
            assert_eq!(residency.name().parse(), Ok(residency));
        }
        for alignment in Alignment::ALL {
            assert_eq!(alignment.name().parse(), Ok(alignment));
        }
        assert_eq!("l3".parse(), Ok(Residency::L3));
        let error = "tepid".parse::<Residency>().expect_err("no such residency");
        assert!(error.contains("hot, L3, cold"), "{error}");
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in
            [("64", 64), ("64B", 64), ("4K", 4096), ("4KiB", 4096), (" 16M", 16 << 20), ("1MiB", 1 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "K", "0", "4k", "4 K", "-1", "99999999999999999999", "99999999999999999M"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_grid_has_what_makes_sense_and_nothing_twice() {
        let places = Filter::default().places();
        let mut unique = places.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), places.len());
        assert!(places.iter().all(|place| place.operation.allows(place.size)));
        let has = |text: &str| places.iter().any(|place| place.to_string() == text);
        for there in [
            "copy 64B hot aligned",
            "copy 64MiB cold mis",
            "fill 4MiB hot mis",
            "crc64 1MiB L3 aligned",
            "delta-512 1KiB hot aligned",
            "delta-64 64B L3 mis",
            "dif-check 512B cold mis",
            "compare 16MiB cold aligned",
        ] {
            assert!(has(there), "{there}");
        }
        for absent in [
            "copy 16MiB hot aligned",
            "copy 4MiB L3 aligned",
            "copy 512B hot aligned",
            "compare 64MiB cold aligned",
            "delta-512 256B hot aligned",
            "delta-equal 1MiB cold aligned",
            "dif-insert 256B hot aligned",
        ] {
            assert!(!has(absent), "{absent}");
        }
    }

    #[test]
    fn a_filter_takes_its_own_sizes_where_the_operation_allows_them() {
        let filter = Filter {
            operations: vec![Operation::Copy, Operation::DifInsert],
            sizes: vec![100, 1024, 2 << 20],
            residencies: vec![Residency::L3],
            alignments: vec![Alignment::Mis],
        };
        let texts: Vec<String> = filter.places().iter().map(Place::to_string).collect();
        assert_eq!(texts, ["copy 100B L3 mis", "copy 1KiB L3 mis", "dif-insert 1KiB L3 mis"]);
    }

    #[test]
    fn fields_count_on_the_side_where_they_are() {
        assert_eq!((Operation::DifInsert.source_bytes(1024), Operation::DifInsert.target_bytes(1024)), (1024, 1040));
        assert_eq!((Operation::DifCheck.source_bytes(1024), Operation::DifCheck.target_bytes(1024)), (1040, 0));
        assert_eq!((Operation::DixGenerate.source_bytes(1024), Operation::DixGenerate.target_bytes(1024)), (1024, 16));
        assert_eq!((Operation::Fill.source_bytes(64), Operation::Fill.target_bytes(64)), (0, 64));
    }
}
