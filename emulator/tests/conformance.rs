//! The conformance suite on every back end that the model has, and the table of it.
//!
//! `docs/conformance.md` is generated: `DSA_CONFORMANCE_UPDATE=1 cargo test -p dsa-emulator --test conformance` renews it.

mod benches;
mod common;
mod driver;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use benches::Model;
use benches::checked::Checked;
use benches::function::Registers;
use benches::machine::Machine;
use benches::trusted::Trusted;
use dsa_conformance::{
    Answer, Bench, Cannot, Capabilities, Case, PAGE, Page, Power, Report, Space, Table, Trouble, behind_driver, cases,
    driver_lacks,
};
use dsa_emulator::config::gencap;
use dsa_emulator::{Checks, Config, MemberOrder, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor};

/// What stands before the table.
const HEAD: &str = "\
# Conformance

What the suite in `conformance/` ran on each back end of the model: cases passed, by operation and status. A `-` means that the
back end cannot offer it; the reasons stand with the back ends. Generated; `DSA_CONFORMANCE_UPDATE=1 cargo test -p
dsa-emulator --test conformance` renews it, and the same test without the variable fails if it is out of date.

";

/// What stands before the queues of the driver.
const DRIVER: &str = "\
## The driver's queues

The same cases run inside the virtual machine of `vm/`, on queues that the `idxd` driver of an unmodified Linux kernel has set up,
from a process (`/tests/matrix`; the device is the model, no hardware). `vm/run ours v2 v3 --only opcodes --keep` runs them.
The numbers are those that the steps in `vm/guest/rig/steps` demand; a step fails if another number ran.

| stage | generation | queue | way | ran | not offered |
|---|---|---|---|---:|---:|
";

/// What stands behind them.
const CPU: &str = "
The CPU engine of the runtime takes no raw descriptors, so it has no column. It is held to the same results by the runtime's
conformance suite, which runs every check on every back end (`runtime/tests/conformance`), and by the fuzz target `differential`,
which compares it with the model and with plain functions.

";

type Make = fn(Config) -> Box<dyn Bench>;

