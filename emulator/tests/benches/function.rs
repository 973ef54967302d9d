//! The model behind its registers and portals: software error register, event log, interrupts, privilege.

use std::sync::Arc;
use std::time::Duration;

use dsa_conformance::{Answer, Bench, Cannot, Capabilities, Misdeed, PAGE, Page, Power, Queue, Space, Trouble};
use dsa_emulator::{
    Config, Effect, FaultRule, Instruction, InterDomain, PciControl, Permission, PermissionEntry, PortalAnswer,
};
use idxd_sys::swerr::{self, SwError};
use idxd_sys::{CompletionRecord, Descriptor, gencap, opcode, portal};
use zerocopy::{FromBytes, IntoBytes};

use super::super::common;
use super::super::driver::{
    DEDICATED, DISABLE_DEVICE, DRAIN_ALL, Driver, ENABLE_DEVICE, ENABLE_WQ, EVLCFG, EVLSTATUS, GENCFG,
    Queue as QueueConfig, SHARED, SWERROR, function_over,
};
use super::checked::{OTHER, OWN, Places, Spaces};
use super::id_cap;

/// Where the event log lies.
const LOG: u64 = 0x1000_0000;
const LOG_ENTRIES: u64 = 64;
/// Bit of GENCFG.
const LOG_ENABLE: u32 = 1 << 13;
/// Binary logarithms of the largest list, in the word of the transfer sizes.
const LIST_SHIFT: u32 = 10 << 9;

/// Queues by number.
const MAIN: usize = 0;
const PRIVILEGED: usize = 1;
const NO_PASID: usize = 2;
const SMALL: usize = 3;
const CLASSES: usize = 4;

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(600);

/// See the module.
pub struct Registers {
    config: Config,
    capabilities: Capabilities,
    driver: Driver,
    spaces: Arc<Spaces>,
    places: Places,
    /// Entries of the event log that have been read.
    read: u64,
}

impl Registers {
    pub fn new(config: Config) -> Self {
        let spaces = Arc::new(Spaces::default());
        let driver = function_over(config.clone().manual(), Arc::clone(&spaces) as _, common::memory());
        let main = QueueConfig { size: 32, threshold: 32, block_on_fault: true, pasid: Some(OWN), ..SHARED };
        let queues = [
            main,
            QueueConfig { privileged: true, pasid: Some(OWN), ..DEDICATED },
            QueueConfig { pasid: None, ..DEDICATED },
            QueueConfig { size: 1, pasid: Some(OWN), ..DEDICATED },
            QueueConfig { group: 1, pasid: Some(OWN), ..DEDICATED },
        ];
        driver.configure(&queues);
        // Of classes 0 and 1 in the last queue's group only the first has a channel.
        let flags = driver.group_register(1, 40);
        driver.w64(flags, driver.r64(flags) | 1 << 3);
        driver.function.set_traffic_classes(1);
        for wq in 0..queues.len() {
            let register = driver.queue_register(wq, 3);
            driver.w32(register, driver.r32(register) | LIST_SHIFT);
        }
        if gencap::event_log(config.gencap) != 0 {
            spaces.of(Space::Own).map(LOG, PAGE, Permission::ReadWrite).unwrap();
            driver.w64(EVLCFG, LOG);
            driver.w64(EVLCFG + 8, LOG_ENTRIES);
            driver.w32(GENCFG, LOG_ENABLE);
        }
        enable(&driver, &[MAIN, PRIVILEGED, NO_PASID, SMALL, CLASSES]);
        let capabilities = capabilities(&driver, &config.inter_domain);
        Self { config, capabilities, driver, spaces, places: Places::default(), read: 0 }
    }

    fn has_log(&self) -> bool {
        gencap::event_log(self.config.gencap) != 0
    }

    fn posted(&self, wq: usize, d: &Descriptor) -> Answer {
        self.driver.movdir64b(wq, d);
        Answer::Accepted
    }

