//! The timing model against what others measured.

use dsa_emulator::timing::published::{OMITTED, POINTS, Standing, Unit};
use dsa_emulator::timing::{Experiment, Timing};
use idxd_sys::opcode;

#[test]
fn every_published_figure_is_met_within_15_percent() {
    let timing = Timing::sapphire_rapids();
    let mut missed = Vec::new();
    for point in POINTS.iter().filter(|p| p.standing == Standing::Held) {
        let fit = point.fit(&timing);
        if fit.error.abs() > 0.15 || fit.error.is_nan() {
            missed.push(format!("{} {}: {} and {:?}", point.source, point.what, point.figure, fit));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn the_fit_does_not_hang_on_what_a_source_means_by_a_megabyte() {
    let timing = Timing::sapphire_rapids();
    for point in POINTS.iter().filter(|p| p.unit == Unit::MebibytesPerSecond) {
        let decimal = Unit::GigabytesPerSecond.of(&point.experiment.run(&timing));
        let error = decimal / (point.figure / 1000.0) - 1.0;
        assert!(error.abs() <= 0.15, "{}: {error}", point.what);
    }
}

#[test]
fn figures_set_aside_do_contradict_the_others_and_say_why() {
    let timing = Timing::sapphire_rapids();
    let mut seen = 0;
    for point in POINTS {
        let Standing::Contradicted(why) = point.standing else { continue };
        seen += 1;
        let fit = point.fit(&timing);
        assert!(fit.error.abs() > 0.15, "{}: it could be held, {fit:?}", point.what);
        assert!(why.len() > 40, "{}", point.what);
    }
    assert!(seen > 0 && OMITTED.iter().all(|o| !o.why.is_empty()));
}

#[test]
fn each_kind_of_figure_is_there() {
    for source in [
        "DSA_speed_seq",
        "DSA_speed_rand",
        "single_memcpy",
        "single_memfill",
        "batch_memcpy",
        "tapping_bof",
        "tapping_no_bof",
        "page_fault_speed",
        "ooo",
        "shuffle",
        "pagemig",
        "DTO",
        "DML",
        "PERF",
        "ASPLOS",
    ] {
        assert!(POINTS.iter().any(|p| p.source.contains(source)), "{source}");
    }
}

/// LIGHT `DSA_speed_seq`, one core: MiB/s of memcpy.
const CPU: [(u32, f64); 4] = [(64, 5872.0), (256, 6998.0), (512, 7259.0), (4096, 8855.0)];

#[test]
fn batches_break_even_with_a_core_between_256_and_512_bytes() {
    let timing = Timing::sapphire_rapids();
    for (bytes, core) in CPU {
        let device = Unit::MebibytesPerSecond.of(&Experiment::batched(opcode::MEMMOVE, bytes, 4).run(&timing));
        assert_eq!(device > core, bytes >= 512, "{bytes}: {device} and {core}");
    }
}

#[test]
fn parameters_matter() {
    // A model that met every figure whatever its parameters would be a table.
    let error = |change: fn(&mut Timing), what: &str| {
        let mut timing = Timing::sapphire_rapids();
        change(&mut timing);
        let point = POINTS.iter().find(|p| p.what.contains(what)).unwrap();
        point.fit(&timing).error.abs()
    };
    assert!(error(|t| t.device.read_bytes_per_ns = 20.0, "copy 16 KiB, batches of 32") > 0.15);
    assert!(error(|t| t.device.partial_line_ns = 0, "copy 1 KiB to 32 B, batches") > 0.15);
    assert!(error(|t| t.device.dispatch_ns = 80, "copy 1 KiB to 64 B, batches") > 0.15);
    assert!(error(|t| t.device.read_ns = 100, "copy 64 B, synchronous") > 0.15);
    assert!(error(|t| t.client.idle_penalty_ns = 0, "copy 64 B, batches") > 0.15);
    assert!(error(|t| t.client.portal_ns = 20, "32 in flight, shared queue") > 0.15);
    assert!(error(|t| t.system.page_request_ns = 1_000, "block on fault") > 0.15);
    assert!(error(|t| t.device.buffered_bytes = 0, "copy 64 KiB to 8 or 16 B, batches") > 0.15);
}