fn configurations() -> [(&'static str, Config); 3] {
    let presets = [
        ("Sapphire Rapids", Config::sapphire_rapids()),
        ("Granite Rapids", Config::granite_rapids()),
        ("Diamond Rapids", Config::diamond_rapids()),
    ];
    presets.map(|(name, config)| (name, config.queue(WqConfig::shared(64).block_on_fault(true))))
}

/// A device that lacks what others have: overlapping copies, cache control, block on fault, page requests; with a dedicated
/// queue.
fn minimal() -> Config {
    let mut config = Config::sapphire_rapids().queue(WqConfig::dedicated(16).page_requests(false));
    config.gencap &=
        !(gencap::OVERLAPPING_COPY | gencap::CACHE_CONTROL | gencap::BLOCK_ON_FAULT | gencap::DEST_READBACK);
    config
}

/// A device that takes every choice the other way: moves run backwards, members of a batch in any order, in small pieces; fault
/// addresses are masked, reserved bytes are not looked at.
fn contrary() -> Config {
    let mut config = Config::diamond_rapids().queue(WqConfig::shared(64).block_on_fault(true));
    config.mask_fault_address = true;
    // Handles are then indices, 0 among them.
    config.inter_domain.request_handles = false;
    config.choices.dif_sizes = Checks::Lenient;
    config.choices.delta_sizes = Checks::Strict;
    config.choices.mask_stored_tags = true;
    config.choices.partial_list_entries = false;
    config.choices.clamp_e4m3 = true;
    let config = config.checks(Checks::Lenient).member_order(MemberOrder::Shuffled);
    config.backward_moves(1.0).chunk(100)
}

/// A device without operations.
fn empty() -> Config {
    let mut config = Config::diamond_rapids().queue(WqConfig::shared(8));
    config.op_cap = [0; 4];
    config
}

/// Every back end, with the configurations that it is tested with.
fn backends() -> Vec<(String, Make, Config)> {
    let kinds: [(&str, Make); 5] = [
        ("trusted memory", |config| Box::new(Model::<Trusted>::new(config))),
        ("checked memory", |config| Box::new(Model::<Checked>::new(config))),
        ("IOMMU", |config| Box::new(Model::<Machine>::new(config))),
        ("trapped instructions", |config| Box::new(Model::<Trusted>::trapped(config))),
        ("registers", |config| Box::new(Registers::new(config))),
    ];
    let mut all = Vec::new();
    for (kind, make) in kinds {
        for (preset, config) in configurations() {
            all.push((format!("{kind}, {preset}"), make, config));
        }
    }
    let checked: Make = |config| Box::new(Model::<Checked>::new(config));
    all.push(("checked memory, minimal".into(), checked, minimal()));
    all.push(("checked memory, no operations".into(), checked, empty()));
    all.push(("checked memory, Diamond Rapids, every choice the other way".into(), checked, contrary()));
    all
}

#[test]
fn every_case_passes_on_every_back_end_that_offers_it() {
    let cases = cases();
    let backends = backends();
    let (next, reports) = (Mutex::new(0..backends.len()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else { break };
                    let (_, make, config) = &backends[index];
                    let report = Report::of(&mut *make(config.clone()), &cases);
                    reports.lock().unwrap().push((index, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|(index, _)| *index);
    let (mut table, mut failed) = (Table::new(), 0);
    for (index, report) in reports {
        let name = &backends[index].0;
        println!("{name}: {report}");
        failed += report.failed.len();
        assert!(report.ran() > 30, "{name} offers next to nothing");
        table.add(name.clone(), report);
    }
    assert_eq!(failed, 0, "see above");
    let nowhere: Vec<String> = table.nowhere(&cases).map(ToString::to_string).collect();
    assert!(nowhere.is_empty(), "no back end offers {nowhere:?}");
    compare(&format!("{HEAD}{}{}", queues_of_the_driver(&cases), table.markdown(&cases)));
}

/// What a device could do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    NoRecord,
    OtherStatus,
    OtherCount,
    OtherFaultAddress,
    OtherWords,
    /// A byte of the newest region changes with each descriptor.
    StrayWrite,
}

/// A model that does one thing wrong.
struct Liar {
    model: Model<Checked>,
    lie: Lie,
    newest: (Space, u64),
}

impl Bench for Liar {
    fn capabilities(&self) -> &Capabilities {
        self.model.capabilities()
    }

    fn reset(&mut self) {
        self.model.reset();
    }

    fn cannot(&self, power: Power) -> Option<&'static str> {
        let small = matches!(power, Power::Absent | Power::Refused | Power::Troubles);
        if small { self.model.cannot(power) } else { Some("it need not") }
    }

    fn allocate(&mut self, space: Space, pages: u64) -> u64 {
        let addr = self.model.allocate(space, pages);
        self.newest = (space, addr + pages * PAGE - 1);
        addr
    }

    fn write(&mut self, space: Space, addr: u64, bytes: &[u8]) {
        self.model.write(space, addr, bytes);
    }

    fn read(&mut self, space: Space, addr: u64, bytes: &mut [u8]) {
        self.model.read(space, addr, bytes);
    }

    fn submit(&mut self, d: &Descriptor) -> Answer {
        let answer = self.model.submit(d);
        if self.lie == Lie::StrayWrite {
            let (mut byte, (space, addr)) = ([0], self.newest);
            self.model.read(space, addr, &mut byte);
            self.model.write(space, addr, &[byte[0] ^ 1]);
        }
        answer
    }

    fn wait(&mut self, record: u64) -> Option<CompletionRecord> {
        let mut found = self.model.wait(record)?;
        match self.lie {
            Lie::NoRecord => return None,
            Lie::OtherStatus => found.status ^= 0x20,
            Lie::OtherCount => found.bytes_completed ^= 1 << 20,
            Lie::OtherFaultAddress => found.fault_addr ^= PAGE,
            Lie::OtherWords => found.op_specific = found.op_specific.map(|word| word ^ 0xff_ffff),
            Lie::StrayWrite => {}
        }
        Some(found)
    }

    fn settle(&mut self) {
        self.model.settle();
    }

    fn set_page(&mut self, space: Space, page: u64, state: Page) -> Result<(), Cannot> {
        self.model.set_page(space, page, state)
    }

    fn troubles(&mut self) -> Result<Vec<Trouble>, Cannot> {
        self.model.troubles()
    }
}

#[test]
fn a_device_that_does_wrong_is_found() {
    let cases = cases();
    let [_, (_, granite), _] = configurations();
    // Cases that must fail of a hundred that run. Some see no record, have no memory, or expect nothing of a field.
    for (lie, least) in [
        (Lie::NoRecord, 80),
        (Lie::OtherStatus, 80),
        (Lie::OtherCount, 40),
        (Lie::OtherFaultAddress, 15),
        (Lie::OtherWords, 15),
        (Lie::StrayWrite, 80),
    ] {
        let mut liar = Liar { model: Model::new(granite.clone()), lie, newest: (Space::Own, 0) };
        let report = Report::of(&mut liar, &cases);
        let share = 100 * report.failed.len() / report.ran();
        println!("{lie:?}: {share} % of {} cases fail", report.ran());
        assert!(share >= least, "{lie:?}");
    }
}

/// The queues of the Linux driver on which the virtual machine runs the suite, by the steps that do; and which cases that is.
///
/// A step names the number of its cases and fails if another one runs. Here it is counted what such a queue offers, which must
/// be as many.
fn queues_of_the_driver(cases: &[Case]) -> String {
    let mut text = DRIVER.to_owned();
    let mut reasons = BTreeMap::<_, BTreeSet<_>>::new();
    let steps = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/guest/rig/steps")).unwrap();
    for step in steps.lines().filter(|line| !line.starts_with('#') && line.contains("/tests/matrix ")) {
        let fields: Vec<&str> = step.split('|').map(str::trim).collect();
        let (stage, (kind, way)) = (fields[0], fields[2].split_once(", ").expect("a kind of queue, and a way to it"));
        let queue = if kind == "shared" { WqConfig::shared(16) } else { WqConfig::dedicated(16) };
        let (generation, config) = match stage {
            "ours" => ("first", Config::sapphire_rapids().queue(queue.block_on_fault(true))),
            "v2" => ("second", Config::granite_rapids().queue(queue.page_requests(false))),
            "v3" => ("third", Config::diamond_rapids().queue(queue.block_on_fault(true))),
            _ => panic!("{step}: no stage of the suite"),
        };
        let mut capabilities = Model::<Checked>::new(config).capabilities().clone();
        behind_driver(&mut capabilities, way == "portal");
        let mut missing = BTreeMap::<String, usize>::new();
        for why in cases.iter().filter_map(|case| case.missing(&capabilities, driver_lacks)) {
            *missing.entry(why).or_default() += 1;
        }
        let lacking: usize = missing.values().sum();
        let ran = cases.len() - lacking;
        assert!(step.ends_with(&format!(" cases={ran}")), "{step}: these are {ran} cases");
        let way = if way == "write" { "write(2)" } else { way };
        let _ = writeln!(text, "| `{stage}` | {generation} | {kind} | {way} | {ran} | {lacking} |");
        let missing = missing.iter().map(|(why, count)| format!("{why} ({count})")).collect::<Vec<_>>().join("; ");
        reasons.entry((generation, missing)).or_default().insert(way);
    }
    text.push_str("\nNot offered, because\n\n");
    for ((generation, missing), ways) in reasons {
        let ways = ways.into_iter().collect::<Vec<_>>().join(" and ");
        let _ = writeln!(text, "* {generation} generation, {ways}: {missing}.");
    }
    text + CPU
}

/// Holds the table against the document, or renews that.
fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    if std::env::var_os("DSA_CONFORMANCE_UPDATE").is_some() {
        fs::write(&path, table).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == table, "docs/conformance.md is out of date: DSA_CONFORMANCE_UPDATE=1 renews it");
}
