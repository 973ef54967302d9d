//! What is counted.

use std::hint::black_box;

use dsa_emulator::{Client, Config, Device, Enqcmd, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use crate::{decisions, engine, runtime};

/// Something to count.
pub(crate) struct Case {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Most instructions that one round may take.
    pub(crate) bound: Option<u32>,
    body: Body,
    /// What of it is not counted: the loop, or another's part.
    around: Option<Body>,
}

/// What does the rounds.
#[derive(Clone, Copy)]
enum Body {
    /// With a device and memory that are there.
    OnBench(fn(&mut Bench, u32)),
    /// With what it makes for itself.
    Alone(fn(u32)),
}

impl Body {
    fn run(self, rounds: u32) {
        match self {
            Self::OnBench(body) => body(&mut Bench::new(), rounds),
            Self::Alone(body) => body(rounds),
        }
    }
}

impl Case {
    /// All cases.
    pub(crate) const ALL: &[Self] = &[
        Self {
            name: "no-op, submission to record",
            bound: Some(150),
            body: Body::OnBench(noop),
            around: Some(Body::OnBench(nothing)),
        },
        Self {
            name: "move of 256 bytes, submission to record",
            bound: Some(250),
            body: Body::OnBench(move_256),
            around: Some(Body::OnBench(nothing)),
        },
        Self {
            name: "fill of 256 bytes, submission to record",
            bound: None,
            body: Body::OnBench(fill_256),
            around: Some(Body::OnBench(nothing)),
        },
        Self { name: "no-op, submitted and run alone", bound: None, body: Body::OnBench(noop_alone), around: None },
        Self { name: "no-op in a batch of 32", bound: Some(150), body: Body::OnBench(noops_in_a_batch), around: None },
        Self {
            name: "move of 256 bytes in a batch of 32",
            bound: Some(250),
            body: Body::OnBench(moves_in_a_batch),
            around: None,
        },
        Self {
            name: "submission alone",
            bound: Some(60),
            body: Body::Alone(runtime::submitted),
            around: Some(Body::Alone(runtime::model_of_submitted)),
        },
        Self {
            name: "submission alone, each of 32 that are collected",
            // Far from the 20 that are the goal.
            bound: Some(140),
            body: Body::Alone(runtime::submitted_together),
            around: Some(Body::Alone(runtime::model_of_submitted_together)),
        },
        Self {
            name: "awaited copy of 64 bytes, complete at its first poll",
            bound: Some(250),
            body: Body::Alone(runtime::complete_at_first_poll),
            around: Some(Body::Alone(runtime::model_at_once)),
        },
        Self {
            name: "awaited copy of 64 bytes, one pending poll",
            bound: Some(600),
            body: Body::Alone(runtime::one_pending_poll),
            around: Some(Body::Alone(runtime::model_later)),
        },
        Self {
            name: "awaited copy of 64 bytes, one of 32 that are polled together",
            bound: Some(900),
            body: Body::Alone(runtime::polled_together),
            around: Some(Body::Alone(runtime::model_of_batches)),
        },
        Self {
            name: "copy of 64 bytes in an awaited batch of 32",
            // Far from the 20 that the submission of each should take.
            bound: Some(1270),
            body: Body::Alone(runtime::batches),
            around: Some(Body::Alone(runtime::model_of_batches)),
        },
        Self {
            name: "decision for the CPU, between two samples",
            bound: Some(40),
            body: Body::Alone(|rounds| decisions::between_samples(rounds, decisions::SHORT)),
            around: Some(Body::Alone(decisions::around)),
        },
        Self {
            name: "decision for the device, between two samples",
            bound: Some(45),
            body: Body::Alone(|rounds| decisions::between_samples(rounds, decisions::LONG)),
            around: Some(Body::Alone(decisions::around)),
        },
        Self {
            name: "decision for the CPU, samples included",
            bound: Some(50),
            body: Body::Alone(|rounds| decisions::with_samples(rounds, decisions::SHORT)),
            around: Some(Body::Alone(decisions::around)),
        },
        Self {
            name: "decision for the device, samples included",
            bound: Some(80),
            body: Body::Alone(|rounds| decisions::with_samples(rounds, decisions::LONG)),
            around: Some(Body::Alone(decisions::around)),
        },
        Self {
            name: "decision for the device, asked for at length, with its notes",
            bound: Some(230),
            body: Body::Alone(decisions::with_notes),
            around: Some(Body::Alone(decisions::around)),
        },
        Self {
            name: "copy of 4 KiB by the CPU engine, above its kernel",
            bound: Some(40),
            body: Body::Alone(engine::copies),
            around: Some(Body::Alone(engine::kernel_of_copies)),
        },
        Self {
            name: "blocking copy of 4 KiB without a device, above its kernel",
            // Its statistics are three locked additions.
            bound: Some(70),
            body: Body::Alone(engine::blocking_copies),
            around: Some(Body::Alone(engine::kernel_of_copies)),
        },
    ];

    /// The case with a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|case| case.name == name)
    }

    /// Does as many rounds.
    pub(crate) fn run(&self, rounds: u32) {
        self.body.run(rounds);
    }

    /// Does the loops of as many rounds.
    pub(crate) fn run_around(&self, rounds: u32) {
        if let Some(around) = self.around {
            around.run(rounds);
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

    /// Submits descriptors one by one until there are 32 of them, then lets the engine run, as it does by itself on a device
    /// with threads. The two are called through pointers, so that this loop is the same whatever is in them.
    #[inline(never)]
    fn in_bursts(&mut self, rounds: u32, (opcode, size): (u8, u32), submit: Submit, run: fn(&mut Self) -> usize) {
        let list: Vec<_> = (0..32).map(|i| self.descriptor(opcode, size, i)).collect();
        for _ in 0..rounds / 32 {
            for d in &list {
                // SAFETY: the descriptors name memory of this value, which nobody touches until the device has run.
                let accepted = unsafe { submit(&self.client, d) };
                assert_eq!(accepted, Enqcmd::Accepted);
            }
            assert_eq!(run(self), 32);
            // The last one stands for all: looking at each would be counted too.
            assert_eq!(*black_box(&mut self.records[31].status), status::SUCCESS);
            self.records[31].status = 0;
        }
    }

    /// Lets the engine run.
    fn run(&mut self) -> usize {
        self.device.run_until_idle()
    }

    /// Pretends that the engine has run.
    fn run_nothing(&mut self) -> usize {
        self.records[31].status = status::SUCCESS;
        32
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

type Submit = unsafe fn(&Client, &Descriptor) -> Enqcmd;

/// A submission of nothing.
unsafe fn submit_nothing(_: &Client, _: &Descriptor) -> Enqcmd {
    Enqcmd::Accepted
}

fn nothing(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, (opcode::NOP, 0), submit_nothing, Bench::run_nothing);
}

fn noop(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, (opcode::NOP, 0), Client::enqcmd, Bench::run);
}

fn move_256(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, (opcode::MEMMOVE, 256), Client::enqcmd, Bench::run);
}

fn fill_256(bench: &mut Bench, rounds: u32) {
    bench.in_bursts(rounds, (opcode::FILL, 256), Client::enqcmd, Bench::run);
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
