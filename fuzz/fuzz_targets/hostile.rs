//! A hostile submitter: any descriptors, any lists, any permissions table, on memory of several processes and behind the
//! software IOMMU.
//!
//! Nothing may panic or hang, and no byte may change where no write can lead: in memory that is read-only, absent and stays
//! so, or belongs to a process that no entry of the table names; in what a process has only for others to read; and outside
//! the windows, where all entries for writing have one.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use dsa_emulator::iommu::{Binding, DeviceId, DeviceOptions, Iommu, IommuOptions, PagePolicy, Process};
use dsa_emulator::memory::PAGE_SIZE;
use dsa_emulator::{
    AddressSpace, CheckedMemory, Checks, Client, Device, Effect, Enqcmd, FaultRule, PasidMemory, Permission,
    PermissionEntry, WqConfig,
};
use dsa_fuzz::{ABSENT, DATA, DATA_LEN, LIST, MAX_MEMBERS, READ_ONLY, RECORDS, Raw, preset};
use idxd_sys::{Descriptor, flag, idpt, opcode, status};
use libfuzzer_sys::fuzz_target;
use zerocopy::IntoBytes;

#[derive(Arbitrary, Debug)]
struct Input {
    generation: u8,
    lenient: bool,
    small_chunks: bool,
    /// Behind the IOMMU, with a device TLB or without.
    iommu: Option<bool>,
    /// Page requests are refused.
    refuse: bool,
    trouble: Option<u64>,
    entries: Vec<Entry>,
    /// What the data of the submitter begins with: lists, tuples, delta records, bitmaps.
    head: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Single(Raw),
    Batch { list: Option<(u64, u32)>, members: Vec<Raw> },
}

/// An entry of the table: any words, or a tame one.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Entry {
    Any([u64; 4]),
    Tame { submitter: u8, access: u8, permissions: u8, window: Option<(u16, u16)>, offset: bool, bitmap: bool },
}

/// Processes: the submitter, two that entries may name, and one that none does.
const PROCESSES: usize = 4;
/// Pages of each of them.
const PAGES: u64 = DATA_LEN / PAGE_SIZE + 2;
/// Entries of the table that are set.
const ENTRIES: usize = 4;
const ID: DeviceId = DeviceId::new(0x6a, 1, 0);

impl Entry {
    /// The entry, which does not name the last process.
    fn get(self, pasids: [u32; PROCESSES]) -> PermissionEntry {
        match self {
            Self::Any(mut words) => {
                if idpt::access(words[0]) == pasids[PROCESSES - 1] {
                    words[0] ^= 1 << (idpt::ACCESS_SHIFT + 19);
                }
                PermissionEntry::from_words(words)
            }
            Self::Tame { submitter, access, permissions, window, offset, bitmap } => {
                let access = pasids[usize::from(access) % (PROCESSES - 1)];
                let entry = if bitmap {
                    PermissionEntry::multiple(DATA, access)
                } else {
                    PermissionEntry::single(pasids[usize::from(submitter) % 2], access)
                };
                let entry = entry.permit(permissions & 1 != 0, permissions & 2 != 0).allow_update(permissions & 4 != 0);
                match window {
                    None => entry,
                    Some((at, size)) if offset => entry.offset_window(DATA + u64::from(at), u64::from(size)),
                    Some((at, size)) => entry.window(DATA + u64::from(at), u64::from(size)),
                }
            }
        }
    }
}

/// The memory of all processes, and a way to look at it from behind.
enum Memory {
    Checked(Arc<PasidMemory>, [u32; PROCESSES]),
    Iommu { ram: Arc<CheckedMemory>, _processes: Vec<(Process, Binding)> },
}

/// Physical memory behind the IOMMU: for each process its data, a page to read only, its records, its list, and a page that
/// nobody maps.
const RAM: u64 = 1 << 32;
const FRAMES: u64 = PAGES + 4;

fn frame(process: usize, page: u64) -> u64 {
    RAM + (process as u64 * FRAMES + page) * PAGE_SIZE
}

/// What each process has: address, pages, frame, permission.
const MAP: [(u64, u64, u64, Permission); 4] = [
    (DATA, PAGES, 0, Permission::ReadWrite),
    (READ_ONLY, 1, PAGES, Permission::ReadOnly),
    (RECORDS, 1, PAGES + 1, Permission::ReadWrite),
    (LIST, 1, PAGES + 2, Permission::ReadWrite),
];

impl Memory {
    /// Bytes of a process at an address of [`MAP`].
    fn read(&self, process: usize, address: u64, bytes: &mut [u8]) {
        match self {
            Self::Checked(memory, pasids) => memory.of(pasids[process]).read(address, bytes).expect("mapped"),
            Self::Iommu { ram, .. } => ram.read(physical(process, address), bytes).expect("mapped"),
        }
    }

