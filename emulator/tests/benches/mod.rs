//! The model as a bench of the conformance suite: in process, over several kinds of memory.
// The suite holds the model to its word, and each bench uses another part of this.
#![allow(unreachable_pub)]

pub mod checked;
pub mod function;
pub mod machine;
pub mod trusted;

use std::sync::Arc;

use dsa_conformance::{Answer, Bench, Cannot, Capabilities, PAGE, Page, Power, Queue, Space, Trouble};
use dsa_emulator::trap::Portal;
use dsa_emulator::{
    Checks, Client, Config, Device, Effect, Enqcmd, FaultRule, InterDomain, Mode, PermissionEntry, Requester,
    SoftwareError, WqConfig, config,
};
use idxd_sys::{CompletionRecord, Descriptor, idpt, instr, opcode};
use zerocopy::IntoBytes;

use super::common::wait;

/// Memory of two address spaces for a model.
pub trait Memory {
    /// Memory without anything in it.
    fn new() -> Self;

    /// A device over it.
    fn device(&self, config: Config) -> Device;

    /// The PASIDs of the two spaces.
    fn pasids(&self) -> [u32; 2];

    fn allocate(&mut self, space: Space, pages: u64) -> u64;

    fn write(&self, space: Space, addr: u64, bytes: &[u8]);

    fn read(&self, space: Space, addr: u64, bytes: &mut [u8]);

    /// Changes a page, by means of the memory or of the device.
    fn set_page(&mut self, device: &Device, space: Space, page: u64, state: Page);

    fn cannot(&self, power: Power) -> Option<&'static str>;

    /// Lets page requests wait, or answers them.
    fn hold(&self, _on: bool) {}

    /// Whether a page request of the other space waits for this page.
    fn waits(&self, _page: u64) -> bool {
        false
    }
}

/// A model under test, run by hand.
pub struct Model<M> {
    config: Config,
    capabilities: Capabilities,
    trapped: bool,
    memory: M,
    device: Device,
    client: Arc<Client>,
    portal: Option<Portal>,
    entries: Vec<(u16, [u64; 4])>,
    /// Errors of devices that are gone.
    troubles: Vec<Trouble>,
}

impl<M: Memory> Model<M> {
    /// A model with one queue.
    pub fn new(config: Config) -> Self {
        Self::with(config, false)
    }

    /// The same, reached by an instruction that is trapped.
    pub fn trapped(config: Config) -> Self {
        Self::with(config, true)
    }

    fn with(config: Config, trapped: bool) -> Self {
        let memory = M::new();
        let device = memory.device(config.clone().manual());
        let client = Arc::new(device.open_with_pasid(0, memory.pasids()[0]).unwrap());
        let capabilities = capabilities(&client, device.config());
        let portal = trapped.then(|| Portal::new(Arc::clone(&client)).unwrap());
        Self { config, capabilities, trapped, memory, device, client, portal, entries: vec![], troubles: vec![] }
    }

    /// Another device over the same memory, with the same entries.
    fn another(&self, config: Config) -> Device {
        let device = self.memory.device(config);
        for (index, words) in &self.entries {
            device.permissions().set(*index, PermissionEntry::from_words(*words)).unwrap();
            device.permissions().handle(*index).unwrap();
        }
        device
    }

    /// The same configuration with another queue.
    fn with_queue(&self, change: impl FnOnce(WqConfig) -> WqConfig) -> Config {
        let mut config = self.config.clone().manual();
        config.queues[0] = change(config.queues[0].clone());
        config
    }

    /// Runs a descriptor on a device of its own, of which only errors stay.
    fn elsewhere(&mut self, config: Config, requester: Requester, d: &Descriptor) -> Answer {
        let device = self.another(config);
        let client = device.open_as(0, requester).unwrap();
        let answer = send(&client, d);
        device.run_until_idle();
        self.troubles.extend(device.software_error().map(trouble));
        answer
    }
}

/// What a client of the model can know.
fn capabilities(client: &Client, config: &Config) -> Capabilities {
    let info = client.info();
    let mut c = Capabilities::default();
    c.version = info.version;
    c.gen_cap = info.gen_cap;
    c.op_config = info.op_config;
    c.dsacap = info.dsacap;
    if info.gen_cap & config::gencap::INTER_DOMAIN != 0 {
        c.id_cap = id_cap(&config.inter_domain);
    }
    c.max_transfer_size = info.max_transfer_size;
    c.max_batch_size = info.max_batch_size;
    c.max_sgl_size = info.max_sgl_size;
    c.block_on_fault = info.block_on_fault;
    c.page_requests = config.queues[0].page_requests;
    c.checks_reserved_bytes = config.checks == Checks::Strict;
    c.checks_whole_blocks = config.choices.dif_sizes == Checks::Strict;
    // Where spans are short, more of them are held than the model looks at again after a page request.
    c.exact_progress = config.chunk as u64 >= PAGE;
    c.fault_addresses = true;
    c
}

pub fn id_cap(offered: &InterDomain) -> u64 {
    let offset = if offered.offset_mode { idpt::idcap::OFFSET_MODE } else { 0 };
    u64::from(offered.types) | u64::from(offered.entries) << 8 | offset
}

