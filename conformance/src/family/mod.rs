//! The cases, by family of operations.

mod compares;
mod control;
mod crc;
mod delta;
mod fills;
mod integrity;
mod inter_domain;
mod lists;
mod moves;
mod rules;
mod typed;

use crate::case::Case;

/// Every case of the suite, by opcode, then by status.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        moves::cases,
        fills::cases,
        compares::cases,
        crc::cases,
        delta::cases,
        integrity::cases,
        typed::cases,
        lists::cases,
        inter_domain::cases,
        control::cases,
        rules::cases,
    ]
    .into_iter()
    .flat_map(|family| family())
    .collect();
    cases.sort_by_key(|case| (case.opcode, case.status));
    cases
}

/// The derived cases of some operations.
fn derived(codes: &[u8]) -> Vec<Case> {
    codes.iter().flat_map(|code| crate::derived::cases(*code)).collect()
}
