//! The variants of each operation, the yardstick of its tables first.

use std::ptr;

use dsa::cpu::Tier;
use dsa_benches::cell::Bytes;
use dsa_benches::grid::{BLOCK, Operation, Place, Residency};
use dsa_benches::regret::Kind;

use super::dml::Dml;
use super::duo::Duo;
use super::isal::Isal;
use super::machine::Cores;
use super::memory::Memory;
use super::slots::{EQUAL, Each, PATTERN, Slot, Work};
use super::{kernels, loops, ours, peers};

pub(crate) const OURS: &str = "dsa";
pub(crate) const UNHINTED: &str = "dsa, no hint";
pub(crate) const MEMCPY: &str = "glibc memcpy";
pub(crate) const MEMSET: &str = "glibc memset";
pub(crate) const MEMCMP: &str = "glibc memcmp";
pub(crate) const WORD_FILL: &str = "Rust fill of u64";
pub(crate) const ALL_WORDS: &str = "Rust iter().all()";
pub(crate) const CRC_FAST: &str = "crc-fast";
pub(crate) const TWO_PASSES: &str = "memcpy then crc-fast";
pub(crate) const CHUNKED: [&str; 3] = ["chunked 4KiB", "chunked 8KiB", "chunked 16KiB"];
pub(crate) const READ: &str = "plain read";
pub(crate) const PAST_CACHES: &str = "non-temporal loop";
pub(crate) const TWO_THREADS: &str = "non-temporal, two threads";
pub(crate) const ISAL_TWO_PASSES: &str = "memcpy then ISA-L crc16";
pub(crate) const ISAL_FUSED: &str = "ISA-L crc16_t10dif_copy";
pub(crate) const DML: &str = "DML software path";

/// A way to do an operation.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) work: Box<dyn Work>,
}

/// What variants are made of.
pub(crate) struct Stock {
    pub(crate) cores: Cores,
    pub(crate) isal: Option<Isal>,
    pub(crate) dml: Option<Dml>,
}

impl Stock {
    /// What there is, and a line for each thing that is not, with the reason.
    pub(crate) fn new(cores: Cores) -> (Self, Vec<String>) {
        let (isal, dml) = (Isal::load(), Dml::load());
        let mut absent = Vec::new();
        if let Err(reason) = &isal {
            absent.push(format!("ISA-L: absent ({reason})"));
        }
        match &dml {
            Err(reason) => absent.push(format!("DML: absent ({reason})")),
            Ok(dml) if !dml.refused.is_empty() => absent.push(format!("DML: it refuses {}", dml.refused.join(", "))),
            Ok(_) => {}
        }
        (Self { cores, isal: isal.ok(), dml: dml.ok() }, absent)
    }

    fn with_isal(&self, add: impl FnOnce(Isal)) {
        if let Some(isal) = self.isal {
            add(isal);
        }
    }
}

/// A list that grows.
struct List(Vec<Variant>);

impl List {
    fn add(&mut self, kind: Kind, name: &str, work: impl Fn(Slot) -> u64 + 'static) {
        self.0.push(Variant { name: name.to_owned(), kind, work: Box::new(Each(work)) });
    }

    fn peer(&mut self, name: &str, work: impl Fn(Slot) -> u64 + 'static) {
        self.add(Kind::Peer, name, work);
    }

    fn limit(&mut self, name: &str, work: impl Fn(Slot) -> u64 + 'static) {
        self.add(Kind::Limit, name, work);
    }

    fn ours(&mut self, work: impl Fn(Slot) -> u64 + 'static) {
        self.add(Kind::Ours, OURS, work);
    }

    /// The engine's function with and without the hint of the cell.
    fn hinted<F: Fn(Slot) -> u64 + 'static>(&mut self, place: Place, with: impl Fn(dsa::cpu::Hint) -> F) {
        self.ours(with(ours::hint(place.residency)));
        // In the last-level cache, to know nothing is the hint.
        if ours::HINTED.contains(&place.operation) && place.residency != Residency::L3 {
            self.add(Kind::Unhinted, UNHINTED, with(dsa::cpu::Hint::Unknown));
        }
    }

    /// What reading alone takes.
    fn read(&mut self, bytes: impl Fn(usize) -> usize + 'static) {
        if Tier::current() >= Tier::Avx512 {
            // SAFETY: the slot is valid, of 64 bytes or more, and the CPU has the instructions.
            self.limit(READ, move |s| unsafe { loops::read_512(s.source, bytes(s.len)) });
        } else if Tier::current() >= Tier::Avx2 {
            // SAFETY: likewise.
            self.limit(READ, move |s| unsafe { loops::read_256(s.source, bytes(s.len)) });
        }
    }
}

