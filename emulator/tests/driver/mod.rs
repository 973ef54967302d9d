//! A small driver: talks to a function through its registers and portals, in the order in which the Linux driver does.
// Each test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

pub mod log;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dsa_emulator::{
    AddressSpace, CheckedMemory, Config, Effect, FaultRule, Function, Instruction, Interrupts, PortalAnswer,
};
use idxd_sys::{CompletionRecord, Descriptor, portal};
use zerocopy::IntoBytes;

use super::common::{memory, wait};

pub const GENCFG: u64 = 0x80;
pub const GENCTRL: u64 = 0x88;
pub const GENSTS: u64 = 0x90;
pub const INTCAUSE: u64 = 0x98;
pub const CMD: u64 = 0xa0;
pub const CMDSTS: u64 = 0xa8;
pub const SWERROR: u64 = 0xc0;
pub const EVLCFG: u64 = 0xe0;
pub const EVLSTATUS: u64 = 0xf0;

pub const ENABLE_DEVICE: u32 = 1;
pub const DISABLE_DEVICE: u32 = 2;
pub const DRAIN_ALL: u32 = 3;
pub const ABORT_ALL: u32 = 4;
pub const RESET_DEVICE: u32 = 5;
pub const ENABLE_WQ: u32 = 6;
pub const DISABLE_WQ: u32 = 7;
pub const DRAIN_WQ: u32 = 8;
pub const ABORT_WQ: u32 = 9;
pub const RESET_WQ: u32 = 10;
pub const DRAIN_PASID: u32 = 11;
pub const ABORT_PASID: u32 = 12;
pub const REQUEST_HANDLE: u32 = 13;
pub const RELEASE_HANDLE: u32 = 14;

/// CMDSTS while a command is executed.
pub const ACTIVE: u32 = 1 << 31;
const INTERRUPT: u32 = 1 << 31;

/// Records what is raised.
#[derive(Default)]
pub struct Recorder {
    pub vectors: Mutex<Vec<u16>>,
    misc: AtomicU32,
}

impl Interrupts for Recorder {
    fn raise(&self, vector: u16) {
        self.vectors.lock().unwrap().push(vector);
        self.misc.fetch_add(u32::from(vector == 0), Ordering::SeqCst);
    }
}

impl Recorder {
    /// The vectors raised since the last call.
    pub fn take(&self) -> Vec<u16> {
        std::mem::take(&mut self.vectors.lock().unwrap())
    }
}

/// How a queue is configured.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    pub dedicated: bool,
    pub size: u32,
    pub threshold: u32,
    /// PASID enable and PASID, privilege: bits 8 to 29 of the third word.
    pub pasid: Option<u32>,
    pub privileged: bool,
    pub block_on_fault: bool,
    pub flags: u32,
    pub priority: u32,
    pub transfer_shift: u32,
    pub batch_shift: u32,
    pub group: usize,
}

pub const SHARED: Queue = Queue {
    dedicated: false,
    size: 16,
    threshold: 12,
    pasid: Some(0),
    privileged: false,
    block_on_fault: false,
    flags: 0,
    priority: 10,
    transfer_shift: 21,
    batch_shift: 5,
    group: 0,
};

pub const DEDICATED: Queue = Queue { dedicated: true, pasid: Some(5), ..SHARED };

impl Queue {
    pub fn words(&self) -> [u32; 4] {
        let pasid = self.pasid.map_or(0, |pasid| 1 << 28 | pasid << 8);
        let flags = u32::from(self.dedicated) | u32::from(self.block_on_fault) << 1 | u32::from(self.privileged) << 29;
        let flags = flags | self.flags | self.priority << 4 | pasid;
        [self.size, self.threshold, flags, self.transfer_shift | self.batch_shift << 5]
    }
}

pub struct Driver {
    pub function: Arc<Function>,
    pub memory: Arc<CheckedMemory>,
    pub interrupts: Arc<Recorder>,
}

/// A function over the usual memory, with nothing done to it.
pub fn function(config: Config) -> Driver {
    let memory = memory();
    function_over(config, memory.clone(), memory)
}

/// The same, reaching the memory through something else.
pub fn function_over(config: Config, space: Arc<dyn AddressSpace>, memory: Arc<CheckedMemory>) -> Driver {
    let interrupts = Arc::new(Recorder::default());
    let function = Function::new(config, space, interrupts.clone()).unwrap();
    Driver { function: Arc::new(function), memory, interrupts }
}

/// A function with these queues enabled, queue i with number i.
pub fn enabled(config: Config, queues: &[Queue]) -> Driver {
    let driver = function(config);
    driver.enable(queues);
    driver
}

