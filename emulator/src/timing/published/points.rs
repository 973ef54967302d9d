//! The tables: published figures with their experiments, and what else the literature says.

use idxd_sys::opcode::{COMPARE, COMPVAL, FILL, MEMMOVE, NOP};

use super::{Omitted, Point, Standing, Unit};
use crate::config::Mode;
use crate::timing::experiment::Experiment;
use crate::timing::operation::Operation;

const fn point(source: &'static str, what: &'static str, figure: f64, unit: Unit, experiment: Experiment) -> Point {
    Point { source, what, figure, unit, experiment, until: None, standing: Standing::Held }
}

impl Point {
    const fn until(mut self, experiment: Experiment) -> Self {
        self.until = Some(experiment);
        self
    }

    const fn contradicted(mut self, why: &'static str) -> Self {
        self.standing = Standing::Contradicted(why);
        self
    }
}

const fn unaligned(bytes: u32, destination: u64) -> Experiment {
    Experiment::Loop {
        operation: Operation::new(MEMMOVE, bytes).destination(destination),
        batch: 32,
        depth: 20,
        clients: 1,
        engines: 1,
        mode: Mode::Shared,
        entries: 128,
    }
}

/// Single copies on one engine.
const fn at(bytes: u32, destination: u64, depth: usize) -> Experiment {
    let operation = Operation::new(MEMMOVE, bytes).destination(destination);
    Experiment::Loop { operation, batch: 0, depth, clients: 1, engines: 1, mode: Mode::Shared, entries: 128 }
}

/// Single copies in flight.
const fn window(bytes: u32, depth: usize, clients: usize, mode: Mode, entries: u16) -> Experiment {
    let operation = Operation::new(MEMMOVE, bytes);
    Experiment::Loop { operation, batch: 0, depth, clients, engines: 4, mode, entries }
}

/// Copies of 4 KiB on two engines, as DATAPATH has them.
const fn two_engines(batch: u32, depth: usize, mode: Mode) -> Experiment {
    let operation = Operation::new(MEMMOVE, 4096);
    Experiment::Loop { operation, batch, depth, clients: 1, engines: 2, mode, entries: 64 }
}

const fn shuffle(bytes: u32) -> Experiment {
    let operation = Operation::new(MEMMOVE, bytes);
    Experiment::Loop { operation, batch: 32, depth: 20, clients: 16, engines: 4, mode: Mode::Shared, entries: 128 }
}

const fn tapping(page: u32, touch_ns: u64, all_first: bool) -> Experiment {
    Experiment::Touch { bytes: 32 << 10, page, touch_ns, all_first }
}

const fn absent(bytes: u32) -> Experiment {
    Experiment::Loop {
        operation: Operation::new(MEMMOVE, bytes).absent(0, bytes / 4096).block_on_fault(),
        batch: 32,
        depth: 20,
        clients: 1,
        engines: 4,
        mode: Mode::Shared,
        entries: 128,
    }
}

const fn split(bytes: u32) -> Experiment {
    Experiment::Split { bytes, most_percent: 33 }
}

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;
const NS: Unit = Unit::Nanoseconds;
const MIBS: Unit = Unit::MebibytesPerSecond;
const GIBS: Unit = Unit::GibibytesPerSecond;
const GBS: Unit = Unit::GigabytesPerSecond;

const OTHER_SET_UP: &str = "1 MiB copies on one device: LIGHT has 28.5 GiB/s of a single synchronous one and 29.9 of \
    batches, this has 20 to 23 * 10^9 bytes with 16 in flight. The document names neither machine, engines, queue nor buffers";
const COLLAPSE: &str = "as above; and with more threads, at the same 16 copies in flight, it falls to 13. At 1 MiB the portal \
    is idle, so this is the memory or the cache of that machine, which the model leaves out";
const SLOWER_SUBMITTER: &str = "LIGHT has 1.14 us for the same copy on one engine, and 0.49 us for a fill of 64 bytes, which \
    is more work than no operation. Other software around the device, or another clock";

