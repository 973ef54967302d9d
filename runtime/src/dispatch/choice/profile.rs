//! The text form of a calibration.
//!
//! ```text
//! dsa-calibration 1
//! cpu Intel(R) Xeon(R) Platinum 8480+
//! queue wq0.0
//! time copy latency 4096 1140000
//! time copy cpu 4096 460000
//! ```
//!
//! The first line has the version; another one is refused. Then one line for each thing: the CPU's model, once; the
//! queues, in their order; and times: kind of operation, quantity, size in bytes, picoseconds. Empty lines and lines that begin with `#`
//! say nothing. A line of another kind is an error, not skipped: it would be from a later version whose times mean
//! something else.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::calibration::LONGEST;
use super::place::{CLASSES, Place, size};
use super::{Calibration, Machine, Measured, Quantity};
use crate::stats::Operation;

/// The first word of the first line.
const MAGIC: &str = "dsa-calibration";
/// The second.
const VERSION: &str = "1";

/// What is wrong with the text of a calibration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {field}: {problem}")]
#[non_exhaustive]
pub struct ProfileError {
    /// Number of the line, from 1.
    pub line: usize,
    /// The field of the line.
    pub field: &'static str,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It is none of the words that may stand there.
    Unknown(String),
    /// It is not a whole number.
    NotANumber(String),
    /// It is a number that cannot be; the lowest and the highest that can.
    OutOfRange(u64, u64, u64),
    /// It is not a power of two.
    NotAPowerOfTwo(u64),
    /// There is something behind the last field.
    Excess(String),
    /// The same was said in an earlier line.
    Again,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Unknown(word) => write!(f, "`{word}` is not known to this version"),
            Self::NotANumber(word) => write!(f, "`{word}` is not a whole number"),
            Self::OutOfRange(value, low, high) => write!(f, "{value} is not between {low} and {high}"),
            Self::NotAPowerOfTwo(value) => write!(f, "{value} is not a power of two"),
            Self::Excess(word) => write!(f, "nothing may follow, and `{word}` does"),
            Self::Again => f.write_str("an earlier line has said this"),
        }
    }
}

impl Calibration {
    /// The text to keep; [`str::parse`] reads it back.
    pub fn to_text(&self) -> String {
        let mut text = format!("{MAGIC} {VERSION}\ncpu {}\n", self.machine.cpu());
        for queue in self.machine.queues() {
            // Writing to a string does not fail.
            _ = writeln!(text, "queue {queue}");
        }
        for Measured { operation, quantity, bytes, picoseconds } in &self.times {
            _ = writeln!(text, "time {operation} {quantity} {bytes} {picoseconds}");
        }
        text
    }
}

impl FromStr for Calibration {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let mut lines = text.lines().enumerate().map(|(index, text)| (index + 1, text.trim()));
        header(lines.next().unwrap_or((1, "")))?;
        let (mut cpu, mut queues, mut times) = (None, Vec::new(), Vec::new());
        let mut said = HashSet::new();
        for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let wrong = |field, problem| Err(ProfileError { line, field, problem });
            match word {
                "cpu" if cpu.is_some() => return wrong("cpu", Problem::Again),
                "cpu" => cpu = Some(rest),
                "queue" if rest.is_empty() => return wrong("queue", Problem::Missing),
                "queue" if queues.contains(&rest.trim()) => return wrong("queue", Problem::Again),
                "queue" => queues.push(rest.trim()),
                "time" => {
                    let time = measured(line, rest)?;
                    if !said.insert((time.operation, time.quantity, time.bytes)) {
                        return wrong("time", Problem::Again);
                    }
                    times.push(time);
                }
                _ => return wrong("kind of line", Problem::Unknown(short(word))),
            }
        }
        let Some(cpu) = cpu else {
            let line = text.lines().count() + 1;
            return Err(ProfileError { line, field: "cpu", problem: Problem::Missing });
        };
        times.sort_unstable();
        Ok(Self { machine: Machine::new(cpu, queues), times })
    }
}

