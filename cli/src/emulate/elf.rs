//! Whether the emulator's library can be loaded into a program, found out before anything is done.
//!
//! It is the dynamic linker that loads it, the one that the program names as its interpreter. So the program must be for
//! this processor, have an interpreter, and not run with rights that the user does not have, where the linker ignores
//! `LD_PRELOAD`. Of a script, the program that interprets it is looked at.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Exit statuses of a shell for such programs.
pub(super) const NOT_FOUND: u8 = 127;
pub(super) const NOT_EXECUTABLE: u8 = 126;

/// Why a program cannot be run with the library.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{}: not found", .0.display())]
    NotFound(PathBuf),
    #[error("{}: cannot be executed: it is no file, or its mode does not allow it", .0.display())]
    NotExecutable(PathBuf),
    #[error("{}: cannot be executed: neither a program nor a script with an interpreter", .0.display())]
    Format(PathBuf),
    #[error("{}: a program for another processor, or for 32 bits: the emulator is for x86-64", .0.display())]
    Machine(PathBuf),
    #[error(
        "{}: linked statically, so the emulator's library cannot be loaded into it: link it dynamically, or use a virtual \
         machine with the model (vm/ of the project)",
        .0.display()
    )]
    Static(PathBuf),
    #[error(
        "{}: linked with musl ({}): the emulator's library is for the GNU C library",
        program.display(),
        linker.display()
    )]
    Musl { program: PathBuf, linker: PathBuf },
    #[error(
        "{}: runs with the rights of its owner, group or file (setuid, setgid, capabilities), and so ignores LD_PRELOAD: \
         run a copy without them",
        .0.display()
    )]
    Privileged(PathBuf),
    #[error("the interpreter of {}: {problem}", script.display())]
    Interpreter { script: PathBuf, problem: Box<Self> },
}

impl Problem {
    /// The exit status that goes with it.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::NotFound(_) => NOT_FOUND,
            Self::Interpreter { problem, .. } => problem.status(),
            _ => NOT_EXECUTABLE,
        }
    }
}

/// The file that a name means: itself if it has a slash, and otherwise looked for as a shell does.
pub(super) fn find(name: &OsStr) -> Result<PathBuf, Problem> {
    find_in(name, &std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()))
}

fn find_in(name: &OsStr, folders: &OsStr) -> Result<PathBuf, Problem> {
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return if path.exists() { Ok(path) } else { Err(Problem::NotFound(path)) };
    }
    let mut there = None;
    for folder in std::env::split_paths(folders) {
        let path = if folder.as_os_str().is_empty() { Path::new(".").join(name) } else { folder.join(name) };
        if is_executable(&path) {
            return Ok(path);
        }
        there = there.or_else(|| path.is_file().then_some(path));
    }
    // What was found and cannot be executed is told of as such.
    there.ok_or_else(|| Problem::NotFound(name.into()))
}

/// Whether some user may execute it. Whether this one may, the system says.
fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

/// Whether the library can be loaded into a program.
pub(super) fn check(path: &Path) -> Result<(), Problem> {
    // The kernel follows as many interpreters.
    check_nested(path, 5)
}

fn check_nested(path: &Path, depth: u32) -> Result<(), Problem> {
    if !is_executable(path) {
        return Err(Problem::NotExecutable(path.to_owned()));
    }
    let Ok(file) = File::open(path) else {
        // May be executed and not read: nobody can tell, and it may well work.
        return Ok(());
    };
    let kind = Kind::of(file).unwrap_or(Kind::Other);
    match kind {
        Kind::Script(interpreter) => {
            let nested = match depth {
                0 => Err(Problem::Format(interpreter)),
                _ if interpreter.exists() => check_nested(&interpreter, depth - 1),
                _ => Err(Problem::NotFound(interpreter)),
            };
            nested.map_err(|problem| Problem::Interpreter { script: path.to_owned(), problem: Box::new(problem) })
        }
        Kind::Other => Err(Problem::Format(path.to_owned())),
        Kind::Foreign => Err(Problem::Machine(path.to_owned())),
        Kind::Static if is_linker(path) => Ok(()),
        Kind::Static => Err(Problem::Static(path.to_owned())),
        Kind::Dynamic(linker) if linker.as_os_str().as_bytes().windows(4).any(|part| part == b"musl") => {
            Err(Problem::Musl { program: path.to_owned(), linker })
        }
        Kind::Dynamic(_) if is_privileged(path) => Err(Problem::Privileged(path.to_owned())),
        Kind::Dynamic(_) => Ok(()),
    }
}

/// The dynamic linker itself, with a program as its argument. It has no interpreter either.
fn is_linker(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-linux"))
}

/// Whether it runs with other rights than the user's.
fn is_privileged(path: &Path) -> bool {
    const SET_USER: u32 = 0o4000;
    const SET_GROUP: u32 = 0o2010;
    let Ok(status) = path.metadata() else { return false };
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mode = status.mode();
    let sets_user = mode & SET_USER != 0 && status.uid() != user;
    let sets_group = mode & SET_GROUP == SET_GROUP && status.gid() != group;
    // The superuser has what a file could give.
    let gives = user != 0 && rustix::fs::getxattr(path, "security.capability", &mut [0u8; 64]).is_ok();
    sets_user || sets_group || gives
}

/// What a file is to the kernel that executes it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Starts with `#!` and the path of a program.
    Script(PathBuf),
    /// A program for this processor with the path of its dynamic linker.
    Dynamic(PathBuf),
    /// One without.
    Static,
    /// A program for another processor.
    Foreign,
    /// None of these.
    Other,
}

