//! One good descriptor of each operation, with memory for it and everything that must come of it.
//!
//! From a sample, cases are derived: it runs as it is, with a page of each operand missing, with one bit too many, on a
//! queue that does not want it. Its operands span several pages and begin at odd addresses where that is allowed.

pub(crate) mod delta;
pub(crate) mod integrity;
pub(crate) mod lists;
pub(crate) mod plain;
pub(crate) mod typed;

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use crate::bench::{PAGE, Space};
use crate::case::{Check, ensure};
use crate::lab::{Area, Lab};

/// Bytes of the operands of operations that take any number.
pub(crate) const LENGTH: u64 = 2 * PAGE + 300;

/// Which operands lie in the other space, and are reached through a handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The source; of a compare the first one.
    pub(crate) source: bool,
    /// The destination; of a compare the second source.
    pub(crate) destination: bool,
}

impl Shape {
    pub(crate) const PLAIN: Self = Self { source: false, destination: false };
    pub(crate) const SOURCE: Self = Self { source: true, destination: false };
    pub(crate) const DESTINATION: Self = Self { source: false, destination: true };
    pub(crate) const BOTH: Self = Self { source: true, destination: true };

    pub(crate) fn name(self) -> &'static str {
        match (self.source, self.destination) {
            (false, false) => "own memory",
            (true, false) => "the source in another domain",
            (false, true) => "the destination in another domain",
            (true, true) => "both in another domain",
        }
    }

    fn spaces(self) -> [Space; 2] {
        [self.source, self.destination].map(|other| if other { Space::Other } else { Space::Own })
    }
}

/// The shapes that an operation can have.
pub(crate) fn shapes(code: u8) -> &'static [Shape] {
    match code {
        opcode::INTER_DOMAIN_COPY | opcode::INTER_DOMAIN_COMPARE => &[Shape::SOURCE, Shape::DESTINATION, Shape::BOTH],
        opcode::INTER_DOMAIN_FILL => &[Shape::DESTINATION],
        opcode::INTER_DOMAIN_COMPVAL => &[Shape::SOURCE],
        opcode::SCATTER_FILL => &[Shape::PLAIN, Shape::DESTINATION],
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_COPY | opcode::SCATTER_COPY => {
            &[Shape::PLAIN, Shape::SOURCE, Shape::DESTINATION, Shape::BOTH]
        }
        _ => &[Shape::PLAIN],
    }
}

/// The shape that stands for the operation: own memory if that will do.
pub(crate) fn shape(code: u8) -> Shape {
    shapes(code)[0]
}

/// The operands of an operation, by name, in the order of [`Sample::operands`], and whether it writes them.
#[expect(clippy::match_same_arms, reason = "one line for operations of one kind")]
pub(crate) fn operands(code: u8) -> &'static [(&'static str, bool)] {
    match code {
        opcode::MEMMOVE | opcode::INTER_DOMAIN_COPY => &[("source", false), ("destination", true)],
        opcode::FILL | opcode::INTER_DOMAIN_FILL => &[("destination", true)],
        opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => &[("first source", false), ("second source", false)],
        opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => &[("source", false)],
        opcode::DUALCAST => &[("source", false), ("first destination", true), ("second destination", true)],
        opcode::CRCGEN => &[("source", false), ("seed", false)],
        opcode::COPY_CRC => &[("source", false), ("seed", false), ("destination", true)],
        opcode::CR_DELTA => &[("first source", false), ("second source", false), ("delta record", true)],
        opcode::AP_DELTA => &[("delta record", false), ("destination", true)],
        opcode::DIF_CHECK => &[("source", false)],
        opcode::DIF_INS | opcode::DIF_STRP | opcode::DIF_UPDT | opcode::DIX_GEN => {
            &[("source", false), ("destination", true)]
        }
        opcode::TYPE_CONV => &[("source", false), ("destination", true)],
        opcode::REDUCE => &[("first source", false), ("second source", false), ("destination", true)],
        opcode::REDUCE_DUALCAST => &[
            ("first source", false),
            ("second source", false),
            ("first destination", true),
            ("second destination", true),
        ],
        opcode::GATHER_REDUCE | opcode::GATHER_COPY => &[("list", false), ("buffers", false), ("destination", true)],
        opcode::SCATTER_COPY => &[("source", false), ("list", false), ("buffers", true)],
        opcode::SCATTER_FILL => &[("list", false), ("buffers", true)],
        opcode::CFLUSH => &[("range", false)],
        opcode::TRANSL_FETCH => &[("region", false)],
        opcode::BATCH => &[("list", false)],
        _ => &[],
    }
}

/// The bytes completed, at most, when an operation meets a fault at some offset of an operand.
type Reach = Box<dyn Fn(u64) -> u64>;
/// The bytes of an output that are written when so many bytes are completed.
type Written = Box<dyn Fn(u64) -> u64>;

/// Bytes that an operation reads or writes.
pub(crate) struct Operand {
    pub(crate) area: Area,
    /// Its number in the fault information of a record (table 8-13).
    pub(crate) number: u8,
    pub(crate) reach: Reach,
}

impl Operand {
    fn new(area: Area, number: u8, reach: impl Fn(u64) -> u64 + 'static) -> Self {
        Self { area, number, reach: Box::new(reach) }
    }

    /// One of which each byte is a byte completed.
    fn plain(area: Area, number: u8) -> Self {
        Self::new(area, number, |at| at)
    }
}

