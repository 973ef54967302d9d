//! Traffic classes: whether a virtual channel carries those that a descriptor selects (specification sections 4.2 and 5.4).
//!
//! A group has two classes, and a flag for each address of a descriptor selects one of them. Nothing of what a class does to
//! traffic is modelled; what counts is whether there is a channel for it ([`Setup::unusable_classes`]).
//!
//! [`Setup::unusable_classes`]: crate::setup::Setup::unusable_classes

use idxd_sys::{Descriptor, flag, opcode};

use super::{Exec, validate};

/// Whether the class of the completion record is carried. Without that there can be no record.
pub(super) fn carry_record(x: &Exec<'_>, d: &Descriptor) -> bool {
    d.flags() & flag::CRAV == 0 || carried(x, d, flag::CR_TC)
}

/// Whether the classes of a valid descriptor's operands are carried.
pub(super) fn carry_operands(x: &Exec<'_>, d: &Descriptor) -> bool {
    if x.queue.setup.unusable_classes() == 0 {
        return true;
    }
    // An address that is used has a selector.
    let code = d.opcode();
    let mut used = validate::allowed(x, code, d.flags()) & (flag::ADDR1_TC | flag::ADDR2_TC | flag::ADDR3_TC);
    if code == opcode::COPY_CRC && d.flags() & flag::CRC_READ_SEED == 0 {
        // The seed's may be set without one.
        used &= !flag::ADDR3_TC;
    }
    if code == opcode::REDUCE_DUALCAST {
        used |= flag::REDUCE_DEST2_TC;
    }
    (0..24).map(|bit| 1 << bit).filter(|bit| used & bit != 0).all(|selector| carried(x, d, selector))
}

/// Whether the class that a flag selects is carried.
fn carried(x: &Exec<'_>, d: &Descriptor, selector: u32) -> bool {
    let second = d.flags() & selector != 0;
    x.queue.setup.unusable_classes() >> u8::from(second) & 1 == 0
}
