//! What a device would take, by the timing model: the fit to published measurements, and a plot. Nothing here is measured.
//!
//! ```sh
//! cargo run --release -p dsa-examples --example modelled_timing -- docs/modelled-timing.svg
//! ```
//!
//! Without a path it prints the table and the study only.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use dsa_emulator::timing::published::{self, POINTS, Point, Standing};
use dsa_emulator::timing::{Experiment, OpenLoop, Operation, Policy, Request, Route, Simulator, Timing};
use dsa_emulator::{Config, WqConfig};
use idxd_sys::opcode;
use plotters::coord::Shift;
use plotters::prelude::*;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Curve = Vec<(f64, f64)>;

/// How close the model is held to the published points, in per cent: `emulator/tests/timing_fit.rs`.
const HELD_WITHIN: f64 = 15.0;
/// Requests in a run of the study.
const REQUESTS: u32 = 50_000;

fn main() -> Result<(), Box<dyn Error>> {
    let timing = Timing::sapphire_rapids();
    table(&timing);
    study(&timing)?;
    if let Some(path) = std::env::args_os().nth(1) {
        plot(&timing, Path::new(&path))?;
        println!("\nplot: {}", Path::new(&path).display());
    }
    Ok(())
}

/// The fit: published, modelled, error.
fn table(timing: &Timing) {
    println!("# {}\n", timing.label());
    println!("| source | what | published | modelled | unit | error |");
    println!("|---|---|---|---|---|---|");
    for point in POINTS {
        let fit = point.fit(timing);
        let modelled = match fit.until {
            None => number(fit.modelled),
            Some(until) => format!("{} to {}", number(fit.modelled), number(until)),
        };
        let standing = if point.standing == Standing::Held { "" } else { ", contradicted" };
        let (source, what, unit) = (point.source, point.what, point.unit.symbol());
        let error = 100.0 * fit.error;
        println!("| {source} | {what} | {} | {modelled} | {unit} | {error:+.1} %{standing} |", number(point.figure));
    }
    let mut reasons: Vec<_> = POINTS.iter().filter_map(reason).collect();
    reasons.dedup();
    println!("\nContradicted figures:\n");
    for (source, why) in reasons {
        println!("* {source}: {why}.");
    }
    println!("\nNot experiments on the device:\n");
    for omitted in published::OMITTED {
        println!("* {}, {}: {}.", omitted.source, omitted.what, omitted.why);
    }
}

fn reason(point: &Point) -> Option<(&'static str, &'static str)> {
    match point.standing {
        Standing::Contradicted(why) => Some((point.source, why)),
        _ => None,
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}

/// A small study: who should do copies of 16 KiB that arrive at random, as the load grows.
fn study(timing: &Timing) -> Result<(), Box<dyn Error>> {
    println!("\n# Copies of 16 KiB from one thread, arriving at random: p50 and p99 in us ({})\n", timing.label());
    println!("| requests a second | CPU | device | the device if at most 4 wait, else the CPU |");
    println!("|---|---|---|---|");
    let cpu = Route::Cpu { ns: timing.cpu_copy_ns(16 << 10) };
    let device = Route::Device { queue: 0 };
    let begun = Instant::now();
    let mut modelled_ns = 0.0;
    for gap in [10_000.0, 4_000.0, 2_000.0, 1_000.0, 600.0] {
        let by_cpu = run(timing, gap, &mut |_: &Request, _: &Simulator| cpu)?;
        let by_device = run(timing, gap, &mut |_: &Request, _: &Simulator| device)?;
        let mixed = run(timing, gap, &mut |_: &Request, d: &Simulator| if d.occupancy(0) > 4 { cpu } else { device })?;
        println!("| {:.0} | {by_cpu} | {by_device} | {mixed} |", 1e9 / gap);
        modelled_ns += 3.0 * gap * f64::from(REQUESTS);
    }
    let (modelled, real) = (modelled_ns / 1e9, begun.elapsed().as_secs_f64());
    println!(
        "\n{modelled:.2} s of modelled time in {real:.2} s: {:.0} times as fast as real, {:.1} million requests a second",
        modelled / real,
        15.0 * f64::from(REQUESTS) / real / 1e6
    );
    Ok(())
}

fn run(timing: &Timing, gap_ns: f64, policy: &mut impl Policy) -> Result<String, Box<dyn Error>> {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(64)).engines(4);
    let mut device = Simulator::new(config, timing.clone())?.sampled(1);
    let load =
        OpenLoop::new(Operation::new(opcode::MEMMOVE, 16 << 10), gap_ns).poisson(7).requests(u64::from(REQUESTS));
    let latencies = load.run(&mut device, policy).latencies;
    let microseconds = |q| Duration(latencies.quantile(q)).microseconds();
    Ok(format!("{:.1}, {:.1}", microseconds(0.5), microseconds(0.99)))
}

struct Duration(u64);

impl Duration {
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    fn microseconds(&self) -> f64 {
        self.0 as f64 / 1e3
    }
}

