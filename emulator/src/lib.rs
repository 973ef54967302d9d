//! A software model of Intel's Data Streaming Accelerator (DSA), in process.
//!
//! The model accepts the 64-byte descriptors that hardware accepts, through work queues with the same accept, retry and
//! loss rules, executes them on engine threads, and writes the same completion records, faults and errors included.
//! It knows nothing of how descriptors were made: whatever 64 bytes arrive, they are checked by the
//! device's rules.
//!
//! ```
//! use dsa_emulator::{Config, Device, Enqcmd};
//! use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
//!
//! let device = Device::new(Config::sapphire_rapids())?;
//! let client = device.open(0)?;
//! let src = [7u8; 100];
//! let mut dst = [0u8; 100];
//! let mut record = CompletionRecord::default();
//! let mut d = Descriptor {
//!     completion_addr: (&raw mut record).expose_provenance() as u64,
//!     src_addr: (&raw const src).expose_provenance() as u64,
//!     dst_addr: (&raw mut dst).expose_provenance() as u64,
//!     xfer_size: 100,
//!     ..Descriptor::default()
//! };
//! d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
//! // SAFETY: the two buffers and the record outlive `client.quiesce()` and are not touched before.
//! assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
//! assert!(client.drain());
//! client.quiesce();
//! assert_eq!(record.status, status::SUCCESS);
//! assert_eq!(dst, src);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Section numbers in this crate's comments refer to the Intel DSA architecture specification, revision 3.0.

pub mod campaign;
mod choices;
mod client;
mod command;
pub mod config;
mod device;
mod engine;
mod entry;
mod events;
mod exec;
pub mod fault;
mod gate;
mod inside;
pub mod iommu;
pub mod memory;
mod numeric;
mod observe;
mod permissions;
mod prng;
mod queue;
pub mod registers;
mod ring;
mod setup;
mod shared;
mod sleep;
mod sync;
pub mod text;
pub mod timing;
pub mod trap;
mod try_lock;

pub use client::{Client, Enqcmd, OpenError, WqInfo};
pub use command::CommandError;
pub use config::{Checks, Config, ConfigError, InterDomain, MemberOrder, Mode, WqConfig};
pub use device::{Device, DeviceState};
pub use fault::{Effect, FaultRule, RuleId};
pub use iommu::IommuRegisters;
pub use memory::{
    Access, AddressSpace, Agreement, Audit, CheckedMemory, DeviceMemory, DeviceTlb, GuestMemory, GuestRam, Ignored,
    IommuState, MapError, PageFault, PageRequest, PageRequests, PasidMemory, Permission, RamMap, Requester, Span,
    TlbCounters,
};
pub use observe::{Counters, QueueCounters, SoftwareError};
pub use permissions::{PermissionEntry, Permissions, PermissionsError};
pub use registers::{Function, Instruction, Interrupts, PciControl, PortalAnswer};

/// Compiles and runs the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
