//! The table of operations and statuses, as markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use idxd_sys::{opcode, status};

use crate::case::{Case, Report};
use crate::matrix::{can_give, codes};

/// How often cases ran on each of several back ends, for a document.
#[derive(Debug, Default)]
pub struct Table {
    backends: Vec<(String, Report)>,
}

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what came of the suite on a back end.
    pub fn add(&mut self, backend: impl Into<String>, report: Report) {
        self.backends.push((backend.into(), report));
    }

    /// The back ends, one a row, with what they ran and what they lack; then one table for each operation, with a row for each
    /// status it can give; then the reasons for the statuses that it cannot.
    pub fn markdown(&self, cases: &[Case]) -> String {
        let mut text = String::new();
        self.summary(&mut text, cases);
        for &operation in opcode::ALL {
            self.operation(&mut text, operation, cases);
        }
        impossible(&mut text);
        text
    }

    fn summary(&self, text: &mut String, cases: &[Case]) {
        text.push_str("## Back ends\n\n| | back end | ran | not offered, because |\n|---|---|---:|---|\n");
        for ((name, report), letter) in self.backends.iter().zip('A'..) {
            let reasons = report.reasons().into_iter().map(|(why, count)| format!("{why} ({count})"));
            let reasons = reasons.collect::<Vec<_>>().join("; ");
            let _ = writeln!(text, "| {letter} | {name} | {} | {reasons} |", report.ran());
        }
        let nowhere: Vec<String> = self.nowhere(cases).map(|case| format!("`{case}`")).collect();
        let nowhere = if nowhere.is_empty() { "none".into() } else { nowhere.join(", ") };
        let _ = writeln!(text, "\n{} cases. Passed on no back end: {nowhere}.", cases.len());
    }

    /// The cases that passed on none of the back ends.
    pub fn nowhere<'a>(&'a self, cases: &'a [Case]) -> impl Iterator<Item = &'a Case> {
        let passed = |case: &Case| self.backends.iter().any(|(_, report)| report.names.contains(&case.to_string()));
        cases.iter().filter(move |case| !passed(case))
    }

    fn operation(&self, text: &mut String, operation: u8, cases: &[Case]) {
        let name = opcode::name(operation).unwrap_or("?");
        let _ = writeln!(text, "\n## `{name}` {operation:#04x}\n");
        let letters: Vec<String> = ('A'..).take(self.backends.len()).map(String::from).collect();
        let _ = writeln!(text, "| status | cases | {} |", letters.join(" | "));
        let _ = writeln!(text, "|---|---:|{}", "---:|".repeat(letters.len()));
        for code in codes().filter(|code| can_give(operation, *code).is_ok()) {
            let all = cases.iter().filter(|case| (case.opcode, case.status) == (operation, code)).count();
            let cell = |report: &Report| match report.passed.get(&(operation, code)) {
                None | Some(0) => "-".into(),
                Some(count) => count.to_string(),
            };
            let cells: Vec<String> = self.backends.iter().map(|(_, report)| cell(report)).collect();
            let _ = writeln!(text, "| {code:#04x} {} | {all} | {} |", meaning(code), cells.join(" | "));
        }
    }
}

/// What a code means, in a few words.
fn meaning(code: u8) -> &'static str {
    match code {
        status::SWERR_PCI_CONFIG => "PCI configuration changed (software error)",
        status::SWERR_COMMAND_ACTIVE => "command while another is active (software error)",
        status::SWERR_DWQ_OVERFLOW => "dedicated queue overflow (software error)",
        status::SWERR_EVENT_LOG => "event log cannot be written (software error)",
        code => status::meaning(code).unwrap_or("?"),
    }
}

/// Statuses, reasons, and the operations for which they hold.
fn impossible(text: &mut String) {
    text.push_str("\n## What has no case\n\n| status | operations | because |\n|---|---|---|\n");
    for code in codes() {
        let mut reasons: BTreeMap<&str, BTreeSet<u8>> = BTreeMap::new();
        for &operation in opcode::ALL {
            if let Err(why) = can_give(operation, code) {
                reasons.entry(why).or_default().insert(operation);
            }
        }
        for (why, operations) in reasons {
            let names: Vec<&str> = operations.iter().filter_map(|operation| opcode::name(*operation)).collect();
            let most = opcode::ALL.len() / 2;
            let names = match names.len() {
                count if count == opcode::ALL.len() => "all".into(),
                count if count > most => format!("{count} of {}", opcode::ALL.len()),
                _ => names.join(", "),
            };
            let _ = writeln!(text, "| {code:#04x} {} | {names} | {why} |", meaning(code));
        }
    }
}
