//! Tests of the descriptor module as a whole: encodings, rules, resumption.

mod encoding;
mod encoding_data;
mod encoding_typed;
mod laws;
mod laws_data;
mod laws_domains;
mod laws_typed;
mod limits;
mod limits_data;
mod limits_lists;
mod limits_typed;
mod machine;
mod properties;
mod resume_data;
mod resume_domains;
mod resume_hostile;
mod resume_integrity;
mod resume_lists;
mod resume_typed;
mod resumption;
mod rules;
mod seeds;

use idxd_sys::Descriptor;
use zerocopy::{FromBytes, IntoBytes};

use super::{Capabilities, InterDomainCapabilities};

/// First generation, everything switched on.
fn first_generation() -> Capabilities {
    Capabilities::sapphire_rapids().with_block_on_fault(true)
}

/// Every optional feature that any operation can use, and every opcode.
fn everything() -> Capabilities {
    let richest = Capabilities::diamond_rapids();
    Capabilities::new(0x300, richest.gen_cap(), [u64::MAX; 4])
        .with_dsa_caps(richest.dsa_caps())
        .with_inter_domain_capabilities(InterDomainCapabilities {
            handles: None,
            offset_mode: true,
            suppress_drain: true,
        })
        .with_block_on_fault(true)
        .with_user_interrupts(true)
}

/// No optional feature at all, but every opcode.
fn nothing() -> Capabilities {
    Capabilities::new(0x100, 31 << 16 | 10 << 21, [u64::MAX; 4])
}

fn bytes_of(descriptor: &Descriptor) -> [u8; 64] {
    descriptor.as_bytes().try_into().expect("a descriptor has 64 bytes")
}

fn from_bytes(bytes: &[u8; 64]) -> Descriptor {
    Descriptor::read_from_bytes(bytes).expect("a descriptor has 64 bytes")
}