/// The ELF header of 64-bit programs, as far as it is of interest: offsets in bytes.
mod header {
    pub(super) const SIZE: usize = 64;
    pub(super) const CLASS: usize = 4;
    pub(super) const CLASS_64: u8 = 2;
    pub(super) const MACHINE: usize = 18;
    pub(super) const X86_64: u16 = 62;
    pub(super) const SEGMENTS: usize = 32;
    pub(super) const SEGMENT_SIZE: usize = 54;
    pub(super) const SEGMENT_COUNT: usize = 56;
}

/// A segment: kind, place in the file, length in the file.
mod segment {
    pub(super) const SIZE: usize = 56;
    pub(super) const INTERPRETER: u32 = 3;
    pub(super) const OFFSET: usize = 8;
    pub(super) const LENGTH: usize = 32;
}

/// The longest path of an interpreter that is believed, in bytes.
const LONGEST: u64 = 4096;

impl Kind {
    fn of(mut file: impl Read + Seek) -> io::Result<Self> {
        let mut start = Vec::new();
        file.by_ref().take(256).read_to_end(&mut start)?;
        if let Some(line) = start.strip_prefix(b"#!") {
            return Ok(Self::script(line));
        }
        if !start.starts_with(b"\x7fELF") || start.len() < header::SIZE {
            return Ok(Self::Other);
        }
        if start[header::CLASS] != header::CLASS_64 || word(&start, header::MACHINE) != header::X86_64 {
            return Ok(Self::Foreign);
        }
        let (table, count) = (long(&start, header::SEGMENTS), word(&start, header::SEGMENT_COUNT));
        let each = u64::from(word(&start, header::SEGMENT_SIZE));
        for index in 0..u64::from(count) {
            let mut bytes = [0; segment::SIZE];
            file.seek(SeekFrom::Start(table.saturating_add(index * each)))?;
            file.read_exact(&mut bytes)?;
            if u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) == segment::INTERPRETER {
                let mut path = Vec::new();
                file.seek(SeekFrom::Start(long(&bytes, segment::OFFSET)))?;
                file.take(long(&bytes, segment::LENGTH).min(LONGEST)).read_to_end(&mut path)?;
                path.retain(|byte| *byte != 0);
                return Ok(Self::Dynamic(OsString::from_vec(path).into()));
            }
        }
        Ok(Self::Static)
    }

    /// What follows `#!` in the first line.
    fn script(line: &[u8]) -> Self {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()) {
            Some(path) => Self::Script(OsStr::from_bytes(path).into()),
            None => Self::Other,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(long)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A program with one segment of this kind, behind which stands a path.
    fn program(kind: u32, path: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; header::SIZE + segment::SIZE];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        bytes[header::MACHINE] = header::X86_64 as u8;
        bytes[header::SEGMENTS] = header::SIZE as u8;
        bytes[header::SEGMENT_SIZE] = segment::SIZE as u8;
        bytes[header::SEGMENT_COUNT] = 1;
        let at = header::SIZE;
        bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        bytes[at + segment::OFFSET] = (header::SIZE + segment::SIZE) as u8;
        bytes[at + segment::LENGTH] = path.len() as u8;
        bytes.extend(path);
        bytes
    }

    fn kind(bytes: &[u8]) -> Kind {
        Kind::of(Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn programs_are_told_apart_by_their_headers() {
        let linker = b"/lib64/ld-linux-x86-64.so.2\0";
        assert_eq!(kind(&program(3, linker)), Kind::Dynamic("/lib64/ld-linux-x86-64.so.2".into()));
        assert_eq!(kind(&program(1, linker)), Kind::Static);
        let mut foreign = program(3, linker);
        foreign[header::MACHINE] = 183;
        assert_eq!(kind(&foreign), Kind::Foreign);
        let mut small = program(3, linker);
        small[header::CLASS] = 1;
        assert_eq!(kind(&small), Kind::Foreign);
        assert_eq!(kind(b"\x7fELF"), Kind::Other);
        assert_eq!(kind(b"echo hello\n"), Kind::Other);
        assert_eq!(kind(b""), Kind::Other);
    }

    #[test]
    fn scripts_name_their_interpreter() {
        assert_eq!(kind(b"#!/bin/sh\necho"), Kind::Script("/bin/sh".into()));
        assert_eq!(kind(b"#! /usr/bin/env python3\n"), Kind::Script("/usr/bin/env".into()));
        assert_eq!(kind(b"#!\necho"), Kind::Other);
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_and_not_a_panic() {
        let whole = program(3, b"/lib/ld.so\0");
        for length in header::SIZE..header::SIZE + segment::SIZE {
            assert!(Kind::of(Cursor::new(&whole[..length])).is_err(), "{length}");
        }
        let mut far = whole.clone();
        far[header::SEGMENTS..header::SEGMENTS + 8].fill(0xff);
        assert!(Kind::of(Cursor::new(&far)).is_err());
    }

    #[test]
    fn names_are_looked_for_as_a_shell_does() {
        let path = OsStr::new("/nonexistent:/bin:/usr/bin");
        assert!(find_in(OsStr::new("sh"), path).unwrap().ends_with("sh"));
        assert_eq!(find_in(OsStr::new("no such program"), path), Err(Problem::NotFound("no such program".into())));
        let missing = OsStr::new("./no such program");
        assert_eq!(find_in(missing, path).unwrap_err().status(), NOT_FOUND);
        assert_eq!(check(Path::new("/etc/passwd")).unwrap_err().status(), NOT_EXECUTABLE);
        assert_eq!(check(Path::new("/")).unwrap_err().status(), NOT_EXECUTABLE);
        assert_eq!(check(Path::new("/bin/sh")), Ok(()));
    }
}