/// All variants of a cell.
pub(crate) fn of(place: Place, memory: &Memory, stock: &Stock) -> Vec<Variant> {
    let mut list = List(Vec::new());
    match place.operation {
        Operation::Copy => copy(&mut list, place, stock),
        Operation::Fill => fill(&mut list, place),
        Operation::Crc32c => crc32c(&mut list, place, stock),
        Operation::Crc64 => crc64(&mut list),
        Operation::CopyCrc32c => copy_crc32c(&mut list, place, stock),
        Operation::Compare => compare(&mut list),
        Operation::ComparePattern => compare_pattern(&mut list),
        Operation::DeltaEqual | Operation::DeltaSparse | Operation::DeltaDense => delta(&mut list, memory),
        Operation::Dualcast => dualcast(&mut list, place),
        Operation::DifInsert => dif_insert(&mut list, place, stock),
        Operation::DifCheck => dif_check(&mut list, stock),
        Operation::DixGenerate => dix_generate(&mut list, stock),
    }
    if let Some(dml) = stock.dml.as_ref().and_then(|dml| dml.of(place)) {
        let record = memory.record();
        // SAFETY: as said below; the record is that of all variants, and all variants of this kind run on one thread.
        list.peer(DML, move |s| unsafe { dml.run(s, record) });
    }
    // Vectors need whole ones.
    if place.size < 64 {
        list.0.retain(|variant| ![READ, PAST_CACHES].contains(&&*variant.name));
    }
    list.0
}

// All closures below are called with slots of the benchmark's own memory, whose regions are valid for the operation's bytes, do
// not overlap, and are nobody else's while a slice runs; and with instructions that the tier has.

fn copy(list: &mut List, place: Place, stock: &Stock) {
    // SAFETY: as said above, for all of these.
    list.peer(MEMCPY, |s| unsafe { peers::memcpy(s.source, s.target, s.len) });
    // SAFETY: as said above.
    list.hinted(place, |hint| move |s: Slot| unsafe { ours::copy(hint, s.source, s.target, s.len) });
    for kernel in kernels::copy() {
        // SAFETY: as said above.
        list.add(Kind::Kernel, kernel.name, move |s| unsafe {
            (kernel.run)(s.source, s.target, s.len);
            0
        });
    }
    // SAFETY: as said above.
    list.peer("rep movsb", |s| unsafe {
        loops::rep_movsb(s.source, s.target, s.len);
        0
    });
    if Tier::current() >= Tier::Avx512 {
        // SAFETY: as said above.
        list.peer("AVX-512 loop", |s| unsafe {
            loops::copy_512(s.source, s.target, s.len);
            0
        });
    }
    if Tier::current() >= Tier::Avx2 {
        // SAFETY: as said above.
        list.peer(PAST_CACHES, |s| unsafe {
            loops::copy_past_caches(s.source, s.target, s.len);
            0
        });
        if place.residency == Residency::Cold && place.size >= 1 << 20 && stock.cores.are_two() {
            let work = Box::new(Duo::new(&stock.cores));
            list.0.push(Variant { name: TWO_THREADS.to_owned(), kind: Kind::Limit, work });
        }
    }
}

fn fill(list: &mut List, place: Place) {
    // SAFETY: as said above, for all of these.
    list.limit(MEMSET, |s| unsafe { peers::memset(s.target, s.len) });
    // SAFETY: as said above.
    list.hinted(place, |hint| move |s: Slot| unsafe { ours::fill(hint, s.target, s.len) });
    for kernel in kernels::fill() {
        // SAFETY: as said above.
        list.add(Kind::Kernel, kernel.name, move |s| unsafe {
            (kernel.run)(s.target, s.len, [PATTERN; 2]);
            0
        });
    }
    if !place.size.is_multiple_of(8) {
        return;
    }
    // SAFETY: as said above.
    list.peer(WORD_FILL, |s| unsafe { peers::word_fill(s.target, s.len) });
    // SAFETY: as said above.
    list.peer("rep stosq", |s| unsafe {
        loops::rep_stosq(s.target, s.len, PATTERN);
        0
    });
    if Tier::current() >= Tier::Avx512 {
        // SAFETY: as said above.
        list.peer("AVX-512 loop", |s| unsafe {
            loops::fill_512(s.target, s.len, PATTERN);
            0
        });
    }
    if Tier::current() >= Tier::Avx2 {
        // SAFETY: as said above.
        list.peer(PAST_CACHES, |s| unsafe {
            loops::fill_past_caches(s.target, s.len, PATTERN);
            0
        });
    }
}

