//! Cases from a fuzzer: each operation on the device model, on the CPU engine and on the oracle, with page faults and
//! resumption, alone and in batches.
//!
//! The same cases from a generator, by the million, are those of `examples/differential.rs`.

#![no_main]

use std::cell::RefCell;

use dsa_fuzz::differential::{Case, Runner};
use libfuzzer_sys::fuzz_target;

thread_local! {
    // Made once: no case depends on another one.
    static RUNNER: RefCell<Runner> = RefCell::new(Runner::new(6, 3));
}

fuzz_target!(|cases: Vec<Case>| {
    RUNNER.with_borrow_mut(|runner| {
        for case in cases.iter().take(8) {
            if let Err(difference) = runner.run(case) {
                panic!("{difference}");
            }
        }
    });
});
