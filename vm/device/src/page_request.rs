//! Page requests: what a device with PRI asks the system for when a page is not there.
//!
//! vfio-user has no message for them. The IOMMU would put a request into its queue in guest memory, move the queue's
//! tail register and raise an interrupt, and nothing but this is done here. The registers of the emulated IOMMU are
//! reached through QEMU's test interface ("qtest"), a socket that serves physical reads and writes beside the running guest.
//!
//! The guest answers through the IOMMU's invalidation queue, which the rig reads. A request that was granted shows in the
//! page tables; one that was refused is remembered here, until the same is asked again.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsa_emulator::iommu::PageResponse;
use dsa_emulator::{Access, GuestRam, PageRequest, PageRequests, RamMap};

use crate::log::Log;

/// Where QEMU puts the registers of the emulated IOMMU.
const IOMMU: u64 = 0xfed9_0000;
const QUEUE_HEAD: u64 = IOMMU + 0xc0;
const QUEUE_TAIL: u64 = IOMMU + 0xc8;
const QUEUE_ADDRESS: u64 = IOMMU + 0xd0;
const EVENT_DATA: u64 = IOMMU + 0xe4;
const EVENT_ADDRESS: u64 = IOMMU + 0xe8;

/// How long QEMU may take for an answer. It answers at once unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Page request groups.
const GROUPS: u16 = 512;
/// Answers that are remembered, of each kind.
const REMEMBERED: usize = 4096;

/// Bytes of a request in the queue.
const ENTRY_LEN: u64 = 32;

/// The way of page requests through QEMU.
pub(crate) struct Pages {
    /// Whether the guest has enabled the page request interface.
    allowed: AtomicBool,
    socket: PathBuf,
    /// Connected with the first request: QEMU makes the socket later than the device.
    qtest: Mutex<Option<Qtest>>,
    /// Never held while QEMU is asked for something: answers come from one of its threads.
    asked: Mutex<Asked<PageRequest>>,
    ram: Arc<RamMap>,
    log: Arc<Log>,
}

/// Requests that were sent.
struct Asked<R> {
    /// The next group.
    next: u16,
    /// Those without an answer, and their PASIDs, by group.
    waiting: HashMap<u16, (u32, R)>,
    /// Those that were refused.
    refused: HashSet<R>,
    /// Those that were granted, until somebody asks.
    granted: HashSet<R>,
}

impl<R: Copy + Eq + Hash> Asked<R> {
    fn new() -> Self {
        Self { next: 0, waiting: HashMap::new(), refused: HashSet::new(), granted: HashSet::new() }
    }

    /// A group for a request that is about to be sent.
    fn begin(&mut self, pasid: u32, request: &R) -> u16 {
        let group = self.next;
        self.next = (group + 1) % GROUPS;
        self.waiting.insert(group, (pasid, *request));
        self.refused.remove(request);
        self.granted.remove(request);
        group
    }

    fn answer(&mut self, answer: &PageResponse) {
        // What is for another PASID answers none of these.
        let Some((pasid, request)) = self.waiting.get(&answer.group).copied() else { return };
        if answer.pasid != Some(pasid) {
            return;
        }
        self.waiting.remove(&answer.group);
        let answered = if answer.code == 0 { &mut self.granted } else { &mut self.refused };
        if answered.len() >= REMEMBERED {
            // Whoever still waits for one of them waits until its patience ends.
            answered.clear();
        }
        answered.insert(request);
    }
}

impl Pages {
    pub(crate) fn new(socket: PathBuf, ram: Arc<RamMap>, log: Arc<Log>) -> Self {
        Self {
            allowed: AtomicBool::new(false),
            socket,
            qtest: Mutex::new(None),
            asked: Mutex::new(Asked::new()),
            ram,
            log,
        }
    }

    pub(crate) fn allow(&self, allowed: bool) {
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// The guest has answered a request.
    pub(crate) fn answer(&self, answer: &PageResponse) {
        self.asked().answer(answer);
    }

    fn asked(&self) -> MutexGuard<'_, Asked<PageRequest>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_send(&self, qtest: &mut Option<Qtest>, request: &PageRequest) -> Result<()> {
        if qtest.is_none() {
            *qtest = Some(Qtest::connect(&self.socket)?);
        }
        let qtest = qtest.as_mut().expect("connected above");
        // Before the guest can answer.
        let group = self.asked().begin(request.pasid, request);
        qtest.request_page(entry(request, group), |address, word| store(&*self.ram, address, word))
    }
}

