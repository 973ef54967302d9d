//! Raw interface to Intel's Data Streaming Accelerator (DSA) and the Linux `idxd` driver.
//!
//! Layouts, constants, CPU detection and the submission instructions, without any policy: what to send,
//! when to retry and who owns which memory is the business of the crates above.
//!
//! | module | content |
//! |---|---|
//! | [`Descriptor`], [`CompletionRecord`] | 64 bytes in, 32 bytes back |
//! | [`opcode`], [`flag`], [`status`] | what stands in them |
//! | [`dif`], [`compute`], [`idpt`] | fields of data-integrity, typed and inter-domain operations |
//! | [`gencap`], [`wqcap`], [`limits`] | what a device can do |
//! | [`portal`] | where descriptors go |
//! | [`swerr`], [`cmd_status`] | how the device and the driver report trouble |
//! | [`CpuFeatures`], [`set_override`] | what the CPU can do |
//! | `instr` | ENQCMD, MOVDIR64B, UMONITOR, UMWAIT, TPAUSE and their kin (x86-64) |
//! | `uapi` | the kernel header `<linux/idxd.h>`, translated by bindgen (x86-64) |
//!
//! "Specification" is the Intel DSA Architecture Specification, document 341204, revision 3.0.
//!
//! # Targets
//!
//! The device comes with x86-64 CPUs only. Layouts and constants compile for every little-endian target, so that
//! software which models or does without the device can be built elsewhere. The instructions exist on x86-64 only, and
//! so do the bindings, unless the feature `bindgen` generates them for the target at hand.

#![no_std]

#[cfg(target_endian = "big")]
compile_error!("the fields of descriptors and completion records are little endian, and so must the target be");

pub mod cmd_status;
pub mod compute;
mod cpu;
pub mod dif;
pub mod flag;
pub mod gencap;
pub mod idpt;
#[cfg(target_arch = "x86_64")]
pub mod instr;
mod layout;
pub mod limits;
pub mod opcode;
pub mod portal;
pub mod status;
pub mod swerr;
#[cfg(any(target_arch = "x86_64", feature = "bindgen"))]
pub mod uapi;
pub mod wqcap;

pub use cpu::{CpuFeatures, set_override};
pub use layout::{CompletionRecord, Descriptor};

/// Runs the example of the read-me file.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