/// The figures.
pub const POINTS: &[Point] = &[
    point(
        "LIGHT DSA_speed_seq",
        "copy 64 B, batches of 32, 4 engines",
        1368.0,
        MIBS,
        Experiment::batched(MEMMOVE, 64, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "copy 256 B, batches of 32, 4 engines",
        6155.0,
        MIBS,
        Experiment::batched(MEMMOVE, 256, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "copy 512 B, batches of 32, 4 engines",
        17290.0,
        MIBS,
        Experiment::batched(MEMMOVE, 512, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "copy 1 KiB, batches of 32, 4 engines",
        24159.0,
        MIBS,
        Experiment::batched(MEMMOVE, KIB, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "copy 4 KiB, batches of 32, 4 engines",
        28546.0,
        MIBS,
        Experiment::batched(MEMMOVE, 4 * KIB, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "copy 16 KiB, batches of 32, 4 engines",
        29795.0,
        MIBS,
        Experiment::batched(MEMMOVE, 16 * KIB, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "copy 1 MiB, batches of 32, 4 engines",
        29915.0,
        MIBS,
        Experiment::batched(MEMMOVE, MIB, 4),
    ),
    point(
        "LIGHT DSA_speed_rand",
        "copy 512 B at random addresses",
        17979.0,
        MIBS,
        Experiment::batched(MEMMOVE, 512, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "fill 1 MiB, batches of 32, 4 engines",
        30411.0,
        MIBS,
        Experiment::batched(FILL, MIB, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "compare 1 MiB, batches of 32, 4 engines",
        15126.0,
        MIBS,
        Experiment::batched(COMPARE, MIB, 4),
    ),
    point(
        "LIGHT DSA_speed_seq",
        "compare pattern 1 MiB, batches, 4 engines",
        30238.0,
        MIBS,
        Experiment::batched(COMPVAL, MIB, 4),
    ),
    point("LIGHT single_memcpy", "copy 64 B, synchronous, 1 engine", 750.0, NS, Experiment::synchronous(MEMMOVE, 64)),
    point("LIGHT single_memcpy", "copy 1 KiB, synchronous, 1 engine", 960.0, NS, Experiment::synchronous(MEMMOVE, KIB)),
    point(
        "LIGHT single_memcpy",
        "copy 4 KiB, synchronous, 1 engine",
        1140.0,
        NS,
        Experiment::synchronous(MEMMOVE, 4 * KIB),
    ),
    point(
        "LIGHT single_memcpy",
        "copy 16 KiB, synchronous, 1 engine",
        1830.0,
        NS,
        Experiment::synchronous(MEMMOVE, 16 * KIB),
    ),
    point(
        "LIGHT single_memcpy",
        "copy 64 KiB, synchronous, 1 engine",
        3510.0,
        NS,
        Experiment::synchronous(MEMMOVE, 64 * KIB),
    ),
    point(
        "LIGHT single_memcpy",
        "copy 256 KiB, synchronous, 1 engine",
        9910.0,
        NS,
        Experiment::synchronous(MEMMOVE, 256 * KIB),
    ),
    point(
        "LIGHT single_memcpy",
        "copy 1 MiB, synchronous, 1 engine",
        35060.0,
        NS,
        Experiment::synchronous(MEMMOVE, MIB),
    ),
    point("LIGHT single_memfill", "fill 64 B, synchronous, 1 engine", 490.0, NS, Experiment::synchronous(FILL, 64)),
    point(
        "LIGHT single_memfill",
        "fill 4 KiB, synchronous, 1 engine",
        750.0,
        NS,
        Experiment::synchronous(FILL, 4 * KIB),
    ),
    point(
        "LIGHT single_compare",
        "compare 4 KiB, synchronous, 1 engine",
        1150.0,
        NS,
        Experiment::synchronous(COMPARE, 4 * KIB),
    ),
    point(
        "LIGHT single_compval",
        "compare pattern 4 KiB, synchronous, 1 engine",
        1000.0,
        NS,
        Experiment::synchronous(COMPVAL, 4 * KIB),
    ),
    point("LIGHT single_memcpy", "copy 64 B to 8 or 16 B, synchronous, 1 engine", 1150.0, NS, at(64, 16, 1)),
    point("LIGHT single_memcpy", "copy 64 B to 32 B, synchronous, 1 engine", 790.0, NS, at(64, 32, 1)),
    point("LIGHT single_memcpy", "copy 4 KiB to 8 or 16 B, synchronous, 1 engine", 1230.0, NS, at(4 * KIB, 16, 1)),
    point("LIGHT sg64_memcpy", "copy 64 B, 128 in flight, 1 engine", 189.0, NS, at(64, 0, 128)),
    point("LIGHT sg64_memcpy", "copy 4 KiB, 128 in flight, 1 engine", 214.8, NS, at(4 * KIB, 0, 128)),
    point("LIGHT sg64_memcpy", "copy 64 B to 8 or 16 B, 128 in flight, 1 engine", 734.0, NS, at(64, 16, 128)),
    point("LIGHT batch_memcpy", "copy 1 KiB to 8 or 16 B, batches, 1 engine", 740.0, NS, unaligned(KIB, 16)),
    point("LIGHT batch_memcpy", "copy 1 KiB to 32 B, batches, 1 engine", 380.0, NS, unaligned(KIB, 32)),
    point("LIGHT batch_memcpy", "copy 1 KiB to 64 B, batches, 1 engine", 61.3, NS, unaligned(KIB, 64)),
    point("LIGHT batch_memcpy", "copy 4 KiB to 8 or 16 B, batches, 1 engine", 790.0, NS, unaligned(4 * KIB, 16)),
    point("LIGHT batch_memcpy", "copy 4 KiB to 32 B, batches, 1 engine", 440.0, NS, unaligned(4 * KIB, 32)),
    point("LIGHT batch_memcpy", "copy 4 KiB to 64 B, batches, 1 engine", 144.5, NS, unaligned(4 * KIB, 64)),
    point("LIGHT batch_memcpy", "copy 64 KiB to 8 or 16 B, batches, 1 engine", 2330.0, NS, unaligned(64 * KIB, 16)),
    point("LIGHT batch_memcpy", "copy 64 KiB to 32 B, batches, 1 engine", 2100.0, NS, unaligned(64 * KIB, 32)),
    point("LIGHT batch_memcpy", "copy 64 KiB to 64 B, batches, 1 engine", 2090.0, NS, unaligned(64 * KIB, 64)),
    point("LIGHT tapping_bof", "copy 256 KiB, pages absent, block on fault", 0.277, GIBS, absent(256 * KIB)),
    point(
        "LIGHT tapping_no_bof",
        "copy 32 KiB, pages absent, CPU resolves",
        0.934,
        GIBS,
        Experiment::Resume { bytes: 32 * KIB, resolve_ns: 3_900 },
    ),
    point("LIGHT tapping_no_bof", "copy 32 KiB, all pages touched first", 2.839, GIBS, tapping(4096, 1_209, true)),
    point("LIGHT tapping_no_bof", "copy 32 KiB, its pages touched first", 3.156, GIBS, tapping(4096, 1_209, false)),
    point(
        "LIGHT tapping_no_bof",
        "copy 32 KiB, huge pages touched first",
        10.236,
        GIBS,
        tapping(2 << 20, 194_000, false),
    ),
    point(
        "LIGHT page_fault_speed",
        "copy 32 KiB, pages of a file, CPU resolves",
        0.007,
        GIBS,
        Experiment::Resume { bytes: 32 * KIB, resolve_ns: 542_000 },
    ),
    point(
        "LIGHT page_fault_speed",
        "copy 32 KiB, translation cache misses",
        29.126,
        GIBS,
        Experiment::batched(MEMMOVE, 32 * KIB, 4),
    ),
    point(
        "LIGHT ooo",
        "copies of 1 KiB that overtake one of 1 MiB",
        105.6,
        Unit::Count,
        Experiment::Overtaking { opcode: MEMMOVE, first: MIB, others: KIB, scan_ns: SCAN_NS },
    ),
    point("LIGHT shuffle", "copies of 2 to 4 KiB, 16 threads", 25.8, GIBS, shuffle(3 * KIB)),
    point("LIGHT shuffle", "copies of 16 to 32 KiB, 16 threads", 27.2, GIBS, shuffle(24 * KIB)),
    point(
        "LIGHT pagemig naive",
        "pages of 4 KiB, one in 383 of 2 MiB",
        27.837,
        GIBS,
        Experiment::TwoSizes { small: 4 * KIB, large: 2 * MIB, one_in: 383 },
    ),
    point(
        "LIGHT pagemig lightDSA",
        "the same, 2 MiB in ten parts among them",
        28.764,
        GIBS,
        Experiment::TwoSizes { small: 4 * KIB, large: 209_715, one_in: 38 },
    ),
    point("DTO", "copy 8-12 KiB (10.5 KB), split with the CPU", 1190.0, NS, split(10_520))
        .until(Experiment::synchronous(MEMMOVE, 10_520)),
    point("DTO", "copy 32-36 KiB (34.5 KB), split with the CPU", 1870.0, NS, split(34_466))
        .until(Experiment::synchronous(MEMMOVE, 34_466)),
    point("DTO", "copy 96-100 KiB (100.7 KB), split with the CPU", 3760.0, NS, split(100_716))
        .until(Experiment::synchronous(MEMMOVE, 100_716)),
    point("DTO", "copy 128-132 KiB (133 KB), split with the CPU", 5920.0, NS, split(133_095))
        .until(Experiment::synchronous(MEMMOVE, 133_095)),
    point("DTO", "copy 516-520 KiB (530 KB), split with the CPU", 18650.0, NS, split(529_927))
        .until(Experiment::synchronous(MEMMOVE, 529_927)),
    point("DTO", "copy 976-980 KiB (1002 KB), split with the CPU", 28420.0, NS, split(1_002_439))
        .until(Experiment::synchronous(MEMMOVE, 1_002_439)),
    point(
        "DML issue 25",
        "copy 16 KiB, dedicated queue, 128 in flight",
        31.170,
        GBS,
        window(16 * KIB, 128, 1, Mode::Dedicated, 128),
    ),
    point(
        "PERF",
        "copy 4 KiB, shared queue: 4 threads fill the device",
        30.0,
        GBS,
        window(4 * KIB, 32, 4, Mode::Shared, 128),
    ),
    point(
        "PERF",
        "copy 4 KiB, shared queue: batches of 4 fill the device",
        30.0,
        GBS,
        Experiment::Loop {
            operation: Operation::new(MEMMOVE, 4 * KIB),
            batch: 4,
            depth: 128,
            clients: 1,
            engines: 4,
            mode: Mode::Shared,
            entries: 128,
        },
    ),
    point("ASPLOS", "copies, one device", 30.0, GBS, window(64 * KIB, 32, 1, Mode::Dedicated, 128)),
    point("ASPLOS", "32 entries against 128", 1.0, Unit::Count, Experiment::Entries { entries: 32 }),
    point(
        "DATAPATH",
        "copy 4 KiB, batches of 256, one in flight and one built, 2 engines",
        145.0,
        NS,
        two_engines(256, 2, Mode::Shared),
    ),
    point(
        "DATAPATH",
        "copy 4 KiB, 4 batches of 256 in flight, 2 engines",
        30.3,
        GBS,
        two_engines(256, 4, Mode::Shared),
    ),
    point(
        "DATAPATH",
        "copy 4 KiB, 32 in flight, dedicated queue, 2 engines",
        30.0,
        GBS,
        two_engines(0, 32, Mode::Dedicated),
    ),
    point("DATAPATH", "copy 4 KiB, 32 in flight, shared queue, 2 engines", 19.0, GBS, two_engines(0, 32, Mode::Shared)),
    point("DML guide", "copy 1 MiB, 16 at a time", 20.1402, GBS, window(MIB, 16, 1, Mode::Shared, 128))
        .contradicted(OTHER_SET_UP),
    point("DML guide", "copy 1 MiB, 16 in flight, 1 thread", 21.9839, GBS, window(MIB, 16, 1, Mode::Shared, 128))
        .contradicted(OTHER_SET_UP),
    point("DML guide", "copy 1 MiB, 16 in flight, 2 threads", 23.1822, GBS, window(MIB, 8, 2, Mode::Shared, 128))
        .contradicted(OTHER_SET_UP),
    point("DML guide", "copy 1 MiB, 16 in flight, 4 threads", 22.9561, GBS, window(MIB, 4, 4, Mode::Shared, 128))
        .contradicted(OTHER_SET_UP),
    point("DML guide", "copy 1 MiB, 16 in flight, 8 threads", 14.5405, GBS, window(MIB, 2, 8, Mode::Shared, 128))
        .contradicted(COLLAPSE),
    point("DML guide", "copy 1 MiB, 16 in flight, 16 threads", 12.8982, GBS, window(MIB, 1, 16, Mode::Shared, 128))
        .contradicted(COLLAPSE),
    point("DATAPATH", "no operation, synchronous, 2 engines", 680.0, NS, Experiment::synchronous(NOP, 0))
        .contradicted(SLOWER_SUBMITTER),
    point(
        "DATAPATH",
        "copy 4 KiB, synchronous, ENQCMD, 2 engines",
        1780.0,
        NS,
        Experiment::synchronous(MEMMOVE, 4 * KIB),
    )
    .contradicted(SLOWER_SUBMITTER),
    point(
        "DATAPATH",
        "copy 4 KiB, synchronous, MOVDIR64B, 2 engines",
        1740.0,
        NS,
        window(4 * KIB, 1, 1, Mode::Dedicated, 64),
    )
    .contradicted(SLOWER_SUBMITTER),
];

/// What the thread of LIGHT `ooo` does between two submissions: it reads the records of those before. From the row for a
/// first copy of 4 MiB, which is not a point: 406 overtake it.
const SCAN_NS: u64 = 164;

/// The other lines of the same literature.
pub const OMITTED: &[Omitted] = &[
    omitted(
        "LIGHT",
        "memcpy of one core, 5.1 to 9.7 GB/s; break-even at 256 to 512 B",
        "the CPU's; the test of the break-even uses it",
    ),
    omitted("LIGHT", "container benchmark 1.2 to 1.3 times std", "a program: neither operations nor sizes are given"),
    omitted(
        "DTO",
        "page-fault cases 56 to 85 us",
        "the CPU did what was left of each copy, and the number of faults is not given",
    ),
    omitted("DTO", "leaving UMWAIT: C0.1 240 ns, C0.2 500 ns", "parameters of the model as they are"),
    omitted("PERF log", "1 MiB at 53.6 GB/s", "another platform, not named"),
    omitted("PERF", "rotate the portal's offsets for a dedicated queue", "no figure"),
    omitted(
        "ASPLOS",
        "async wins from about 256 B, sync from about 4 KiB",
        "against CPUs not described: with LIGHT's core, \
        sync wins from about 16 KiB only, so the two contradict each other",
    ),
    omitted(
        "ASPLOS",
        "four devices scale nearly linearly, until the cache leaks",
        "devices share nothing in this model",
    ),
    omitted("DPDK vhost", "gains above 256 B packets", "a program: no set-up is given"),
    omitted("DSA-2LM, Rocket, Copier, CacheLib", "speed-ups", "programs"),
    omitted(
        "DATAPATH",
        "CRC of 4 KiB 1.3 us, copy with CRC 1.25 us",
        "from the same harness as its copy of 1.74 us, which \
        contradicts LIGHT",
    ),
    omitted(
        "DATAPATH",
        "MOVDIR64B takes 6 to 20 cycles up to 64 or 128 outstanding, then 500",
        "the model's posted writes always \
        have credits; its queue is full at 128",
    ),
];

const fn omitted(source: &'static str, what: &'static str, why: &'static str) -> Omitted {
    Omitted { source, what, why }
}