/// Submits by the way of the queue's kind.
fn send(client: &Client, d: &Descriptor) -> Answer {
    // SAFETY: the memory of the bench lives as long as it, and is looked at only when the device is idle. With trusted memory
    // the suite names its own memory, or addresses that the model must refuse without looking.
    unsafe {
        if client.info().mode == Mode::Dedicated {
            client.movdir64b(d);
            return Answer::Accepted;
        }
        if client.enqcmd(d) == Enqcmd::Accepted { Answer::Accepted } else { Answer::Refused }
    }
}

fn trouble(error: SoftwareError) -> Trouble {
    let mut t = Trouble::default();
    t.code = error.error;
    t.write = error.write;
    t.opcode = error.opcode;
    t.addr = error.addr;
    t.member = error.in_batch.then_some(error.batch_index);
    t
}

impl<M: Memory> Bench for Model<M> {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn reset(&mut self) {
        *self = Self::with(self.config.clone(), self.trapped);
    }

    fn cannot(&self, power: Power) -> Option<&'static str> {
        match power {
            Power::EventLog | Power::Misdeed(_) | Power::Queue(Queue::NoTrafficClass) => {
                Some("only the function has registers")
            }
            Power::Queue(Queue::Interrupts | Queue::PrivilegeOff) => {
                Some("only the function has interrupts and privilege")
            }
            Power::Queue(Queue::NoBlockOnFault) if !self.capabilities.block_on_fault => {
                Some("the queue under test is one")
            }
            _ => self.memory.cannot(power),
        }
    }

    fn allocate(&mut self, space: Space, pages: u64) -> u64 {
        self.memory.allocate(space, pages)
    }

    fn write(&mut self, space: Space, addr: u64, bytes: &[u8]) {
        self.memory.write(space, addr, bytes);
    }

    fn read(&mut self, space: Space, addr: u64, bytes: &mut [u8]) {
        self.memory.read(space, addr, bytes);
    }

    fn submit(&mut self, d: &Descriptor) -> Answer {
        let answer = match &self.portal {
            None => send(&self.client, d),
            Some(portal) => {
                instr::sfence();
                // SAFETY: as in `send`; the portal is mapped.
                let accepted = unsafe { instr::enqcmd(portal.as_ptr(), d) };
                if accepted { Answer::Accepted } else { Answer::Refused }
            }
        };
        self.device.run_until_idle();
        answer
    }

    fn wait(&mut self, record: u64) -> Option<CompletionRecord> {
        self.settle();
        let mut found = CompletionRecord::default();
        self.memory.read(Space::Own, record, found.as_mut_bytes());
        (found.status != 0).then_some(found)
    }

    fn settle(&mut self) {
        self.device.run_until_idle();
    }

    fn set_page(&mut self, space: Space, page: u64, state: Page) -> Result<(), Cannot> {
        self.memory.set_page(&self.device, space, page, state);
        Ok(())
    }

    fn submit_to(&mut self, queue: Queue, d: &Descriptor) -> Result<Answer, Cannot> {
        let own = Requester::user(self.memory.pasids()[0]);
        Ok(match queue {
            Queue::Without(code) => self.elsewhere(self.with_queue(|queue| queue.without(code)), own, d),
            Queue::NoTranslationService => self.elsewhere(self.with_queue(|queue| queue.ats(false)), own, d),
            Queue::NoBlockOnFault => self.elsewhere(self.with_queue(|queue| queue.block_on_fault(false)), own, d),
            Queue::NoPasid => self.elsewhere(self.config.clone().manual(), Requester::DEVICE, d),
            Queue::Full => {
                let device = self.another(self.with_queue(|_| WqConfig::dedicated(1)));
                let client = device.open_as(0, own).unwrap();
                let mut first = Descriptor::default();
                first.set_opcode_flags(opcode::NOP, 0);
                let _ = send(&client, &first);
                let answer = send(&client, d);
                device.run_until_idle();
                self.troubles.extend(device.software_error().map(trouble));
                answer
            }
            _ => return Err(Cannot("submit to this queue")),
        })
    }

    fn fail_next(&mut self, status: u8) -> Result<(), Cannot> {
        self.device.inject(FaultRule::new(Effect::HardwareError(status)).limit(1));
        Ok(())
    }

    fn troubles(&mut self) -> Result<Vec<Trouble>, Cannot> {
        let mut troubles = std::mem::take(&mut self.troubles);
        troubles.extend(self.device.software_error().map(trouble));
        self.device.clear_software_error();
        Ok(troubles)
    }

    fn pasids(&self) -> Result<[u32; 2], Cannot> {
        Ok(self.memory.pasids())
    }

    fn set_entry(&mut self, index: u16, words: [u64; 4]) -> Result<u16, Cannot> {
        self.entries.push((index, words));
        let permissions = self.device.permissions();
        permissions.set(index, PermissionEntry::from_words(words)).map_err(|_| Cannot("find the entry"))?;
        permissions.handle(index).map_err(|_| Cannot("get a handle"))
    }

    fn abort_while(&mut self, d: &Descriptor, page: u64) -> Result<(), Cannot> {
        let device = self.another(self.config.clone());
        let [own, other] = self.memory.pasids();
        let client = device.open_with_pasid(0, own).unwrap();
        self.memory.hold(true);
        assert_eq!(send(&client, d), Answer::Accepted);
        wait(|| self.memory.waits(page));
        device.abort_pasid(other);
        self.memory.hold(false);
        client.quiesce();
        Ok(())
    }
}
