//! What the devices of this process have done, for `dsa emulate` to read when the program has ended.
//!
//! Written when the program ends by `exit`, by returning from `main`, or by `_exit`. A program that a signal kills, or that
//! turns into another one by `exec`, leaves nothing.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use dsa_emulator::text::{Report, Settings};
use dsa_emulator::trap::{decode::Kind, trapped};

use crate::complain;
use crate::model::{self, Model};

/// The instructions whose traps are counted.
const KINDS: [(&str, Kind); 7] = [
    ("movdir64b", Kind::Movdir64b),
    ("enqcmd", Kind::Enqcmd),
    ("umonitor", Kind::Umonitor),
    ("umwait", Kind::Umwait),
    ("tpause", Kind::Tpause),
    ("monitorx", Kind::Monitorx),
    ("mwaitx", Kind::Mwaitx),
];

/// Waits for what the devices have got, as the driver does when a process ends, and writes the report. Once in a process,
/// and only in the one that has used the devices.
pub(crate) fn write() {
    static WRITTEN: AtomicBool = AtomicBool::new(false);
    let Some(model) = model::existing().filter(|model| model.is_mine()) else { return };
    if WRITTEN.swap(true, Ordering::Relaxed) {
        return;
    }
    model.quiesce();
    let text = report(model).write();
    // A process that has turned into another program by `exec` has the number of the one before.
    for part in 0..1000 {
        let path = format!("{}/{}-{part}", Settings::REPORTS, model.process());
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(mut file) => {
                if let Err(error) = file.write_all(text.as_bytes()) {
                    complain(&format!("the counters cannot be written: {error}"));
                }
                return;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                complain(&format!("the counters cannot be written to {}: {error}", Settings::REPORTS));
                return;
            }
        }
    }
}

fn report(model: &Model) -> Report {
    let mut others: BTreeMap<String, u64> =
        KINDS.iter().map(|(name, kind)| (format!("trapped.{name}"), trapped(*kind))).collect();
    others.insert("written".to_owned(), model.written());
    others.extend(model.trouble());
    Report::of(model.counters(), others)
}