fn crc32c(list: &mut List, place: Place, stock: &Stock) {
    // SAFETY: as said above, for all of these.
    list.peer(CRC_FAST, |s| unsafe { peers::crc_fast_32(s.source, s.len) });
    // SAFETY: as said above.
    list.hinted(place, |hint| move |s: Slot| unsafe { ours::crc32c(hint, s.source, s.len) });
    for kernel in kernels::crc32c() {
        // SAFETY: as said above.
        list.add(Kind::Kernel, kernel.name, move |s| u64::from(unsafe { (kernel.run)(0, s.source, s.len) }));
    }
    // SAFETY: as said above.
    list.peer("crc32c crate", |s| unsafe { peers::crc32c_crate(s.source, s.len) });
    stock.with_isal(|isal| {
        // SAFETY: as said above.
        list.peer("ISA-L crc32_iscsi", move |s| unsafe { isal.crc32c(s.source, s.len) });
    });
    list.read(|len| len);
}

fn crc64(list: &mut List) {
    // SAFETY: as said above, for all of these.
    list.peer(CRC_FAST, |s| unsafe { peers::crc_fast_64(s.source, s.len) });
    // SAFETY: as said above.
    list.ours(|s| unsafe { ours::crc64(s.source, s.len) });
    list.read(|len| len);
}

fn copy_crc32c(list: &mut List, place: Place, stock: &Stock) {
    // SAFETY: as said above, for all of these.
    list.peer(TWO_PASSES, |s| unsafe { peers::two_passes(s.source, s.target, s.len) });
    // SAFETY: as said above.
    list.hinted(place, |hint| move |s: Slot| unsafe { ours::copy_crc32c(hint, s.source, s.target, s.len) });
    for kernel in kernels::copy_crc32c() {
        // SAFETY: as said above.
        list.add(Kind::Kernel, kernel.name, move |s| u64::from(unsafe { (kernel.run)(0, s.source, s.target, s.len) }));
    }
    for (name, step) in CHUNKED.into_iter().zip([4 << 10, 8 << 10, 16 << 10]) {
        debug_assert!(name.ends_with(&Bytes(step).to_string()));
        // SAFETY: as said above.
        list.peer(name, move |s| unsafe { peers::chunked(s.source, s.target, s.len, step) });
    }
    stock.with_isal(|isal| {
        // SAFETY: as said above.
        list.peer("memcpy then ISA-L crc32_iscsi", move |s| unsafe {
            ptr::copy_nonoverlapping(s.source, s.target, s.len);
            isal.crc32c(s.target, s.len)
        });
    });
    // SAFETY: as said above.
    list.limit(MEMCPY, |s| unsafe { peers::memcpy(s.source, s.target, s.len) });
    // SAFETY: as said above.
    list.limit(CRC_FAST, |s| unsafe { peers::crc_fast_32(s.source, s.len) });
}

fn compare(list: &mut List) {
    // SAFETY: as said above, for all of these.
    list.peer(MEMCMP, |s| unsafe { peers::memcmp(s.source, s.target, s.len) });
    // SAFETY: as said above.
    list.ours(|s| unsafe { ours::compare(s.source, s.target, s.len) });
    for kernel in kernels::compare() {
        // SAFETY: as said above.
        let run = move |s: Slot| unsafe { (kernel.run)(s.source, s.target, s.len) }.map_or(EQUAL, |at| at as u64);
        list.add(Kind::Kernel, kernel.name, run);
    }
}

