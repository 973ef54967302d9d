//! The runtime on work queues of the Linux driver: faults, processes, the life of a queue, errors, costs.
//!
//! Every test needs a shared and a dedicated user queue of one device, root for most, and a device that does as it is
//! told: the software model, behind the real driver, in a virtual machine. `vm/run` has all that, and runs these tests
//! one after the other (`--ignored --test-threads=1`).

mod cost;
mod errors;
mod faults;
mod life_cycle;
mod processes;
mod rig;
#[path = "../support/mod.rs"]
mod support;
