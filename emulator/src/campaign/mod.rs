//! Campaigns: scripts of trouble that run beside a device, for testing the software that uses it.
//!
//! A [`Script`] is a list of steps in order. Each has a trigger and an action: an injection rule, or a command of the
//! device. A [`Campaign`] carries it out while the software under test works, and says what it did. The software must
//! end up with right results, or with errors that it can explain, and must not hang.
//!
//! # Time
//!
//! A campaign counts *ticks*, not seconds, so that it goes on exactly as far as there is something to disturb. A tick is
//! a descriptor that starts (batch members too), or a submission that is refused or dropped. If neither happens, one tick
//! passes each millisecond, or, on a device without threads, each [`Campaign::run_one`] that finds nothing to do: a
//! halted device recovers even if its user waits quietly.
//!
//! # Reproducing
//!
//! On a device without threads (`Config::manual`) the same script, configuration and submissions give the same
//! [`trace`](CampaignReport::trace), event by event. With engine threads the steps come in the same order, but which
//! descriptor they meet depends on the threads.
//!
//! # Text
//!
//! A script is also a text, one step a line, for files and the command line. [`Display`](std::fmt::Display) writes it,
//! [`FromStr`](std::str::FromStr) reads it, and what is written is read as the same script.
//!
//! ```text
//! script    = { line }
//! line      = [ "seed" NUMBER | "rounds" NUMBER | step ] [ "#" comment ]
//! step      = [ trigger ":" ] ( effect { modifier } | command )
//! trigger   = "now"                      at once, when the step before it is done; also if nothing is written
//!           | "after" NUMBER             so many ticks after the step before it
//!           | "at" NUMBER                at this tick of the campaign
//!           | "when" { filter }          when a descriptor starts that fits, before it is executed
//!           | "chance" NUMBER            with this probability (0 to 1) at each tick
//! effect    = "page-fault"               a page is absent; blocking on it does not help
//!           | "page-fault-resolvable"    a page is absent until it is asked for
//!           | "record-fault"             the completion record cannot be written
//!           | "no-record"                the descriptor ends and writes no record
//!           | "error" NUMBER             the descriptor ends with this status
//!           | "lose"                     the descriptor is lost
//!           | "retry"                    ENQCMD is refused
//!           | "delay" TIME               the descriptor starts later
//! modifier  = filter
//!           | "nth" NUMBER | "every" NUMBER | "probability" NUMBER | "limit" NUMBER
//!           | "for" NUMBER               the rule goes after so many ticks; without it, with the campaign
//! filter    = "opcode" ( NAME | NUMBER ) | "address" NUMBER ".." NUMBER | "read" | "write"
//! command   = "halt" | "reset" | "enable" | "disable" | "recover" | "clear"
//!           | "abort-all" | "drain-all" | "abort-pasid" NUMBER | "drain-pasid" NUMBER
//!           | "enable-wq" NUMBER | "disable-wq" NUMBER | "abort-wq" NUMBER | "drain-wq" NUMBER
//! ```
//!
//! Numbers are decimal or, with `0x`, hexadecimal; probabilities decimal. A time is a number with `ns`, `us`, `ms` or
//! `s`. Names of opcodes are those of [`idxd_sys::opcode::name`]. The modifiers are those of [`FaultRule`](crate::FaultRule).
//! `recover` brings a device back from anything: reset, enable, enable all queues. `clear` takes away the rules of the steps
//! before it. `rounds` repeats the whole script; each round begins without the rules of the one before, one tick after its end.
//!
//! # Example
//!
//! A service that submits copies and does not give up, against a script. The device has no threads, so that the same
//! things happen each time.
//!
//! ```
//! use std::sync::Arc;
//! use dsa_emulator::campaign::{Campaign, Script};
//! use dsa_emulator::{CheckedMemory, Config, Device, Enqcmd, Permission, WqConfig};
//! use idxd_sys::{Descriptor, flag, opcode, status};
//!
//! let script: Script = "
//!     seed 7
//!     retry every 3 for 60                    # a busy neighbour
//!     after 10: lose limit 1
//!     after 10: error 0x21 limit 2
//!     when opcode memmove: page-fault write limit 1
//!     after 20: halt
//!     after 5: recover                        # somebody resets the device
//! ".parse()?;
//!
//! let memory = Arc::new(CheckedMemory::new());
//! memory.map(0x1000, 0x3000, Permission::ReadWrite)?;
//! memory.write(0x2000, &[42; 100])?;
//! let config = Config::sapphire_rapids().queue(WqConfig::shared(16)).manual();
//! let device = Device::with_memory(config, memory.clone())?;
//! let client = device.open(0)?;
//! let campaign = Campaign::start(&device, script)?;
//!
//! let mut d =
//!     Descriptor { completion_addr: 0x1000, src_addr: 0x2000, dst_addr: 0x3000, xfer_size: 100, ..Descriptor::default() };
//! d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
//! for copy in 0..200 {
//!     let mut attempts = 0;
//!     loop {
//!         memory.write(0x1000, &[0; 32])?;
//!         // SAFETY: with checked memory any 64 bytes are fine.
//!         let accepted = unsafe { client.enqcmd(&d) } == Enqcmd::Accepted;
//!         campaign.run_one();
//!         // No record: refused, lost, or discarded by a halt. Every other status is one of trouble. Both times: again.
//!         if accepted && memory.status(0x1000)? == status::SUCCESS {
//!             break;
//!         }
//!         attempts += 1;
//!         assert!(attempts < 100, "copy {copy} never ends");
//!     }
//! }
//! let report = campaign.finish();
//! assert!(report.finished, "every step has had its turn");
//! assert_eq!(report.count("lose") + report.count("halt") + report.count("recover"), 3);
//! println!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod parse;
mod random;
mod run;
mod script;
mod trace;
mod watch;

pub use parse::{ParseError, ParseErrorKind};
pub use run::{Campaign, CampaignError};
pub use script::{Action, Command, Filter, Script, Step, Trigger};
pub use trace::{CampaignReport, Event, What};
