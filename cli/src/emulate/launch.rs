//! Runs the program with the library in it, and passes signals and its exit status on.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Args, Error};

/// The library's file name.
pub(super) const LIBRARY: &str = "libdsa_emulator_preload.so";
/// Names another library.
pub(super) const VARIABLE: &str = "DSA_EMULATOR_PRELOAD";
/// What the dynamic linker loads before a program's own libraries.
const PRELOAD: &str = "LD_PRELOAD";

/// The library: the one that is named, one beside this command, or one in `lib` beside this command's folder.
pub(super) fn library() -> Result<PathBuf, Error> {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = if let Some(path) = named {
        if !path.is_file() {
            return Err(Error::Library(format!("{VARIABLE} names {}, which is no file", path.display())));
        }
        path
    } else {
        let executable =
            std::env::current_exe().map_err(|error| Error::Library(format!("where is this command: {error}")))?;
        let folder = executable.parent().unwrap_or(Path::new("/"));
        let places = [folder.join(LIBRARY), folder.join("../lib").join(LIBRARY)];
        places.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::NoLibrary(executable.clone()))?
    };
    let path = path.canonicalize().map_err(|error| Error::Library(format!("{}: {error}", path.display())))?;
    // The linker takes them for the end of a path.
    if path.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b':' | b' ')) {
        return Err(Error::Library(format!("{}: a path with a blank or a colon cannot be preloaded", path.display())));
    }
    Ok(path)
}

/// How a program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exit(i32),
    Signal(Signal),
}

/// Runs the program to its end.
///
/// What a terminal sends goes to the program too, being in the same group of processes. What somebody sends to this process
/// alone is passed on.
pub(super) fn run(program: &Path, args: &Args, library: &Path) -> Result<End, Error> {
    // Signals wait here from now on, but not for the program.
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGCHLD);
    for signal in PASSED_ON {
        awaited.add(signal);
    }
    let wait = |error: Errno| Error::Wait(error.into());
    let before = awaited.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(wait)?;
    let signals = SignalFd::with_flags(&awaited, SfdFlags::SFD_CLOEXEC).map_err(wait)?;
    let process = start(program, args, library, before)
        .map_err(|error| Error::Start { path: program.to_owned(), source: error.into() })?;
    attend(process, &signals).map_err(wait)
}

/// Starts the program. (Not by the standard library, which would start it with this process's mask.)
fn start(program: &Path, args: &Args, library: &Path, mask: SigSet) -> nix::Result<Pid> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
    attributes.set_sigmask(&mask)?;
    // Rust's own programs ignore it.
    let mut defaults = SigSet::empty();
    defaults.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&defaults)?;

    let string = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL);
    let mut preload = OsString::from(library);
    if let Some(others) = std::env::var_os(PRELOAD).filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    let mut environment = Vec::new();
    for (name, value) in std::env::vars_os().filter(|(name, _)| name != PRELOAD).chain([(PRELOAD.into(), preload)]) {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        environment.push(string(&variable)?);
    }
    let arguments = std::iter::once(args.program()).chain(args.arguments().iter().map(OsString::as_os_str));
    let arguments = arguments.map(string).collect::<Result<Vec<_>, _>>()?;
    let actions = PosixSpawnFileActions::init()?;
    posix_spawn(&*string(program.as_os_str())?, &actions, &attributes, &arguments, &environment)
}

/// Signals that end, or tell, a program that somebody runs.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

fn attend(process: Pid, signals: &SignalFd) -> nix::Result<End> {
    /// A signal with a code above 0 is the kernel's: the terminal's.
    const OF_KERNEL: i32 = 1;
    loop {
        match waitpid(process, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, code) => return Ok(End::Exit(code)),
            WaitStatus::Signaled(_, signal, _) => return Ok(End::Signal(signal)),
            _ => {}
        }
        let Some(told) = signals.read_signal()? else { continue };
        if let Ok(signal) = Signal::try_from(told.ssi_signo.cast_signed())
            && signal != Signal::SIGCHLD
            && told.ssi_code < OF_KERNEL
        {
            // If it has ended meanwhile, nobody is left to be told.
            let _ = kill(process, signal);
        }
    }
}
