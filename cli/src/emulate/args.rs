//! What can be said on the command line of `dsa emulate`.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use dsa_emulator::campaign::Script;
use dsa_emulator::text::{self, Settings};

use super::Error;

/// Run a program that drives DSA on the software model, without hardware
///
/// The program runs unmodified. It finds devices in /sys/bus/dsa and work queues in /dev/dsa, which nobody else sees, and its
/// MOVDIR64B and ENQCMD instructions, or its write(2) calls, reach a model of the device.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// Which device, by the processor that has it
    #[arg(long, value_name = "NAME", default_value = "sapphire-rapids", value_parser = known_preset)]
    preset: String,

    /// How many of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    devices: u8,

    /// A work queue, such as shared:64:threshold=60 or dedicated:16:block-on-fault:name=app; may be given several times
    /// [default: a shared and a dedicated one]
    #[arg(long, value_name = "QUEUE", value_parser = checked::<text::Queue>)]
    queue: Vec<String>,

    /// Engines of each device [default: all that it has]
    #[arg(long, value_name = "N")]
    engines: Option<usize>,

    /// Seed of everything that is chosen at random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Trouble, such as "page-fault probability 0.01" or "after 1000: lose opcode memmove": a line of a script; may be given
    /// several times
    #[arg(long, value_name = "LINE", value_parser = checked::<Script>)]
    fault: Vec<String>,

    /// A file with such lines
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Ignore reserved bytes of descriptors, as some devices do
    #[arg(long)]
    lenient: bool,

    /// Treat the devices as the kernel treats those whose portals are not safe for users: to map one needs the right to do
    /// raw I/O, and the first generation has no batches
    #[arg(long)]
    restricted: bool,

    /// Take the program's memory for locked, as huge pages are: no page fault for a page that an access would bring in
    #[arg(long)]
    locked_memory: bool,

    /// Write what the devices have done, as JSON, to a file, or to standard error
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(super) counters: Option<PathBuf>,

    /// Fail if the devices have executed fewer descriptors than this [without a number: 1]: programs without a device do
    /// the work themselves, and do not say so
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub(super) check_used: Option<u64>,

    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

const AFTER: &str = "\
A queue is `shared` or `dedicated`, then, behind colons: a number of entries, threshold=N, priority=N, group=N,
block-on-fault, ats=off, page-requests=off, max-transfer=SIZE, max-batch=N, max-list=N, without=OPERATION, name=NAME.

A line of trouble is an effect - page-fault, page-fault-resolvable, record-fault, no-record, error CODE, lose, retry,
delay TIME - with opcode NAME, read, write, address START..END, nth N, every N, probability P, limit N, for TICKS; or a
command: halt, recover, abort-all, disable-wq N and others. In front of it may stand when it happens: `after TICKS:`,
`when opcode NAME:`, `chance P:`. The whole language is in the documentation of the crate dsa-emulator, module campaign.

The exit status is the program's, 128 + N if signal N has ended it, 127 if the program was not found, 126 if it cannot be
run, and 125 if something else went wrong.";

fn known_preset(name: &str) -> Result<String, String> {
    text::preset(name).map(|_| name.to_owned()).map_err(|error| error.to_string())
}

/// The text itself, if it means something.
fn checked<T: FromStr<Err: Display>>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl Args {
    /// What the library in the program has to know.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        settings.preset.clone_from(&self.preset);
        settings.devices = usize::from(self.devices);
        settings.engines = self.engines;
        settings.seed = self.seed;
        settings.lenient = self.lenient;
        settings.restricted = self.restricted;
        settings.locked = self.locked_memory;
        settings.queues.clone_from(&self.queue);
        if let Some(path) = &self.script {
            let text = fs::read_to_string(path).map_err(|source| Error::Script { path: path.clone(), source })?;
            // Line by line, so that an error has the number that it has in the file.
            settings.script = text.lines().map(str::to_owned).collect();
        }
        settings.script.extend_from_slice(&self.fault);
        Ok(settings)
    }

    /// The program as it was named.
    pub(super) fn program(&self) -> &OsStr {
        &self.command[0]
    }

    /// Its arguments.
    pub(super) fn arguments(&self) -> &[OsString] {
        &self.command[1..]
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
        let words = std::iter::once("emulate").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.args).map_err(|error| error.to_string())
    }

    #[test]
    fn what_stands_behind_the_program_is_the_programs() {
        for line in ["--seed 3 -- ls --seed 4 -l", "--seed 3 ls --seed 4 -l"] {
            let args = parse(line).unwrap();
            assert_eq!((args.seed, args.program()), (3, OsStr::new("ls")), "{line}");
            assert_eq!(args.arguments(), ["--seed", "4", "-l"], "{line}");
        }
    }

    #[test]
    fn values_of_options_that_can_do_without_need_an_equals_sign() {
        let args = parse("--counters --check-used ls").unwrap();
        assert_eq!((args.counters, args.check_used), (Some("-".into()), Some(1)));
        let args = parse("--counters=file --check-used=20 ls").unwrap();
        assert_eq!((args.counters, args.check_used), (Some("file".into()), Some(20)));
        assert_eq!(parse("ls").map(|args| (args.counters, args.check_used)), Ok((None, None)));
    }

    #[test]
    fn settings_are_what_was_said() {
        let args = parse("--preset gnr --devices 2 --queue shared:8 --fault lose --restricted ls").unwrap();
        let settings = args.settings().unwrap();
        assert_eq!((settings.preset.as_str(), settings.devices, settings.restricted), ("gnr", 2, true));
        assert_eq!((settings.queues, settings.script), (vec!["shared:8".to_owned()], vec!["lose".to_owned()]));
        assert!(parse("--script /nonexistent/file ls").unwrap().settings().is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "",
            "--preset pentium ls",
            "--devices 0 ls",
            "--queue big ls",
            "--fault big ls",
            "--check-used=many ls",
            "--seed",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
