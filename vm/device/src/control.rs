//! The control channel: one line of text in, one line back.
//!
//! | command | answer |
//! |---|---|
//! | `counters` | `ok accepted=N retries=N ... op.0xNN=N ... wq.N=N`: what the device has done, also by operation and by queue |
//! | `inject EFFECT [FILTER...]` | `ok ID`: a fault rule |
//! | `remove ID` | `ok N`: how often the rule fired |
//! | `clear` | `ok N`: how many rules there were; now there is none |
//! | `halt` | `ok`: a hardware error halts the device |
//! | `reset` | `ok`: function level reset behind the driver's back |
//! | `tlb on`, `tlb off` | `ok on` or `ok off`: the device caches translations, if software lets it |
//! | `ignore WHAT` | `ok`: the cache ignores invalidations: `none`, `requester`, `pasid` or `all` |
//! | `audit WHAT` | `ok`: compare requests that carry a PASID with the same by requester id: `off`, `all`, or one PASID |
//! | `pasids` | `ok rid=N 1=N ...`: requests by PASID since the last `audit` |
//!
//! The counters end with those of the device's cache (`tlb_...`) and of the comparison (`agreed`, `disagreed`).
//!
//! Effects: `page-fault`, `page-fault-refused`, `record-fault`, `hardware=STATUS`, `lose`, `retry`, `delay=MICROSECONDS`.
//! Filters: `opcode=N`, `nth=N`, `every=N`, `limit=N`, `probability=P`, `at=FIRST-END`. Numbers are decimal, or
//! hexadecimal with `0x`. Errors are answered by `error` and the reason.
//!
//! A command may have a word in front of it that starts with `@`; its answer has the same word in front. Whoever comes after
//! a program that did not wait for its answers tells them from its own by it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use dsa_emulator::{Agreement, Audit, Counters, Effect, FaultRule, Ignored, TlbCounters};
use thiserror::Error;

/// A command of the channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Report the counters.
    Counters,
    /// Add a rule.
    Inject(FaultRule),
    /// Take the rule with this number away.
    Remove(usize),
    /// Take all rules away.
    Clear,
    /// Halt the device by a hardware error.
    Halt,
    /// Reset the function.
    Reset,
    /// Switch the device's cache of translations.
    Tlb(bool),
    /// Ignore invalidations.
    Ignore(Ignored),
    /// Compare requests with and without a PASID.
    Audit(Audit),
    /// Report the PASIDs that requests carried.
    Pasids,
}

/// Why a line is not a command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The first word.
    #[error("no command {0:?}; known are counters, inject, remove, clear, halt, reset, tlb, ignore, audit, pasids")]
    Command(String),
    /// A word that means nothing where it stands.
    #[error("{0:?} is not understood")]
    Word(String),
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// Splits a line into the word that its answer repeats, with the blank behind it, and the command.
pub fn split_tag(line: &str) -> (&str, &str) {
    let tag = if line.starts_with('@') { line.find(' ').map_or(0, |blank| blank + 1) } else { 0 };
    line.split_at(tag)
}

impl Command {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, ParseError> {
        let mut words = line.split_whitespace();
        let command = match words.next().unwrap_or("") {
            "counters" => Self::Counters,
            "clear" => Self::Clear,
            "halt" => Self::Halt,
            "reset" => Self::Reset,
            "pasids" => Self::Pasids,
            "tlb" => match words.next().ok_or(ParseError::Missing("on or off"))? {
                "on" => Self::Tlb(true),
                "off" => Self::Tlb(false),
                other => return Err(ParseError::Word(other.to_owned())),
            },
            "ignore" => {
                let what = words.next().ok_or(ParseError::Missing("none, requester, pasid or all"))?;
                let [requester, pasid] = match what {
                    "none" => [false, false],
                    "requester" => [true, false],
                    "pasid" => [false, true],
                    "all" => [true, true],
                    other => return Err(ParseError::Word(other.to_owned())),
                };
                Self::Ignore(Ignored { requester, pasid })
            }
            "audit" => Self::Audit(match words.next().ok_or(ParseError::Missing("off, all or a PASID"))? {
                "off" => Audit::Off,
                "all" => Audit::All,
                pasid => Audit::Pasid(number(pasid, pasid)? as u32),
            }),
            "remove" => {
                let id = words.next().ok_or(ParseError::Missing("the rule's number"))?;
                Self::Remove(number(id, id)? as usize)
            }
            "inject" => {
                let effect = words.next().ok_or(ParseError::Missing("the effect"))?;
                let rule = FaultRule::new(parse_effect(effect)?);
                Self::Inject(words.by_ref().try_fold(rule, add_filter)?)
            }
            other => return Err(ParseError::Command(other.to_owned())),
        };
        match words.next() {
            Some(word) => Err(ParseError::Word(word.to_owned())),
            None => Ok(command),
        }
    }
}

