//! Which operation can end with which status, and why it cannot with the others.
//!
//! This is written down apart from the cases; a test holds the two against each other, and against the constants of
//! [`idxd_sys`].

use idxd_sys::{opcode, status};

use crate::derived::{hardware, has_list};
use crate::sample::{has_domains, has_size, operands};

/// Codes of the software error register that are no statuses.
pub const SOFTWARE_ERRORS: [u8; 4] =
    [status::SWERR_PCI_CONFIG, status::SWERR_COMMAND_ACTIVE, status::SWERR_DWQ_OVERFLOW, status::SWERR_EVENT_LOG];

/// Every code that the table has a column for.
pub fn codes() -> impl Iterator<Item = u8> {
    status::ALL.iter().copied().filter(|code| *code != status::NONE).chain(SOFTWARE_ERRORS)
}

/// Whether an operation can end with a status; the error is the reason why it cannot, or why no descriptor can show it.
pub fn can_give(operation: u8, code: u8) -> Result<(), &'static str> {
    let only = |operations: &[u8], why: &'static str| if operations.contains(&operation) { Ok(()) } else { Err(why) };
    let when = |possible: bool, why: &'static str| if possible { Ok(()) } else { Err(why) };
    let typed = matches!(operation, opcode::TYPE_CONV..=opcode::GATHER_REDUCE);
    let copies_list = matches!(operation, opcode::GATHER_COPY..=opcode::SCATTER_FILL);
    let delta = matches!(operation, opcode::CR_DELTA | opcode::AP_DELTA);
    let compares = matches!(
        operation,
        opcode::COMPARE
            | opcode::COMPVAL
            | opcode::CR_DELTA
            | opcode::INTER_DOMAIN_COMPARE
            | opcode::INTER_DOMAIN_COMPVAL
    );
    match code {
        status::NONE => Err("the status of a record that is not written"),
        status::SUCCESS
        | status::BAD_OPCODE
        | status::BAD_FLAGS
        | status::RESERVED_FIELD
        | status::BAD_INT_HANDLE
        | status::CR_FAULT
        | status::CR_ALIGN
        | status::BAD_PRIV
        | status::BAD_TRAFFIC_CLASS => Ok(()),
        status::SUCCESS_FALSE => when(compares || typed, "it has no result to be checked"),
        status::PAGE_FAULT | status::PAGE_RESPONSE => {
            when(has_size(operation), "it has no operand of this kind: faults of lists and readbacks have their own")
        }
        status::BATCH_FAIL | status::BATCH_LIST_FAULT | status::LIST_ALIGN | status::BATCH_EVENT_LOG => {
            only(&[opcode::BATCH], "of batches only")
        }
        status::DELTA_OFFSET_ORDER | status::DELTA_OFFSET_RANGE => {
            only(&[opcode::AP_DELTA], "of the application of delta records only")
        }
        status::DIF_ERROR => {
            only(&[opcode::DIF_CHECK, opcode::DIF_STRP, opcode::DIF_UPDT], "its source has no integrity fields")
        }
        status::BAD_SIZE => when(has_size(operation), "it has no transfer size"),
        status::BAD_COUNT => when(operation == opcode::BATCH || has_list(operation), "it has no list"),
        status::BAD_FIELD_VALUE => when(delta || typed || copies_list, "it has no field with values of this kind"),
        status::OVERLAP => overlap(operation),
        status::DUALCAST_ALIGN => only(&[opcode::DUALCAST, opcode::REDUCE_DUALCAST], "it has one destination at most"),
        status::ADDR_ALIGN => {
            let aligned =
                matches!(operation, opcode::CRCGEN | opcode::COPY_CRC | opcode::TRANSL_FETCH | opcode::DIX_GEN);
            when(aligned || delta || typed, "its operands may lie anywhere")
        }
        status::DRAIN_FAULT | status::DRAIN_EVENT_LOG => only(&[opcode::DRAIN], "of drains only"),
        status::HW_READ | status::HW_WRITE | status::TRANSLATION => {
            let fails = hardware(operation).contains(&code);
            when(fails, "it writes no operand, or has none at all")
        }
        status::INTER_DOMAIN_NO_PASID => {
            when(has_domains(operation) || operation == opcode::UPDATE_WINDOW, "it names no handle")
        }
        status::IDPT_HANDLE | status::IDPT_PERMISSION | status::IDPT_WINDOW | status::DOMAIN_GONE => {
            when(has_domains(operation), "it reaches no other domain")
        }
        status::IDPT_UPDATE | status::WINDOW_FIELDS => only(&[opcode::UPDATE_WINDOW], "of updates of windows only"),
        status::SWERR_DWQ_OVERFLOW => only(&[opcode::NOP], "of the queue, not of the operation: shown with a no-op"),
        status::SWERR_PCI_CONFIG | status::SWERR_COMMAND_ACTIVE | status::SWERR_EVENT_LOG => {
            only(&[opcode::NOP], "of the device, not of the operation: shown with a no-op")
        }
        _ => Err("not assigned"),
    }
}

