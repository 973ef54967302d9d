//! The parameters of the timing model, and the presets.
//!
//! Few, and each with a meaning in hardware or software. They are not independent measurements: latencies that always
//! occur together are split at a plausible place, and only their sum is known. Where that is so, the field says it.

use thiserror::Error;

use crate::config::ConfigError;

/// Where the numbers of a [`Timing`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provenance {
    /// Fitted to published measurements of that device; see [`published`](super::published).
    Fitted,
    /// Carried over from a fitted preset. Nothing was published that it could be held against.
    Derived,
    /// Changed by the user.
    Custom,
}

/// All parameters of the model. Start from a preset; if you change a field, set the provenance to
/// [`Custom`](Provenance::Custom).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Timing {
    /// What to call it in output.
    pub name: &'static str,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// The submitting thread and its way to the device.
    pub client: ClientTiming,
    /// The device and the memory behind it.
    pub device: DeviceTiming,
    /// The operating system.
    pub system: SystemTiming,
}

/// The submitting thread: what it pays for a descriptor, and the way to the portal.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientTiming {
    /// To build a descriptor and clear its record, in nanoseconds.
    pub prepare_ns: u64,
    /// What a descriptor of a batch list costs more while the device is idle, in nanoseconds; in proportion to the
    /// device's idle time. Empirical: the published loops take about 25 ns a descriptor while the device is
    /// saturated and 40 while it is not, and nobody has said why. Known to within a factor of two.
    pub idle_penalty_ns: u64,
    /// From the instruction to the queue, in nanoseconds. ENQCMD takes this twice. The sum for a synchronous
    /// operation, with decode, record and poll, is known; the round trip too.
    pub portal_ns: u64,
    /// What a MOVDIR64B costs the submitter, in nanoseconds.
    pub posted_ns: u64,
    /// From a record in memory to a spinning thread that has seen it, in nanoseconds. Known as part of the sum.
    pub poll_ns: u64,
    /// Leaving UMWAIT in state C0.1, in nanoseconds more.
    pub umwait_c01_ns: u64,
    /// Leaving UMWAIT in state C0.2, in nanoseconds more.
    pub umwait_c02_ns: u64,
    /// What one core copies in a nanosecond, in bytes.
    pub cpu_bytes_per_ns: f64,
}

/// The device and the memory behind it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceTiming {
    /// Bytes that all engines together read in a nanosecond.
    pub read_bytes_per_ns: f64,
    /// Bytes that all engines together write in a nanosecond.
    pub write_bytes_per_ns: f64,
    /// Bytes that one engine passes on in a nanosecond: above the shared paths, which are the limit for long
    /// transfers, and what an engine can catch up with after a stall.
    pub engine_bytes_per_ns: f64,
    /// Between two descriptors that one engine starts, in nanoseconds.
    pub dispatch_ns: u64,
    /// From the queue to the first access, in nanoseconds. Known as part of the sum.
    pub decode_ns: u64,
    /// A read of memory, address translation included, in nanoseconds.
    pub read_ns: u64,
    /// How much single lines come later than that: the mean of an exponential tail, in nanoseconds. A transfer waits
    /// for its slowest line, so longer ones wait longer, with the logarithm of their length.
    pub read_spread_ns: u64,
    /// A write to memory, in nanoseconds.
    pub write_ns: u64,
    /// As [`read_spread_ns`](Self::read_spread_ns), of writes.
    pub write_spread_ns: u64,
    /// Until a completion record is in memory, in nanoseconds. Known as part of the sum.
    pub record_ns: u64,
    /// For how long a record keeps the write path, in nanoseconds.
    pub record_path_ns: u64,
    /// For how long the read-modify-write of a destination's first line stops an engine, in nanoseconds. A destination
    /// at a multiple of 32 bytes costs one, at a smaller one two.
    pub partial_line_ns: u64,
    /// Bytes of one engine's writes that wait for the shared path, and keep it busy while the engine is stopped.
    pub buffered_bytes: u64,
    /// Read buffers of the device; a group can be limited to some of them.
    pub read_buffers: u64,
}

/// What the operating system takes for pages and calls.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SystemTiming {
    /// A system call, without what it does, in nanoseconds.
    pub call_ns: u64,
    /// How often the kernel repeats an ENQCMD of a `write(2)` before it gives up.
    pub write_retries: u32,
    /// To serve one page request of a blocked engine, in nanoseconds. They are served one after another.
    pub page_request_ns: u64,
    /// Until the device has found that a page is absent, in nanoseconds. A guess: it is hidden in all that was measured.
    pub fault_report_ns: u64,
    /// A thread's first write to a page of 4 KiB, in nanoseconds.
    pub touch_ns: u64,
    /// A thread's write to a page that the device has reported, in nanoseconds: the page is read first, so that it
    /// is mapped twice, and the second mapping invalidates the device's translations.
    pub resolve_ns: u64,
    /// A thread's first write to a page of 2 MiB, in nanoseconds.
    pub touch_huge_ns: u64,
    /// A page that comes from a file, in nanoseconds.
    pub major_fault_ns: u64,
}

