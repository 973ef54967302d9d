//! The software model's side: a submitter that polls, and an engine thread.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use dsa_emulator::{Client, Config, Device, Enqcmd, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use super::BURST;

/// Pairs of buffers.
const PAIRS: usize = 64;

/// How a burst is submitted.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// One ENQCMD a copy.
    Single,
    /// One batch descriptor.
    Batch,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "32 descriptors",
            Self::Batch => "one batch of 32",
        }
    }
}

/// A device with one engine thread, and memory for its copies.
pub(crate) struct Model {
    client: Client,
    _device: Device,
    source: Vec<u8>,
    target: Vec<u8>,
    size: usize,
    /// Two bursts: descriptors, and their records with one for the batch at the end.
    lists: Box<[[Descriptor; BURST]; 2]>,
    records: Box<[[CompletionRecord; BURST + 1]; 2]>,
}

impl Model {
    pub(crate) fn new(size: usize) -> Self {
        let config = Config::sapphire_rapids().queue(WqConfig::shared(128)).spin(Duration::from_millis(50));
        let device = Device::new(config).expect("a preset is valid");
        let client = device.open(0).expect("a fresh shared queue");
        Self {
            client,
            _device: device,
            source: vec![7; PAIRS * size],
            target: vec![1; PAIRS * size],
            size,
            lists: Box::new([[Descriptor::default(); BURST]; 2]),
            records: Box::new([[CompletionRecord::default(); BURST + 1]; 2]),
        }
    }

    /// Copies, in bursts; gives nanoseconds of one.
    pub(crate) fn slice(&mut self, way: Way, operations: usize) -> f64 {
        let bursts = operations / BURST;
        let begun = Instant::now();
        for burst in 0..=bursts {
            if burst < bursts {
                self.submit(way, burst);
            }
            if burst > 0 {
                self.wait(way, (burst - 1) % 2);
            }
        }
        let nanos = begun.elapsed().as_nanos() as f64 / (bursts * BURST) as f64;
        assert!(self.target == self.source, "the bytes differ");
        nanos
    }

    fn submit(&mut self, way: Way, burst: usize) {
        let half = burst % 2;
        let records = (&raw mut self.records[half]).cast::<CompletionRecord>();
        let (source, target) = (self.source.as_ptr().expose_provenance(), self.target.as_mut_ptr().expose_provenance());
        for i in 0..BURST {
            let at = (burst * BURST + i) % PAIRS * self.size;
            self.records[half][i].status = 0;
            let d = &mut self.lists[half][i];
            d.src_addr = (source + at) as u64;
            d.dst_addr = (target + at) as u64;
            d.xfer_size = self.size as u32;
            d.completion_addr = records.wrapping_add(i).expose_provenance() as u64;
            d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
            if matches!(way, Way::Single) {
                self.send(&self.lists[half][i]);
            }
        }
        if matches!(way, Way::Batch) {
            self.records[half][BURST].status = 0;
            let mut d = Descriptor {
                src_addr: (&raw const self.lists[half]).expose_provenance() as u64,
                xfer_size: BURST as u32,
                completion_addr: records.wrapping_add(BURST).expose_provenance() as u64,
                ..Descriptor::default()
            };
            d.set_opcode_flags(opcode::BATCH, flag::CRAV | flag::RCR);
            self.send(&d);
        }
    }

    fn send(&self, d: &Descriptor) {
        // SAFETY: the descriptors name memory of this value; its buffers and records stay where they are and are left
        // alone until the records are complete, which `slice` waits for.
        while unsafe { self.client.enqcmd(d) } != Enqcmd::Accepted {
            std::hint::spin_loop();
        }
    }

    /// Waits for all of a burst; its records may be complete in any order.
    fn wait(&mut self, way: Way, half: usize) {
        let range = if matches!(way, Way::Batch) { BURST..BURST + 1 } else { 0..BURST };
        for record in &mut self.records[half][range] {
            // SAFETY: the byte is valid, and while the device may write it, it is only accessed atomically.
            let byte = unsafe { AtomicU8::from_ptr(&raw mut record.status) };
            while byte.load(Ordering::Acquire) == 0 {
                std::hint::spin_loop();
            }
            assert_eq!(byte.load(Ordering::Relaxed), status::SUCCESS);
        }
    }
}