impl Driver {
    /// Configures and enables queues, queue i with number i, and forgets the interrupts of that.
    pub fn enable(&self, queues: &[Queue]) {
        self.configure(queues);
        assert_eq!(self.command(ENABLE_DEVICE, 0), 0);
        for wq in 0..queues.len() {
            assert_eq!(self.command(ENABLE_WQ, wq as u32), 0);
        }
        self.interrupts.take();
    }

    /// Descriptors accepted and not yet taken by an engine.
    pub fn occupancy(&self, wq: usize) -> u32 {
        self.r32(self.queue_register(wq, 6)) & 0xffff
    }

    pub fn r32(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.function.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub fn r64(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.function.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub fn w32(&self, offset: u64, value: u32) {
        self.function.write(offset, &value.to_le_bytes());
    }

    pub fn w64(&self, offset: u64, value: u64) {
        self.function.write(offset, &value.to_le_bytes());
    }

    /// Where the tables begin: groups, queues, permissions.
    pub fn tables(&self) -> [u64; 3] {
        let offsets = self.r64(0x60);
        [0, 16, 32].map(|shift| (offsets >> shift & 0xffff) * 0x100)
    }

    pub fn queue_register(&self, wq: usize, word: usize) -> u64 {
        self.tables()[1] + 64 * wq as u64 + 4 * word as u64
    }

    pub fn group_register(&self, group: usize, byte: u64) -> u64 {
        self.tables()[0] + 64 * group as u64 + byte
    }

    /// Writes queues, and groups with one engine each.
    pub fn configure(&self, queues: &[Queue]) {
        for (wq, queue) in queues.iter().enumerate() {
            self.write_queue(wq, queue);
        }
        for group in 0..4 {
            let of_group = queues.iter().enumerate().filter(|(_, q)| q.group == group);
            let bits = of_group.fold(0u64, |bits, (wq, _)| bits | 1 << wq);
            self.w64(self.group_register(group, 0), bits);
            self.w64(self.group_register(group, 32), if bits == 0 { 0 } else { 1 << group });
            self.w64(self.group_register(group, 40), 96 << 20);
        }
    }

    pub fn write_queue(&self, wq: usize, queue: &Queue) {
        for (word, value) in queue.words().into_iter().enumerate() {
            self.w32(self.queue_register(wq, word), value);
        }
    }

    /// Starts a command and does not wait.
    pub fn start(&self, command: u32, operand: u32) {
        self.w32(CMD, command << 20 | operand | INTERRUPT);
    }

    /// Executes a command as the driver does: waits for the interrupt, reads the status.
    pub fn command(&self, command: u32, operand: u32) -> u32 {
        self.start(command, operand);
        self.wait_command()
    }

    /// Waits for the interrupt of the command that was started.
    pub fn wait_command(&self) -> u32 {
        wait(|| self.r32(INTCAUSE) & 2 != 0);
        self.w32(INTCAUSE, 2);
        let status = self.r32(CMDSTS);
        assert_eq!(status & ACTIVE, 0);
        status
    }

    /// 0 disabled, 1 enabled, 2 draining, 3 halted.
    pub fn device_state(&self) -> u32 {
        self.r32(GENSTS) & 3
    }

    pub fn state(&self, wq: usize) -> u32 {
        self.r32(self.queue_register(wq, 6)) >> 30
    }

    /// One line to a portal of a queue.
    pub fn submit(&self, wq: usize, kind: usize, d: &Descriptor, by: Instruction) -> PortalAnswer {
        let line: [u8; 64] = d.as_bytes().try_into().unwrap();
        self.function.portal(portal::bar_offset(wq as u8, kind) as u64, &line, by)
    }

    /// ENQCMD to the limited portal.
    pub fn enqcmd(&self, wq: usize, pasid: u32, d: &Descriptor) -> PortalAnswer {
        self.submit(wq, portal::LIMITED_MSIX, d, Instruction::Enqcmd { pasid: Some(pasid) })
    }

    /// MOVDIR64B to the unlimited portal.
    pub fn movdir64b(&self, wq: usize, d: &Descriptor) {
        let answer = self.submit(wq, portal::UNLIMITED_MSIX, d, Instruction::Movdir64b);
        assert_eq!(answer, PortalAnswer::Accepted);
    }

    pub fn status(&self, record: u64) -> u8 {
        self.memory.status(record).unwrap()
    }

    pub fn record(&self, addr: u64) -> CompletionRecord {
        let mut record = CompletionRecord::default();
        self.memory.read(addr, record.as_mut_bytes()).unwrap();
        record
    }

    /// Makes every descriptor with this opcode take a while.
    pub fn slow(&self, code: u8, time: Duration) {
        self.function.device().inject(FaultRule::new(Effect::Delay(time)).opcode(code));
    }

    /// Asserts that something is done soon, though something else takes long.
    pub fn within<T>(limit: Duration, done: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let value = done();
        assert!(start.elapsed() < limit, "took {:?}", start.elapsed());
        value
    }
}
