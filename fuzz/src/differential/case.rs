//! What a differential case is made of. Everything derives from bytes, of a fuzzer or of a generator.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::oracle::CrcMode;
use crate::random::Random;

/// One case: where it runs, and what.
#[derive(Arbitrary, Clone, Debug)]
pub struct Case {
    /// Which generation of device, of those that have the operation.
    pub generation: u8,
    /// Small chunks, moves backwards, fault addresses without their low bits.
    pub is_odd: bool,
    /// Seed of everything that is written before the operation.
    pub seed: u64,
    /// What runs.
    pub work: Work,
}

/// Bytes that a generated case is made of, more than the longest batch takes.
const BYTES: usize = 768;

impl Case {
    /// The case with a number, of those that a seed stands for.
    pub fn of(seed: u64, index: u64) -> Self {
        let mut random = Random::new(Random::new(seed ^ index.rotate_left(32)).next() ^ index);
        let mut bytes = [0; BYTES];
        random.fill(&mut bytes);
        Self::arbitrary(&mut Unstructured::new(&bytes)).expect("cases are made of any bytes")
    }
}

/// One operation with faults, or a batch without.
#[derive(Clone, Debug)]
pub enum Work {
    /// One operation.
    Single(Call, Trouble),
    /// Several, in order; bit n of the mask is the fence of member n.
    Batch(Vec<Call>, u8),
}

/// Members of the longest batch.
pub const MOST_CALLS: usize = 6;

impl<'a> Arbitrary<'a> for Work {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.ratio(1, 16)? {
            let count = u.int_in_range(1..=MOST_CALLS)?;
            let calls = (0..count).map(|_| u.arbitrary()).collect::<Result<_>>()?;
            return Ok(Self::Batch(calls, u.arbitrary()?));
        }
        Ok(Self::Single(u.arbitrary()?, u.arbitrary()?))
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Pages are absent, by bits, counted from the first again behind the eighth.
    Absent {
        /// Which ones.
        pages: u8,
        /// Page requests bring them in.
        resolvable: bool,
    },
    /// One page fault at the first access of some bytes.
    Fault {
        /// First byte, of the arena.
        at: u16,
        /// Bytes, less 1.
        len: u8,
        /// Only reads, or only writes.
        write: Option<bool>,
        /// A page request is granted.
        resolvable: bool,
    },
    /// The device ends the operation with a hardware error.
    Hardware(u8),
}

impl<'a> Arbitrary<'a> for Trouble {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=31)? {
            0..=19 => Self::None,
            20..=24 => Self::Absent { pages: u.arbitrary()?, resolvable: u.arbitrary()? },
            25..=30 => Self::Fault {
                at: u.arbitrary()?,
                len: u.arbitrary()?,
                write: u.arbitrary()?,
                resolvable: u.arbitrary()?,
            },
            _ => Self::Hardware(u.int_in_range(0x20..=0x22)?),
        })
    }
}

/// One operation with options.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Call {
    /// Which one.
    pub operation: Operation,
    /// What all operations have.
    pub options: Options,
}

/// Options that change nothing about the result.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Options {
    /// Block on fault.
    pub block: bool,
    /// Cache control, mostly none.
    pub cache: u8,
    /// Strict ordering.
    pub strict: bool,
    /// No record on success if 0.
    pub quiet: u8,
    /// Traffic classes.
    pub classes: u8,
}

/// A place in a room.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Place(pub u16);

/// A length, mostly small.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Length {
    class: u8,
    value: u16,
}

impl Length {
    /// At least 1, at most `most`, which is at least 1.
    pub fn get(self, most: u64) -> u64 {
        let range = match self.class % 16 {
            0..=9 => 48,
            10..=13 => 400,
            14 => 2000,
            _ => most,
        };
        1 + u64::from(self.value) % range.min(most)
    }
}

/// How much two regions differ that are compared.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Likeness(pub u8);

/// Seed of a CRC, and conventions.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct CrcArguments {
    /// Conventions.
    pub mode: CrcMode,
    /// The seed.
    pub seed: u32,
    /// Where the seed lies, if it is read from memory.
    pub in_memory: Option<Place>,
}

/// Types, function and flags of a typed operation.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Compute {
    /// Which pair of types.
    pub types: u8,
    /// Which function.
    pub function: u8,
    /// Which compute flags; those that the types do not have are cleared.
    pub flags: u16,
    /// Elements.
    pub count: Length,
    /// Numeric exceptions show in the status.
    pub check: bool,
}

