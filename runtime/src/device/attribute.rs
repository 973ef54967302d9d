//! Reads attributes, and keeps what is wrong with them instead of failing.
//!
//! An attribute that is not there is nothing special: kernels differ, and some attributes exist only for some devices
//! or modes. The driver says the same by `EOPNOTSUPP` or `ENXIO`. All else that goes wrong becomes a [`Problem`].

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::parse;

/// Something in the tree that could not be read or understood. The attribute counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What is wrong with a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Its text is not of the expected form.
    Malformed {
        /// The text, cut after some length; bytes that are not UTF-8 are replaced.
        text: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Reading it failed.
    Unreadable(io::ErrorKind),
    /// It belongs to a device, of this number, that is not listed.
    NoDevice(u32),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            ProblemKind::Malformed { text, expected } => write!(f, "{path} holds {text:?} instead of {expected}"),
            ProblemKind::Unreadable(kind) => write!(f, "{path} could not be read: {kind}"),
            ProblemKind::NoDevice(number) => write!(f, "{path} belongs to device {number}, which is not listed"),
        }
    }
}

/// sysfs gives at most a page.
const PAGE: usize = 4096;
/// So much of a malformed text is kept.
const KEPT: usize = 128;

/// Reads the attributes of one folder.
pub(super) struct Reader<'a> {
    folder: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(folder: &'a Path, problems: &'a mut Vec<Problem>) -> Self {
        Self { folder, problems }
    }

    /// An attribute that `parse` understands; `expected` says what that is.
    pub(super) fn get<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.raw(name)?;
        let value = text.as_deref().ok().and_then(parse);
        if value.is_none() {
            let text = text.unwrap_or_else(|lossy| lossy);
            let text = text.trim_ascii_end().chars().take(KEPT).collect();
            self.problem(name, ProblemKind::Malformed { text, expected });
        }
        value
    }

    /// An unsigned number that fits into its type.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.get(name, "a number of its range", |text| parse::number(text)?.try_into().ok())
    }

    /// The number of a group or a node, -1 for none.
    pub(super) fn index(&mut self, name: &str) -> Option<u32> {
        self.get(name, "a number, or -1", parse::index)?.try_into().ok()
    }

    /// `0` or `1`.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.get(name, "0 or 1", parse::boolean)
    }

    /// Any text, without the line feed at its end.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let text = self.raw(name)?.unwrap_or_else(|lossy| lossy);
        Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// The text of an attribute, `Err` if it is not UTF-8 or is longer than a page. `None` if it is absent or
    /// unreadable.
    fn raw(&mut self, name: &str) -> Option<Result<String, String>> {
        let mut buffer = [0; PAGE + 1];
        match read(&self.folder.join(name), &mut buffer) {
            Ok(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if text.len() <= PAGE => Some(Ok(text.to_owned())),
                _ => Some(Err(String::from_utf8_lossy(bytes).into_owned())),
            },
            Err(error) if is_absence(&error) => None,
            Err(error) => {
                self.problem(name, ProblemKind::Unreadable(error.kind()));
                None
            }
        }
    }

    fn problem(&mut self, name: &str, kind: ProblemKind) {
        self.problems.push(Problem { path: self.folder.join(name), kind });
    }
}

/// Fills the buffer from the start of a file and returns what was read.
pub(super) fn read<'b>(path: &Path, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut file = File::open(path)?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// Whether an error means that there is no such attribute, or no longer.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_says_instead_of_a_value_is_absence() {
        for errno in [Errno::NOENT, Errno::OPNOTSUPP, Errno::NXIO, Errno::NODEV] {
            assert!(is_absence(&errno.into()), "{errno:?}");
        }
        for errno in [Errno::ACCESS, Errno::IO, Errno::ISDIR] {
            assert!(!is_absence(&errno.into()), "{errno:?}");
        }
        assert!(!is_absence(&io::ErrorKind::NotFound.into()), "an error that no system call gave");
    }

    #[test]
    fn problems_say_where_and_what() {
        let problem = |kind| Problem { path: "/sys/bus/dsa/devices/dsa0/version".into(), kind }.to_string();
        let malformed = ProblemKind::Malformed { text: "x\u{7f}".into(), expected: "a number" };
        assert_eq!(problem(malformed), r#"/sys/bus/dsa/devices/dsa0/version holds "x\u{7f}" instead of a number"#);
        assert_eq!(
            problem(ProblemKind::Unreadable(io::ErrorKind::PermissionDenied)),
            "/sys/bus/dsa/devices/dsa0/version could not be read: permission denied"
        );
        assert_eq!(
            problem(ProblemKind::NoDevice(7)),
            "/sys/bus/dsa/devices/dsa0/version belongs to device 7, which is not listed"
        );
    }
}