impl PageRequests for Pages {
    fn send(&self, request: &PageRequest) -> bool {
        if !self.allowed.load(Ordering::Relaxed) {
            return false;
        }
        let mut qtest = self.qtest.lock().unwrap_or_else(PoisonError::into_inner);
        // Again: while QEMU was busy with others, the guest may have taken the interface away.
        if !self.allowed.load(Ordering::Relaxed) {
            return false;
        }
        let sent = self.try_send(&mut qtest, request);
        if let Err(error) = &sent {
            self.log.line(&format!("{request:?} failed: {error}"));
            // What the socket has left unread belongs to nobody now.
            *qtest = None;
        }
        sent.is_ok()
    }

    /// A guest that takes the interface away, by a reset for instance, answers nothing any more.
    fn is_refused(&self, request: &PageRequest) -> bool {
        !self.allowed.load(Ordering::Relaxed) || self.asked().refused.contains(request)
    }

    fn was_granted(&self, request: &PageRequest) -> bool {
        self.asked().granted.remove(request)
    }
}

/// The descriptor of a request in the queue: one page, the last and only one of its group, with a PASID.
fn entry(request: &PageRequest, group: u16) -> [u64; 4] {
    let (privileged, write) = (u64::from(request.privileged), u64::from(request.access == Access::Write));
    let kind_and_source =
        1 | 1 << 8 | u64::from(request.source) << 16 | u64::from(request.pasid) << 32 | privileged << 53;
    let page = (1 - write) | write << 1 | 1 << 2 | u64::from(group) << 3 | request.addr & !0xfff;
    [kind_and_source, page, 0, 0]
}

/// Stores a word of guest memory; false if there is none. The guest looks at it only when the queue's tail has moved.
fn store(ram: &dyn GuestRam, address: u64, word: u64) -> bool {
    loop {
        let Some(old) = ram.load(address) else { return false };
        match ram.replace(address, old, word) {
            Some(false) => {}
            stored => return stored.is_some(),
        }
    }
}

/// The test interface of a running QEMU.
struct Qtest(BufReader<UnixStream>);

impl Qtest {
    fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Puts a request into the IOMMU's queue and raises its interrupt. `store` writes 8 bytes of guest memory.
    fn request_page(&mut self, entry: [u64; 4], store: impl Fn(u64, u64) -> bool) -> Result<()> {
        let (queue, head, tail) = (self.read(QUEUE_ADDRESS)?, self.read(QUEUE_HEAD)?, self.read(QUEUE_TAIL)?);
        let entry_at = (queue & !0xfff) + tail;
        let next = (tail + ENTRY_LEN) & ((0x1000 << (queue & 7)) - 1);
        if next == head {
            return Err(Error::other("the page request queue is full"));
        }
        for (at, word) in (entry_at..).step_by(8).zip(entry) {
            if !store(at, word) {
                return Err(Error::other(format!("the page request queue at {queue:#x} is not in memory")));
            }
        }
        self.command(&format!("writeq {QUEUE_TAIL:#x} {next:#x}"))?;
        let (data, address) = (self.read_u32(EVENT_DATA)?, self.read_u32(EVENT_ADDRESS)?);
        self.command(&format!("writel {address:#x} {data:#x}"))?;
        Ok(())
    }

    fn read(&mut self, address: u64) -> Result<u64> {
        self.command(&format!("readq {address:#x}"))
    }

    fn read_u32(&mut self, address: u64) -> Result<u64> {
        self.command(&format!("readl {address:#x}"))
    }

    /// Sends a command, and returns the number in the answer, or 0 if it has none.
    fn command(&mut self, command: &str) -> Result<u64> {
        self.0.get_mut().write_all(format!("{command}\n").as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        parse_answer(&line).ok_or_else(|| Error::other(format!("qtest answers {line:?} to {command:?}")))
    }
}

fn parse_answer(line: &str) -> Option<u64> {
    match line.trim().strip_prefix("OK")?.trim() {
        "" => Some(0),
        number => u64::from_str_radix(number.strip_prefix("0x")?, 16).ok(),
    }
}

#[cfg(test)]
mod tests {
    use dsa_emulator::{AddressSpace, GuestMemory, IommuRegisters, Requester};

    use super::*;