    /// The entries of the event log that are new.
    fn logged(&mut self) -> Vec<Trouble> {
        let tail = self.driver.r64(EVLSTATUS) >> 32 & 0xffff;
        let mut troubles = Vec::new();
        while self.has_log() && self.read != tail {
            let mut bytes = [0; 64];
            self.spaces.of(Space::Own).read(LOG + 64 * self.read, &mut bytes).unwrap();
            let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            let head = word(0);
            let mut t = Trouble::default();
            t.code = (head >> 8) as u8;
            t.logged = true;
            t.write = head >> 5 & 1 != 0;
            t.opcode = (head >> 32) as u8;
            t.addr = word(16);
            t.member = (head >> 4 & 1 != 0).then_some(word(8) as u16);
            t.record = CompletionRecord::read_from_bytes(&bytes[32..]).ok();
            troubles.push(t);
            self.read = (self.read + 1) % LOG_ENTRIES;
        }
        self.driver.w32(EVLSTATUS, self.read as u32);
        troubles
    }
}

/// Enables the device and queues of it.
fn enable(driver: &Driver, queues: &[usize]) {
    assert_eq!(driver.command(ENABLE_DEVICE, 0), 0);
    for wq in queues {
        assert_eq!(driver.command(ENABLE_WQ, *wq as u32), 0);
    }
}

/// What the registers say.
fn capabilities(driver: &Driver, offered: &InterDomain) -> Capabilities {
    let mut c = Capabilities::default();
    c.version = driver.r32(0);
    c.gen_cap = driver.r64(0x10);
    c.op_config = [0, 1, 2, 3].map(|i| driver.r64(0x40 + 8 * i));
    c.dsacap = [0, 1, 2].map(|i| driver.r64(0x180 + 8 * i));
    c.id_cap = if c.gen_cap & gencap::INTER_DOMAIN == 0 { 0 } else { id_cap(offered) };
    c.max_transfer_size = 1 << SHARED.transfer_shift;
    c.max_batch_size = 1 << SHARED.batch_shift;
    c.max_sgl_size = 1 << 10;
    c.block_on_fault = true;
    c.page_requests = true;
    c.checks_reserved_bytes = true;
    c.checks_whole_blocks = true;
    c.exact_progress = true;
    c.fault_addresses = true;
    c
}

impl Bench for Registers {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn reset(&mut self) {
        *self = Self::new(self.config.clone());
    }