fn header((line, text): (usize, &str)) -> Result<(), ProfileError> {
    let wrong = |field, problem| Err(ProfileError { line, field, problem });
    let mut words = text.split_whitespace();
    match words.next() {
        Some(MAGIC) => {}
        None => return wrong("header", Problem::Missing),
        Some(word) => return wrong("header", Problem::Unknown(short(word))),
    }
    match words.next() {
        Some(VERSION) => {}
        None => return wrong("version", Problem::Missing),
        Some(word) => return wrong("version", Problem::Unknown(short(word))),
    }
    words.next().map_or(Ok(()), |word| wrong("version", Problem::Excess(short(word))))
}

/// The fields of a time.
fn measured(line: usize, text: &str) -> Result<Measured, ProfileError> {
    let mut words = text.split_whitespace();
    let mut field = |field| {
        let missing = ProfileError { line, field, problem: Problem::Missing };
        words.next().map(|word| (field, word)).ok_or(missing)
    };
    let wrong =
        |(field, word): (&'static str, &str)| ProfileError { line, field, problem: Problem::Unknown(short(word)) };
    let operation = field("operation")?;
    let operation =
        Operation::ALL.iter().copied().find(|kind| kind.name() == operation.1).ok_or_else(|| wrong(operation))?;
    let quantity = field("quantity")?;
    let quantity =
        Quantity::ALL.iter().copied().find(|kind| kind.name() == quantity.1).ok_or_else(|| wrong(quantity))?;
    let bytes = number(line, field("bytes")?, size(0), size(CLASSES - 1))?;
    if Place::of(bytes).fraction != 0 {
        return Err(ProfileError { line, field: "bytes", problem: Problem::NotAPowerOfTwo(bytes) });
    }
    let picoseconds = number(line, field("picoseconds")?, 1, LONGEST)?;
    match words.next() {
        None => Ok(Measured { operation, quantity, bytes, picoseconds }),
        Some(word) => Err(ProfileError { line, field: "picoseconds", problem: Problem::Excess(short(word)) }),
    }
}

fn number(line: usize, (field, word): (&'static str, &str), low: u64, high: u64) -> Result<u64, ProfileError> {
    let wrong = |problem| ProfileError { line, field, problem };
    // `parse` would also take a plus sign.
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong(Problem::NotANumber(short(word))));
    }
    // Digits only, so what cannot be parsed is too large.
    let value = word.parse().unwrap_or(u64::MAX);
    if (low..=high).contains(&value) { Ok(value) } else { Err(wrong(Problem::OutOfRange(value, low, high))) }
}

