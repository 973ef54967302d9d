//! The conformance suite on a queue of the driver: every operation, every status that a process can provoke.
//!
//! Usage: `matrix QUEUE portal|write [model] [no-page-requests] [cases=N]`. QUEUE is the path of an enabled user queue;
//! `portal` maps it, `write` hands descriptors to the kernel. `model`: the device is the model, which looks at all reserved
//! bytes and stops exactly where a page is missing; silicon need not. `no-page-requests`: the device has none, which sysfs
//! does not say. `cases`: so many must run. Which run follows from what the queue offers, not from what happens, so the
//! number is the same every time. Prints what ran and what could not, and why; the exit status is 1 if a case failed, or if
//! another number ran.

use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dsa_conformance::{Answer, Bench, Cannot, Capabilities, PAGE, Page, Power, Report, Space, cases, driver_lacks};
use dsa_vm_guest_tests::memory::Memory;
use dsa_vm_guest_tests::{Queue, attributes};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use zerocopy::IntoBytes;

/// Longest wait for a record.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of the memory. A case uses a few mebibytes.
const MEMORY: usize = 256 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let (path, way) = (words.next(), words.next());
    let (Some(path), Some(way @ ("portal" | "write"))) = (path, way) else { return usage() };
    let (mut options, mut wanted) = (Vec::new(), None);
    for word in words {
        match (word, word.strip_prefix("cases=").map(str::parse::<usize>)) {
            ("model" | "no-page-requests", _) => options.push(word),
            (_, Some(Ok(number))) => wanted = Some(number),
            _ => return usage(),
        }
    }
    match run(path, way == "portal", &options) {
        Ok(report) => {
            print!("{report}");
            // A suite of which nothing runs says nothing.
            let enough = wanted.map_or(report.ran() >= 100, |wanted| report.ran() == wanted);
            if !enough {
                let wanted = wanted.map_or("100 at least".into(), |wanted| wanted.to_string());
                println!("FAIL {path}: {} cases have run, and not {wanted}", report.ran());
            }
            ExitCode::from(u8::from(!report.failed.is_empty() || !enough))
        }
        Err(error) => {
            println!("FAIL {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: matrix QUEUE portal|write [model] [no-page-requests] [cases=N]");
    ExitCode::from(2)
}

fn run(path: &str, portal: bool, options: &[&str]) -> Result<Report, Box<dyn Error>> {
    let mut bench = Kernel::open(path, portal, options)?;
    Ok(Report::of(&mut bench, &cases()))
}

/// How descriptors reach the queue.
enum Way {
    Portal(Queue),
    Write(File),
}

/// A queue of the driver, and memory of this process.
struct Kernel {
    way: Way,
    shared: bool,
    capabilities: Capabilities,
    memory: Memory,
    /// The bench's own, for the record of a drain.
    own: Memory,
    record: u64,
}

impl Kernel {
    fn open(path: &str, portal: bool, options: &[&str]) -> Result<Self, Box<dyn Error>> {
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).ok_or("no name of a queue")?;
        let (shared, mut capabilities) = attributes::read(Path::new("/sys/bus/dsa/devices"), name, portal)?;
        let model = options.contains(&"model");
        capabilities.page_requests &= !options.contains(&"no-page-requests");
        capabilities.checks_reserved_bytes = model;
        capabilities.checks_whole_blocks = model;
        capabilities.exact_progress = model;
        let way = if portal {
            Way::Portal(Queue::open(path)?)
        } else {
            Way::Write(File::options().read(true).write(true).open(path)?)
        };
        let mut own = Memory::new(4 * PAGE as usize)?;
        let record = own.allocate(1)?;
        Ok(Self { way, shared, capabilities, memory: Memory::new(MEMORY)?, own, record })
    }

    fn send(&self, d: &Descriptor) -> Answer {
        match &self.way {
            Way::Portal(queue) => {
                // SAFETY: what descriptors name is memory of the bench, which outlives the queue's use of it: cases wait.
                // Whatever else they name, the device finds nothing there, or the suite has found a mistake.
                match unsafe { queue.submit(self.shared, d) } {
                    Ok(()) => Answer::Accepted,
                    Err(_) => Answer::Refused,
                }
            }
            Way::Write(file) => {
                let start = Instant::now();
                loop {
                    match (&*file).write(d.as_bytes()) {
                        Ok(64) => return Answer::Accepted,
                        Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < LIMIT => {}
                        _ => return Answer::Refused,
                    }
                }
            }
        }
    }
}

/// Waits for a record; `false` if none comes.
fn completed(memory: &Memory, record: u64) -> bool {
    let start = Instant::now();
    while memory.status(record) == 0 {
        if start.elapsed() > LIMIT {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

impl Bench for Kernel {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn reset(&mut self) {
        self.memory.clear().expect("the pages of a mapping can be given up");
    }

    fn cannot(&self, power: Power) -> Option<&'static str> {
        driver_lacks(power)
    }

    fn allocate(&mut self, space: Space, pages: u64) -> u64 {
        assert_eq!(space, Space::Own, "the bench has no other");
        self.memory.allocate(pages).expect("a case needs less memory")
    }

    fn write(&mut self, _space: Space, addr: u64, bytes: &[u8]) {
        self.memory.write(addr, bytes);
    }

    fn read(&mut self, _space: Space, addr: u64, bytes: &mut [u8]) {
        self.memory.read(addr, bytes);
    }

    fn submit(&mut self, d: &Descriptor) -> Answer {
        self.send(d)
    }

    fn wait(&mut self, record: u64) -> Option<CompletionRecord> {
        let found = completed(&self.memory, record);
        let mut bytes = CompletionRecord::default();
        self.memory.read(record, bytes.as_mut_bytes());
        found.then_some(bytes)
    }

    fn settle(&mut self) {
        self.own.write(self.record, &[0; 32]);
        let mut drain = Descriptor { completion_addr: self.record, ..Descriptor::default() };
        drain.set_opcode_flags(opcode::DRAIN, flag::CRAV | flag::RCR);
        assert_eq!(self.send(&drain), Answer::Accepted, "the queue refuses a drain");
        assert!(completed(&self.own, self.record), "a drain does not end");
        assert_eq!(self.own.status(self.record), status::SUCCESS, "the status of a drain");
    }

    fn set_page(&mut self, _space: Space, page: u64, state: Page) -> Result<(), Cannot> {
        self.memory.set_page(page, state).map_err(|_| Cannot("change this page"))
    }
}