/// Bytes that an operation writes, and when.
pub(crate) struct Output {
    pub(crate) area: Area,
    pub(crate) bytes: Vec<u8>,
    pub(crate) written: Written,
    /// After a fault nothing is known of it: the operation starts anew.
    pub(crate) loose: bool,
}

impl Output {
    fn new(area: Area, bytes: Vec<u8>, written: impl Fn(u64) -> u64 + 'static) -> Self {
        Self { area, bytes, written: Box::new(written), loose: false }
    }

    fn plain(area: Area, bytes: Vec<u8>) -> Self {
        Self::new(area, bytes, |done| done)
    }
}

/// What the record of a success says beyond the status. What is `None` is not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) result: Option<u8>,
    /// Bytes completed, and how much less it may be: the offset of the first difference, or a number of descriptors.
    pub(crate) completed: Option<(u64, u64)>,
    pub(crate) words: [Option<u64>; 2],
}

/// See the module.
pub(crate) struct Sample {
    pub(crate) d: Descriptor,
    pub(crate) operands: Vec<Operand>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) expected: Expected,
    /// An operation may also stop at a multiple of this many bytes: the buffers of a list.
    pub(crate) granule: u64,
    /// The handle of the other space.
    pub(crate) handle: Option<u16>,
}

impl Sample {
    fn new(d: Descriptor, operands: Vec<Operand>, outputs: Vec<Output>) -> Self {
        Self { d, operands, outputs, expected: Expected::default(), granule: 1, handle: None }
    }

    fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// Makes one.
    pub(crate) fn of(lab: &mut Lab<'_>, code: u8, shape: Shape) -> Check<Self> {
        let mut sample = match code {
            opcode::CR_DELTA | opcode::AP_DELTA => delta::sample(lab, code),
            opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN => integrity::sample(lab, code),
            opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => typed::sample(lab, code, shape),
            opcode::GATHER_REDUCE..=opcode::SCATTER_FILL => lists::sample(lab, code, shape),
            _ => plain::sample(lab, code, shape)?,
        };
        if shape != Shape::PLAIN {
            let entry = lab.entry()?;
            let handle = lab.open(entry)?;
            sample.through(handle, shape);
        }
        ensure!(sample.operands.len() == operands(code).len(), "the suite: operands of {code:#04x} do not agree");
        Ok(sample)
    }

    /// Names the other space by this handle.
    pub(crate) fn through(&mut self, handle: u16, shape: Shape) {
        let d = &mut self.d;
        if matches!(d.opcode(), opcode::REDUCE | opcode::REDUCE_DUALCAST) {
            // By operand: both sources, both destinations; one handle.
            let two = d.opcode() == opcode::REDUCE_DUALCAST;
            let destinations = if two { 0b0101_0000 } else { 0b0001_0000 };
            let selector = if shape.source { 0b0101 } else { 0 } | if shape.destination { destinations } else { 0 };
            d.set_op_u8(59, selector);
            d.set_op_u16(60, handle);
            d.set_opcode_flags(d.opcode(), d.flags() | flag::INTER_DOMAIN_SELECTOR);
        } else {
            let mut flags = d.flags();
            for (used, bit, at) in
                [(shape.source, flag::ALTERNATE_SOURCE, 60), (shape.destination, flag::ALTERNATE_DESTINATION, 62)]
            {
                if used {
                    flags |= bit;
                    d.set_op_u16(at, handle);
                }
            }
            d.set_opcode_flags(d.opcode(), flags);
        }
        self.handle = Some(handle);
    }

    /// Tells the lab what memory must be after so many bytes.
    pub(crate) fn expect(&self, lab: &mut Lab<'_>, done: u64) {
        for output in &self.outputs {
            let written = ((output.written)(done) as usize).min(output.bytes.len());
            lab.expect(output.area, &output.bytes[..written]);
        }
    }

    /// Tells the lab what memory must be in the end.
    pub(crate) fn expect_all(&self, lab: &mut Lab<'_>) {
        for output in &self.outputs {
            lab.expect(output.area, &output.bytes);
        }
    }

    /// Looks at the record of a success that came after `done` bytes had been completed before.
    pub(crate) fn check_success(&self, record: &CompletionRecord, done: u64) -> Check {
        ensure!(record.status == status::SUCCESS, "status {:#04x} in {record:x?}", record.status);
        let Expected { result, completed: expected, words } = self.expected;
        if let Some(result) = result {
            ensure!(record.result == result, "result {} instead of {result}", record.result);
        }
        let completed = u64::from(record.bytes_completed);
        let (at, slack) = expected.map_or((0, 0), |(at, slack)| (at - done, slack));
        ensure!(
            completed <= at && at - completed <= slack,
            "bytes completed {completed} instead of {at}, or at most {slack} less"
        );
        for (i, (found, word)) in record.op_specific.into_iter().zip(words).enumerate() {
            if let Some(word) = word {
                ensure!(found == word, "{found:#x} instead of {word:#x} in bytes {} of the record", 16 + 8 * i);
            }
        }
        Ok(())
    }

    /// All areas that the operation writes.
    pub(crate) fn written(&self) -> Vec<Area> {
        self.outputs.iter().map(|output| output.area).collect()
    }
}

/// Whether an operation can reach other spaces, in any shape.
pub(crate) fn has_domains(code: u8) -> bool {
    shapes(code).iter().any(|shape| *shape != Shape::PLAIN)
}

/// Whether an operation has a size in bytes or elements that must be within bounds.
pub(crate) fn has_size(code: u8) -> bool {
    !matches!(code, opcode::NOP | opcode::BATCH | opcode::DRAIN | opcode::UPDATE_WINDOW)
}