    fn write(&self, process: usize, address: u64, bytes: &[u8]) {
        match self {
            Self::Checked(memory, pasids) => memory.of(pasids[process]).write(address, bytes).expect("mapped"),
            Self::Iommu { ram, .. } => ram.write(physical(process, address), bytes).expect("mapped"),
        }
    }
}

fn physical(process: usize, address: u64) -> u64 {
    let of = |(at, pages, _, _): &&(u64, u64, u64, Permission)| (*at..*at + *pages * PAGE_SIZE).contains(&address);
    let (at, _, first, _) = MAP.iter().find(of).expect("one of the map");
    frame(process, *first) + (address - at)
}

/// A device, its client, the memory, and the PASIDs of the processes.
struct Machine {
    device: Device,
    client: Client,
    memory: Memory,
    pasids: [u32; PROCESSES],
}

impl Machine {
    fn new(input: &Input) -> Self {
        let (space, memory, pasids) = match input.iommu {
            None => checked(input),
            Some(device_tlb) => behind_iommu(input, device_tlb),
        };
        let queue = WqConfig::shared(16).block_on_fault(true).max_batch_size(MAX_MEMBERS as u32);
        let mut config = preset(input.generation)
            .queue(queue)
            .manual()
            .checks(if input.lenient { Checks::Lenient } else { Checks::Strict })
            .chunk(if input.small_chunks { 61 } else { 4096 });
        config.inter_domain.request_handles = false;
        let device = Device::with_memory(config, space).expect("the configuration is valid");
        for (index, entry) in input.entries.iter().take(ENTRIES).enumerate() {
            // There may be no table.
            let _ = device.permissions().set(index as u16, entry.get(pasids));
        }
        if let Some(seed) = input.trouble {
            let rule = FaultRule::new(Effect::PageFault { resolvable: seed & 1 == 0 });
            device.inject(rule.every(1 + seed % 7).limit(16));
        }
        let client = device.open_with_pasid(0, pasids[0]).expect("the queue is enabled");
        Self { device, client, memory, pasids }
    }

    fn submit(&self, d: &Descriptor) {
        // SAFETY: the device has an address space of its own.
        let answer = unsafe { self.client.enqcmd(d) };
        assert_eq!(answer, Enqcmd::Accepted, "the queue is empty and enabled");
        self.device.run_until_idle();
        assert_eq!(self.client.outstanding(), 0, "idle means that nothing is left");
    }
}

type Space = Arc<dyn AddressSpace>;

fn checked(input: &Input) -> (Space, Memory, [u32; PROCESSES]) {
    let pasids = [1, 2, 3, 4];
    let memory = Arc::new(PasidMemory::new());
    for pasid in pasids {
        let own = memory.of(pasid);
        for (at, pages, _, permission) in MAP {
            own.map(at, pages * PAGE_SIZE, permission).expect("arenas are disjoint");
        }
        own.set_present(ABSENT, 2 * PAGE_SIZE, false).expect("mapped");
        own.set_resolvable(ABSENT, PAGE_SIZE, !input.refuse).expect("mapped");
    }
    (memory.clone(), Memory::Checked(memory, pasids), pasids)
}

fn behind_iommu(input: &Input, device_tlb: bool) -> (Space, Memory, [u32; PROCESSES]) {
    let ram = Arc::new(CheckedMemory::new());
    ram.map(RAM, PROCESSES as u64 * FRAMES * PAGE_SIZE, Permission::ReadWrite).expect("the first arena");
    let iommu = Iommu::new(ram.clone(), IommuOptions::default().entries(8, 4));
    let options = DeviceOptions::default().device_tlb(device_tlb).page_requests(true);
    let memory = iommu.add_device(ID, options).expect("the first device");
    let mut pasids = [0; PROCESSES];
    let mut processes = Vec::new();
    for (number, pasid) in pasids.iter_mut().enumerate() {
        let process = iommu.process();
        for (at, pages, first, permission) in MAP {
            process.map(at, frame(number, first), pages * PAGE_SIZE, permission).expect("frames exist");
        }
        process.evict(ABSENT, PAGE_SIZE).expect("mapped");
        process.unmap(ABSENT + PAGE_SIZE, PAGE_SIZE).expect("mapped");
        process.set_page_policy(if input.refuse { PagePolicy::Refuse } else { PagePolicy::Grant });
        let binding = iommu.bind(ID, &process).expect("there are PASIDs");
        *pasid = binding.pasid().get();
        processes.push((process, binding));
    }
    (memory, Memory::Iommu { ram, _processes: processes }, pasids)
}

