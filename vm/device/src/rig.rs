//! The device as a whole, and its life: sockets, threads, log.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dsa_emulator::iommu::{InvalidationQueue, QueueMessage};
use dsa_emulator::{
    Agreement, Config, ConfigError, DeviceTlb, Function, GuestMemory, Instruction, IommuRegisters, IommuState,
    PortalAnswer, RamMap, RuleId,
};
use thiserror::Error;

use crate::config_space::{BAR2_LEN, ConfigSpace};
use crate::control::{self, Command};
use crate::interrupts::Vectors;
use crate::log::Log;
use crate::page_request::Pages;
use crate::server::{self, Backend};

/// Which device it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// Version 1.0.
    #[default]
    SapphireRapids,
    /// Version 2.0, with an event log.
    GraniteRapids,
    /// Version 3.0: typed operations and lists besides.
    DiamondRapids,
}

/// What can be chosen about a device.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Folder of the sockets (`vfio` and `control`, made here; `qtest`, made by QEMU) and of the log, `device.log`.
    pub directory: PathBuf,
    /// Generation of the device.
    pub generation: Generation,
    /// Device and function number on bus 0: device in bits 7:3.
    pub devfn: u8,
    /// Whether the function has the page request interface.
    pub page_requests: bool,
}

/// Why a device could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log or the control socket.
    #[error("cannot make {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The model of the device.
    #[error("cannot make the device: {0}")]
    Device(#[from] ConfigError),
    /// The socket for the virtual machine.
    #[error("cannot make the vfio-user socket: {0}")]
    Socket(#[from] vfio_user::Error),
}

/// A device that serves a virtual machine.
pub struct Rig(pub(crate) Arc<Shared>);

/// How long a reset waits for a command to end and to be noticed, which takes long on a busy machine only. The guest waits
/// much longer for the function to be ready.
const SETTLE: Duration = Duration::from_secs(5);

/// Registers in BAR 0, and bits in them.
const INTERRUPT_CAUSE: u64 = 0x98;
const CAUSE_COMMAND: u32 = 1 << 1;
const COMMAND_STATUS: u64 = 0xa8;
const COMMAND_ACTIVE: u32 = 1 << 31;

/// No BAR 2 is decoded.
const NO_PORTALS: u64 = u64::MAX;

/// What the threads of the device share.
pub(crate) struct Shared {
    pub(crate) function: Function,
    pub(crate) ram: Arc<RamMap>,
    pub(crate) pages: Arc<Pages>,
    memory: Arc<GuestMemory>,
    iommu: Arc<Iommu>,
    /// Bus, device and function, as the IOMMU knows them.
    source: u16,
    tlb: Arc<DeviceTlb>,
    /// Whether the control channel wants the cache on; software has a say in it too.
    tlb_wanted: AtomicBool,
    ats: AtomicBool,
    agreement: Arc<Agreement>,
    invalidations: Mutex<InvalidationQueue>,
    /// Held by whoever writes a register, and by a reset.
    registers: Mutex<()>,
    /// Guest-physical address of BAR 2.
    portals: AtomicU64,
    /// Rules injected by the control channel; their numbers are the positions here.
    rules: Mutex<Vec<RuleId>>,
    log: Arc<Log>,
}

/// The registers of the guest's IOMMU, as they were when they were last looked at.
#[derive(Default)]
struct Iommu(RwLock<IommuRegisters>);

impl IommuState for Iommu {
    fn registers(&self) -> IommuRegisters {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rig {
    /// Opens the sockets and starts the threads that serve them. They run until the process ends.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let path = |name| options.directory.join(name);
        let cannot = |name| move |error| StartError::File(options.directory.join(name), error);
        let log = Arc::new(Log::create(&path("device.log")).map_err(cannot("device.log"))?);
        let (ram, iommu) = (Arc::new(RamMap::new()), Arc::new(Iommu::default()));
        let pages = Arc::new(Pages::new(path("qtest"), ram.clone(), log.clone()));
        let source = u16::from(options.devfn);
        let (tlb, agreement) = (Arc::new(DeviceTlb::new()), Arc::new(Agreement::new()));
        let memory = GuestMemory::new(ram.clone(), iommu.clone(), source)
            .with_requests(pages.clone())
            .with_device_tlb(tlb.clone())
            .with_agreement(agreement.clone());
        let memory = Arc::new(memory);
        let vectors = Arc::new(Vectors::default());
        let config = match options.generation {
            Generation::SapphireRapids => Config::sapphire_rapids(),
            Generation::GraniteRapids => Config::granite_rapids(),
            Generation::DiamondRapids => Config::diamond_rapids(),
        };
        let function = Function::new(config, memory.clone(), vectors.clone())?;
        let portals = AtomicU64::new(NO_PORTALS);
        let shared = Arc::new(Shared {
            function,
            ram,
            pages,
            memory,
            iommu,
            source,
            tlb,
            tlb_wanted: AtomicBool::new(false),
            ats: AtomicBool::new(false),
            agreement,
            invalidations: Mutex::default(),
            registers: Mutex::default(),
            portals,
            rules: Mutex::default(),
            log,
        });

        let server = server::listen(&path("vfio"))?;
        let config = Arc::new(Mutex::new(ConfigSpace::new(options.page_requests)));
        let mut backend =
            Backend { config, resetting: Arc::new(AtomicBool::new(false)), vectors, shared: shared.clone() };
        std::thread::spawn(move || {
            let ended = server.run(&mut backend);
            backend.shared.log(&format!("the virtual machine has left: {ended:?}"));
        });
        let control = UnixListener::bind(path("control")).map_err(cannot("control"))?;
        let controlled = shared.clone();
        std::thread::spawn(move || {
            for connection in control.incoming().flatten() {
                let shared = controlled.clone();
                std::thread::spawn(move || shared.serve_control(connection));
            }
        });
        Ok(Self(shared))
    }

    /// Offset in BAR 2 of a guest-physical address, if a portal is there.
    #[inline]
    pub fn portal_offset(&self, physical: u64) -> Option<u64> {
        let base = self.0.portals.load(Ordering::Acquire);
        physical.checked_sub(base).filter(|offset| *offset < BAR2_LEN)
    }

    /// Hands the device 64 bytes that an instruction wrote to its portals.
    pub fn submit(&self, offset: u64, line: &[u8; 64], by: Instruction) -> PortalAnswer {
        self.0.function.portal(offset, line, by)
    }

    /// Tells the device what the IOMMU's registers say.
    pub fn set_iommu(&self, registers: IommuRegisters) {
        let known = &self.0.iommu.0;
        // They hardly ever change.
        if *known.read().unwrap_or_else(PoisonError::into_inner) != registers {
            self.0.log(&format!("{registers:x?}"));
            *known.write().unwrap_or_else(PoisonError::into_inner) = registers;
        }
    }

    /// Tells the device that the guest has moved the tail of its IOMMU's invalidation queue: the registers for the
    /// queue's address and tail. Whatever the queue has for this device is carried out when this returns.
    pub fn invalidations(&self, address: u64, tail: u64) {
        let shared = &self.0;
        let mut queue = shared.invalidations.lock().unwrap_or_else(PoisonError::into_inner);
        queue.read(&*shared.ram, address, tail, |what| match what {
            QueueMessage::Invalidation(what) if what.source == shared.source => shared.tlb.invalidate(&what),
            QueueMessage::Response(answer) if answer.source == shared.source => shared.pages.answer(&answer),
            _ => {}
        });
    }

    /// PASID of the process whose page table is `cr3`, which is what its kernel has put into `IA32_PASID`.
    pub fn pasid_of(&self, cr3: u64) -> Option<u32> {
        self.0.memory.pasid_of(cr3)
    }

    /// Writes a line to the device's log.
    pub fn note(&self, text: &str) {
        self.0.log(text);
    }
}

impl Shared {
    pub(crate) fn log(&self, text: &str) {
        self.log.line(text);
    }

    /// Lets the function know what configuration space says.
    pub(crate) fn apply(&self, config: &ConfigSpace) {
        self.portals.store(config.portals().unwrap_or(NO_PORTALS), Ordering::Release);
        self.function.set_pci_control(config.control());
        self.pages.allow(config.page_requests_enabled());
        self.ats.store(config.translations_enabled(), Ordering::Relaxed);
        self.switch_tlb();
    }

    /// The cache is on if software allows it and the control channel wants it.
    fn switch_tlb(&self) {
        let on = self.ats.load(Ordering::Relaxed) && self.tlb_wanted.load(Ordering::Relaxed);
        if on != self.tlb.is_enabled() {
            self.log(&format!("device TLB: {on}"));
            self.tlb.enable(on);
        }
    }

    /// Writes a register of BAR 0: before a reset or after it.
    pub(crate) fn write_register(&self, offset: u64, data: &[u8]) {
        let _whole = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        self.function.write(offset, data);
    }

    /// Function level reset. Configuration space is not locked while descriptors end.
    pub(crate) fn reset(&self, config: &Mutex<ConfigSpace>) {
        self.log("function level reset");
        // Nobody waits for a page any more, which an engine might do for seconds.
        self.pages.allow(false);
        self.function.reset();
        self.tlb.forget_all();
        let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
        config.reset();
        self.apply(&config);
    }

    /// [`reset`](Self::reset) when no command is under way: lets it end, and the driver hear of it, for as long as
    /// [`SETTLE`]. A reset would take both away, and Linux waits for a command's interrupt without a limit: closing a queue
    /// while its function is reset would hang. How long a function takes to obey is its own affair.
    pub(crate) fn settle_and_reset(&self, config: &Mutex<ConfigSpace>) {
        // What a command may be waiting for, and what that may be waiting for.
        self.pages.allow(false);
        let _ = self.function.device().abort_all();
        let start = Instant::now();
        loop {
            // A command that comes now is carried out after the reset.
            let whole = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
            let in_sight = self.command_in_sight();
            if !in_sight || start.elapsed() >= SETTLE {
                if in_sight {
                    self.log("a command is lost in a reset");
                }
                return self.reset(config);
            }
            drop(whole);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether a command is active, or has ended and the driver has not seen it.
    fn command_in_sight(&self) -> bool {
        self.register(COMMAND_STATUS) & COMMAND_ACTIVE != 0 || self.register(INTERRUPT_CAUSE) & CAUSE_COMMAND != 0
    }

    /// Whether there is an interrupt that the driver has not acknowledged.
    pub(crate) fn has_cause(&self) -> bool {
        self.register(INTERRUPT_CAUSE) != 0
    }

    fn register(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.function.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn serve_control(&self, connection: UnixStream) {
        let Ok(mut answers) = connection.try_clone() else { return };
        for line in BufReader::new(connection).lines() {
            let Ok(line) = line else { return };
            let (tag, command) = control::split_tag(&line);
            let answer = match Command::parse(command) {
                Ok(command) => self.obey(command),
                Err(error) => format!("error {error}"),
            };
            self.log(&format!("control: {line:?}: {answer}"));
            if answers.write_all(format!("{tag}{answer}\n").as_bytes()).is_err() {
                return;
            }
        }
    }

    fn obey(&self, command: Command) -> String {
        let device = self.function.device();
        match command {
            Command::Counters => {
                let counters = control::counters_line(&self.function.counters());
                return format!("ok {counters} {}", control::translation_line(self.tlb.counters(), &self.agreement));
            }
            Command::Tlb(on) => {
                self.tlb_wanted.store(on, Ordering::Relaxed);
                self.switch_tlb();
                // Software that keeps translation services off keeps the cache off, which whoever asks must know.
                return format!("ok {}", if self.tlb.is_enabled() { "on" } else { "off" });
            }
            Command::Ignore(ignored) => self.tlb.ignore(ignored),
            Command::Audit(what) => self.agreement.audit(what),
            Command::Pasids => return format!("ok {}", control::pasids_line(&self.agreement.seen())),
            Command::Halt => device.halt(),
            Command::Reset => {
                let _registers = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
                self.function.reset();
                self.tlb.forget_all();
            }
            Command::Inject(rule) => {
                let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
                rules.push(device.inject(rule));
                return format!("ok {}", rules.len() - 1);
            }
            Command::Remove(number) => {
                let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
                let fired = rules.get(number).and_then(|rule| device.remove(*rule));
                return fired.map_or_else(|| format!("error no rule {number}"), |fired| format!("ok {fired}"));
            }
            Command::Clear => {
                let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
                return format!("ok {}", rules.iter().filter_map(|rule| device.remove(*rule)).count());
            }
        }
        "ok".into()
    }
}
