//! The devices of this process, its open queues, and their portals.
//!
//! All files of a queue in one process are one client: the library does not see when a file is opened. A client stays for as
//! long as the process.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use dsa_emulator::campaign::Campaign;
use dsa_emulator::config::VERSION_1_0;
use dsa_emulator::trap::{self, Portal};
use dsa_emulator::{Client, Counters, Device, Enqcmd, Mode};
use idxd_sys::{Descriptor, opcode};
use zerocopy::{FromZeros, IntoBytes};

use crate::config::settings;
use crate::memory::{self, OwnMemory};
use crate::report::{self, Reporter};
use crate::{complain, signals};

/// The model of this process; null until a node is used. Never freed.
static MODEL: AtomicPtr<Model> = AtomicPtr::new(null_mut());

/// The pages of the portals, 0 for none: what `munmap` looks at without a lock.
static PAGES: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];

/// Size of a portal in bytes, and of the descriptors in a write.
const PAGE: usize = 4096;
const DESCRIPTOR: usize = size_of::<Descriptor>();

/// How often the driver repeats ENQCMDS, after the first time.
const RETRIES: u32 = 32;

/// A work queue by its node's name: device, queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Queue {
    pub(crate) device: usize,
    pub(crate) queue: usize,
}

/// The devices of a process.
pub(crate) struct Model {
    process: i32,
    devices: Vec<Device>,
    /// What goes wrong with each of them, if anything was ordered.
    campaigns: Vec<Campaign>,
    clients: Mutex<BTreeMap<Queue, Arc<Client>>>,
    portals: Mutex<Vec<Portal>>,
    /// Descriptors accepted by `write(2)`.
    written: AtomicU64,
    reporter: Arc<Reporter>,
}

/// Remembers on which processors this process may run: engines must not be confined to one with a thread that polls.
static PROCESSORS: Mutex<Option<libc::cpu_set_t>> = Mutex::new(None);

/// When the library is loaded into an emulated program.
pub(crate) fn begin() {
    extern "C" fn in_child() {
        // The engines are not there. What the parent's model owns stays as it is.
        MODEL.store(null_mut(), Ordering::Relaxed);
        for page in &PAGES {
            page.store(0, Ordering::Relaxed);
        }
        memory::forget();
    }
    extern "C" fn at_end() {
        report::write();
    }
    unsafe extern "C" {
        fn at_quick_exit(function: extern "C" fn()) -> libc::c_int;
    }
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the set is our own, and all bits zero is a valid one; the functions are safe to call at those times.
    unsafe {
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) == 0 {
            *PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner) = Some(set.assume_init());
        }
        libc::pthread_atfork(None, None, Some(in_child));
        at_quick_exit(at_end);
    }
}

/// The model of this process, if it has one.
pub(crate) fn existing() -> Option<&'static Model> {
    // SAFETY: null, or leaked by `current`.
    unsafe { MODEL.load(Ordering::Acquire).as_ref() }
}

/// The model of this process, made if need be. Signals must be [deferred](signals::deferred): a handler would wait for what
/// it has interrupted. `None` if it cannot be made, of which the user is told.
pub(crate) fn current() -> Option<&'static Model> {
    /// The process of which a thread is making the model; 0: none. Not a lock: a child must not wait for its parent.
    static MAKER: AtomicI32 = AtomicI32::new(0);
    let process = std::process::id().cast_signed();
    loop {
        if let Some(model) = existing() {
            return Some(model);
        }
        let maker = MAKER.load(Ordering::Acquire);
        if maker == process {
            std::thread::yield_now();
        } else if MAKER.compare_exchange(maker, process, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            break;
        }
    }
    // Another thread may have made it between the two looks.
    let made = existing().map_or_else(|| Model::make(process), Ok);
    let answer = match made {
        Ok(model) => {
            MODEL.store(std::ptr::from_ref(model).cast_mut(), Ordering::Release);
            Some(model)
        }
        Err(reason) => {
            static TOLD: AtomicBool = AtomicBool::new(false);
            if !TOLD.swap(true, Ordering::Relaxed) {
                complain(&reason);
            }
            None
        }
    };
    MAKER.store(0, Ordering::Release);
    answer
}