/// Where a process that is not the submitter may be written: nowhere, anywhere, or in windows.
#[derive(Debug)]
enum Reach {
    Nothing,
    All,
    Windows(Vec<(u64, u64)>),
}

fn reach(input: &Input, pasids: [u32; PROCESSES], process: usize) -> Reach {
    let entries: Vec<[u64; 4]> = input.entries.iter().take(ENTRIES).map(|entry| entry.get(pasids).words()).collect();
    let of_process = |words: &&[u64; 4]| idpt::access(words[0]) == pasids[process];
    let mut windows = Vec::new();
    for [word, base, size, _] in entries.iter().filter(of_process) {
        // Nobody but the submitter updates windows here, and only its own.
        if word & idpt::WRITE == 0 || word & idpt::USABLE == 0 {
            continue;
        }
        if word & idpt::WINDOW_ENABLE == 0 {
            return Reach::All;
        }
        windows.push((*base, *size));
    }
    if windows.is_empty() { Reach::Nothing } else { Reach::Windows(windows) }
}

/// What a run of pages of a process holds at first: bytes that tell processes and places apart, nothing in records and
/// lists.
fn at_first(process: usize, at: u64) -> &'static [u8] {
    static DATA_OF: LazyLock<[Vec<u8>; PROCESSES]> = LazyLock::new(|| {
        [0, 1, 2, 3].map(|process| (0..PAGES * PAGE_SIZE).map(|i| (i % 251) as u8 ^ 0x40 << process).collect())
    });
    static NOTHING: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
    match at {
        DATA => &DATA_OF[process],
        READ_ONLY => &DATA_OF[process][..PAGE_SIZE as usize],
        _ => &NOTHING,
    }
}

fn check(input: &Input, machine: &Machine) {
    for process in 0..PROCESSES {
        let reach = if process == 0 { Reach::All } else { reach(input, machine.pasids, process) };
        for (at, ..) in MAP {
            let was = at_first(process, at);
            let mut is = vec![0; was.len()];
            machine.memory.read(process, at, &mut is);
            if *was == is {
                continue;
            }
            // Of what the submitter may write only the rest can tell anything.
            let all = process == 0 && at != READ_ONLY;
            let skipped = if all && at == DATA {
                DATA_LEN as usize
            } else if all {
                was.len()
            } else {
                0
            };
            let differs = |(_, (was, is)): &(usize, (&u8, &u8))| was != is;
            for (offset, _) in was.iter().zip(&is).enumerate().skip(skipped).filter(differs) {
                let address = at + offset as u64;
                let may = match &reach {
                    Reach::Nothing => false,
                    Reach::All => true,
                    Reach::Windows(all) => all.iter().any(|(base, size)| address.wrapping_sub(*base) < *size),
                };
                let gone = ABSENT + if input.refuse { 0 } else { PAGE_SIZE };
                let there = at != READ_ONLY && !(gone..ABSENT + 2 * PAGE_SIZE).contains(&address);
                assert!(may && there, "byte {address:#x} of process {process} has changed; {reach:x?}");
            }
        }
    }
    if let Memory::Iommu { ram, .. } = &machine.memory {
        for process in 0..PROCESSES {
            let mut bytes = [0; PAGE_SIZE as usize];
            ram.read(frame(process, FRAMES - 1), &mut bytes).expect("a frame");
            assert_eq!(bytes, [0; PAGE_SIZE as usize], "a frame that nobody maps has changed");
        }
    }
}

fuzz_target!(|input: Input| {
    let machine = Machine::new(&input);
    for process in 0..PROCESSES {
        for at in [DATA, READ_ONLY] {
            machine.memory.write(process, at, at_first(process, at));
        }
    }
    machine.memory.write(0, DATA, &input.head[..input.head.len().min(DATA_LEN as usize)]);
    for step in input.steps.iter().take(8) {
        match step {
            Step::Single(raw) => machine.submit(&raw.descriptor(0)),
            Step::Batch { list, members } => {
                let members: Vec<Descriptor> =
                    (members.iter().take(MAX_MEMBERS).enumerate()).map(|(slot, raw)| raw.descriptor(slot)).collect();
                machine.memory.write(0, LIST, members.as_bytes());
                let (src_addr, xfer_size) = list.unwrap_or((LIST, members.len() as u32));
                let completion_addr = RECORDS + 32 * MAX_MEMBERS as u64;
                let mut batch = Descriptor { completion_addr, src_addr, xfer_size, ..Descriptor::default() };
                batch.set_opcode_flags(opcode::BATCH, flag::CRAV | flag::RCR);
                machine.submit(&batch);
                let mut record = [status::NONE];
                machine.memory.read(0, completion_addr, &mut record);
                assert_ne!(record, [status::NONE], "a batch with a good record address ends with a record");
            }
        }
    }
    check(&input, &machine);
});
