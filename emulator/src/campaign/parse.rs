//! Scripts from text, with errors that say where.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use idxd_sys::opcode;
use thiserror::Error;

use super::script::{Action, Command, Filter, Script, Step, Trigger};
use crate::fault::{Effect, FaultRule};
use crate::memory::Access;

/// Why a text is no script, and where. Lines and columns count from 1; columns are characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// Line.
    pub line: usize,
    /// Column of the word at fault, or just behind the line's last word if something is missing.
    pub column: usize,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// A word that does not belong there.
    #[error("`{found}` is not {expected}")]
    Unexpected {
        /// The word.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The line ends too early.
    #[error("the line ends before {0}")]
    Missing(&'static str),
    /// A number that is none, or too large for its place.
    #[error("`{found}` is not a number from {least} to {most}")]
    Number {
        /// The word.
        found: String,
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// A range that is empty.
    #[error("`{0}` is not a range of addresses such as 0x1000..0x2000")]
    Range(String),
    /// A probability outside 0 to 1.
    #[error("`{0}` is not a probability from 0 to 1")]
    Probability(String),
    /// A modifier that is there twice.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
}

use ParseErrorKind as Kind;

impl FromStr for Script {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut script = Self::new(0);
        let (mut seed, mut rounds) = (false, false);
        for (index, line) in text.lines().enumerate() {
            let mut words = Words::of(line);
            let end = |kind, column| ParseError { line: index + 1, column, kind };
            let parsed = match words.peek() {
                None => continue,
                Some("seed") => words.setting("seed", &mut seed, 0).map(|n| script.seed = n),
                Some("rounds") => words.setting("rounds", &mut rounds, 1).map(|n| script.rounds = n),
                Some(_) => step(&mut words).map(|step| script.steps.push(step)),
            };
            parsed.and_then(|()| words.end()).map_err(|Bad(column, kind)| end(kind, column))?;
        }
        Ok(script)
    }
}

/// An error in a line: its column and kind.
struct Bad(usize, Kind);

/// The words of a line with their columns. A colon is a word.
struct Words<'a> {
    all: Vec<(usize, &'a str)>,
    next: usize,
    /// The column behind the last word.
    behind: usize,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let code = line.split('#').next().unwrap_or_default();
        let (mut words, mut start) = (Vec::new(), None);
        let mut column = 0;
        for (at, c) in code.char_indices() {
            column += 1;
            let inside = !c.is_whitespace() && c != ':';
            if let Some((from, first)) = start.take_if(|_| !inside) {
                words.push((first, &code[from..at]));
            }
            if inside {
                start.get_or_insert((at, column));
            } else if c == ':' {
                words.push((column, &code[at..=at]));
            }
        }
        if let Some((from, first)) = start {
            words.push((first, &code[from..]));
        }
        let behind = words.last().map_or(1, |(column, word)| column + word.chars().count());
        Self { all: words, next: 0, behind }
    }

    fn peek(&self) -> Option<&'a str> {
        self.all.get(self.next).map(|w| w.1)
    }

    /// The column of the word taken last.
    fn column(&self) -> usize {
        self.all.get(self.next.wrapping_sub(1)).map_or(1, |w| w.0)
    }

    fn take(&mut self, what: &'static str) -> Result<&'a str, Bad> {
        let word = self.peek().ok_or(Bad(self.behind, Kind::Missing(what)))?;
        self.next += 1;
        Ok(word)
    }

    /// Takes the next word if it is this one.
    fn skip(&mut self, word: &str) -> bool {
        let is = self.peek() == Some(word);
        self.next += usize::from(is);
        is
    }

    fn bad<T>(&self, kind: Kind) -> Result<T, Bad> {
        Err(Bad(self.column(), kind))
    }

    fn unexpected<T>(&self, found: &str, expected: &'static str) -> Result<T, Bad> {
        self.bad(Kind::Unexpected { found: found.into(), expected })
    }

    fn end(&mut self) -> Result<(), Bad> {
        match self.peek() {
            None => Ok(()),
            Some(word) => {
                self.next += 1;
                self.unexpected(word, "the end of the line")
            }
        }
    }

    fn number(&mut self, least: u64, most: u64) -> Result<u64, Bad> {
        let word = self.take("a number")?;
        match number(word) {
            Some(n) if (least..=most).contains(&n) => Ok(n),
            _ => self.bad(Kind::Number { found: word.into(), least, most }),
        }
    }

    fn probability(&mut self) -> Result<f64, Bad> {
        let word = self.take("a probability")?;
        match word.parse::<f64>() {
            Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
            _ => self.bad(Kind::Probability(word.into())),
        }
    }

    fn time(&mut self) -> Result<Duration, Bad> {
        const EXPECTED: &str = "a time such as 10us";
        let word = self.take(EXPECTED)?;
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (value, unit) = word.split_at(digits);
        let time = value.parse::<u64>().ok().and_then(|n| match unit {
            "ns" => Some(Duration::from_nanos(n)),
            "us" => Some(Duration::from_micros(n)),
            "ms" => Some(Duration::from_millis(n)),
            "s" => Some(Duration::from_secs(n)),
            _ => None,
        });
        time.map_or_else(|| self.unexpected(word, EXPECTED), Ok)
    }

    fn opcode(&mut self) -> Result<u8, Bad> {
        const EXPECTED: &str = "an operation, by name or number up to 255";
        let word = self.take(EXPECTED)?;
        let named = opcode::ALL.iter().copied().find(|code| opcode::name(*code) == Some(word));
        let code = named.or_else(|| number(word).and_then(|n| u8::try_from(n).ok()));
        code.map_or_else(|| self.unexpected(word, EXPECTED), Ok)
    }

    fn range(&mut self) -> Result<Range<u64>, Bad> {
        let word = self.take("a range of addresses")?;
        let ends = word.split_once("..").and_then(|(from, to)| Some(number(from)?..number(to)?));
        match ends {
            Some(range) if !range.is_empty() => Ok(range),
            _ => self.bad(Kind::Range(word.into())),
        }
    }

    /// `seed` and `rounds`, each once.
    fn setting(&mut self, word: &'static str, seen: &mut bool, least: u64) -> Result<u64, Bad> {
        self.next += 1;
        if std::mem::replace(seen, true) {
            return self.bad(Kind::Twice(word));
        }
        self.number(least, u64::MAX)
    }
}

