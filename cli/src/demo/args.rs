//! What can be said on the command line of `dsa demo`, and what it means.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;

/// Copy and checksum real files in memory through the async interface, and verify every byte
///
/// Reads the files piece by piece, has each piece copied, compared, filled, checksummed or copied twice, and holds every
/// result against an independent computation. Exit status 0 means that everything was right.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Sizes take a unit: 4096, 64KiB, 1MiB, 2GiB. Probabilities are numbers from 0 to 1.")]
pub(crate) struct Args {
    /// Files to work on; folders are walked. Without any: the files of the installed Rust tool chain
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Stop after this much input
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub(crate) limit: Size,

    /// Pieces in work at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) depth: u32,

    /// Largest operation, or "mixed": random lengths from 1 byte to 256 KiB
    #[arg(long, value_name = "SIZE|mixed", default_value = "64KiB")]
    pub(crate) size: OperationSize,

    /// What is done with the pieces: a list, from which each piece gets one at random
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum, default_values_t = Recipe::ALL)]
    pub(crate) ops: Vec<Recipe>,

    /// Smaller operations are done by the CPU
    #[arg(long, value_name = "SIZE", default_value = "4KiB")]
    pub(crate) threshold: Size,

    /// Seed of everything that is chosen at random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// What does the work; "auto" is the machine's shared work queues if some can be used, else the software model
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = On::Auto)]
    pub(crate) on: On,

    /// The same as --on cpu
    #[arg(long, conflicts_with = "on")]
    pub(crate) cpu: bool,

    #[command(flatten)]
    pub(crate) machine: Machine,

    #[command(flatten)]
    pub(crate) model: Model,

    #[command(flatten)]
    pub(crate) trouble: Trouble,
}

/// What does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// The machine's shared work queues if some can be used, else the software model
    Auto,
    /// The machine's work queues; an error if none can be used
    Device,
    /// The software model
    Model,
    /// The CPU
    Cpu,
}

impl Args {
    /// What is to do the work: as told, or as the other options imply.
    pub(crate) fn on(&self) -> On {
        let of_model = self.model.preset.is_some()
            || self.model.queues.is_some()
            || self.model.dedicated
            || self.trouble.page_faults() > 0.0
            || self.trouble.refusals() > 0.0
            || self.trouble.lose.0 > 0.0;
        match self.on {
            _ if self.cpu => On::Cpu,
            On::Auto if !self.machine.queue.is_empty() => On::Device,
            On::Auto if of_model => On::Model,
            on => on,
        }
    }
}

/// Which work queues of this machine are used, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "This machine's work queues")]
pub(crate) struct Machine {
    /// Use this work queue, shared or dedicated, such as wq0.1; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = MODEL)]
    pub(crate) queue: Vec<String>,

    /// How descriptors get to the queues; "auto" is the portal where it may be mapped
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Submit::Auto, conflicts_with_all = MODEL)]
    pub(crate) submit: Submit,
}

/// Options that concern the software model alone.
const MODEL: [&str; 7] = ["cpu", "preset", "queues", "dedicated", "fail_rate", "faults", "retries"];

/// How descriptors get to a work queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Submit {
    /// The portal where it may be mapped, else write(2)
    Auto,
    /// ENQCMD or MOVDIR64B on the portal
    Portal,
    /// write(2)
    Write,
}

impl From<Submit> for dsa::SubmitBy {
    fn from(submit: Submit) -> Self {
        match submit {
            Submit::Auto => Self::Auto,
            Submit::Portal => Self::Portal,
            Submit::Write => Self::Write,
        }
    }
}

/// What the software model of the device looks like.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Software model")]
pub(crate) struct Model {
    /// Which device is modelled [default: spr]
    #[arg(long, value_enum, conflicts_with = "cpu")]
    pub(crate) preset: Option<Preset>,

