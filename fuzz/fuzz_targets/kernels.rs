//! Each kernel of the CPU engine by itself, whatever the engine would choose, against what a byte at a time gives.

#![no_main]

use dsa_fuzz::kernels::{Case, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case| check(&case));
