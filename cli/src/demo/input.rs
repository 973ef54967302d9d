//! Which files a run works on, and their bytes piece by piece.
//!
//! Memory is bounded by the pool: a piece is read when there are buffers for it. Everything that is random about a piece
//! is chosen here, by one thread and from one seed, so that a run can be repeated.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsa::buf::{Pool, PoolBuf};
use tokio::sync::mpsc;

use super::Error;
use super::args::{Args, OperationSize, Recipe};
use super::random::Random;
use super::work::{Place, Task};

/// The files of a run.
#[derive(Debug)]
pub(crate) struct Input {
    /// In the order in which they are read; none was empty when it was found.
    pub(crate) files: Vec<PathBuf>,
    /// Whether all files were asked for by name: none was found in a folder.
    pub(crate) all_named: bool,
    /// What will be read, in bytes: the sizes of the files, cut at the limit.
    pub(crate) bytes: u64,
    /// Where they come from, for people.
    pub(crate) origin: String,
    /// Files and folders inside given folders that could not be looked at.
    pub(crate) unreadable: usize,
}

impl Input {
    /// Finds files until the limit is reached. Folders are walked in the order of their names; links in them are not
    /// followed.
    ///
    /// # Errors
    ///
    /// A path that was asked for and cannot be read, or no byte in any file.
    pub(crate) fn find(paths: &[PathBuf], limit: u64) -> Result<Self, Error> {
        let (roots, origin) = match paths {
            [] => {
                let (root, what) = something_real();
                let origin = format!("{} ({what})", root.display());
                (vec![root], origin)
            }
            [one] => (paths.to_vec(), one.display().to_string()),
            several => (paths.to_vec(), format!("{} paths", several.len())),
        };
        let mut input = Self { files: Vec::new(), all_named: true, bytes: 0, origin, unreadable: 0 };
        for root in &roots {
            let metadata = fs::metadata(root).map_err(|source| Error::Path { path: root.clone(), source })?;
            if metadata.is_dir() {
                fs::read_dir(root).map_err(|source| Error::Path { path: root.clone(), source })?;
                input.all_named = false;
                input.walk(root.clone(), limit);
            } else if metadata.is_file() {
                File::open(root).map_err(|source| Error::Path { path: root.clone(), source })?;
                input.add(root.clone(), metadata.len(), limit);
            } else {
                return Err(Error::Kind(root.clone()));
            }
        }
        if input.bytes == 0 {
            return Err(Error::NoInput(input.origin));
        }
        Ok(input)
    }

    /// Adds all regular files below a folder, until the limit is reached.
    fn walk(&mut self, folder: PathBuf, limit: u64) {
        // A stack instead of recursion: entries are pushed in reverse, so that they come out in order.
        let mut pending = vec![folder];
        while let Some(path) = pending.pop() {
            if self.bytes >= limit {
                return;
            }
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                self.unreadable += 1;
                continue;
            };
            if metadata.is_file() {
                self.add(path, metadata.len(), limit);
            } else if metadata.is_dir() {
                let Ok(entries) = fs::read_dir(&path) else {
                    self.unreadable += 1;
                    continue;
                };
                let begin = pending.len();
                pending.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
                pending[begin..].sort_unstable_by(|a, b| b.cmp(a));
            }
        }
    }

    fn add(&mut self, path: PathBuf, len: u64, limit: u64) {
        if len != 0 && self.bytes < limit {
            self.bytes += len.min(limit - self.bytes);
            self.files.push(path);
        }
    }
}