fn compare_pattern(list: &mut List) {
    // SAFETY: as said above, for all of these.
    list.peer(ALL_WORDS, |s| unsafe { peers::all_words(s.source, s.len) });
    // SAFETY: as said above.
    list.ours(|s| unsafe { ours::compare_pattern(s.source, s.len) });
    for kernel in kernels::compare_pattern() {
        // SAFETY: as said above.
        let run = move |s: Slot| unsafe { (kernel.run)(s.source, s.len, PATTERN) }.map_or(EQUAL, |at| at as u64);
        list.add(Kind::Kernel, kernel.name, run);
    }
    list.read(|len| len);
}

fn delta(list: &mut List, memory: &Memory) {
    let record = memory.record();
    // SAFETY: as said above, for all of these; the record has room for an entry for each word, and is nobody else's.
    list.peer("Rust loop over u64", move |s| unsafe { peers::word_delta(s.source, s.target, s.len, record) });
    // SAFETY: as said above.
    list.ours(move |s| unsafe { ours::create_delta(s.source, s.target, s.len, record) });
    // SAFETY: as said above; the second region is equal to the source.
    list.limit(MEMCMP, |s| unsafe { peers::memcmp(s.source, s.second, s.len) });
}

fn dualcast(list: &mut List, place: Place) {
    // SAFETY: as said above, for all of these.
    list.peer("two memcpys", |s| unsafe { peers::two_copies(s.source, s.target, s.second, s.len) });
    // SAFETY: as said above.
    list.hinted(place, |hint| move |s: Slot| unsafe { ours::dualcast(hint, s.source, s.target, s.second, s.len) });
    for kernel in kernels::dualcast() {
        // SAFETY: as said above.
        list.add(Kind::Kernel, kernel.name, move |s| unsafe {
            (kernel.run)(s.source, s.target, s.second, s.len);
            0
        });
    }
    // SAFETY: as said above.
    list.peer("two memcpys, chunked 16KiB", |s| unsafe { peers::chunked_copies(s.source, s.target, s.second, s.len) });
}

fn dif_insert(list: &mut List, place: Place, stock: &Stock) {
    // SAFETY: as said above, for all of these.
    list.peer("memcpy then crc-fast crc16", |s| unsafe {
        peers::insert(s.source, s.target, s.len, |from, to| {
            ptr::copy_nonoverlapping(from, to, BLOCK);
            peers::crc_fast_16(from)
        })
    });
    // SAFETY: as said above.
    list.hinted(place, |hint| move |s: Slot| unsafe { ours::dif_insert(hint, s.source, s.target, s.len) });
    stock.with_isal(|isal| {
        // SAFETY: as said above.
        list.peer(ISAL_TWO_PASSES, move |s| unsafe {
            peers::insert(s.source, s.target, s.len, |from, to| {
                ptr::copy_nonoverlapping(from, to, BLOCK);
                isal.crc16(from)
            })
        });
        // SAFETY: as said above.
        list.peer(ISAL_FUSED, move |s| unsafe {
            peers::insert(s.source, s.target, s.len, |from, to| isal.crc16_copy(from, to))
        });
    });
    // SAFETY: as said above.
    list.limit(MEMCPY, |s| unsafe { peers::memcpy(s.source, s.target, s.len) });
}

fn dif_check(list: &mut List, stock: &Stock) {
    // SAFETY: as said above, for all of these.
    list.peer("crc-fast crc16", |s| unsafe { peers::check(s.source, s.len, |block| peers::crc_fast_16(block)) });
    // SAFETY: as said above.
    list.ours(|s| unsafe { ours::dif_check(s.source, s.len) });
    stock.with_isal(|isal| {
        // SAFETY: as said above.
        list.peer("ISA-L crc16_t10dif", move |s| unsafe { peers::check(s.source, s.len, |block| isal.crc16(block)) });
    });
    list.read(|len| Operation::DifCheck.source_bytes(len));
}

fn dix_generate(list: &mut List, stock: &Stock) {
    // SAFETY: as said above, for all of these.
    list.peer("crc-fast crc16", |s| unsafe {
        peers::generate(s.source, s.target, s.len, |block| peers::crc_fast_16(block))
    });
    // SAFETY: as said above.
    list.ours(|s| unsafe { ours::dix_generate(s.source, s.target, s.len) });
    stock.with_isal(|isal| {
        // SAFETY: as said above.
        list.peer("ISA-L crc16_t10dif", move |s| unsafe {
            peers::generate(s.source, s.target, s.len, |block| isal.crc16(block))
        });
    });
    list.read(|len| len);
}
