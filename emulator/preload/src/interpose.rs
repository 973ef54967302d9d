//! Functions of the C library, by their names: what a program that is loaded after this library calls in their place.
//!
//! Each hands on what does not concern it: to the kernel where that is all that the C library does, and otherwise to the
//! next function of the name, looked up when the library is loaded.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use dsa_emulator::text::Settings;
use dsa_emulator::trap::{SigactionFunction, foreign_action, use_sigaction};

use crate::model::{self, Queue};
use crate::{config, memory, report, signals};

type WriteFunction = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;
type CloseFunction = unsafe extern "C" fn(c_int) -> c_int;
type SignalFunction = unsafe extern "C" fn(c_int, libc::sighandler_t) -> libc::sighandler_t;

/// The next function of a name; 0 until it has been looked up, or if there is none.
struct Next {
    name: &'static CStr,
    address: AtomicUsize,
}

static WRITE: Next = Next::new(c"write");
static CLOSE: Next = Next::new(c"close");
static SIGACTION: Next = Next::new(c"sigaction");
static SIGNAL: Next = Next::new(c"signal");

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    fn get(&self) -> Option<usize> {
        let address = self.address.load(Ordering::Relaxed);
        (address != 0).then_some(address).or_else(|| self.look_up())
    }

    /// Not to be done in a signal handler, hence [`begin`]. A function that is called earlier comes from a constructor of
    /// another library.
    #[cold]
    fn look_up(&self) -> Option<usize> {
        // SAFETY: the name is a C string.
        let address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) }.expose_provenance();
        self.address.store(address, Ordering::Relaxed);
        (address != 0).then_some(address)
    }
}

/// When the library is loaded.
pub(crate) fn begin() {
    for next in [&WRITE, &CLOSE, &SIGNAL] {
        next.get();
    }
    next_sigaction();
}

/// The next `sigaction`, which the trap handler is told of too: its calls would come back here otherwise.
fn next_sigaction() -> Option<SigactionFunction> {
    let address = SIGACTION.get()?;
    // SAFETY: the C library's function of this name, or that of somebody else who stands before it.
    unsafe {
        let next = std::mem::transmute::<usize, SigactionFunction>(address);
        use_sigaction(next);
        Some(next)
    }
}

/// # Safety
///
/// As for `mmap(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    if file >= 0
        && flags & libc::MAP_ANONYMOUS == 0
        && let Some(queue) = queue_of(file)
    {
        let map = || model::current().ok_or(libc::ENODEV).and_then(|model| model.map(queue, length, flags));
        let page = signals::deferred(map);
        return page.map_or_else(
            |error| {
                set_errno(error);
                libc::MAP_FAILED
            },
            <*mut u8>::cast,
        );
    }
    if flags & libc::MAP_FIXED != 0 {
        model::give_up(address.addr(), length);
    }
    // SAFETY: the caller's promise.
    let mapped = unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, file, offset) };
    std::ptr::with_exposed_provenance_mut(mapped.cast_unsigned() as usize)
}

/// # Safety
///
/// As for `mmap(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { mmap(address, length, protection, flags, file, offset) }
}

/// # Safety
///
/// As for `munmap(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    model::give_up(address.addr(), length);
    // SAFETY: the caller's promise. Of a portal in the range, the page is still there.
    unsafe { libc::syscall(libc::SYS_munmap, address, length) as c_int }
}

/// # Safety
///
/// As for `write(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: usize) -> isize {
    if file >= 0
        && let Some(queue) = queue_of(file)
    {
        let from = bytes.expose_provenance() as u64;
        let write = || model::current().ok_or(libc::ENODEV).and_then(|model| model.write(queue, from, count));
        let written = signals::deferred(write);
        return written.map_or_else(
            |error| {
                set_errno(error);
                -1
            },
            usize::cast_signed,
        );
    }
    match WRITE.get() {
        // SAFETY: the next function of the name has this type; the rest is the caller's promise.
        Some(next) => unsafe { std::mem::transmute::<usize, WriteFunction>(next)(file, bytes, count) },
        // SAFETY: the caller's promise.
        None => unsafe { libc::syscall(libc::SYS_write, file, bytes, count) as isize },
    }
}

/// # Safety
///
/// As for `close(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn close(file: c_int) -> c_int {
    if memory::is_ours(file) {
        set_errno(libc::EBADF);
        return -1;
    }
    match CLOSE.get() {
        // SAFETY: as in `write`.
        Some(next) => unsafe { std::mem::transmute::<usize, CloseFunction>(next)(file) },
        // SAFETY: the caller's promise.
        None => unsafe { libc::syscall(libc::SYS_close, file) as c_int },
    }
}