    const ENTRY: [u64; 4] = [0x0000_0005_0028_0101, 0x7f00_1234_5005, 0, 0];

    #[test]
    fn requests_are_refused_until_the_guest_allows_them() {
        let directory = std::env::temp_dir().join(format!("dsa-vm-pages-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let log = Arc::new(Log::create(&directory.join("log")).unwrap());
        let pages = Pages::new(directory.join("qtest"), Arc::new(RamMap::new()), log);
        let memory = GuestMemory::new(Arc::new(RamMap::new()), Arc::new(IommuRegisters::OFF), 0x28);
        assert!(!memory.with_requests(Arc::new(pages)).resolve(Requester::user(5), 0x1000, Access::Read));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_refusal_holds_until_the_same_is_asked_again() {
        let mut asked = Asked::new();
        let groups = [1, 2, 3].map(|request| asked.begin(5, &request));
        let answer = |group: u16, pasid: u64, code: u64| {
            PageResponse::decode(9 | 1 << 4 | code << 12 | pasid << 32, u64::from(group) << 3).unwrap()
        };
        asked.answer(&answer(groups[0], 5, 0));
        asked.answer(&answer(groups[1], 5, 1));
        asked.answer(&answer(groups[2], 6, 1));
        asked.answer(&answer(300, 5, 1));
        assert_eq!((&asked.granted, &asked.refused), (&HashSet::from([1]), &HashSet::from([2])));
        assert_eq!(asked.waiting.keys().collect::<Vec<_>>(), [&groups[2]], "the answer was somebody else's");
        assert_eq!((asked.begin(5, &2), asked.begin(5, &1)), (3, 4));
        assert!(asked.refused.is_empty() && asked.granted.is_empty());
        for _ in 0..2 * GROUPS {
            asked.begin(5, &4);
        }
        assert_eq!((asked.next, asked.waiting.len()), (5, usize::from(GROUPS)));
    }

    #[test]
    fn answers() {
        assert_eq!(parse_answer("OK\n"), Some(0));
        assert_eq!(parse_answer("OK 0x00000000000012f0\n"), Some(0x12f0));
        assert_eq!(parse_answer("ERR unknown command\n"), None);
        assert_eq!(parse_answer(""), None);
    }

    /// A stand-in for QEMU: answers reads from a table, and records writes.
    fn serve(stream: UnixStream, registers: &[(u64, u64)], writes: &Mutex<Vec<String>>) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() != 0 {
            let words: Vec<_> = line.split_whitespace().collect();
            let answer = if words[0].starts_with("read") {
                let at = u64::from_str_radix(&words[1][2..], 16).unwrap();
                format!("OK {:#x}\n", registers.iter().find(|(register, _)| *register == at).unwrap().1)
            } else {
                writes.lock().unwrap().push(line.trim().to_owned());
                "OK\n".to_owned()
            };
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            line.clear();
        }
    }

    fn request_with(head: u64, tail: u64) -> (Result<()>, Vec<String>, Vec<(u64, u64)>) {
        let registers = [
            (QUEUE_ADDRESS, 0x8000_0000),
            (QUEUE_HEAD, head),
            (QUEUE_TAIL, tail),
            (EVENT_DATA, 0x21),
            (EVENT_ADDRESS, 0xfee0_0000),
        ];
        let (here, there) = UnixStream::pair().unwrap();
        let (writes, stores) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let result = std::thread::scope(|scope| {
            scope.spawn(|| serve(there, &registers, &writes));
            let mut qtest = Qtest(BufReader::new(here));
            qtest.request_page(ENTRY, |at, word| {
                stores.lock().unwrap().push((at, word));
                true
            })
        });
        (result, writes.into_inner().unwrap(), stores.into_inner().unwrap())
    }

    #[test]
    fn a_request_is_stored_before_the_tail_moves_and_wraps() {
        let (result, writes, stores) = request_with(0x20, 0xfe0);
        result.unwrap();
        assert_eq!(stores[0], (0x8000_0fe0, ENTRY[0]));
        assert_eq!(stores.len(), 4);
        assert_eq!(writes, ["writeq 0xfed900c8 0x0", "writel 0xfee00000 0x21"]);
    }

    #[test]
    fn a_full_queue_takes_nothing() {
        let (result, writes, stores) = request_with(0, 0xfe0);
        assert!(result.is_err());
        assert_eq!((writes.len(), stores.len()), (0, 0));
    }
}
