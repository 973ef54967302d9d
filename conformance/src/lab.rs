//! What a case works with: memory whose expected contents are remembered, records, descriptors on their way.
//!
//! The lab keeps an image of everything that it has allocated. A case changes the image as the device must change the
//! memory; [`Lab::verify`] then compares all of it, so a stray write anywhere is found.

use idxd_sys::{CompletionRecord, Descriptor, flag, idpt, status};
use zerocopy::IntoBytes;

use crate::bench::{Answer, Bench, Capabilities, Misdeed, PAGE, Page, Queue, Space, Trouble};
use crate::case::{Check, Failure, ensure};

/// Flags of a descriptor that wants its record.
pub(crate) const RECORDED: u32 = flag::CRAV | flag::RCR;

/// Bytes somewhere in a region of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) space: Space,
    pub(crate) addr: u64,
    pub(crate) len: u64,
}

impl Area {
    /// The pages that hold it.
    pub(crate) fn pages(self) -> impl Iterator<Item = u64> {
        let last = self.addr + self.len.max(1) - 1;
        (self.addr / PAGE..=last / PAGE).map(|page| page * PAGE)
    }

    /// The part up to `len` bytes.
    pub(crate) fn first(self, len: u64) -> Self {
        Self { len: len.min(self.len), ..self }
    }

    /// The part from `offset` on.
    pub(crate) fn from(self, offset: u64) -> Self {
        Self { addr: self.addr + offset, len: self.len - offset, ..self }
    }
}

struct Region {
    space: Space,
    base: u64,
    image: Vec<u8>,
}

/// See the module.
pub(crate) struct Lab<'b> {
    bench: &'b mut dyn Bench,
    pub(crate) caps: Capabilities,
    regions: Vec<Region>,
    /// A page for records. It has no image.
    records: u64,
    state: u64,
    entries: u16,
}

impl<'b> Lab<'b> {
    pub(crate) fn new(bench: &'b mut dyn Bench) -> Self {
        let caps = bench.capabilities().clone();
        let records = bench.allocate(Space::Own, 1);
        bench.write(Space::Own, records, &[0; PAGE as usize]);
        Self { bench, caps, regions: Vec::new(), records, state: 0x9e37_79b9_7f4a_7c15, entries: 0 }
    }