/// # Safety
///
/// As for `close_range(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    // SAFETY: the caller's promise, for a part of the range.
    let close =
        |first: c_uint, last: c_uint| unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) as c_int };
    let Some(ours) = memory::ours_in(first, last) else { return close(first, last) };
    if ours > first && close(first, ours - 1) != 0 {
        return -1;
    }
    if ours < last { close(ours + 1, last) } else { 0 }
}

/// # Safety
///
/// As for `closefrom(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn closefrom(first: c_int) {
    // SAFETY: the caller's promise.
    unsafe { close_range(first.max(0).cast_unsigned(), c_uint::MAX, 0) };
}

/// # Safety
///
/// As for `sigaction(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    let next = next_sigaction();
    // SAFETY: what the caller gives is null or valid.
    if let Some(before) = unsafe { foreign_action(signal, new.as_ref()) } {
        if !old.is_null() {
            // SAFETY: as above.
            unsafe { old.write(before) };
        }
        return 0;
    }
    let Some(next) = next else {
        set_errno(libc::ENOSYS);
        return -1;
    };
    // SAFETY: as in `write`.
    unsafe { next(signal, new, old) }
}

/// # Safety
///
/// As for `signal(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn signal(signal: c_int, handler: libc::sighandler_t) -> libc::sighandler_t {
    if handler != libc::SIG_ERR && next_sigaction().is_some() {
        // SAFETY: all zero is a valid value.
        let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
        new.sa_sigaction = handler;
        new.sa_flags = libc::SA_RESTART;
        // SAFETY: the caller's promise: a handler with one argument.
        if let Some(before) = unsafe { foreign_action(signal, Some(&new)) } {
            return before.sa_sigaction;
        }
    }
    let Some(next) = SIGNAL.get() else {
        set_errno(libc::ENOSYS);
        return libc::SIG_ERR;
    };
    // SAFETY: as in `write`.
    unsafe { std::mem::transmute::<usize, SignalFunction>(next)(signal, handler) }
}

/// # Safety
///
/// As for `_exit(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn _exit(status: c_int) -> ! {
    exit(status)
}

/// # Safety
///
/// As for `_Exit(3)`.
#[allow(non_snake_case)] // the C library's name
#[unsafe(no_mangle)]
unsafe extern "C" fn _Exit(status: c_int) -> ! {
    exit(status)
}

fn exit(status: c_int) -> ! {
    report::write();
    loop {
        // SAFETY: ends the process.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// The queue whose node is open as `file`. Leaves `errno` as it is; allocates nothing.
fn queue_of(file: c_int) -> Option<Queue> {
    config::settings()?;
    let before = errno();
    let queue = is_node(file).then(|| path_of(file)).flatten();
    set_errno(before);
    queue
}

/// Whether the file is of the kind that stands in for nodes.
fn is_node(file: c_int) -> bool {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the structure is our own, and all zero is a value of it.
    let status = unsafe {
        if libc::fstat(file, status.as_mut_ptr()) != 0 {
            return false;
        }
        status.assume_init()
    };
    let (major, minor) = Settings::NODE;
    status.st_mode & libc::S_IFMT == libc::S_IFCHR && status.st_rdev == libc::makedev(major, minor)
}

fn path_of(file: c_int) -> Option<Queue> {
    const FOLDER: &[u8] = b"/proc/self/fd/";
    // The longest number has ten digits.
    let mut name = [0; FOLDER.len() + 11];
    let mut path = [0; 64];
    name[..FOLDER.len()].copy_from_slice(FOLDER);
    let digits = file.checked_ilog10().unwrap_or(0);
    for (place, digit) in name[FOLDER.len()..].iter_mut().zip((0..=digits).rev()) {
        *place = b'0' + (file.cast_unsigned() / 10_u32.pow(digit) % 10) as u8;
    }
    // SAFETY: the name ends with a zero byte; the buffer is our own.
    let length = unsafe { libc::readlink(name.as_ptr().cast::<c_char>(), path.as_mut_ptr().cast(), path.len()) };
    parse(path.get(..usize::try_from(length).ok()?)?)
}

/// `/dev/dsa/wqD.Q`.
fn parse(path: &[u8]) -> Option<Queue> {
    let name = std::str::from_utf8(path).ok()?.strip_prefix(Settings::NODES)?.strip_prefix("/wq")?;
    let (device, queue) = name.split_once('.')?;
    Some(Queue { device: device.parse().ok()?, queue: queue.parse().ok()? })
}

fn errno() -> c_int {
    // SAFETY: the location is this thread's.
    unsafe { *libc::__errno_location() }
}

fn set_errno(error: c_int) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = error };
}