/// Throughput by size, latency by size, destination alignment: lines are modelled, dots published. And all points at once.
fn plot(timing: &Timing, path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1200, 1000)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((2, 2));
    let batched = |opcode, engines| {
        curve(64, 1 << 20, |bytes| Experiment::batched(opcode, bytes, engines).run(timing).bytes_per_ns)
    };
    let throughput = [
        ("copy, batches, 4 engines", batched(opcode::MEMMOVE, 4)),
        ("copy, batches, 1 engine", batched(opcode::MEMMOVE, 1)),
        ("compare, batches, 4 engines", batched(opcode::COMPARE, 4)),
        (
            "copy, synchronous",
            curve(64, 1 << 20, |b| Experiment::synchronous(opcode::MEMMOVE, b).run(timing).bytes_per_ns),
        ),
    ];
    let gigabytes = dots("DSA_speed_seq", |p| p.figure * f64::from(1 << 20) / 1e9);
    let axes = Axes { x: "bytes", y: "GB/s", low: 0.05, high: 60.0, legend: SeriesLabelPosition::LowerRight };
    panel(&panels[0], "modelled throughput; dots: published", &axes, &throughput, &gigabytes)?;

    let alone = |opcode| curve(64, 1 << 20, |bytes| Experiment::synchronous(opcode, bytes).run(timing).ns / 1e3);
    let latency = [
        ("copy", alone(opcode::MEMMOVE)),
        ("fill", alone(opcode::FILL)),
        ("compare", alone(opcode::COMPARE)),
        ("compare pattern", alone(opcode::COMPVAL)),
    ];
    let published: Curve = ["single_memcpy", "single_memfill", "single_compare", "single_compval"]
        .iter()
        .flat_map(|source| dots(source, |p| p.figure / 1e3))
        .collect();
    let axes = Axes { x: "bytes", y: "us", low: 0.3, high: 100.0, legend: SeriesLabelPosition::UpperLeft };
    panel(&panels[1], "modelled latency, synchronous; dots: published", &axes, &latency, &published)?;

    let aligned = |destination| {
        curve(64, 128 << 10, |bytes| {
            let operation = Operation::new(opcode::MEMMOVE, bytes).destination(destination);
            let Experiment::Loop { batch, depth, clients, engines, mode, entries, .. } =
                Experiment::batched(opcode::MEMMOVE, bytes, 1)
            else {
                return f64::NAN;
            };
            let experiment = Experiment::Loop { operation, batch, depth, clients, engines, mode, entries };
            experiment.run(timing).ns / 1e3
        })
    };
    let alignment = [("8 or 16 bytes", aligned(16)), ("32 bytes", aligned(32)), ("64 bytes", aligned(0))];
    let axes = Axes { x: "bytes", y: "us a copy", low: 0.03, high: 12.0, legend: SeriesLabelPosition::UpperLeft };
    let published = dots("batch_memcpy", |p| p.figure / 1e3);
    panel(&panels[2], "modelled destination alignment; dots: published", &axes, &alignment, &published)?;
    deviations(&panels[3], timing)?;
    root.present()?;
    Ok(())
}

/// How far the model is from each published point that is held, in the order of the table.
#[allow(clippy::cast_precision_loss)] // some tens of points
fn deviations(area: &Area<'_>, timing: &Timing) -> Result<(), Box<dyn Error>> {
    let held = POINTS.iter().filter(|point| point.standing == Standing::Held);
    let errors: Vec<f64> = held.map(|point| 100.0 * point.fit(timing).error).collect();
    let (last, bound) = (errors.len() as f64 + 1.0, HELD_WITHIN);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("modelled against published: {} points", errors.len()), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last, -20.0..20.0)?;
    let label = |value: &f64| format!("{value:.0}");
    chart
        .configure_mesh()
        .x_desc("point")
        .y_desc("modelled above published, %")
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    let band = Rectangle::new([(0.0, -bound), (last, bound)], Palette99::pick(1).mix(0.2).filled());
    chart.draw_series([band])?;
    chart.draw_series(
        errors.iter().enumerate().map(|(i, error)| Circle::new((i as f64 + 1.0, *error), 3, BLACK.filled())),
    )?;
    Ok(())
}

/// One value for each power of two.
fn curve(from: u32, to: u32, value: impl Fn(u32) -> f64) -> Curve {
    std::iter::successors(Some(from), |b| Some(b * 2))
        .take_while(|b| *b <= to)
        .map(|b| (f64::from(b), value(b)))
        .collect()
}

/// The published figures of one file, by size; of synchronous operations those with an aligned destination.
fn dots(source: &str, value: impl Fn(&Point) -> f64) -> Curve {
    let of_source = POINTS.iter().filter(|p| p.source.ends_with(source));
    let aligned = |p: &Point| match p.experiment {
        Experiment::Loop { operation, batch, .. } if batch != 0 || operation.destination == 0 => Some(operation.bytes),
        _ => None,
    };
    of_source.filter_map(|p| Some((f64::from(aligned(p)?), value(p)))).collect()
}

struct Axes {
    x: &'static str,
    y: &'static str,
    low: f64,
    high: f64,
    legend: SeriesLabelPosition,
}

fn panel(
    area: &Area<'_>,
    title: &str,
    axes: &Axes,
    lines: &[(&str, Curve)],
    dots: &Curve,
) -> Result<(), Box<dyn Error>> {
    let last = lines.iter().flat_map(|(_, line)| line).map(|(x, _)| *x).fold(64.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((64.0..last).log_scale(), (axes.low..axes.high).log_scale())?;
    let label = |value: &f64| match *value {
        v if v >= 1e6 => format!("{:.0}M", v / 1e6),
        v if v >= 1e3 => format!("{:.0}k", v / 1e3),
        v => format!("{v}"),
    };
    chart.configure_mesh().x_desc(axes.x).y_desc(axes.y).x_label_formatter(&label).y_label_formatter(&label).draw()?;
    for (index, (name, line)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.draw_series(dots.iter().map(|dot| Circle::new(*dot, 3, BLACK.filled())))?;
    chart
        .configure_series_labels()
        .position(axes.legend.clone())
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
