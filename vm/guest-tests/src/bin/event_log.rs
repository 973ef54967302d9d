//! Records that the device cannot write, on a device with an event log and without page requests.
//!
//! The device then writes the record to its log; the kernel brings the page in and writes the record there. That way the
//! process never notices, but for a counter of its file in sysfs.
//!
//! Usage: `event_log DEDICATED SHARED`, paths of two enabled user queues. The exit status is 1 if something fails.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use dsa_vm_guest_tests::{Line, Queue, Record, copy};
use idxd_sys::status;

/// Descriptors of a round.
const ROUNDS: u64 = 20;

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [dedicated, shared] = paths.as_slice() else {
        eprintln!("usage: event_log DEDICATED SHARED");
        return ExitCode::from(2);
    };
    for (path, is_shared) in [(dedicated, false), (shared, true)] {
        if let Err(error) = untouched_records(path, is_shared) {
            println!("FAIL {path}: {error}");
            return ExitCode::FAILURE;
        }
        println!("ok   {path}");
    }
    ExitCode::SUCCESS
}

fn untouched_records(path: &str, shared: bool) -> Result<(), Box<dyn Error>> {
    let queue = Queue::open(path)?;
    for round in 0..ROUNDS {
        let (source, mut target, record) = (Line::counting(), Line::default(), Record::untouched()?);
        let descriptor = copy(&source, &mut target, record);
        // SAFETY: the record lives for ever, the lines until it is written.
        unsafe { queue.submit(shared, &descriptor) }?;
        let status = record.wait()?;
        if status != status::SUCCESS || target != source {
            return Err(format!("record {round}: status {status:#x}, copied: {}", target == source).into());
        }
    }
    let faults = record_faults()?;
    // The kernel may have touched a page before the device did, but not most of them.
    if faults == 0 || faults > ROUNDS {
        return Err(format!("the driver counts {faults} faults of {ROUNDS} records").into());
    }
    println!("     {path}: {faults} of {ROUNDS} records came out of the event log");
    Ok(())
}

/// The driver's counter of records that it has written for this process's open files.
fn record_faults() -> Result<u64, Box<dyn Error>> {
    let mut total = None;
    for entry in fs::read_dir("/sys/bus/dsa/devices")? {
        let file = entry?.path();
        let number = |attribute| fs::read_to_string(file.join(attribute)).ok()?.trim().parse::<u64>().ok();
        if number("pid") == Some(std::process::id().into()) {
            total = Some(total.unwrap_or(0) + number("cr_faults").ok_or("no counter of record faults")?);
        }
    }
    total.ok_or_else(|| "the driver shows no open file of this process".into())
}
