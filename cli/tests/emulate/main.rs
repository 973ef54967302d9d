//! `dsa emulate` from outside and from inside: what it does for a program, and what the program finds.
//!
//! The programs are this very one, asked for [`program`] alone: one of those in [`client`], which use a work queue as any
//! program does, with the C library's functions and the device's instructions.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod client;
mod command;
mod devices;
mod queue;
mod rig;

/// Runs before the test harness, on the first thread of the process.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE: extern "C" fn() = before;

extern "C" fn before() {
    let (name, run) = client::ON_FIRST_THREAD;
    if std::env::var_os(rig::CLIENT).is_some_and(|wanted| wanted == name) {
        run();
    }
}

#[test]
#[ignore = "the other tests run it under dsa emulate"]
fn program() {
    let Ok(name) = std::env::var(rig::CLIENT) else { return };
    let (_, run) = client::ALL.iter().find(|(known, _)| *known == name).expect("a known program");
    run();
}