/// Something that every machine with this program has and that is large enough to be interesting.
fn something_real() -> (PathBuf, &'static str) {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output()
        && output.status.success()
        && let Ok(text) = String::from_utf8(output.stdout)
        && Path::new(text.trim_end()).is_dir()
    {
        return (PathBuf::from(text.trim_end()), "the installed Rust tool chain");
    }
    match std::env::current_exe() {
        Ok(program) if !Path::new("/usr/lib").is_dir() => (program, "this program"),
        _ => (PathBuf::from("/usr/lib"), "the system's libraries"),
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Pieces handed out.
    pub(crate) pieces: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files that could not be opened or read to their end.
    pub(crate) unreadable: usize,
}

/// Reads the files and hands the pieces out.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    input: &'a Input,
    pool: &'a Pool,
    /// Set when the run is over for another reason.
    stop: &'a AtomicBool,
    random: Random,
    size: OperationSize,
    recipes: &'a [Recipe],
    cancel: f64,
    done: Progress,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a Input, args: &'a Args, pool: &'a Pool, stop: &'a AtomicBool) -> Self {
        Self {
            input,
            pool,
            stop,
            random: Random::new(args.seed),
            size: args.size,
            recipes: &args.ops,
            cancel: args.trouble.cancel.0,
            done: Progress::default(),
        }
    }

    /// Reads until the end of the input, or until nobody wants any more. Blocks.
    ///
    /// # Errors
    ///
    /// A file that was asked for by name and cannot be read. One that was found in a folder is only counted.
    pub(crate) fn run(mut self, tasks: &mpsc::Sender<Task>) -> Result<Progress, Error> {
        for file in 0..self.input.files.len() {
            match self.read(file, tasks) {
                Ok(true) => {}
                Ok(false) => break,
                Err(source) if self.input.all_named => {
                    return Err(Error::Path { path: self.input.files[file].clone(), source });
                }
                // What has been read of it is verified all the same.
                Err(_) => self.done.unreadable += 1,
            }
        }
        Ok(self.done)
    }

    /// Reads one file; false if that was enough.
    fn read(&mut self, file: usize, tasks: &mpsc::Sender<Task>) -> io::Result<bool> {
        let mut source = File::open(&self.input.files[file])?;
        let mut offset = 0;
        loop {
            let left = self.input.bytes - self.done.bytes;
            if left == 0 {
                return Ok(false);
            }
            let len = match self.size {
                OperationSize::Fixed(len) => len,
                OperationSize::Mixed => self.random.length(OperationSize::MIXED_MAX),
            };
            let len = u64::from(len).min(left) as usize;
            let Some(mut src) = self.take() else { return Ok(false) };
            src.set_len(len);
            let len = read_up_to(&mut source, &mut src)?;
            if len == 0 {
                return Ok(true);
            }
            src.set_len(len);
            let Some(task) = self.plan(Place { file, offset }, src) else { return Ok(false) };
            if tasks.blocking_send(task).is_err() {
                return Ok(false);
            }
            offset += len as u64;
            self.done.pieces += 1;
            self.done.bytes += len as u64;
        }
    }

    /// Chooses what is done with a piece and takes the buffers for that.
    fn plan(&mut self, place: Place, src: PoolBuf) -> Option<Task> {
        let mut at = self.random.below(self.recipes.iter().map(|recipe| recipe.weight()).sum());
        let recipe = *self.recipes.iter().find(|recipe| {
            let found = at < recipe.weight();
            at = at.saturating_sub(recipe.weight());
            found
        })?;
        let cancelled = if self.random.chance(self.cancel) { Some((self.take()?, self.take()?)) } else { None };
        let second = if recipe.needs_second() { Some(self.take()?) } else { None };
        let choice = self.random.next();
        Some(Task::new(place, recipe, src, self.take()?, second, cancelled, choice))
    }

    /// Takes a buffer, waiting if need be; none if the run is over.
    fn take(&self) -> Option<PoolBuf> {
        loop {
            if let Some(buf) = self.pool.try_get() {
                return Some(buf);
            }
            // Rare: the channels hold this thread back first. Buffers of cancelled operations come back by themselves.
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Fills the buffer, or what the rest of the file fills of it.
fn read_up_to(source: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buf.len() {
        match source.read(&mut buf[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is deleted at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dsa-demo-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("sub")).unwrap();
            fs::write(path.join("b"), [2; 200]).unwrap();
            fs::write(path.join("a"), [1; 100]).unwrap();
            fs::write(path.join("empty"), []).unwrap();
            fs::write(path.join("sub/c"), [3; 300]).unwrap();
            std::os::unix::fs::symlink(&path, path.join("loop")).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn folders_are_walked_in_order_without_links_and_empty_files() {
        let folder = Folder::new("walk");
        let input = Input::find(std::slice::from_ref(&folder.0), u64::MAX).unwrap();
        let names: Vec<_> = input.files.iter().map(|file| file.strip_prefix(&folder.0).unwrap()).collect();
        assert_eq!(names, ["a", "b", "sub/c"].map(Path::new));
        assert_eq!((input.bytes, input.unreadable), (600, 0));
    }

    #[test]
    fn the_limit_cuts_the_last_file() {
        let folder = Folder::new("limit");
        let input = Input::find(std::slice::from_ref(&folder.0), 150).unwrap();
        assert_eq!((input.files.len(), input.bytes), (2, 150));
    }

    #[test]
    fn a_path_that_is_no_file_is_an_error() {
        let folder = Folder::new("missing");
        let missing = folder.0.join("missing");
        assert!(matches!(Input::find(&[missing], 100), Err(Error::Path { .. })));
        assert!(matches!(Input::find(&["/dev/null".into()], 100), Err(Error::Kind(_))));
        assert!(matches!(Input::find(&[folder.0.join("empty")], 100), Err(Error::NoInput(_))));
    }

    /// Reads an input whose files have gone meanwhile.
    fn read_too_late(paths: &[PathBuf], folder: Folder) -> Result<Progress, Error> {
        let input = Input::find(paths, u64::MAX).unwrap();
        drop(folder);
        let pool = Pool::builder().buffers(2).build().unwrap();
        let (stop, recipes) = (AtomicBool::new(false), [Recipe::CopyCrc32c]);
        let (size, random) = (OperationSize::Fixed(64), Random::new(1));
        let done = Progress::default();
        let reader =
            Reader { input: &input, pool: &pool, stop: &stop, random, size, recipes: &recipes, cancel: 0.0, done };
        reader.run(&mpsc::channel(1).0)
    }

    #[test]
    fn a_file_that_vanishes_is_an_error_if_it_was_named_and_counted_if_not() {
        let folder = Folder::new("vanish");
        let named = [folder.0.join("a"), folder.0.join("b")];
        assert!(matches!(read_too_late(&named, folder), Err(Error::Path { path, .. }) if path == named[0]));
        let folder = Folder::new("vanish");
        let walked = [folder.0.clone()];
        assert_eq!(read_too_late(&walked, folder).unwrap(), Progress { pieces: 0, bytes: 0, unreadable: 3 });
    }

    #[test]
    fn there_is_always_something_to_work_on() {
        assert!(Input::find(&[], 1 << 20).unwrap().bytes == 1 << 20);
    }
}
