//! The kernel's own view of the interface: everything in `<linux/idxd.h>`, as bindgen translates it.
//!
//! C names, C types, packed structures and accessors for bit fields. The rest of this crate says the same in Rust's
//! way, and its tests compare the two; use this module where a name or a field has no counterpart there (IAA
//! descriptors, DIF tags, delta masks).
//!
//! The file is checked in for x86-64, the only architecture that has the device. The feature `bindgen` generates it
//! for the target at hand instead, from the header that the build finds.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    unused_qualifications,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::use_self,
    clippy::undocumented_unsafe_blocks
)]
#![allow(rustdoc::all)]

#[cfg(not(feature = "bindgen"))]
include!("generated/uapi_x86_64.rs");

#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/uapi.rs"));
