//! Tests of the descriptor module as a whole: encodings, rules, resumption.

mod encoding;
mod limits;
mod properties;
mod resumption;
mod rules;

use idxd_sys::Descriptor;
use zerocopy::{FromBytes, IntoBytes};

use super::Capabilities;

/// First generation, everything switched on.
fn first_generation() -> Capabilities {
    Capabilities::sapphire_rapids().with_block_on_fault(true)
}

/// Every optional feature that any operation can use, and then some.
fn everything() -> Capabilities {
    let spr = Capabilities::granite_rapids();
    Capabilities::new(0x300, spr.gen_cap() | 1 << 5 | 1 << 52, [u64::MAX; 4])
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