fn overlap(operation: u8) -> Result<(), &'static str> {
    match operation {
        opcode::INTER_DOMAIN_COPY => Err("what overlaps in physical memory is not seen across domains"),
        opcode::SCATTER_COPY | opcode::SCATTER_FILL => Err("the buffers of a list are not compared"),
        opcode::MEMMOVE
        | opcode::COPY_CRC
        | opcode::DUALCAST
        | opcode::CR_DELTA
        | opcode::AP_DELTA
        | opcode::DIF_INS..=opcode::DIF_UPDT
        | opcode::DIX_GEN
        | opcode::TYPE_CONV..=opcode::GATHER_COPY => Ok(()),
        _ if operands(operation).iter().any(|(_, writes)| *writes) => Err("it has one operand in memory"),
        _ => Err("it writes no operand"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_cases_cover_the_matrix_and_nothing_else() {
        let pairs = || opcode::ALL.iter().flat_map(|operation| codes().map(move |code| (*operation, code)));
        let possible: BTreeSet<_> = pairs().filter(|(operation, code)| can_give(*operation, *code).is_ok()).collect();
        let tested: BTreeSet<_> = crate::cases().iter().map(|case| (case.opcode, case.status)).collect();
        let missing: Vec<_> = possible.difference(&tested).map(|pair| format!("{pair:x?}")).collect();
        let surplus: Vec<_> = tested.difference(&possible).map(|pair| format!("{pair:x?}")).collect();
        assert!(missing.is_empty(), "possible, but without a case: {missing:?}");
        assert!(surplus.is_empty(), "impossible, but with a case: {surplus:?}");
    }

    #[test]
    fn every_status_has_a_case_and_the_others_a_reason() {
        for code in codes() {
            let possible = opcode::ALL.iter().any(|operation| can_give(*operation, code).is_ok());
            assert!(possible, "{code:#x} is given by no operation, so no case shows it");
            let reasons: BTreeSet<_> = opcode::ALL.iter().filter_map(|op| can_give(*op, code).err()).collect();
            assert!(!reasons.contains("not assigned"), "{code:#x} has no rule here");
        }
        assert!(opcode::ALL.iter().all(|operation| can_give(*operation, status::NONE).is_err()));
        assert_eq!(can_give(opcode::NOP, 0x3f), Err("not assigned"));
    }

    #[test]
    fn every_operation_has_a_case_of_success() {
        for &operation in opcode::ALL {
            assert!(crate::cases().iter().any(|case| (case.opcode, case.status) == (operation, status::SUCCESS)));
        }
    }

    #[test]
    fn names_are_unique() {
        let mut seen = BTreeSet::new();
        for case in crate::cases() {
            assert!(seen.insert(case.to_string()), "{case}");
        }
    }
}