/// A scatter-gather list.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct List {
    /// Which rooms list, blocks and contiguous operand are in.
    pub rooms: u8,
    /// Where the list lies.
    pub at: Place,
    /// Entries.
    pub entries: Length,
    /// Format.
    pub format: u8,
    /// Where the base address lies.
    pub base: Place,
}

/// A handle for each operand, mostly none.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Handles(pub [u8; 4]);

/// The five data-integrity operations.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifKind {
    /// Check.
    Check,
    /// Insert.
    Insert,
    /// Strip.
    Strip,
    /// Update.
    Update,
    /// DIX generate.
    Generate,
}

/// Parameters of a data-integrity operation.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Dif {
    /// Which one.
    pub kind: DifKind,
    /// Block size, mostly a small one.
    pub block: u8,
    /// Blocks.
    pub blocks: u8,
    /// Where source and destination lie.
    pub places: [Place; 2],
    /// Conventions of the guard.
    pub inverted: [bool; 2],
    /// Source DIF flags.
    pub source_flags: u8,
    /// Destination DIF flags.
    pub destination_flags: u8,
    /// Reference tag, mask and application tag of each side.
    pub tags: [(u32, u16, u16); 2],
    /// What is wrong with the stored tuples.
    pub damage: u8,
}

/// The operations.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs)] // they are the operands' names
pub enum Operation {
    Nop,
    Drain,
    CacheFlush {
        at: Place,
        len: Length,
    },
    Move {
        src: Place,
        dst: Place,
        len: Length,
    },
    Fill {
        dst: Place,
        len: Length,
        pattern: u64,
        high: Option<u64>,
    },
    Compare {
        first: Place,
        second: Place,
        len: Length,
        likeness: Likeness,
        expect: Option<bool>,
    },
    ComparePattern {
        src: Place,
        len: Length,
        pattern: u64,
        likeness: Likeness,
        expect: Option<bool>,
    },
    Dualcast {
        src: Place,
        dst: Place,
        pages: u8,
        len: Length,
    },
    Crc {
        src: Place,
        len: Length,
        crc: CrcArguments,
    },
    CopyCrc {
        src: Place,
        dst: Place,
        len: Length,
        crc: CrcArguments,
    },
    CreateDelta {
        places: [Place; 3],
        len: Length,
        room: u8,
        likeness: Likeness,
        expect: Option<u8>,
    },
    ApplyDelta {
        record: Place,
        dst: Place,
        len: Length,
        entries: u8,
        damage: u8,
    },
    Dif(Dif),
    Fetch {
        at: Place,
        len: Length,
        stride: Option<u8>,
    },
    Convert {
        compute: Compute,
        src: Place,
        dst: Place,
        in_place: bool,
        handles: Handles,
    },
    Reduce {
        compute: Compute,
        sources: [Place; 2],
        dst: Place,
        same: u8,
        related: bool,
        handles: Handles,
    },
    ReduceDualcast {
        compute: Compute,
        sources: [Place; 2],
        dst: Place,
        pages: u8,
        related: bool,
        handles: Handles,
    },
    GatherReduce {
        compute: Compute,
        list: List,
        dst: Place,
        related: bool,
    },
    GatherCopy {
        list: List,
        element: u8,
        count: Length,
        dst: Place,
        handles: Handles,
    },
    ScatterCopy {
        list: List,
        element: u8,
        count: Length,
        src: Place,
        handles: Handles,
    },
    ScatterFill {
        list: List,
        element: u8,
        count: Length,
        pattern: u64,
        handles: Handles,
    },
    InterDomainCopy {
        src: Place,
        dst: Place,
        len: Length,
        handles: Handles,
    },
    InterDomainFill {
        dst: Place,
        len: Length,
        pattern: u64,
        high: Option<u64>,
        handles: Handles,
    },
    InterDomainCompare {
        first: Place,
        second: Place,
        len: Length,
        likeness: Likeness,
        expect: Option<bool>,
        handles: Handles,
    },
    InterDomainComparePattern {
        src: Place,
        len: Length,
        pattern: u64,
        likeness: Likeness,
        expect: Option<bool>,
        handles: Handles,
    },
    UpdateWindow {
        base: u64,
        size: u64,
        flags: u8,
    },
}
