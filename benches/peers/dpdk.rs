//! DPDK's software DMA device: a process of its own that answers questions and is stopped otherwise.
//!
//! It is compiled here, from `skeleton.c`, against the system's `libdpdk-dev`. It runs on the same two cores and copies between
//! the same pages.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::arena::{Arena, LATENCIES, ROOM};
use super::ledger::{Plan, Slice};
use super::machine::Cores;
use super::variant::{DPDK_1, DPDK_32, Stage, Variant};

/// From the signal that lets it go on until both of its threads run.
const SETTLE: Duration = Duration::from_millis(2);

/// The variants, or why there are none.
pub(crate) fn all(cores: &Cores, arena: &Arena) -> Result<Vec<Box<dyn Variant>>, String> {
    let process = Rc::new(RefCell::new(Process::start(cores, arena)?));
    let bursts = |name, burst| -> Box<dyn Variant> { Box::new(Bursts { name, burst, process: Rc::clone(&process) }) };
    Ok(vec![bursts(DPDK_1, 1), bursts(DPDK_32, 32)])
}

struct Bursts {
    name: &'static str,
    burst: usize,
    process: Rc<RefCell<Process>>,
}

impl Variant for Bursts {
    fn name(&self) -> &'static str {
        self.name
    }

    fn unit(&self) -> usize {
        self.burst
    }

    fn awake(&mut self) {
        self.process.borrow().signal(Signal::CONT);
        std::thread::sleep(SETTLE);
    }

    fn run(&mut self, stage: &Stage, plan: &Plan) -> Slice {
        self.process.borrow_mut().ask(stage, plan, self.burst)
    }

    fn rest(&mut self) {
        self.process.borrow().signal(Signal::STOP);
    }

    fn helper(&self) -> u64 {
        // Both variants have the same process; the one of the bursts of 1 tells.
        if self.burst == 1 { self.process.borrow().used } else { 0 }
    }
}

/// The running peer.
struct Process {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    latencies: *const u32,
    /// CPU nanoseconds so far.
    used: u64,
}

impl Process {
    fn start(cores: &Cores, arena: &Arena) -> Result<Self, String> {
        let flags = output(Command::new("pkg-config").args(["--cflags", "--libs", "libdpdk"]))?;
        let program = std::env::temp_dir().join(format!("dsa-peers-skeleton-{}", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/skeleton.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-o"]).arg(&program).arg(source).args(flags.split_whitespace()).arg("-lrte_dma_skeleton");
        output(&mut compiler)?;
        let (submitter, device) = (cores.submitter, cores.device);
        let mut command = Command::new(&program);
        // Two cores, the submitter's first; no large pages, no hardware.
        command
            .args(["-l", &format!("{submitter},{device}"), "--main-lcore", &submitter.to_string()])
            .args(["--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf", "--iova-mode=va"])
            .args(["--log-level=3", &format!("--vdev=dma_skeleton,lcore={device}"), "--"])
            .args([arena.path(), ROOM.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = cores.anywhere(|| command.spawn()).map_err(|error| error.to_string())?;
        let questions = child.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut process = Self { child, questions, answers, latencies: arena.latencies(), used: 0 };
        let greeting = process.line();
        // It runs from memory now.
        let _ = std::fs::remove_file(program);
        if greeting.trim() != "ready" {
            return Err(format!("it said {greeting:?}"));
        }
        process.signal(Signal::STOP);
        Ok(process)
    }

    fn ask(&mut self, stage: &Stage, plan: &Plan, burst: usize) -> Slice {
        // Bursts that fit, and no more in flight than asked for.
        let depth = plan.depth / burst * burst;
        let operations = plan.operations.min(LATENCIES);
        let (size, warm) = (plan.size, plan.warm.max(1));
        writeln!(self.questions, "{size} {} {depth} {burst} {warm} {operations}", plan.pairs).expect("the peer reads");
        let line = self.line();
        let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        let [ticks, thread, others, used, all] = numbers[..] else { panic!("the peer said {line:?}") };
        self.used = used;
        // SAFETY: the room has that many numbers, of which any bits are valid. The peer has written them before it answered; it is
        // the only other one who knows of them, and does nothing until it is asked again.
        let latencies = unsafe { std::slice::from_raw_parts(self.latencies, operations) }.to_vec();
        let each = |nanos: f64| nanos / operations as f64;
        let (ns, submitter) = (each(stage.ticks.nanos(ticks)), each(thread as f64));
        let mut slice = Slice::new([operations, all as usize], ns, submitter, latencies);
        slice.others = Some(each(others as f64));
        slice
    }

    fn signal(&self, signal: Signal) {
        // One that has ended is found out by the next question.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), signal);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer can be read from");
        line
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command prints, or why it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