fn parse_effect(word: &str) -> Result<Effect, ParseError> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    Ok(match (name, value) {
        ("page-fault", "") => Effect::PageFault { resolvable: true },
        ("page-fault-refused", "") => Effect::PageFault { resolvable: false },
        ("record-fault", "") => Effect::RecordFault,
        ("lose", "") => Effect::Lose,
        ("retry", "") => Effect::Retry,
        ("hardware", status) => Effect::HardwareError(byte(status, word)?),
        ("delay", micros) => Effect::Delay(Duration::from_micros(number(micros, word)?)),
        _ => return Err(ParseError::Word(word.to_owned())),
    })
}

fn add_filter(rule: FaultRule, word: &str) -> Result<FaultRule, ParseError> {
    let unknown = || ParseError::Word(word.to_owned());
    let (name, value) = word.split_once('=').ok_or_else(unknown)?;
    Ok(match name {
        "opcode" => rule.opcode(byte(value, word)?),
        "nth" => rule.nth(number(value, word)?),
        "every" => rule.every(number(value, word)?),
        "limit" => rule.limit(number(value, word)?),
        "probability" => rule.probability(value.parse().map_err(|_| unknown())?),
        "at" => {
            let (first, end) = value.split_once('-').ok_or_else(unknown)?;
            rule.at(number(first, word)?..number(end, word)?)
        }
        _ => return Err(unknown()),
    })
}

fn number(text: &str, word: &str) -> Result<u64, ParseError> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| ParseError::Word(word.to_owned()))
}

fn byte(text: &str, word: &str) -> Result<u8, ParseError> {
    u8::try_from(number(text, word)?).map_err(|_| ParseError::Word(word.to_owned()))
}

/// The counters in one line: pairs of name and value. Operations and queues that were not used are left out.
pub fn counters_line(counters: &Counters) -> String {
    let mut line = format!(
        "accepted={} retries={} dropped={} discarded={} bytes={} failed={} faults={} abandoned={} records={} lost={} \
         executed={}",
        counters.accepted,
        counters.retries,
        counters.dropped,
        counters.discarded,
        counters.bytes,
        counters.failed,
        counters.page_faults,
        counters.abandoned,
        counters.records,
        counters.lost,
        counters.total_executed()
    );
    for (opcode, count) in counters.executed.iter().enumerate().filter(|(_, count)| **count != 0) {
        let _ = write!(line, " op.{opcode:#04x}={count}");
    }
    for (number, queue) in counters.queues.iter().enumerate().filter(|(_, queue)| queue.accepted != 0) {
        let _ = write!(line, " wq.{number}={}", queue.accepted);
    }
    line
}

/// The counters of the device's cache and of the comparison, in the same form.
pub fn translation_line(tlb: TlbCounters, agreement: &Agreement) -> String {
    format!(
        "tlb_hits={} tlb_misses={} tlb_stale={} tlb_rid={} tlb_pasid={} tlb_forgotten={} agreed={} disagreed={}",
        tlb.hits,
        tlb.misses,
        tlb.stale,
        tlb.by_requester,
        tlb.by_pasid,
        tlb.forgotten,
        agreement.agreed(),
        agreement.disagreed()
    )
}

