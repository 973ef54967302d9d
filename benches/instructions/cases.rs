//! What is counted.

use std::hint::black_box;

use dsa_emulator::{Client, Config, Device, Enqcmd, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

/// Something to count.
pub(crate) struct Case {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Most instructions that one round may take.
    pub(crate) bound: Option<u32>,
    body: fn(&mut Bench, u32),
    /// What of it is not the model's: the loop.
    around: Option<fn(&mut Bench, u32)>,
}

impl Case {
    /// All cases.
    pub(crate) const ALL: &[Self] = &[
        Self { name: "no-op, submission to record", bound: Some(150), body: noop, around: Some(nothing) },
        Self {
            name: "move of 256 bytes, submission to record",
            bound: Some(250),
            body: move_256,
            around: Some(nothing),
        },
        Self { name: "fill of 256 bytes, submission to record", bound: None, body: fill_256, around: Some(nothing) },
        Self { name: "no-op, submitted and run alone", bound: None, body: noop_alone, around: None },
        Self { name: "no-op in a batch of 32", bound: Some(150), body: noops_in_a_batch, around: None },
        Self { name: "move of 256 bytes in a batch of 32", bound: Some(250), body: moves_in_a_batch, around: None },
    ];

    /// The case with a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|case| case.name == name)
    }

    /// Does as many rounds.
    pub(crate) fn run(&self, rounds: u32) {
        (self.body)(&mut Bench::new(), rounds);
    }

    /// Does the loops of as many rounds.
    pub(crate) fn run_around(&self, rounds: u32) {
        if let Some(around) = self.around {
            around(&mut Bench::new(), rounds);
        }
    }
}

/// A device that executes on this thread, and memory for its work.
struct Bench {
    device: Device,
    client: Client,
    source: Box<[u8; 4096]>,
    target: Box<[u8; 4096]>,
    records: Box<[CompletionRecord; 33]>,
    list: Box<[Descriptor; 32]>,
}

impl Bench {
    fn new() -> Self {
        let config = Config::sapphire_rapids().queue(WqConfig::shared(64)).manual();
        let device = Device::new(config).expect("a preset is valid");
        let client = device.open(0).expect("a fresh shared queue");
        Self {
            device,
            client,
            source: Box::new([7; 4096]),
            target: Box::new([0; 4096]),
            records: Box::new([CompletionRecord::default(); 33]),
            list: Box::new([Descriptor::default(); 32]),
        }
    }

    fn descriptor(&mut self, opcode: u8, size: u32, record: usize) -> Descriptor {
        let mut d = Descriptor {
            completion_addr: (&raw mut self.records[record]).expose_provenance() as u64,
            xfer_size: size,
            ..Descriptor::default()
        };
        let (source, target) = (self.source.as_ptr().expose_provenance(), self.target.as_mut_ptr().expose_provenance());
        match opcode {
            opcode::MEMMOVE => (d.src_addr, d.dst_addr) = (source as u64, target as u64),
            opcode::FILL => (d.src_addr, d.dst_addr) = (0x0101_0101_0101_0101, target as u64),
            _ => {}
        }
        d.set_opcode_flags(opcode, flag::CRAV | flag::RCR);
        d
    }

    /// The loop of [`in_bursts`](Self::in_bursts).
    fn around_bursts(&mut self, rounds: u32) {
        let list: Vec<_> = (0..32).map(|i| self.descriptor(opcode::NOP, 0, i)).collect();
        for _ in 0..rounds / 32 {
            for d in &list {
                assert_eq!(takes_nothing(&self.client, d), Enqcmd::Accepted);
            }
            self.records[31].status = status::SUCCESS;
            assert_eq!(*black_box(&mut self.records[31].status), status::SUCCESS);
            self.records[31].status = 0;
        }
    }

    /// Submits descriptors one by one until there are 32 of them, then lets the engine run, as it does by itself on a device
    /// with threads.
    fn in_bursts(&mut self, rounds: u32, opcode: u8, size: u32) {
        let list: Vec<_> = (0..32).map(|i| self.descriptor(opcode, size, i)).collect();
        for _ in 0..rounds / 32 {
            for d in &list {
                // SAFETY: the descriptors name memory of this value, which nobody touches until the device has run.
                let accepted = unsafe { self.client.enqcmd(d) };
                assert_eq!(accepted, Enqcmd::Accepted);
            }
            assert_eq!(self.device.run_until_idle(), 32);
            // The last one stands for all: looking at each would be counted too.
            assert_eq!(*black_box(&mut self.records[31].status), status::SUCCESS);
            self.records[31].status = 0;
        }
    }

    /// Submits a descriptor and executes it.
    #[inline(never)]
    fn round(&mut self, d: &Descriptor) {
        self.records[0].status = 0;
        // SAFETY: the descriptor names memory of this value, which nobody touches until the device has run.
        let accepted = unsafe { self.client.enqcmd(black_box(d)) };
        assert_eq!(accepted, Enqcmd::Accepted);
        assert!(self.device.run_one());
        assert_eq!(black_box(&self.records[0]).status, status::SUCCESS);
    }
}

/// The call of a submission, without a submission.
#[inline(never)]
fn takes_nothing(client: &Client, d: &Descriptor) -> Enqcmd {
    black_box((client, d));
    Enqcmd::Accepted
}

fn nothing(bench: &mut Bench, rounds: u32) {
    bench.around_bursts(rounds);
}

fn noop(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, opcode::NOP, 0);
}

fn move_256(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, opcode::MEMMOVE, 256);
}

fn fill_256(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, opcode::FILL, 256);
}

fn noop_alone(bench: &mut Bench, rounds: u32) {
    let d = bench.descriptor(opcode::NOP, 0, 0);
    (0..rounds).for_each(|_| bench.round(&d));
}

fn noops_in_a_batch(bench: &mut Bench, rounds: u32) {
    batch_of_32(bench, rounds, opcode::NOP, 0);
}

fn moves_in_a_batch(bench: &mut Bench, rounds: u32) {
    batch_of_32(bench, rounds, opcode::MEMMOVE, 256);
}

/// One round is one member: the batch is submitted every 32 rounds.
fn batch_of_32(bench: &mut Bench, rounds: u32, opcode: u8, size: u32) {
    for i in 0..32 {
        bench.list[i] = bench.descriptor(opcode, size, i + 1);
    }
    let mut d = bench.descriptor(opcode::BATCH, 32, 0);
    d.src_addr = bench.list.as_ptr().expose_provenance() as u64;
    (0..rounds / 32).for_each(|_| bench.round(&d));
}
