//! What is said before and after a run.

#![expect(clippy::cast_precision_loss, reason = "rates and percentages are for people, who read three digits")]

use std::fmt::{self, Display, Formatter, Write};
use std::time::Duration;

use dsa::stats::{Event, Operation, Path, Reason, Stats};

use super::args::{Args, Size};
use super::device::{Target, counted};
use super::input::{Input, Progress};
use super::verify::Verdict;

/// The lines before a run.
pub(crate) struct Header<'a> {
    pub(crate) args: &'a Args,
    pub(crate) target: &'a Target,
    pub(crate) input: &'a Input,
}

impl Display for Header<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { args, target, input } = self;
        let files = counted(input.files.len() as u64, "file");
        writeln!(f, "device:    {}", target.description)?;
        write!(f, "input:     {} in {files} of {}", Size(input.bytes), input.origin)?;
        if input.unreadable != 0 {
            write!(f, ", {} unreadable left out", input.unreadable)?;
        }
        let ops: Vec<_> = args.ops.iter().map(ToString::to_string).collect();
        writeln!(f, "\nplan:      size {}, depth {}, seed {}, {}", args.size, args.depth, args.seed, ops.join(", "))?;
        let trouble = &args.trouble;
        let rates = [
            ("page faults", trouble.page_faults()),
            ("refusals", if args.model.dedicated { 0.0 } else { trouble.refusals() }),
            ("lost descriptors", trouble.lose.0),
            ("cancelled operations", trouble.cancel.0),
        ];
        let rates: Vec<_> =
            rates.into_iter().filter(|&(_, p)| p > 0.0).map(|(what, p)| format!("{what} {} %", p * 100.0)).collect();
        if !rates.is_empty() {
            writeln!(f, "injected:  {}", rates.join(", "))?;
        }
        writeln!(f)
    }
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) is_model: bool,
    pub(crate) elapsed: Duration,
    pub(crate) read: Progress,
    /// What was to be read, in bytes.
    pub(crate) expected: u64,
    pub(crate) verdict: Verdict,
    pub(crate) stats: Stats,
    /// Operations still with the device, long after the last result.
    pub(crate) stuck: usize,
    /// Buffers that did not come back.
    pub(crate) lost_buffers: usize,
}

impl Outcome {
    /// Whether everything was done, is right, and was cleaned up.
    pub(crate) fn is_right(&self) -> bool {
        self.verdict.mismatches == 0
            && self.verdict.pieces == self.read.pieces
            && self.verdict.bytes == self.read.bytes
            && self.verdict.pieces != 0
            && self.stuck == 0
            && self.lost_buffers == 0
    }