/// Requests by PASID in one line; `rid` stands for those without one.
pub fn pasids_line(seen: &BTreeMap<Option<u32>, u64>) -> String {
    let one = |(pasid, count): (&Option<u32>, &u64)| match pasid {
        Some(pasid) => format!("{pasid}={count}"),
        None => format!("rid={count}"),
    };
    seen.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use dsa_emulator::{Config, Device, WqConfig};

    use super::*;

    #[test]
    fn plain_commands() {
        assert_eq!(Command::parse("counters"), Ok(Command::Counters));
        assert_eq!(Command::parse("  halt "), Ok(Command::Halt));
        assert_eq!(Command::parse("reset"), Ok(Command::Reset));
        assert_eq!(Command::parse("remove 3"), Ok(Command::Remove(3)));
        assert_eq!(Command::parse("clear"), Ok(Command::Clear));
        assert_eq!(Command::parse("pasids"), Ok(Command::Pasids));
    }

    #[test]
    fn translations_are_cached_ignored_and_compared_on_demand() {
        assert_eq!(Command::parse("tlb on"), Ok(Command::Tlb(true)));
        assert_eq!(Command::parse("tlb off"), Ok(Command::Tlb(false)));
        assert_eq!(Command::parse("ignore pasid"), Ok(Command::Ignore(Ignored { requester: false, pasid: true })));
        assert_eq!(Command::parse("ignore none"), Ok(Command::Ignore(Ignored::default())));
        assert_eq!(Command::parse("audit all"), Ok(Command::Audit(Audit::All)));
        assert_eq!(Command::parse("audit 0x11"), Ok(Command::Audit(Audit::Pasid(17))));
        for bad in ["tlb", "ignore", "audit", "tlb maybe", "ignore some", "audit some", "tlb on off"] {
            assert!(Command::parse(bad).is_err(), "{bad}");
        }
        let seen = BTreeMap::from([(None, 3), (Some(1), 4)]);
        assert_eq!(pasids_line(&seen), "rid=3 1=4");
    }

    #[test]
    fn a_tag_ends_with_its_blank() {
        assert_eq!(split_tag("@17 remove 3"), ("@17 ", "remove 3"));
        assert_eq!(split_tag("remove 3"), ("", "remove 3"));
        assert_eq!(split_tag("@17"), ("", "@17"));
    }

    #[test]
    fn rules_with_all_filters() {
        let rule = FaultRule::new(Effect::HardwareError(0x20))
            .opcode(3)
            .nth(2)
            .every(5)
            .limit(1)
            .probability(0.5)
            .at(0x1000..0x2000);
        let line = "inject hardware=0x20 opcode=3 nth=2 every=5 limit=1 probability=0.5 at=0x1000-0x2000";
        assert_eq!(Command::parse(line), Ok(Command::Inject(rule)));
        for (word, effect) in [
            ("page-fault", Effect::PageFault { resolvable: true }),
            ("page-fault-refused", Effect::PageFault { resolvable: false }),
            ("record-fault", Effect::RecordFault),
            ("lose", Effect::Lose),
            ("retry", Effect::Retry),
            ("delay=250", Effect::Delay(Duration::from_micros(250))),
        ] {
            assert_eq!(
                Command::parse(&format!("inject {word}")),
                Ok(Command::Inject(FaultRule::new(effect))),
                "{word}"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Command::parse("bogus"), Err(ParseError::Command("bogus".into())));
        assert_eq!(Command::parse(""), Err(ParseError::Command(String::new())));
        assert_eq!(Command::parse("inject"), Err(ParseError::Missing("the effect")));
        assert_eq!(Command::parse("reset now"), Err(ParseError::Word("now".into())));
        for bad in ["lose=1", "hardware=256", "hardware=", "delay=x", "nothing"] {
            assert_eq!(Command::parse(&format!("inject {bad}")), Err(ParseError::Word(bad.into())));
        }
        for bad in ["opcode", "opcode=300", "at=1", "nth=-1", "colour=3"] {
            assert_eq!(Command::parse(&format!("inject lose {bad}")), Err(ParseError::Word(bad.into())));
        }
    }

    #[test]
    fn counters_name_only_what_was_used() {
        let config = Config::sapphire_rapids().queue(WqConfig::shared(4)).queue(WqConfig::shared(4)).manual();
        let mut counters = Device::new(config).unwrap().counters();
        let line = counters_line(&counters);
        assert!(!line.contains("op.") && !line.contains("wq."), "{line}");
        counters.executed[3] = 7;
        counters.accepted = 8;
        counters.queues[1].accepted = 8;
        let line = counters_line(&counters);
        assert!(line.starts_with("accepted=8 ") && line.ends_with("executed=7 op.0x03=7 wq.1=8"), "{line}");
    }
}
