//! What a process that has one queue of the Linux driver can do.

use idxd_sys::{gencap, opcode};

use crate::bench::{Capabilities, Power};

/// Why a process with one user queue of the `idxd` driver lacks a power; `None` if it has it: pages of its own memory it can
/// take away and protect.
pub const fn driver_lacks(power: Power) -> Option<&'static str> {
    match power {
        Power::Absent | Power::Refused | Power::ReadOnly => None,
        Power::HardwareErrors => Some("the device is not asked to fail"),
        Power::Troubles | Power::EventLog => Some("the driver keeps them"),
        Power::Domains | Power::Abort | Power::Misdeed(_) => Some("the driver has no interface for it"),
        Power::Queue(_) => Some("the program has one queue"),
    }
}

/// Changes what the device offers into what the driver lets a process have of it. `portal`: descriptors go to a mapped portal,
/// and not through the driver's `write(2)`, which refuses some.
pub const fn behind_driver(c: &mut Capabilities, portal: bool) {
    // The driver allows users completion interrupts where it has PASIDs, without which there are no user queues.
    c.interrupts = true;
    // The driver hides batches of the first generation. The device executes them all the same; write(2) does not pass
    // them on.
    let bit = 1 << opcode::BATCH;
    if c.version == 0x100 && gencap::max_batch_size(c.gen_cap) > 1 {
        c.op_config[0] |= bit;
        c.refused[0] |= if portal { 0 } else { bit };
    }
}
