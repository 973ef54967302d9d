//! What the examples share: an accelerator that works on every machine.

#![forbid(unsafe_code)]

use std::error::Error;

use dsa::Accelerator;
use dsa_emulator::{Config, Device};

/// Opens an accelerator on the software model of a device, and says so in one line.
///
/// The model executes the same 64-byte descriptors that a device takes, on threads of its own: what the examples show
/// is how programs are written, not how fast they run.
///
/// # Errors
///
/// If a thread cannot be started.
pub fn accelerator() -> Result<Accelerator, Box<dyn Error>> {
    // One shared work queue of 64 entries and one engine, as on a Sapphire Rapids processor.
    let device = Device::new(Config::sapphire_rapids())?;
    println!("device: software model; timings say nothing about hardware");
    // The accelerator keeps the model alive. Left to itself it would find the CPU faster than the model, and use that.
    Ok(Accelerator::builder().emulator(&device).min_device_size(4096).build()?)
}
