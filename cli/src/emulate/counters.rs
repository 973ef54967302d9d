//! What the devices have done, when the program has ended: printed, checked, and turned into an exit status.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dsa_emulator::Counters;
use dsa_emulator::text::{Report, Settings, TextError};
use idxd_sys::opcode;

use super::launch::End;
use super::{Args, Error};

/// Why the counters cannot be told, or are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the counters of the program cannot be read: {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the counters of the program cannot be understood: {}: {source}", path.display())]
    Meaningless { path: PathBuf, source: TextError },
    #[error("the counters cannot be written: {}: {source}", path.display())]
    Unwritten { path: PathBuf, source: io::Error },
    #[error("the devices have executed {executed} descriptors, fewer than {least}{}", hint(*processes))]
    Unused { executed: u64, least: u64, processes: u64 },
}

fn hint(processes: u64) -> &'static str {
    match processes {
        0 => ": no process of the program has used a device and ended by itself",
        _ => ": the program did the work by other means",
    }
}

/// Tells what was asked for, and gives the exit status.
pub(super) fn conclude(args: &Args, end: End) -> Result<ExitCode, Error> {
    let report = collect()?;
    if let Some(path) = &args.counters {
        let text = json(&report, end);
        if path == Path::new("-") {
            eprint!("{text}");
        } else {
            fs::write(path, text).map_err(|source| Problem::Unwritten { path: path.clone(), source })?;
        }
    }
    let code = code(end);
    if let Some(least) = args.check_used.filter(|least| code == 0 && report.executed() < *least) {
        return Err(Problem::Unused { executed: report.executed(), least, processes: report.processes }.into());
    }
    Ok(ExitCode::from(code))
}

/// As shells have it.
fn code(end: End) -> u8 {
    match end {
        End::Exit(code) => code.cast_unsigned() as u8,
        End::Signal(signal) => 128 + signal as u8,
    }
}

/// Adds up what the processes of the program have left.
fn collect() -> Result<Report, Problem> {
    let folder = Path::new(Settings::REPORTS);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Problem::Unreadable { path, source }
    };
    let mut sum = Report::default();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        sum.add(&Report::read(&text).map_err(|source| Problem::Meaningless { path, source })?);
    }
    Ok(sum)
}

/// One object, a line for each device and each of its queues.
fn json(report: &Report, end: End) -> String {
    let mut text = format!(
        "{{\"status\": {}, \"processes\": {}, \"executed\": {}",
        code(end),
        report.processes,
        report.executed()
    );
    for (name, value) in &report.others {
        field(&mut text, name, value);
    }
    text.push_str(", \"devices\": [");
    for (index, device) in report.devices.iter().enumerate() {
        text.push_str(if index == 0 { "\n  {" } else { ",\n  {" });
        let _ = write!(text, "\"device\": \"dsa{index}\"");
        for (name, value) in Report::scalars(device) {
            field(&mut text, name, value);
        }
        let _ = write!(text, ", \"operations\": {}, \"queues\": [", operations(&device.executed));
        queues(&mut text, index, device);
        text.push_str("]}");
    }
    text.push_str("]}\n");
    text
}

fn queues(text: &mut String, device: usize, counters: &Counters) {
    for (index, queue) in counters.queues.iter().enumerate() {
        text.push_str(if index == 0 { "\n    {" } else { ",\n    {" });
        let _ = write!(text, "\"queue\": \"wq{device}.{index}\"");
        for (name, value) in [("accepted", queue.accepted), ("retries", queue.retries), ("dropped", queue.dropped)] {
            field(text, name, value);
        }
        let _ = write!(text, ", \"operations\": {}}}", operations(&queue.executed));
    }
}

/// Descriptors by operation, as far as there were any.
fn operations(executed: &[u64]) -> String {
    let parts = executed.iter().enumerate().filter(|(_, count)| **count != 0).map(|(code, count)| {
        let name = u8::try_from(code).ok().and_then(opcode::name);
        name.map_or_else(|| format!("\"{code:#04x}\": {count}"), |name| format!("\"{name}\": {count}"))
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
}

/// Adds a member. Names are the model's and the library's own, without anything that has to be escaped.
fn field(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(text, ", \"{name}\": {value}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn exit_statuses_are_those_of_a_shell() {
        assert_eq!([0, 3, 255].map(|status| code(End::Exit(status))), [0, 3, 255]);
        assert_eq!([Signal::SIGKILL, Signal::SIGSEGV].map(|signal| code(End::Signal(signal))), [137, 139]);
    }

    #[test]
    fn counters_are_told_by_operation_and_queue() {
        let text = "dsa-emulator counters 1\nprocesses 2\nother trapped.enqcmd 7\ndevice 0 bytes 5\n\
                    queue 0 1 accepted 3\nexecuted 0 1 3 4\nexecuted 0 1 63 1\n";
        let told = json(&Report::read(text).unwrap(), End::Exit(0));
        let wanted = "\"queue\": \"wq0.1\", \"accepted\": 3, \"retries\": 0, \"dropped\": 0, \"operations\": {\"memmove\": 4, \"0x3f\": 1}}";
        for part in
            ["{\"status\": 0, \"processes\": 2, \"executed\": 5, \"trapped.enqcmd\": 7,", "\"bytes\": 5,", wanted]
        {
            assert!(told.contains(part), "{told}");
        }
        let depth = |open, close| told.matches(open).count() == told.matches(close).count();
        assert!(depth('{', '}') && depth('[', ']'), "{told}");
        let nothing = json(&Report::of(Vec::new(), BTreeMap::new()), End::Signal(Signal::SIGKILL));
        assert_eq!(nothing, "{\"status\": 137, \"processes\": 1, \"executed\": 0, \"devices\": []}\n");
    }
}
