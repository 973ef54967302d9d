//! Counters as text: what a process leaves behind for somebody else to read and to add up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{TextError, number};
use crate::observe::{Counters, OPCODES, QueueCounters};

/// The first line; the number changes with the meaning of the others.
const TITLE: &str = "dsa-emulator counters 1";

/// What the devices in one process, or in several, have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Processes that have used a device.
    pub processes: u64,
    /// Counters of each device.
    pub devices: Vec<Counters>,
    /// Anything else that was counted, by name without blanks: trapped instructions, descriptors that came by `write(2)`.
    pub others: BTreeMap<String, u64>,
}

/// Counters of a device with their names, but for those by opcode or queue.
fn scalars(c: &mut Counters) -> [(&'static str, &mut u64); 10] {
    [
        ("accepted", &mut c.accepted),
        ("retries", &mut c.retries),
        ("dropped", &mut c.dropped),
        ("discarded", &mut c.discarded),
        ("bytes", &mut c.bytes),
        ("failed", &mut c.failed),
        ("page-faults", &mut c.page_faults),
        ("abandoned", &mut c.abandoned),
        ("records", &mut c.records),
        ("lost", &mut c.lost),
    ]
}

/// The same of a queue.
fn of_queue(q: &mut QueueCounters) -> [(&'static str, &mut u64); 3] {
    [("accepted", &mut q.accepted), ("retries", &mut q.retries), ("dropped", &mut q.dropped)]
}

impl Report {
    /// Of one process.
    pub fn of(devices: Vec<Counters>, others: BTreeMap<String, u64>) -> Self {
        Self { processes: 1, devices, others }
    }

    /// Descriptors executed by all devices, batch members included.
    pub fn executed(&self) -> u64 {
        self.devices.iter().map(Counters::total_executed).sum()
    }

    /// The counters of a device with their names, but for those by opcode or queue.
    pub fn scalars(counters: &Counters) -> Vec<(&'static str, u64)> {
        scalars(&mut counters.clone()).map(|(name, value)| (name, *value)).into()
    }

    /// Adds what others have done, device by device.
    pub fn add(&mut self, other: &Self) {
        self.processes += other.processes;
        if self.devices.len() < other.devices.len() {
            self.devices.resize_with(other.devices.len(), Counters::default);
        }
        for (to, from) in self.devices.iter_mut().zip(&other.devices) {
            let mut from = from.clone();
            for ((_, to), (_, from)) in scalars(to).into_iter().zip(scalars(&mut from)) {
                *to += *from;
            }
            add_each(&mut to.executed, &from.executed);
            if to.queues.len() < from.queues.len() {
                to.queues.resize_with(from.queues.len(), QueueCounters::default);
            }
            for (to, from) in to.queues.iter_mut().zip(&mut from.queues) {
                for ((_, to), (_, from)) in of_queue(to).into_iter().zip(of_queue(from)) {
                    *to += *from;
                }
                add_each(&mut to.executed, &from.executed);
            }
        }
        for (name, value) in &other.others {
            *self.others.entry(name.clone()).or_default() += value;
        }
    }

    /// The text that [`read`](Self::read) understands.
    pub fn write(&self) -> String {
        let mut text = format!("{TITLE}\nprocesses {}\n", self.processes);
        // Writing to a string does not fail.
        for (name, value) in &self.others {
            let _ = writeln!(text, "other {name} {value}");
        }
        for (index, device) in self.devices.iter().enumerate() {
            let mut device = device.clone();
            for (name, value) in scalars(&mut device) {
                let _ = writeln!(text, "device {index} {name} {value}");
            }
            for (queue, counters) in device.queues.iter_mut().enumerate() {
                for (name, value) in of_queue(counters) {
                    let _ = writeln!(text, "queue {index} {queue} {name} {value}");
                }
                for (opcode, count) in counters.executed.iter().enumerate().filter(|(_, count)| **count != 0) {
                    let _ = writeln!(text, "executed {index} {queue} {opcode} {count}");
                }
            }
        }
        text
    }

    /// A report out of its text.
    ///
    /// # Errors
    ///
    /// The text is of another version, or a line means nothing.
    pub fn read(text: &str) -> Result<Self, TextError> {
        let mut lines = text.lines();
        match lines.next() {
            Some(TITLE) => {}
            other => return Err(TextError(format!("{:?} instead of {TITLE:?}", other.unwrap_or_default()))),
        }
        let mut report = Self::default();
        for line in lines {
            report.line(line).ok_or_else(|| TextError(format!("{line:?} is no counter")))?;
        }
        Ok(report)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let index = |word: &str| number(word).filter(|index| *index < 1 << 16).map(|index| index as usize);
        match words[..] {
            ["processes", value] => self.processes = number(value)?,
            ["other", name, value] => {
                self.others.insert(name.to_owned(), number(value)?);
            }
            ["device", device, name, value] => {
                *named(scalars(self.device(index(device)?)), name)? = number(value)?;
            }
            ["queue", device, queue, name, value] => {
                *named(of_queue(self.queue(index(device)?, index(queue)?)), name)? = number(value)?;
            }
            ["executed", device, queue, opcode, value] => {
                let (device, queue, opcode, value) = (index(device)?, index(queue)?, index(opcode)?, number(value)?);
                *self.queue(device, queue).executed.get_mut(opcode)? = value;
                self.device(device).executed[opcode] += value;
            }
            _ => return None,
        }
        Some(())
    }

    fn device(&mut self, index: usize) -> &mut Counters {
        if self.devices.len() <= index {
            self.devices.resize_with(index + 1, Counters::default);
        }
        &mut self.devices[index]
    }

    fn queue(&mut self, device: usize, index: usize) -> &mut QueueCounters {
        let queues = &mut self.device(device).queues;
        if queues.len() <= index {
            queues.resize_with(index + 1, QueueCounters::default);
        }
        &mut queues[index]
    }
}

fn add_each(to: &mut [u64; OPCODES], from: &[u64; OPCODES]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

fn named<'a, const N: usize>(all: [(&'static str, &'a mut u64); N], name: &str) -> Option<&'a mut u64> {
    all.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every counter has a value of its own.
    fn report(factor: u64) -> Report {
        let mut device = Counters::default();
        for (i, (_, value)) in scalars(&mut device).into_iter().enumerate() {
            *value = factor * (i as u64 + 1);
        }
        device.queues = vec![QueueCounters::default(), QueueCounters::default()];
        for (i, queue) in device.queues.iter_mut().enumerate() {
            for (j, (_, value)) in of_queue(queue).into_iter().enumerate() {
                *value = factor * (20 + 10 * i + j) as u64;
            }
            queue.executed[3] = factor * (50 + i as u64);
        }
        device.executed[3] = factor * 101;
        Report::of(vec![device], BTreeMap::from([("trapped.enqcmd".to_owned(), factor * 7)]))
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Report::read(&report(1).write()), Ok(report(1)));
        assert_eq!(Report::read(&Report::default().write()), Ok(Report::default()));
    }

    #[test]
    fn reports_add_up() {
        let mut sum = Report::default();
        sum.add(&report(1));
        assert_eq!(sum, report(1));
        sum.add(&report(2));
        assert_eq!(sum, Report { processes: 2, ..report(3) });
        assert_eq!(sum.executed(), 303);
    }

    #[test]
    fn every_counter_of_a_device_is_there() {
        // One that is added to the structure and not to the list would be lost.
        let device = report(1).devices.remove(0);
        let text = format!("{device:?}");
        let fields = text.split("executed").next().unwrap();
        assert_eq!(fields.matches(": ").count(), Report::scalars(&device).len(), "{fields}");
        assert!(!fields.contains(": 0,"), "{fields}");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let text = report(1).write();
        for wrong in [
            "dsa-emulator counters 2",
            &format!("{text}device 0 colour 3"),
            &format!("{text}executed 0 0 64 1"),
            &format!("{text}executed 0 99999999 3 1"),
            &format!("{text}device 0 bytes many"),
            &format!("{text}nonsense"),
        ] {
            assert!(Report::read(wrong).is_err(), "{wrong}");
        }
    }
}