    /// Work queues [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "cpu",
          value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) queues: Option<u16>,

    /// Dedicated queues (MOVDIR64B) instead of shared ones (ENQCMD)
    #[arg(long, conflicts_with = "cpu")]
    pub(crate) dedicated: bool,
}

/// What is made to go wrong.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Injected trouble")]
pub(crate) struct Trouble {
    /// Probability of a page fault per descriptor and of a refusal per submission, unless given by themselves
    #[arg(long, visible_alias = "failure-rate", value_name = "P", default_value_t = Probability(0.0),
          conflicts_with = "cpu")]
    pub(crate) fail_rate: Probability,

    /// Probability that a descriptor meets a page that is not present
    #[arg(long, value_name = "P", conflicts_with = "cpu")]
    pub(crate) faults: Option<Probability>,

    /// Probability that a shared queue refuses a submission
    #[arg(long, value_name = "P", conflicts_with_all = ["cpu", "dedicated"])]
    pub(crate) retries: Option<Probability>,

    /// Probability that a descriptor is lost without a trace; each costs half a second
    #[arg(long, value_name = "P", default_value_t = Probability(0.0), conflicts_with = "cpu")]
    pub(crate) lose: Probability,

    /// Probability, per piece, of a further operation that is cancelled by dropping its future
    #[arg(long, value_name = "P", default_value_t = Probability(0.0))]
    pub(crate) cancel: Probability,
}

impl Trouble {
    /// Probability of a page fault per descriptor.
    pub(crate) fn page_faults(&self) -> f64 {
        self.faults.unwrap_or(self.fail_rate).0
    }

    /// Probability of a refusal per ENQCMD.
    pub(crate) fn refusals(&self) -> f64 {
        self.retries.unwrap_or(self.fail_rate).0
    }
}

/// The device that the model stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Sapphire Rapids: DSA 1.0
    Spr,
    /// Granite Rapids: DSA 2.0
    Gnr,
}

impl Preset {
    /// The name in full.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spr => "Sapphire Rapids",
            Self::Gnr => "Granite Rapids",
        }
    }
}

/// What is done with a piece of a file. Every recipe reads each byte and leaves a copy to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipe {
    /// Copy with checksum in one pass
    CopyCrc32c,
    /// Copy, compare with the original, then once more with one byte changed
    CopyCompare,
    /// Copy, then checksum of the copy
    Crc32c,
    /// Fill a buffer with a pattern, then copy
    Fill,
    /// Copy to two destinations in one pass
    Dualcast,
}

impl Recipe {
    /// Every recipe.
    pub(crate) const ALL: [Self; 5] = [Self::CopyCrc32c, Self::CopyCompare, Self::Crc32c, Self::Fill, Self::Dualcast];

    /// Out of 10 pieces, how many get this one if all are allowed.
    pub(crate) fn weight(self) -> u64 {
        match self {
            Self::CopyCrc32c => 4,
            Self::CopyCompare | Self::Crc32c => 2,
            Self::Fill | Self::Dualcast => 1,
        }
    }

    /// Whether it writes to a second buffer.
    pub(crate) fn needs_second(self) -> bool {
        matches!(self, Self::Fill | Self::Dualcast)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CopyCrc32c => "copy-crc32c",
            Self::CopyCompare => "copy-compare",
            Self::Crc32c => "crc32c",
            Self::Fill => "fill",
            Self::Dualcast => "dualcast",
        })
    }
}

/// A number of bytes, written with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let shift = match unit.as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return Err(format!("unknown unit {unit:?}: use B, KiB, MiB, GiB or TiB")),
        };
        let number: u64 =
            number.parse().map_err(|_| "a size is a whole number and a unit, such as 64KiB".to_owned())?;
        match number.checked_mul(1 << shift) {
            Some(0) => Err("must be at least 1 byte".to_owned()),
            Some(bytes) => Ok(Self(bytes)),
            None => Err("exceeds 64 bits".to_owned()),
        }
    }
}

