//! A DSA device for a virtual machine: the model of `dsa-emulator`, served as a PCI function over vfio-user.
//!
//! [`Rig::start`] opens two sockets in a folder. The virtual machine connects to one as a client of the vfio-user
//! protocol and finds configuration space, registers and interrupts there. The other takes commands in lines of text:
//! counters, fault injection, reset; see [`control`].
//!
//! What vfio-user does not carry comes from elsewhere. Submissions are more than stores, since ENQCMD has an answer, so
//! whoever executes the instructions calls [`Rig::submit`]. Addresses are translated by the model itself, which walks
//! the IOMMU's tables in guest memory; [`Rig::set_iommu`] tells it where they are. Page requests are put into the
//! IOMMU's queue in guest memory, and announced through QEMU's test interface.

pub mod config_space;
pub mod control;
mod guest_memory;
mod interrupts;
mod log;
mod page_request;
mod rig;
mod server;
pub mod tail_store;
pub mod zero_flag;

pub use rig::{Generation, Options, Rig, StartError};
