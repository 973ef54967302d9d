//! A mount namespace of the program's own, and folders in it that nobody else sees.
//!
//! The superuser needs nothing more; others get a user namespace as well, in which they are who they are. A folder in which
//! nothing can be made - `/sys/bus`, `/sys/module` and `/dev` are the kernel's - is covered by a new one: its entries are
//! mounted there one by one, as they are, beside the one that is added.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("a private view of /sys and /dev cannot be had: {source}{hint}")]
    Namespace { source: io::Error, hint: String },
    #[error("{}: {what}: {source}", path.display())]
    Mount { path: PathBuf, what: &'static str, source: io::Error },
}

/// Leaves the mounts of everybody else. Must be called while this process has one thread.
pub(super) fn enter() -> Result<(), Problem> {
    let (user, group) = (geteuid(), getegid());
    let mut result = Err(Errno::EPERM);
    if user.is_root() {
        result = unshare(CloneFlags::CLONE_NEWNS);
    }
    // The superuser of a container may be allowed this way only.
    let is_user_namespace = result.is_err();
    if is_user_namespace {
        result = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS);
    }
    result.map_err(|error| refused(error.into()))?;
    if is_user_namespace {
        let write = |path, text: String| fs::write(path, text).map_err(refused);
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    // Nothing that is mounted here gets out.
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    call(Path::new("/"), "cannot be made private", |path| mount(none(), path, none(), flags, none()))
}

fn refused(source: io::Error) -> Problem {
    let value = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let hint = if value("/proc/sys/user/max_user_namespaces") == "0" {
        "; user namespaces are switched off: sysctl -w user.max_user_namespaces=10000, or run as root"
    } else if value("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        "; users may not make namespaces: sysctl -w kernel.unprivileged_userns_clone=1, or run as root"
    } else if value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        "; AppArmor keeps users from namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
    } else {
        "; run as root, or, in a container, give it the capability SYS_ADMIN or a seccomp profile that allows unshare and \
         mount (docker run --cap-add SYS_ADMIN --security-opt apparmor=unconfined)"
    };
    Problem::Namespace { source, hint: hint.to_owned() }
}

/// Makes `folder`/`name` an empty folder, whose content only this namespace sees. What else is in `folder` stays.
pub(super) fn add(folder: &Path, name: &str) -> Result<PathBuf, Problem> {
    let path = folder.join(name);
    if !path.is_dir() {
        cover(folder)?;
        make(&path, "cannot be made", |path| fs::create_dir(path))?;
    }
    call(&path, "cannot be covered", |path| memory(path, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC))?;
    Ok(path)
}

/// Mounts a file over another one, which is made.
pub(super) fn stand_in(file: &Path, at: &Path) -> Result<(), Problem> {
    make(at, "cannot be made", |path| File::create(path).map(drop))?;
    call(at, "cannot be mounted", |path| bind(file, path))
}

/// From now on nothing in the folder can be changed. Devices in it can be used.
pub(super) fn seal(folder: &Path) -> Result<(), Problem> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    call(folder, "cannot be made read-only", |path| mount(none(), path, none(), flags, none()))
}

/// An entry of a folder that is about to be covered.
enum Entry {
    Link(PathBuf),
    /// Open, so that it can be found when its name leads elsewhere.
    Folder(File),
    Other(File),
}

/// Covers a folder by one that has the same entries, and room for more.
fn cover(folder: &Path) -> Result<(), Problem> {
    let what = "cannot be listed";
    let mut entries = Vec::new();
    for entry in make(folder, what, |path| fs::read_dir(path))? {
        let entry = make(folder, what, |_| entry)?;
        let (name, path) = (entry.file_name(), entry.path());
        let kind = make(&path, what, |_| entry.file_type())?;
        if kind.is_symlink() {
            entries.push((name, Entry::Link(make(&path, what, |path| fs::read_link(path))?)));
            continue;
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) {
            Ok(file) if kind.is_dir() => entries.push((name, Entry::Folder(file))),
            Ok(file) => entries.push((name, Entry::Other(file))),
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Problem::Mount { path, what: "cannot be opened", source }),
        }
    }
    call(folder, "cannot be covered", |path| memory(path, MsFlags::empty()))?;
    for (name, entry) in entries {
        let path = folder.join(name);
        let what = "cannot be mounted again";
        match entry {
            Entry::Link(target) => make(&path, what, |path| symlink(target, path))?,
            Entry::Folder(file) => {
                make(&path, what, |path| fs::create_dir(path))?;
                call(&path, what, |path| bind(&by_file(&file), path))?;
            }
            Entry::Other(file) => {
                make(&path, what, |path| File::create(path).map(drop))?;
                call(&path, what, |path| bind(&by_file(&file), path))?;
            }
        }
    }
    Ok(())
}

/// A path to what is open, whatever its name leads to now.
fn by_file(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Mounts a new, empty file system.
fn memory(at: &Path, flags: MsFlags) -> nix::Result<()> {
    mount(Some("dsa-emulate"), at, Some("tmpfs"), flags, Some("mode=755"))
}

/// Mounts what is at one place, with all that is mounted below, at another.
fn bind(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, none(), MsFlags::MS_BIND | MsFlags::MS_REC, none())
}

const fn none() -> Option<&'static Path> {
    None
}

fn call(path: &Path, what: &'static str, f: impl FnOnce(&Path) -> nix::Result<()>) -> Result<(), Problem> {
    f(path).map_err(|error| Problem::Mount { path: path.to_owned(), what, source: error.into() })
}

fn make<T>(path: &Path, what: &'static str, f: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, Problem> {
    f(path).map_err(|source| Problem::Mount { path: path.to_owned(), what, source })
}