    /// The next of a fixed sequence of numbers without a pattern (xorshift).
    pub(crate) fn number(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Bytes without a pattern.
    pub(crate) fn noise(&mut self, len: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len as usize + 8);
        while bytes.len() < len as usize {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(len as usize);
        bytes
    }

    /// Memory of `len` bytes, `offset` bytes into its first page, in pages full of noise.
    pub(crate) fn area(&mut self, space: Space, offset: u64, len: u64) -> Area {
        let pages = (offset + len).div_ceil(PAGE).max(1);
        let base = self.bench.allocate(space, pages);
        let image = self.noise(pages * PAGE);
        self.bench.write(space, base, &image);
        self.regions.push(Region { space, base, image });
        Area { space, addr: base + offset, len }
    }

    /// An area of one's own with these contents.
    pub(crate) fn area_of(&mut self, offset: u64, bytes: &[u8]) -> Area {
        let area = self.area(Space::Own, offset, bytes.len() as u64);
        self.put(area, bytes);
        area
    }

    /// Writes the first bytes of an area, in memory and image.
    pub(crate) fn put(&mut self, area: Area, bytes: &[u8]) {
        self.expect(area, bytes);
        self.bench.write(area.space, area.addr, bytes);
    }

    /// What the first bytes of an area are now expected to be.
    pub(crate) fn expect(&mut self, area: Area, bytes: &[u8]) {
        let (at, region) = self.find(area);
        region.image[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// What an area is expected to hold.
    pub(crate) fn image(&mut self, area: Area) -> Vec<u8> {
        let (at, region) = self.find(area);
        region.image[at..at + area.len as usize].to_vec()
    }

    /// Takes an area as it is now for what is expected of it.
    pub(crate) fn accept(&mut self, area: Area) {
        let mut bytes = vec![0; area.len as usize];
        self.bench.read(area.space, area.addr, &mut bytes);
        self.expect(area, &bytes);
    }

    fn find(&mut self, area: Area) -> (usize, &mut Region) {
        let inside = |r: &&mut Region| {
            r.space == area.space && r.base <= area.addr && area.addr + area.len <= r.base + r.image.len() as u64
        };
        let region = self.regions.iter_mut().find(inside).expect("an area of this lab");
        ((area.addr - region.base) as usize, region)
    }

    /// Compares all memory with what is expected of it.
    pub(crate) fn verify(&mut self) -> Check {
        self.verify_but(&[])
    }

    /// The same, apart from areas of which nothing is expected.
    pub(crate) fn verify_but(&mut self, except: &[Area]) -> Check {
        for region in &self.regions {
            let mut bytes = vec![0; region.image.len()];
            self.bench.read(region.space, region.base, &mut bytes);
            if bytes == region.image {
                continue;
            }
            let excepted =
                |addr: u64| except.iter().any(|a| a.space == region.space && (a.addr..a.addr + a.len).contains(&addr));
            let wrong = (0..bytes.len()).find(|i| bytes[*i] != region.image[*i] && !excepted(region.base + *i as u64));
            if let Some(at) = wrong {
                let (addr, found, expected) = (region.base + at as u64, bytes[at], region.image[at]);
                return Err(Failure(format!("{addr:#x} holds {found:#04x} instead of {expected:#04x}")));
            }
        }
        Ok(())
    }

    /// The address of the n-th record, which is cleared.
    pub(crate) fn record(&mut self, n: u64) -> u64 {
        let addr = self.records + 32 * n;
        self.bench.write(Space::Own, addr, &[0; 32]);
        addr
    }

    /// A descriptor that wants the first record.
    pub(crate) fn descriptor(&mut self, opcode: u8, flags: u32) -> Descriptor {
        let mut d = Descriptor { completion_addr: self.record(0), ..Descriptor::default() };
        d.set_opcode_flags(opcode, RECORDED | flags);
        d
    }

    /// Submits, and waits for the record.
    pub(crate) fn run(&mut self, d: &Descriptor) -> Check<CompletionRecord> {
        self.run_on(Queue::Main, d)
    }

    /// The same on another queue.
    pub(crate) fn run_on(&mut self, queue: Queue, d: &Descriptor) -> Check<CompletionRecord> {
        self.bench.write(Space::Own, d.completion_addr, &[0; 32]);
        self.submit(queue, d)?;
        let record = self.bench.wait(d.completion_addr);
        record.ok_or_else(|| Failure("no completion record".into()))
    }

    /// Submits, and waits until it has ended, with or without a record.
    pub(crate) fn send(&mut self, d: &Descriptor) -> Check {
        self.submit(Queue::Main, d)?;
        self.bench.settle();
        Ok(())
    }

    pub(crate) fn submit(&mut self, queue: Queue, d: &Descriptor) -> Check {
        let answer = if queue == Queue::Main { self.bench.submit(d) } else { self.bench.submit_to(queue, d)? };
        ensure!(answer == Answer::Accepted, "the queue refuses the descriptor");
        Ok(())
    }

    pub(crate) fn settle(&mut self) {
        self.bench.settle();
    }

    /// A record as it is now.
    pub(crate) fn look(&mut self, addr: u64) -> CompletionRecord {
        let mut record = CompletionRecord::default();
        self.bench.read(Space::Own, addr, record.as_mut_bytes());
        record
    }

    /// Runs a descriptor that must end with a status, and asserts that no memory has changed.
    pub(crate) fn refuses(&mut self, d: &Descriptor, code: u8) -> Check<CompletionRecord> {
        self.refuses_on(Queue::Main, d, code)
    }

    pub(crate) fn refuses_on(&mut self, queue: Queue, d: &Descriptor, code: u8) -> Check<CompletionRecord> {
        let record = self.run_on(queue, d)?;
        has_status(&record, code)?;
        self.verify()?;
        Ok(record)
    }

    pub(crate) fn set_page(&mut self, space: Space, page: u64, state: Page) -> Check {
        Ok(self.bench.set_page(space, page, state)?)
    }

    pub(crate) fn misbehave(&mut self, misdeed: Misdeed) -> Check {
        Ok(self.bench.misbehave(misdeed)?)
    }

    /// Sends a descriptor that must not be taken.
    pub(crate) fn is_turned_away(&mut self, d: &Descriptor) -> Check {
        ensure!(self.bench.submit(d) == Answer::Refused, "the queue takes a descriptor");
        Ok(())
    }

    pub(crate) fn fail_next(&mut self, code: u8) -> Check {
        Ok(self.bench.fail_next(code)?)
    }

    /// The errors without a record since the last call.
    pub(crate) fn troubles(&mut self) -> Check<Vec<Trouble>> {
        Ok(self.bench.troubles()?)
    }

    /// The only error without a record since the last call.
    pub(crate) fn trouble(&mut self, code: u8) -> Check<Trouble> {
        let all = self.troubles()?;
        let found = all.iter().find(|trouble| trouble.code == code).copied();
        found.ok_or_else(|| Failure(format!("no error {code:#04x} is reported, but {all:?}")))
    }

    /// An entry that opens the other space to this one, and its handle.
    pub(crate) fn entry(&mut self) -> Check<Entry> {
        let [own, other] = self.bench.pasids()?;
        Ok(Entry::of(own, other))
    }

    /// The PASIDs of this space and the other one.
    pub(crate) fn pasids(&mut self) -> Check<[u32; 2]> {
        Ok(self.bench.pasids()?)
    }

    /// Writes an entry of the permissions table: the next one.
    pub(crate) fn open(&mut self, entry: Entry) -> Check<u16> {
        let index = self.entries % 8;
        self.entries += 1;
        Ok(self.bench.set_entry(index, entry.0)?)
    }

    pub(crate) fn abort_while(&mut self, d: &Descriptor, page: u64) -> Check<CompletionRecord> {
        self.bench.write(Space::Own, d.completion_addr, &[0; 32]);
        self.bench.abort_while(d, page)?;
        let record = self.bench.wait(d.completion_addr);
        record.ok_or_else(|| Failure("no completion record after the abort".into()))
    }
}

/// An entry of the permissions table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(pub(crate) [u64; 4]);

impl Entry {
    /// One that opens the memory of `access` to `submitter`, all of it, to read and write.
    pub(crate) fn of(submitter: u32, access: u32) -> Self {
        let pasids = u64::from(submitter) << idpt::SUBMITTER_SHIFT | u64::from(access) << idpt::ACCESS_SHIFT;
        Self([idpt::USABLE | idpt::READ | idpt::WRITE | pasids, 0, 0, 0])
    }

    pub(crate) fn with(mut self, bits: u64) -> Self {
        self.0[0] |= bits;
        self
    }

    pub(crate) fn without(mut self, bits: u64) -> Self {
        self.0[0] &= !bits;
        self
    }

    pub(crate) fn window(mut self, base: u64, size: u64) -> Self {
        self.0[1] = base;
        self.0[2] = size;
        self.with(idpt::WINDOW_ENABLE)
    }
}

/// Asserts the status of a record, without bit 7.
pub(crate) fn has_status(record: &CompletionRecord, code: u8) -> Check {
    let found = record.status & status::CODE_MASK;
    ensure!(found == code, "status {found:#04x} instead of {code:#04x} in {record:x?}");
    Ok(())
}

/// The same descriptor with some bits of its flags set, others not.
pub(crate) fn flagged(mut d: Descriptor, set: u32, clear: u32) -> Descriptor {
    d.set_opcode_flags(d.opcode(), d.flags() & !clear | set);
    d
}

/// The same descriptor with bits of one byte set.
pub(crate) fn with_byte(d: Descriptor, byte: usize, bits: u8) -> Descriptor {
    let mut bytes: [u8; 64] = zerocopy::transmute!(d);
    bytes[byte] |= bits;
    zerocopy::transmute!(bytes)
}
