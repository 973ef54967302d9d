//! The library that `dsa emulate` loads into a program.
//!
//! The program finds devices in `/sys/bus/dsa` and nodes in `/dev/dsa`, all of them made by `dsa emulate` in a mount
//! namespace of the program's own. What is missing there is the portal, and the device behind it. This library stands in
//! front of a few functions of the C library (`interpose`): to map a node gives an inaccessible page, and the traps of
//! the emulator (`dsa_emulator::trap`) make the program's MOVDIR64B and ENQCMD reach a model that runs in this very
//! process, on threads of its own (`model`). The model reaches the program's memory as it is (`memory`).
//!
//! Without the settings that `dsa emulate` leaves behind (`config`) every function does what the C library's does.
//!
//! **What must hold.** Code that a program may call from a signal handler, from inside its allocator or in a child after
//! `fork` and `vfork` (`mmap`, `munmap`, `write`, `close`, `sigaction`, `_exit`) takes no lock and allocates nothing,
//! unless it concerns a work queue. What does concern one runs with signals deferred (`signals`). `_exit` has the counters
//! written by a thread that was made together with the model (`report`), and waits for it, but not for ever. A child has no engines: it starts with nothing, and gets a model of its own when it
//! maps a node.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod config;
mod interpose;
mod memory;
mod model;
mod report;
mod signals;

/// Runs when the library is loaded, before the program's own code.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

/// Runs when the program ends by itself.
#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;

extern "C" fn begin() {
    interpose::begin();
    if config::begin() {
        model::begin();
    }
}

extern "C" fn end() {
    report::write();
}

/// Tells the user something, once it is worth it: standard error is the program's.
fn complain(message: &str) {
    let line = format!("dsa emulate: {message}\n");
    // SAFETY: the bytes are there. Whether they arrive does not matter.
    unsafe { libc::syscall(libc::SYS_write, libc::STDERR_FILENO, line.as_ptr(), line.len()) };
}
