//! What a campaign has done.

use std::fmt;

use idxd_sys::opcode;

use super::script::Script;
use crate::command::CommandError;

/// Something that happened in a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The tick.
    pub tick: u64,
    /// Index of the step.
    pub step: usize,
    /// What happened.
    pub what: What,
}

/// What happened to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Its trigger was met. A rule is there from now on; a command is about to be given.
    Taken,
    /// Its rule has hit a descriptor with this opcode, or the submission of one.
    Hit {
        /// The opcode.
        opcode: u8,
    },
    /// Its rule is gone.
    Ended,
    /// Its command is done.
    Done(Result<(), CommandError>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} step {}: ", self.tick, self.step + 1)?;
        match self.what {
            What::Taken => f.write_str("taken"),
            What::Hit { opcode: code } => match opcode::name(code) {
                Some(name) => write!(f, "hit a {name}"),
                None => write!(f, "hit opcode {code:#04x}"),
            },
            What::Ended => f.write_str("rule removed"),
            What::Done(Ok(())) => f.write_str("done"),
            What::Done(Err(error)) => write!(f, "refused: {error}"),
        }
    }
}

/// Events of a trace at most; what happens later is counted only.
const MOST_EVENTS: usize = 1 << 16;

/// What a campaign has done so far.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CampaignReport {
    /// The script.
    pub script: Script,
    /// Every step has been taken, in every round, and its command is done.
    pub finished: bool,
    /// Ticks that have passed.
    pub ticks: u64,
    /// Steps taken.
    pub taken: u64,
    /// How often the rules of each step hit something, or its command was carried out.
    pub hits: Vec<u64>,
    /// What happened, in order: the first 65,536 events.
    pub trace: Vec<Event>,
}

impl CampaignReport {
    pub(super) fn new(script: Script) -> Self {
        let hits = vec![0; script.steps.len()];
        Self { script, finished: false, ticks: 0, taken: 0, hits, trace: Vec::new() }
    }

    pub(super) fn note(&mut self, step: usize, what: What) {
        match what {
            What::Taken => self.taken += 1,
            What::Hit { .. } | What::Done(Ok(())) => self.hits[step] += 1,
            What::Ended | What::Done(Err(_)) => {}
        }
        if self.trace.len() < MOST_EVENTS {
            self.trace.push(Event { tick: self.ticks, step, what });
        }
    }

    /// Hits of all steps whose action has this word, such as `lose` or `halt`.
    pub fn count(&self, word: &str) -> u64 {
        let of_word = self.script.steps.iter().zip(&self.hits).filter(|(step, _)| step.action.word() == word);
        of_word.map(|(_, hits)| hits).sum()
    }

    /// Hits of all steps.
    pub fn total(&self) -> u64 {
        self.hits.iter().sum()
    }
}

/// The steps with their hits; the trace is in [`trace`](Self::trace).
impl fmt::Display for CampaignReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.finished { "finished" } else { "not finished" };
        writeln!(f, "campaign {state}: {} steps taken in {} ticks", self.taken, self.ticks)?;
        let steps = self.script.steps.iter().zip(&self.hits);
        steps.enumerate().try_for_each(|(i, (step, hits))| writeln!(f, "{:4} {hits:8} x  {step}", i + 1))
    }
}
