//! The other side: DPDK's device, in a process of its own that answers questions.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::BURST;

/// From one side's slice to the other's: the model's engine goes to sleep, and DPDK's thread wakes up.
const SETTLE: Duration = Duration::from_millis(2);

/// Arguments for DPDK: two cores, no large pages, no hardware.
const DPDK: &[&str] = &[
    "-l",
    "0,1",
    "--no-huge",
    "-m",
    "64",
    "--no-pci",
    "--no-telemetry",
    "--no-shconf",
    "--iova-mode=va",
    "--log-level=3",
    "--vdev=dma_skeleton,lcore=1",
];

/// A running peer.
pub(crate) struct Peer {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Compiles and starts it.
    pub(crate) fn start(buffers: &Path) -> Result<Self, String> {
        let flags = output(Command::new("pkg-config").args(["--cflags", "--libs", "libdpdk"]))?;
        let folder = std::env::temp_dir();
        let program = folder.join(format!("dsa-skeleton-{}", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/burst/skeleton.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-o"]).arg(&program).arg(source).args(flags.split_whitespace()).arg("-lrte_dma_skeleton");
        output(&mut compiler)?;
        let started = Command::new(&program)
            .args(DPDK)
            .arg("--")
            .arg(buffers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = started.map_err(|error| error.to_string())?;
        let questions = child.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut peer = Self { child, questions, answers };
        let greeting = peer.line();
        // It runs from memory now.
        let _ = std::fs::remove_file(program);
        peer.signal(Signal::STOP);
        if greeting.trim() == "ready" { Ok(peer) } else { Err(format!("it said {greeting:?}")) }
    }

    /// Copies, in bursts; gives nanoseconds of one.
    pub(crate) fn slice(&mut self, size: usize, operations: usize) -> f64 {
        // Its worker looks for work all the time, which would cost the model's slices.
        self.signal(Signal::CONT);
        std::thread::sleep(SETTLE);
        writeln!(self.questions, "{size} {BURST} {operations}").expect("the peer reads");
        let line = self.line();
        self.signal(Signal::STOP);
        line.trim().parse().unwrap_or_else(|_| panic!("the peer said {line:?}"))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the peer runs");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        line
    }
}

impl Drop for Peer {
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