impl fmt::Display for Size {
    /// Exact if it is a whole number of a unit, else with one decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, shift) = UNITS.into_iter().find(|&(_, shift)| self.0 >> shift != 0).unwrap_or(("B", 0));
        let (whole, rest) = (self.0 >> shift, self.0 & ((1 << shift) - 1));
        let text = if rest == 0 {
            format!("{whole} {unit}")
        } else {
            // Rest times ten fits: it has at most 40 bits.
            format!("{whole}.{} {unit}", (rest * 10) >> shift)
        };
        f.pad(&text)
    }
}

/// How long operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationSize {
    /// This many bytes; less at the end of a file.
    Fixed(u32),
    /// Random, all orders of magnitude equally often.
    Mixed,
}

impl OperationSize {
    /// The largest operation with `mixed`.
    pub(crate) const MIXED_MAX: u32 = 256 << 10;
    /// The largest that can be asked for.
    const MAX: Size = Size(1 << 30);

    /// The largest operation, in bytes.
    pub(crate) fn max(self) -> u32 {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Mixed => Self::MIXED_MAX,
        }
    }
}

impl FromStr for OperationSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "mixed" {
            return Ok(Self::Mixed);
        }
        let size: Size = text.parse()?;
        if size > Self::MAX {
            return Err(format!("must be at most {}", Self::MAX));
        }
        Ok(Self::Fixed(size.0 as u32))
    }
}

impl fmt::Display for OperationSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fixed(bytes) => Size(bytes.into()).fmt(f),
            Self::Mixed => write!(f, "mixed (1 B to {})", Size(Self::MIXED_MAX.into())),
        }
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Probability(pub(crate) f64);

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(p) if (0.0..=1.0).contains(&p) => Ok(Self(p)),
            _ => Err("a probability is a number from 0 to 1".to_owned()),
        }
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("demo").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.args).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_read_and_written() {
        let bytes = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("64KiB"), Ok(64 << 10));
        assert_eq!(bytes("3m"), Ok(3 << 20));
        assert_eq!(bytes("2 GiB"), Ok(2 << 30));
        assert_eq!(bytes("1T"), Ok(1 << 40));
        for wrong in ["", "KiB", "-1", "1.5MiB", "64KB", "0", "99999999999TiB", "99999999999999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        let written: Vec<_> = [1, 1023, 64 << 10, 1536, (5 << 30) + (1 << 29)].map(|n| Size(n).to_string()).into();
        assert_eq!(written, ["1 B", "1023 B", "64 KiB", "1.5 KiB", "5.5 GiB"]);
    }

    #[test]
    fn the_failure_rate_is_the_default_of_the_single_rates() {
        let trouble = parse("--fail-rate 0.25 --faults 0.5").unwrap().trouble;
        assert_eq!((trouble.page_faults(), trouble.refusals()), (0.5, 0.25));
        let trouble = parse("--failure-rate 1").unwrap().trouble;
        assert_eq!((trouble.page_faults(), trouble.refusals()), (1.0, 1.0));
        for wrong in ["1.1", "-0.1", "NaN", "many"] {
            assert!(parse(&format!("--fail-rate={wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "--depth 0",
            "--queues 9",
            "--size 0",
            "--size 2GiB",
            "--cpu --dedicated",
            "--cpu --faults 0.1",
            "--dedicated --retries 0.1",
            "--ops copy",
            "--preset icx",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn operations_are_a_list() {
        assert_eq!(parse("").unwrap().ops, Recipe::ALL);
        assert_eq!(parse("--ops fill,copy-crc32c").unwrap().ops, [Recipe::Fill, Recipe::CopyCrc32c]);
        for recipe in Recipe::ALL {
            assert_eq!(parse(&format!("--ops {recipe}")).unwrap().ops, [recipe]);
        }
        assert_eq!(Recipe::ALL.iter().map(|recipe| recipe.weight()).sum::<u64>(), 10);
    }
}
