//! `dsa emulate`: runs a program that drives DSA, unmodified, where there is no DSA.
//!
//! ```text
//!   dsa emulate                                  the program
//!   -----------                                  -----------
//!   namespace: mounts of its own                 reads /sys/bus/dsa, opens /dev/dsa/wq0.0
//!   tree:      what the driver shows    -->      maps the node: the preloaded library gives it a portal
//!   launch:    LD_PRELOAD, exit status           MOVDIR64B, ENQCMD: trapped, and carried out by the model,
//!   counters:  what was done            <--      which runs in the program's process
//! ```
//!
//! This process and the program share the mount namespace, which ends with them. Nothing outside of it is changed.

mod args;
mod counters;
mod elf;
mod launch;
mod namespace;
mod tree;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use args::Args;
use dsa_emulator::text::TextError;
use dsa_emulator::{ConfigError, Device};

/// Why the program was not run, or why its end is not taken for a good one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Text(#[from] TextError),
    #[error("no such device can be made: {0}")]
    Config(#[from] ConfigError),
    #[error("the script cannot be read: {}: {source}", path.display())]
    Script { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Program(#[from] elf::Problem),
    #[error(
        "the emulator's library is missing: {library} is neither beside {executable} nor in ../lib; build it (cargo \
         build -p dsa-emulator-preload), or name it in {variable}",
        library = launch::LIBRARY,
        variable = launch::VARIABLE,
        executable = .0.display()
    )]
    NoLibrary(PathBuf),
    #[error("{0}")]
    Library(String),
    #[error("{0}")]
    Namespace(#[from] namespace::Problem),
    #[error("{}: {source}", path.display())]
    Tree { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("the program cannot be waited for: {0}")]
    Wait(io::Error),
    #[error("{0}")]
    Counters(#[from] counters::Problem),
}

/// The exit status of an error of this command's own.
const OWN: u8 = 125;

impl Error {
    /// As shells have it for programs that cannot be run, and otherwise one that few programs use.
    fn status(&self) -> u8 {
        match self {
            Self::Program(problem) => problem.status(),
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => elf::NOT_FOUND,
            Self::Start { .. } => elf::NOT_EXECUTABLE,
            _ => OWN,
        }
    }
}

/// Runs the program and gives its exit status: 128 and the number of the signal if one has ended it, 125 to 127 if it was not
/// run, or has used the devices less than it should.
pub(crate) fn run(args: &Args) -> ExitCode {
    emulate(args).unwrap_or_else(|error| {
        eprintln!("dsa: {error}");
        ExitCode::from(error.status())
    })
}

fn emulate(args: &Args) -> Result<ExitCode, Error> {
    let settings = args.settings()?;
    // Made once here, without a thread: what does not fit together is told now, and what does has its defaults filled in.
    let devices = (0..settings.devices)
        .map(|number| Ok(Device::new(settings.config(number)?.manual())?.config().clone()))
        .collect::<Result<Vec<_>, Error>>()?;
    settings.script(0)?;
    let queues = settings.queues()?;
    let program = elf::find(args.program())?;
    elf::check(&program)?;
    let library = launch::library()?;
    namespace::enter()?;
    tree::build(&settings, &devices, &queues)?;
    let status = launch::run(&program, args, &library)?;
    counters::conclude(args, status)
}
