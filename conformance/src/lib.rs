//! A conformance suite for Intel's Data Streaming Accelerator (DSA): raw descriptors, and what must come of them.
//!
//! The suite knows a device by its work queue only. Whoever has one - silicon, a model, a virtual machine - implements
//! [`Bench`] for it and runs [`cases`]. Each case makes a descriptor byte by byte, has it executed, and compares completion
//! record and memory with what the architecture specification says, computed by plain functions of this crate. Every
//! operation is there with every status that it can give ([`can_give`]), and with partial completions that are
//! continued to the full result.
//!
//! ```
//! use dsa_conformance::{Bench, Report, cases};
//!
//! fn check(bench: &mut dyn Bench) {
//!     let report = Report::of(bench, &cases());
//!     println!("{report}");
//!     assert!(report.failed.is_empty());
//! }
//! ```
//!
//! What a bench cannot do - make a page absent, have the hardware fail, show software errors - it says
//! ([`Bench::cannot`]), and the cases that need it are counted as not offered. A case that is offered runs.
//!
//! Section numbers are those of the *Intel DSA Architecture Specification* (341204), revision 3.0.
#![forbid(unsafe_code)]

mod bench;
mod case;
mod derived;
mod driver;
mod family;
mod lab;
mod matrix;
mod oracle;
mod resume;
mod sample;
mod table;
mod tables;

pub use bench::{Answer, Bench, Cannot, Capabilities, Misdeed, PAGE, Page, Power, Queue, Space, Trouble};
pub use case::{Case, Failure, Need, Outcome, Report};
pub use driver::{behind_driver, driver_lacks};
pub use family::cases;
pub use matrix::{SOFTWARE_ERRORS, can_give, codes};
pub use table::Table;

/// Compiles the example of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
