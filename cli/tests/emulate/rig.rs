//! Runs the command, with the library that belongs to it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Names the library to the command.
pub(crate) const VARIABLE: &str = "DSA_EMULATOR_PRELOAD";

/// Says which client a process is to be.
pub(crate) const CLIENT: &str = "DSA_EMULATE_CLIENT";

/// What makes this program one of the clients.
pub(crate) const PROGRAM: [&str; 5] = ["--ignored", "--exact", "--nocapture", "--test-threads=1", "program"];

/// The library of this build. Nobody else builds it: a program cannot depend on a library of its kind.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        if let Some(path) = std::env::var_os(VARIABLE) {
            return path.into();
        }
        let folder = Path::new(env!("CARGO_BIN_EXE_dsa")).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", "dsa-emulator-preload", "--target-dir"]);
        build.arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "{build:?}");
        folder.join("libdsa_emulator_preload.so")
    })
}

/// `dsa emulate` with these options, and with the program yet to be named.
pub(crate) fn emulate(options: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsa"));
    command.arg("emulate").args(options.split_whitespace()).arg("--").env(VARIABLE, library());
    command
}

/// Names a file to which a line is added for everything that is skipped, one that `.ci/run` shows at its end.
const SKIPS: &str = "DSA_CI_SKIPS";

/// Tells that something is skipped: in the output of the test, which nobody sees if all is well, and in the file of skips.
pub(crate) fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os(SKIPS).filter(|path| !path.is_empty()) {
        note(Path::new(&path), reason);
    }
}

/// Adds a line, as a whole: several processes may do so at once.
pub(crate) fn note(path: &Path, reason: &str) {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    assert_eq!(file.write(line.as_bytes()).unwrap(), line.len(), "{}", path.display());
}

/// Copies a file that is to be executed.
///
/// Another process does it. Were the file open for writing here, a child that another thread starts at that moment would
/// have it open too for a while, and the system executes no file that somebody may write (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = ran(Command::new("cp").arg("-p").arg("--").args([from, to]));
    assert_eq!(copied.code, 0, "{}", copied.err);
}

/// Whether namespaces can be had here. The reason is told if not, once for all tests, and every test that needs one ends well.
pub(crate) fn is_possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let output = emulate("").arg("true").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let refused =
            output.status.code() == Some(125) && told.contains("a private view of /sys and /dev cannot be had");
        if refused {
            skip(&format!("every test that runs a program under dsa emulate: {told}"));
        } else {
            assert!(output.status.success(), "{told}");
        }
        !refused
    })
}

/// What a program's run has shown.
pub(crate) struct Ran {
    pub(crate) output: Output,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Ran { code: output.status.code().unwrap_or(-1), output, out, err }
}

/// Runs one of the programs of the module `client` under the emulator, with its counters told.
pub(crate) fn client(options: &str, name: &str) -> Ran {
    let mut command = emulate(&format!("--counters {options}"));
    command.arg(std::env::current_exe().unwrap());
    ran(command.args(PROGRAM).env(CLIENT, name))
}

impl Ran {
    /// The client has run, and all was right.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        let Self { code, out, err, output } = &self;
        assert_eq!(*code, 0, "{}\n{out}\n{err}", output.status);
        assert!(out.contains("test result: ok. 1 passed"), "{out}\n{err}");
        self
    }

    /// A counter of the first object that has it: of all devices, or of the first.
    #[track_caller]
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let behind =
            self.err.split(&format!("\"{name}\": ")).nth(1).unwrap_or_else(|| panic!("no {name}: {}", self.err));
        behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// How often an operation was executed by a queue, 0 if never.
    #[track_caller]
    pub(crate) fn of_queue(&self, queue: &str, operation: &str) -> u64 {
        let line = self.err.lines().find(|line| line.contains(&format!("\"queue\": \"{queue}\""))).expect("the queue");
        let Some(behind) = line.split(&format!("\"{operation}\": ")).nth(1) else { return 0 };
        behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }
}