    fn device(&self) -> &'static str {
        if self.is_model { "device model" } else { "device" }
    }

    fn name(&self, path: Path) -> &'static str {
        match path {
            Path::Device => self.device(),
            Path::Cpu => "cpu",
        }
    }

    /// Operations, bytes, rate and latencies of each path.
    fn paths(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = ["operations", "bytes", "GB/s", "p50 us", "p99 us", "p99.9 us"];
        row(f, "path", columns)?;
        for &path in Path::ALL {
            let operations = self.stats.total_operations(path);
            if operations == 0 {
                row(f, self.name(path), ["0", "0", "-", "-", "-", "-"])?;
                continue;
            }
            let bytes = self.stats.total_bytes(path);
            let latency = self.stats.latency(path);
            let at = |quantile| format!("{:.1}", latency.value_at_quantile(quantile) as f64 / 1e3);
            let rate = format!("{:.2}", bytes as f64 / self.elapsed.as_secs_f64() / 1e9);
            let cells = [operations.to_string(), Size(bytes).to_string(), rate, at(0.5), at(0.99), at(0.999)];
            row(f, self.name(path), cells)?;
        }
        writeln!(
            f,
            "Rates are over the {:.2} s of the whole run, reading and verifying included. Latencies are from submission \
             to completion{}.",
            self.elapsed.as_secs_f64(),
            if self.is_model { ";\nthose of the device are the software model's, not a device's" } else { "" }
        )
    }

    /// Operations of each kind.
    fn kinds(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<18}{:>14}{:>14}", "operation", self.device(), "cpu")?;
        for &operation in Operation::ALL {
            let [device, cpu] = [Path::Device, Path::Cpu].map(|path| self.stats.operations(path, operation));
            if device + cpu != 0 {
                writeln!(f, "{operation:<18}{device:>14}{cpu:>14}")?;
            }
        }
        Ok(())
    }

    /// What happened on the way, and why the CPU did what it did.
    fn events(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const ALWAYS: [Event; 3] = [Event::Retries, Event::PageFaults, Event::Resumes];
        let mut line = String::new();
        for &event in Event::ALL {
            let count = self.stats.event(event);
            if count != 0 || ALWAYS.contains(&event) {
                let separator = if line.is_empty() { "" } else { ", " };
                write!(line, "{separator}{event} {count}")?;
            }
        }
        writeln!(f, "\nevents:     {line}")?;
        let reasons: Vec<_> = Reason::ALL
            .iter()
            .map(|&reason| (reason, self.stats.reason(reason)))
            .filter(|&(_, count)| count != 0)
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let reasons = if reasons.is_empty() { "nothing".to_owned() } else { reasons.join(", ") };
        writeln!(f, "on the CPU: {reasons}")
    }

    /// The last lines: right or wrong.
    fn verdict(&self, f: &mut Formatter<'_>, input: &Input) -> fmt::Result {
        let Verdict { pieces, bytes, mismatches, examples } = &self.verdict;
        if self.read.unreadable != 0 {
            let files = counted(self.read.unreadable as u64, "file");
            writeln!(f, "note:       {files} could not be read to the end")?;
        }
        if self.read.bytes < self.expected {
            let missing = self.expected - self.read.bytes;
            writeln!(f, "note:       the files had {} less than when they were found", Size(missing))?;
        }
        if self.is_right() {
            let pieces = counted(*pieces, "piece");
            return writeln!(f, "verified:   {pieces}, {}: every byte and every CRC is right", Size(*bytes));
        }
        writeln!(f, "FAILED:     {mismatches} of {} wrong ({})", counted(*pieces, "piece"), Size(*bytes))?;
        for mismatch in examples {
            let file = input.files[mismatch.place.file].display();
            writeln!(f, "  {file} at {}, {}: {}", mismatch.place.offset, mismatch.recipe, mismatch.wrong)?;
        }
        if *pieces != self.read.pieces {
            writeln!(f, "  read: {}, came through: {pieces}", counted(self.read.pieces, "piece"))?;
        }
        if self.stuck != 0 {
            writeln!(f, "  still with the device: {}", counted(self.stuck as u64, "operation"))?;
        }
        if self.lost_buffers != 0 {
            writeln!(f, "  not back in the pool: {}", counted(self.lost_buffers as u64, "buffer"))?;
        }
        Ok(())
    }
}

/// The lines after a run.
pub(crate) struct Report<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) input: &'a Input,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.outcome.paths(f)?;
        self.outcome.kinds(f)?;
        self.outcome.events(f)?;
        self.outcome.verdict(f, self.input)
    }
}