impl Timing {
    /// Sapphire Rapids, fitted to the published measurements. Operations of which none is published are derived from
    /// the bytes that they move.
    pub fn sapphire_rapids() -> Self {
        Self {
            name: "Sapphire Rapids",
            provenance: Provenance::Fitted,
            client: ClientTiming {
                prepare_ns: 20,
                idle_penalty_ns: 22,
                portal_ns: 92,
                posted_ns: 5,
                poll_ns: 100,
                umwait_c01_ns: 240,
                umwait_c02_ns: 500,
                cpu_bytes_per_ns: 9.5,
            },
            device: DeviceTiming {
                read_bytes_per_ns: 31.7,
                write_bytes_per_ns: 31.9,
                engine_bytes_per_ns: 63.0,
                dispatch_ns: 56,
                decode_ns: 94,
                read_ns: 262,
                read_spread_ns: 50,
                write_ns: 82,
                write_spread_ns: 30,
                record_ns: 100,
                record_path_ns: 10,
                partial_line_ns: 370,
                buffered_bytes: 16 << 10,
                read_buffers: 96,
            },
            system: SystemTiming {
                call_ns: 160,
                write_retries: 32,
                page_request_ns: 13_700,
                fault_report_ns: 500,
                touch_ns: 1_209,
                resolve_ns: 3_900,
                touch_huge_ns: 194_000,
                major_fault_ns: 542_000,
            },
        }
    }

    /// Emerald Rapids: the same device by version and capabilities, so the same numbers. Derived.
    pub fn emerald_rapids() -> Self {
        Self { name: "Emerald Rapids", provenance: Provenance::Derived, ..Self::sapphire_rapids() }
    }

    /// Granite Rapids: nothing usable was published, so the numbers of Sapphire Rapids. Derived.
    pub fn granite_rapids() -> Self {
        Self { name: "Granite Rapids", provenance: Provenance::Derived, ..Self::sapphire_rapids() }
    }

    /// The name with the words that belong beside every number of the model.
    pub fn label(&self) -> String {
        let provenance = match self.provenance {
            Provenance::Fitted => "fitted to published figures",
            Provenance::Derived => "derived",
            Provenance::Custom => "custom parameters",
        };
        format!("modelled, {}, {provenance}", self.name)
    }

    /// What a core takes to copy so many bytes, in nanoseconds.
    pub fn cpu_copy_ns(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.client.cpu_bytes_per_ns) as u64
    }

    /// What an ENQCMD costs the submitter, in nanoseconds.
    pub fn enqcmd_ns(&self) -> u64 {
        2 * self.client.portal_ns
    }

    pub(crate) fn check(&self) -> Result<(), TimingError> {
        let d = &self.device;
        let rates = [
            ("read_bytes_per_ns", d.read_bytes_per_ns),
            ("write_bytes_per_ns", d.write_bytes_per_ns),
            ("engine_bytes_per_ns", d.engine_bytes_per_ns),
            ("cpu_bytes_per_ns", self.client.cpu_bytes_per_ns),
        ];
        if let Some((field, _)) = rates.iter().find(|(_, rate)| !(1e-6..=1e6).contains(rate)) {
            return Err(TimingError::Rate(field));
        }
        let times = [
            self.client.prepare_ns,
            self.client.idle_penalty_ns,
            self.client.portal_ns,
            self.client.posted_ns,
            self.client.poll_ns,
            d.dispatch_ns,
            d.decode_ns,
            d.read_ns,
            d.read_spread_ns,
            d.write_ns,
            d.write_spread_ns,
            d.record_ns,
            d.record_path_ns,
            d.partial_line_ns,
            self.system.call_ns,
            self.system.page_request_ns,
            self.system.fault_report_ns,
        ];
        // Sums of these in picoseconds stay far from the end of the clock.
        if times.iter().any(|t| *t > 1_000_000_000) {
            return Err(TimingError::Time);
        }
        if d.dispatch_ns == 0 {
            return Err(TimingError::Dispatch);
        }
        Ok(())
    }
}

/// Why a simulator could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TimingError {
    /// The configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A rate that is none.
    #[error("`{0}` must be between a millionth and a million")]
    Rate(&'static str),
    /// A latency of more than a second.
    #[error("latencies of the timing model are at most a second")]
    Time,
    /// An engine that starts any number of descriptors at once.
    #[error("`dispatch_ns` must be at least 1")]
    Dispatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_say_where_they_come_from() {
        for (preset, word) in [
            (Timing::sapphire_rapids(), "fitted"),
            (Timing::emerald_rapids(), "derived"),
            (Timing::granite_rapids(), "derived"),
        ] {
            assert_eq!(preset.check(), Ok(()));
            assert!(preset.label().starts_with("modelled") && preset.label().contains(word), "{}", preset.label());
        }
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let with = |change: fn(&mut Timing)| {
            let mut timing = Timing::sapphire_rapids();
            change(&mut timing);
            timing.check().unwrap_err()
        };
        assert_eq!(with(|t| t.device.read_bytes_per_ns = 0.0), TimingError::Rate("read_bytes_per_ns"));
        assert_eq!(with(|t| t.device.write_bytes_per_ns = f64::NAN), TimingError::Rate("write_bytes_per_ns"));
        assert_eq!(with(|t| t.device.engine_bytes_per_ns = f64::INFINITY), TimingError::Rate("engine_bytes_per_ns"));
        assert_eq!(with(|t| t.device.read_ns = u64::MAX), TimingError::Time);
        assert_eq!(with(|t| t.device.dispatch_ns = 0), TimingError::Dispatch);
    }
}
