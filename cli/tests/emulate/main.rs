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

#[test]
#[ignore = "the other tests run it under dsa emulate"]
fn program() {
    let Ok(name) = std::env::var(rig::CLIENT) else { return };
    let (_, run) = client::ALL.iter().find(|(known, _)| *known == name).expect("a known program");
    run();
}