/// A line of the table of paths.
fn row(f: &mut Formatter<'_>, name: &str, cells: [impl Display; 6]) -> fmt::Result {
    write!(f, "{name:<14}")?;
    for (cell, width) in cells.into_iter().zip([12, 12, 8, 10, 10, 10]) {
        write!(f, "{cell:>width$}")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use dsa::stats::Recorder;

    use super::*;
    use crate::demo::args::Recipe;
    use crate::demo::verify::{Mismatch, Wrong};
    use crate::demo::work::Place;

    fn input() -> Input {
        Input { files: vec!["some/file".into()], all_named: true, bytes: 8192, origin: "some".into(), unreadable: 0 }
    }

    fn right() -> Outcome {
        let recorder = Recorder::new();
        recorder.operation(Path::Device, Operation::Copy, 4096);
        recorder.latency(Path::Device, 2_000);
        recorder.operation(Path::Cpu, Operation::Copy, 4096);
        recorder.latency(Path::Cpu, 1_000);
        recorder.reason(Reason::PageFault);
        recorder.events(Event::Retries, 5);
        Outcome {
            is_model: true,
            elapsed: Duration::from_millis(1),
            read: Progress { pieces: 2, bytes: 8192, unreadable: 0 },
            expected: 8192,
            verdict: Verdict { pieces: 2, bytes: 8192, ..Verdict::default() },
            stats: recorder.snapshot(),
            stuck: 0,
            lost_buffers: 0,
        }
    }

    fn text(outcome: &Outcome) -> String {
        Report { outcome, input: &input() }.to_string()
    }

    #[test]
    fn a_good_run_is_told_by_path_and_reason() {
        let outcome = right();
        assert!(outcome.is_right());
        let text = text(&outcome);
        let line = |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{text}"));
        let words = |begin: &str| line(begin).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words("device model").starts_with("device model 1 4 KiB 0.00 2.0"), "{text}");
        assert!(words("cpu").starts_with("cpu 1 4 KiB 0.00 1.0"), "{text}");
        assert_eq!(words("copy"), "copy 1 1");
        assert_eq!(words("events:"), "events: retries 5, page-faults 0, resumes 0");
        assert_eq!(words("on the CPU:"), "on the CPU: page-fault 1");
        assert!(text.contains("the software model's, not a device's"), "{text}");
        assert!(line("verified:").contains("2 pieces, 8 KiB"), "{text}");
    }

    #[test]
    fn one_is_not_many() {
        let mut outcome = right();
        (outcome.read.pieces, outcome.verdict.pieces) = (1, 1);
        assert!(text(&outcome).contains("verified:   1 piece, 8 KiB: "), "{}", text(&outcome));
        (outcome.stuck, outcome.lost_buffers) = (1, 1);
        let text = text(&outcome);
        assert!(text.contains("0 of 1 piece wrong (8 KiB)\n"), "{text}");
        assert!(text.contains("device: 1 operation\n") && text.contains("pool: 1 buffer\n"), "{text}");
    }

    #[test]
    fn a_wrong_piece_is_named() {
        let mut outcome = right();
        let wrong = Wrong::Crc { expected: 1, found: 2 };
        let place = Place { file: 0, offset: 4096 };
        outcome.verdict.mismatches = 1;
        outcome.verdict.examples.push(Mismatch { place, recipe: Recipe::Crc32c, wrong });
        assert!(!outcome.is_right());
        let text = text(&outcome);
        assert!(text.contains("FAILED:     1 of 2 pieces wrong (8 KiB)"), "{text}");
        assert!(text.contains("some/file at 4096, crc32c: the CRC-32C is 0x00000002 instead of 0x00000001"), "{text}");
        assert!(!text.contains("verified"), "{text}");
    }

    #[test]
    fn missing_pieces_operations_and_buffers_are_failures_too() {
        type Spoil = fn(&mut Outcome);
        let spoilt: [(Spoil, &str); 4] = [
            (|outcome| outcome.verdict.pieces = 1, "read: 2 pieces, came through: 1"),
            (|outcome| outcome.stuck = 3, "still with the device: 3 operations"),
            (|outcome| outcome.lost_buffers = 4, "not back in the pool: 4 buffers"),
            (|outcome| (outcome.verdict.pieces, outcome.read.pieces) = (0, 0), "FAILED"),
        ];
        for (spoil, message) in spoilt {
            let mut outcome = right();
            spoil(&mut outcome);
            assert!(!outcome.is_right(), "{message}");
            assert!(text(&outcome).contains(message), "{message}");
        }
    }
}