/// Decimal, or hexadecimal after `0x`.
fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        None if word.bytes().all(|b| b.is_ascii_digit()) => word.parse().ok(),
        _ => None,
    }
}

fn step(words: &mut Words<'_>) -> Result<Step, Bad> {
    let trigger = trigger(words)?;
    Ok(Step { trigger: trigger.unwrap_or(Trigger::Now), action: action(words)? })
}

fn trigger(words: &mut Words<'_>) -> Result<Option<Trigger>, Bad> {
    let trigger = match words.peek() {
        Some("now") => {
            words.next += 1;
            Trigger::Now
        }
        Some("after") => {
            words.next += 1;
            Trigger::After(words.number(0, u64::MAX)?)
        }
        Some("at") => {
            words.next += 1;
            Trigger::At(words.number(0, u64::MAX)?)
        }
        Some("chance") => {
            words.next += 1;
            Trigger::Chance(words.probability()?)
        }
        Some("when") => {
            words.next += 1;
            let mut filter = Filter::new();
            while !matches!(words.peek(), None | Some(":")) {
                if !filter_part(words, &mut filter)? {
                    let word = words.take("a filter")?;
                    return words.unexpected(word, "`opcode`, `address`, `read` or `write`");
                }
            }
            Trigger::When(filter)
        }
        _ => return Ok(None),
    };
    let colon = words.take("a colon")?;
    if colon == ":" { Ok(Some(trigger)) } else { words.unexpected(colon, "the colon behind a trigger") }
}