/// As much of a word as a message should repeat.
fn short(word: &str) -> String {
    const MOST: usize = 40;
    if word.chars().count() <= MOST { word.to_owned() } else { word.chars().take(MOST).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calibrations() -> impl Strategy<Value = Calibration> {
        let kinds = proptest::sample::select(Operation::ALL.to_vec());
        let quantities = proptest::sample::select(Quantity::ALL.to_vec());
        let times = proptest::collection::btree_map((kinds, quantities, 0..CLASSES), 1..=LONGEST, 0..60);
        // Names as they come, with blanks and control characters in any place, but each once and none empty.
        let queues = proptest::collection::vec("[a-z0-9. #\t]{0,12}", 0..4);
        (".{0,40}", queues, times).prop_map(|(cpu, queues, times)| {
            let machine = Machine::new(&cpu, &queues);
            let mut seen = HashSet::new();
            let usable = machine.queues().iter().filter(|name| !name.is_empty() && seen.insert((*name).clone()));
            let machine = Machine::new(machine.cpu(), usable);
            let time = |((operation, quantity, class), picoseconds)| Measured {
                operation,
                quantity,
                bytes: size(class),
                picoseconds,
            };
            Calibration { machine, times: times.into_iter().map(time).collect() }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(calibration in calibrations()) {
            prop_assert_eq!(calibration.to_text().parse(), Ok(calibration));
        }

        #[test]
        fn any_text_is_read_or_refused_with_a_line_that_it_has(text in "(dsa-calibration 1\n)?(\\PC|\n){0,200}") {
            if let Err(error) = text.parse::<Calibration>() {
                prop_assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{}", error);
            }
        }

        /// A right text with one byte changed, lost or doubled: whatever is accepted is a calibration that survives being written.
        #[test]
        fn a_damaged_text_is_refused_or_is_another_right_one(
            calibration in calibrations(), place: prop::sample::Index, byte in 0u8..128, damage in 0..3
        ) {
            let mut bytes = calibration.to_text().into_bytes();
            let place = place.index(bytes.len());
            match damage {
                0 => bytes[place] = byte,
                1 => _ = bytes.remove(place),
                _ => bytes.insert(place, byte),
            }
            let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
            match text.parse::<Calibration>() {
                Ok(read) => {
                    prop_assert_eq!(read.to_text().parse(), Ok(read.clone()));
                    _ = read.estimates();
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn errors_name_the_line_and_the_field() {
        let cases = [
            ("", "line 1, header: missing"),
            ("dsa-profile 1", "line 1, header: `dsa-profile` is not known to this version"),
            ("dsa-calibration", "line 1, version: missing"),
            ("dsa-calibration 2\ncpu A", "line 1, version: `2` is not known to this version"),
            ("dsa-calibration 1 2", "line 1, version: nothing may follow, and `2` does"),
            ("dsa-calibration 1", "line 2, cpu: missing"),
            ("dsa-calibration 1\ncpu A\n\ncpu A", "line 4, cpu: an earlier line has said this"),
            ("dsa-calibration 1\nqueue", "line 2, queue: missing"),
            ("dsa-calibration 1\nqueue a\nqueue a", "line 3, queue: an earlier line has said this"),
            ("dsa-calibration 1\n# or\nrate copy 3", "line 3, kind of line: `rate` is not known to this version"),
            ("dsa-calibration 1\ntime", "line 2, operation: missing"),
            ("dsa-calibration 1\ntime copi", "line 2, operation: `copi` is not known to this version"),
            ("dsa-calibration 1\ntime copy mean", "line 2, quantity: `mean` is not known to this version"),
            ("dsa-calibration 1\ntime copy cpu", "line 2, bytes: missing"),
            ("dsa-calibration 1\ntime copy cpu 4k", "line 2, bytes: `4k` is not a whole number"),
            ("dsa-calibration 1\ntime copy cpu 5000", "line 2, bytes: 5000 is not a power of two"),
            ("dsa-calibration 1\ntime copy cpu 32 1", "line 2, bytes: 32 is not between 64 and 2147483648"),
            ("dsa-calibration 1\ntime copy cpu 64", "line 2, picoseconds: missing"),
            ("dsa-calibration 1\ntime copy cpu 64 +1", "line 2, picoseconds: `+1` is not a whole number"),
            ("dsa-calibration 1\ntime copy cpu 64 0", "line 2, picoseconds: 0 is not between 1 and 17592186044416"),
            ("dsa-calibration 1\ntime copy cpu 64 1 ns", "line 2, picoseconds: nothing may follow, and `ns` does"),
            (
                "dsa-calibration 1\ncpu A\ntime copy cpu 64 1\ntime copy cpu 64 2",
                "line 4, time: an earlier line has said this",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<Calibration>().unwrap_err().to_string(), message, "{text:?}");
        }
        let long = format!("dsa-calibration 1\n{}", "x".repeat(10_000));
        assert!(long.parse::<Calibration>().unwrap_err().to_string().len() < 120);
    }

    #[test]
    fn the_text_is_as_documented() {
        let text =
            "dsa-calibration 1\ncpu A B\nqueue wq0.0\ntime copy latency 4096 1140000\ntime copy cpu 4096 460000\n";
        assert_eq!(text.parse::<Calibration>().unwrap().to_text(), text);
    }
}