    fn cannot(&self, power: Power) -> Option<&'static str> {
        match power {
            Power::Abort => Some("the bench has no engine threads"),
            Power::EventLog | Power::Misdeed(Misdeed::FullLog) if !self.has_log() => Some("the device has none"),
            Power::Queue(Queue::Without(_) | Queue::NoTranslationService) => Some("the bench has no such queue"),
            _ => None,
        }
    }

    fn allocate(&mut self, space: Space, pages: u64) -> u64 {
        let addr = self.places.next(space, pages);
        self.spaces.of(space).map(addr, pages * PAGE, Permission::ReadWrite).unwrap();
        addr
    }

    fn write(&mut self, space: Space, addr: u64, bytes: &[u8]) {
        self.spaces.of(space).write(addr, bytes).unwrap();
    }

    fn read(&mut self, space: Space, addr: u64, bytes: &mut [u8]) {
        self.spaces.of(space).read(addr, bytes).unwrap();
    }

    fn submit(&mut self, d: &Descriptor) -> Answer {
        let answer = self.driver.enqcmd(MAIN, OWN, d);
        self.settle();
        if answer == PortalAnswer::Accepted { Answer::Accepted } else { Answer::Refused }
    }

    fn wait(&mut self, record: u64) -> Option<CompletionRecord> {
        self.settle();
        let mut found = CompletionRecord::default();
        self.spaces.of(Space::Own).read(record, found.as_mut_bytes()).unwrap();
        (found.status != 0).then_some(found)
    }

    fn settle(&mut self) {
        self.driver.function.device().run_until_idle();
    }

    fn set_page(&mut self, space: Space, page: u64, state: Page) -> Result<(), Cannot> {
        self.spaces.set_page(space, page, state);
        Ok(())
    }

    fn submit_to(&mut self, queue: Queue, d: &Descriptor) -> Result<Answer, Cannot> {
        Ok(match queue {
            Queue::Interrupts | Queue::NoBlockOnFault => self.posted(PRIVILEGED, d),
            Queue::NoPasid => self.posted(NO_PASID, d),
            Queue::NoTrafficClass => self.posted(CLASSES, d),
            Queue::Full => {
                let mut first = Descriptor::default();
                first.set_opcode_flags(opcode::NOP, 0);
                let _ = self.posted(SMALL, &first);
                self.posted(SMALL, d)
            }
            Queue::PrivilegeOff => {
                // What the configuration space allows is fixed while the device is enabled.
                let pci = PciControl::default();
                assert_eq!(self.driver.command(DISABLE_DEVICE, 0), 0);
                self.driver.function.set_pci_control(PciControl { privileged: false, ..pci });
                enable(&self.driver, &[MAIN]);
                let line = Descriptor { pasid: 1 << 31 | OWN, ..*d };
                let answer = self.driver.submit(MAIN, portal::LIMITED_MSIX, &line, Instruction::Enqcmds);
                self.settle();
                assert_eq!(self.driver.command(DISABLE_DEVICE, 0), 0);
                self.driver.function.set_pci_control(pci);
                enable(&self.driver, &[MAIN]);
                if answer == PortalAnswer::Accepted { Answer::Accepted } else { Answer::Refused }
            }
            _ => return Err(Cannot("submit to this queue")),
        })
    }

    fn misbehave(&mut self, misdeed: Misdeed) -> Result<(), Cannot> {
        let (driver, device) = (&self.driver, self.driver.function.device());
        match misdeed {
            Misdeed::SecondCommand => {
                // A descriptor that takes long keeps the first one active.
                let slow = device.inject(FaultRule::new(Effect::Delay(LONG)));
                let mut no_op = Descriptor::default();
                no_op.set_opcode_flags(opcode::NOP, 0);
                assert_eq!(driver.enqcmd(MAIN, OWN, &no_op), PortalAnswer::Accepted);
                driver.start(DRAIN_ALL, 0);
                driver.start(DRAIN_ALL, 0);
                device.abort_wq(MAIN).unwrap();
                assert_eq!(driver.wait_command(), 0);
                device.remove(slow);
            }
            Misdeed::Configuration => {
                driver.function.set_pci_control(PciControl { pasid: false, ..PciControl::default() });
            }
            // Software that is one entry behind a whole turn.
            Misdeed::FullLog => {
                let tail = driver.r64(EVLSTATUS) >> 32 & 0xffff;
                driver.w32(EVLSTATUS, ((tail + 1) % LOG_ENTRIES) as u32);
            }
            _ => return Err(Cannot("do this")),
        }
        Ok(())
    }

    fn fail_next(&mut self, status: u8) -> Result<(), Cannot> {
        self.driver.function.device().inject(FaultRule::new(Effect::HardwareError(status)).limit(1));
        Ok(())
    }

    fn troubles(&mut self) -> Result<Vec<Trouble>, Cannot> {
        let mut troubles = self.logged();
        let words = [0, 8, 16, 24].map(|at| self.driver.r64(SWERROR + at));
        if let Some(error) = SwError::decode(words) {
            let mut t = Trouble::default();
            t.code = error.error;
            t.write = error.flags & swerr::FAULT_WRITE != 0;
            t.opcode = error.opcode;
            t.addr = error.fault_addr;
            t.member = (error.flags & swerr::BATCH != 0).then_some(error.batch_index);
            troubles.push(t);
            self.driver.w64(SWERROR, swerr::VALID | swerr::OVERFLOW);
        }
        Ok(troubles)
    }

    fn pasids(&self) -> Result<[u32; 2], Cannot> {
        Ok([OWN, OTHER])
    }

    fn set_entry(&mut self, index: u16, words: [u64; 4]) -> Result<u16, Cannot> {
        let permissions = self.driver.function.device().permissions();
        permissions.set(index, PermissionEntry::from_words(words)).map_err(|_| Cannot("find the entry"))?;
        permissions.handle(index).map_err(|_| Cannot("get a handle"))
    }
}