/// Takes a part of a filter, if the next word begins one.
fn filter_part(words: &mut Words<'_>, filter: &mut Filter) -> Result<bool, Bad> {
    if words.skip("opcode") {
        once(words, "opcode", filter.opcode.is_some())?;
        filter.opcode = Some(words.opcode()?);
    } else if words.skip("address") {
        once(words, "address", filter.range.is_some())?;
        filter.range = Some(words.range()?);
    } else if words.skip("read") {
        once(words, "read` or `write", filter.access.is_some())?;
        filter.access = Some(Access::Read);
    } else if words.skip("write") {
        once(words, "read` or `write", filter.access.is_some())?;
        filter.access = Some(Access::Write);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn once(words: &Words<'_>, word: &'static str, seen: bool) -> Result<(), Bad> {
    if seen { words.bad(Kind::Twice(word)) } else { Ok(()) }
}

fn action(words: &mut Words<'_>) -> Result<Action, Bad> {
    let word = words.take("an effect or a command")?;
    let mut queue = || words.number(0, 255).map(|n| n as usize);
    let command = match word {
        "halt" => Command::Halt,
        "reset" => Command::Reset,
        "enable" => Command::Enable,
        "disable" => Command::Disable,
        "recover" => Command::Recover,
        "clear" => Command::Clear,
        "abort-all" => Command::AbortAll,
        "drain-all" => Command::DrainAll,
        "enable-wq" => Command::EnableWq(queue()?),
        "disable-wq" => Command::DisableWq(queue()?),
        "abort-wq" => Command::AbortWq(queue()?),
        "drain-wq" => Command::DrainWq(queue()?),
        "abort-pasid" => Command::AbortPasid(words.number(0, 0xf_ffff)? as u32),
        "drain-pasid" => Command::DrainPasid(words.number(0, 0xf_ffff)? as u32),
        _ => return effect(words, word),
    };
    Ok(Action::Command(command))
}

fn effect(words: &mut Words<'_>, word: &str) -> Result<Action, Bad> {
    let effect = match word {
        "page-fault" => Effect::PageFault { resolvable: false },
        "page-fault-resolvable" => Effect::PageFault { resolvable: true },
        "record-fault" => Effect::RecordFault,
        "no-record" => Effect::HardwareError(0),
        // 0 is what `no-record` is for.
        "error" => Effect::HardwareError(words.number(1, 255)? as u8),
        "lose" => Effect::Lose,
        "retry" => Effect::Retry,
        "delay" => Effect::Delay(words.time()?),
        _ => return words.unexpected(word, "a trigger, an effect or a command"),
    };
    let (mut filter, mut ticks) = (Filter::new(), None);
    let (mut nth, mut every, mut probability, mut limit) = (None, None, None, None);
    while words.peek().is_some() {
        if filter_part(words, &mut filter)? {
            continue;
        }
        let word = words.take("a modifier")?;
        match word {
            "nth" => {
                once(words, "nth", nth.is_some())?;
                nth = Some(words.number(0, u64::MAX)?);
            }
            "every" => {
                once(words, "every", every.is_some())?;
                every = Some(words.number(0, u64::MAX)?);
            }
            "probability" => {
                once(words, "probability", probability.is_some())?;
                probability = Some(words.probability()?);
            }
            "limit" => {
                once(words, "limit", limit.is_some())?;
                limit = Some(words.number(0, u64::MAX)?);
            }
            "for" => {
                once(words, "for", ticks.is_some())?;
                ticks = Some(words.number(0, u64::MAX)?);
            }
            _ => return words.unexpected(word, "a modifier of an effect"),
        }
    }
    let rule = FaultRule { effect, nth, every, ..filter.rule() };
    let rule = rule.probability(probability.unwrap_or(1.0)).limit(limit.unwrap_or(u64::MAX));
    Ok(Action::Inject { rule, ticks })
}