impl Model {
    fn make(process: i32) -> Result<&'static Self, String> {
        let settings = settings().ok_or("no settings")?;
        let memory = Arc::new(OwnMemory::new(settings.locked));
        let device = |number| {
            let config = settings.config(number).map_err(|error| error.to_string())?;
            Device::with_memory(config, memory.clone()).map_err(|error| format!("no device: {error}"))
        };
        let (devices, campaigns, reporter) = apart(|| {
            let devices = (0..settings.devices).map(device).collect::<Result<Vec<_>, String>>()?;
            let mut campaigns = Vec::new();
            for (number, device) in devices.iter().enumerate() {
                let script = settings.script(number).map_err(|error| error.to_string())?;
                if !script.steps.is_empty() {
                    campaigns.push(Campaign::start(device, script).map_err(|error| error.to_string())?);
                }
            }
            // Last, so that no thread is left behind by what fails.
            let reporter = Reporter::start().map_err(|error| format!("no thread for the counters: {error}"))?;
            Ok::<_, String>((devices, campaigns, reporter))
        })?;
        let model = Self {
            process,
            devices,
            campaigns,
            clients: Mutex::default(),
            portals: Mutex::default(),
            written: AtomicU64::new(0),
            reporter,
        };
        Ok(Box::leak(Box::new(model)))
    }

    /// Whether this process has made it, and not one whose memory it shares for a moment (`vfork`).
    pub(crate) fn is_mine(&self) -> bool {
        self.process == std::process::id().cast_signed()
    }

    pub(crate) fn process(&self) -> i32 {
        self.process
    }

    pub(crate) fn counters(&self) -> Vec<Counters> {
        self.devices.iter().map(Device::counters).collect()
    }

    /// How often each kind of trouble has struck.
    pub(crate) fn trouble(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for report in self.campaigns.iter().map(Campaign::report) {
            for (step, hits) in report.script.steps.iter().zip(&report.hits) {
                *sum.entry(format!("trouble.{}", step.action.word())).or_default() += hits;
            }
        }
        sum
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Who writes the report of this process.
    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Waits until nothing that was submitted is queued or executing, but no longer than until `deadline`: what the program
    /// goes on to submit, and what it was stopped at, may never end.
    pub(crate) fn settle(&self, deadline: Instant) {
        let mut looks = 0u32;
        while !self.is_idle() && Instant::now() < deadline {
            looks = looks.saturating_add(1);
            if looks < 256 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    fn is_idle(&self) -> bool {
        let clients = match self.clients.try_lock() {
            Ok(clients) => clients,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        clients.values().all(|client| client.outstanding() == 0)
    }

    fn client(&self, queue: Queue) -> Result<Arc<Client>, libc::c_int> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&queue) {
            return Ok(Arc::clone(client));
        }
        let device = self.devices.get(queue.device).ok_or(libc::ENODEV)?;
        let client = Arc::new(device.open(queue.queue).map_err(|_| libc::ENODEV)?);
        clients.insert(queue, Arc::clone(&client));
        Ok(client)
    }

    /// `mmap(2)` of a queue's node: a portal.
    pub(crate) fn map(&self, queue: Queue, length: usize, flags: libc::c_int) -> Result<*mut u8, libc::c_int> {
        // The driver's order of checks. A place of the caller's choice is not for a portal of the model.
        if settings().is_some_and(|settings| settings.restricted) && !has_raw_io() {
            return Err(libc::EPERM);
        }
        if length == 0 || length > PAGE || flags & libc::MAP_FIXED != 0 {
            return Err(libc::EINVAL);
        }
        let client = self.client(queue)?;
        let place = PAGES.iter().find(|place| {
            // Claimed by an address that is none of a page.
            place.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        let place = place.ok_or(libc::ENOMEM)?;
        let Ok(portal) = Portal::new(client) else {
            place.store(0, Ordering::Relaxed);
            return Err(libc::ENOMEM);
        };
        let page = portal.as_ptr();
        lock(&self.portals).push(portal);
        place.store(page.addr(), Ordering::Relaxed);
        Ok(page)
    }

    /// Gives up the portals in a range of addresses. Their pages stay.
    fn give_up(&self, start: usize, end: usize) {
        let gone: Vec<Portal> = {
            let mut portals = lock(&self.portals);
            let inside = |portal: &mut Portal| (start..end).contains(&portal.as_ptr().addr());
            portals.extract_if(.., inside).collect()
        };
        for portal in gone {
            let page = portal.into_page().addr();
            if let Some(place) = PAGES.iter().find(|place| place.load(Ordering::Relaxed) == page) {
                place.store(0, Ordering::Relaxed);
            }
        }
    }

    /// `write(2)` to a queue's node: what the driver does with it.
    pub(crate) fn write(&self, queue: Queue, from: u64, length: usize) -> Result<usize, libc::c_int> {
        let client = self.client(queue)?;
        let restricted = settings().is_some_and(|settings| settings.restricted);
        let no_batches = restricted && client.info().version == VERSION_1_0;
        let mut written = 0;
        while written + DESCRIPTOR <= length {
            if let Err(error) = self.submit(&client, from.wrapping_add(written as u64), no_batches) {
                return if written == 0 { Err(error) } else { Ok(written) };
            }
            written += DESCRIPTOR;
        }
        Ok(written)
    }

    fn submit(&self, client: &Client, from: u64, no_batches: bool) -> Result<(), libc::c_int> {
        let mut descriptor = Descriptor::new_zeroed();
        if !trap::read(from, descriptor.as_mut_bytes()) {
            return Err(libc::EFAULT);
        }
        if no_batches && descriptor.opcode() == opcode::BATCH || !descriptor.completion_addr.is_multiple_of(32) {
            return Err(libc::EINVAL);
        }
        // SAFETY: with an address space of its own any 64 bytes are fine.
        unsafe {
            if client.info().mode == Mode::Dedicated {
                client.movdir64b(&descriptor);
            } else if (0..=RETRIES).all(|_| client.enqcmd_unlimited(&descriptor) == Enqcmd::Retry) {
                return Err(libc::EAGAIN);
            }
        }
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Gives up the portals in a range of addresses, which the caller is about to unmap or to map anew: their pages stay until
/// then, so that nobody else is given their addresses. Takes a lock only if there are some.
pub(crate) fn give_up(start: usize, length: usize) {
    let end = start.saturating_add(length);
    // The kernel refuses other addresses, and leaves all as it is.
    if start.is_multiple_of(PAGE)
        && PAGES.iter().any(|place| (start.max(2)..end).contains(&place.load(Ordering::Relaxed)))
        && let Some(model) = existing().filter(|model| model.is_mine())
    {
        signals::deferred(|| model.give_up(start, end));
    }
}

/// Runs `f`, whose threads are to be apart from the program's: on any processor, and with no signal but those that an
/// instruction of their own raises.
fn apart<R>(f: impl FnOnce() -> R) -> R {
    signals::without(|| {
        let size = size_of::<libc::cpu_set_t>();
        let mut confined = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the set is our own.
        let is_known = unsafe { libc::sched_getaffinity(0, size, confined.as_mut_ptr()) } == 0;
        let processors = *lock(&PROCESSORS);
        if let Some(processors) = processors.filter(|_| is_known) {
            // SAFETY: as above.
            unsafe { libc::sched_setaffinity(0, size, &raw const processors) };
        }
        let result = f();
        if is_known {
            // SAFETY: the first call has filled the set.
            unsafe { libc::sched_setaffinity(0, size, confined.as_ptr()) };
        }
        result
    })
}

/// Whether this process may do what needs `CAP_SYS_RAWIO`.
fn has_raw_io() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_SYS_RAWIO: u32 = 17;
    let header = [VERSION_3, 0];
    // Effective, permitted, inheritable; then the same of the upper 32.
    let mut data = [0u32; 6];
    // SAFETY: the two structures of capget(2), of this version, in the form of words.
    let failed = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) } != 0;
    !failed && data[0] & 1 << CAP_SYS_RAWIO != 0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
