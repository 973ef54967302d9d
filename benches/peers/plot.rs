//! The plots: time of an operation by depth, for each size; and for the scaling run by queues, with the memory beside it.

use std::error::Error;
use std::path::Path;

use dsa_benches::cell::Bytes;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::compare::Outcome;
use super::report::number;
use super::scaling;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Curve = (String, Vec<(f64, f64)>);

struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// How much of the axis is above the highest value, for the legend: a factor.
    above: f64,
}

/// Time of an operation: one panel for each size.
pub(crate) fn cells(outcomes: &[Outcome], path: &Path) -> Result<(), Box<dyn Error>> {
    let mut sizes: Vec<usize> = outcomes.iter().map(|outcome| outcome.cell.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let width = 620 * sizes.len().max(1) as u32;
    let root = SVGBackend::new(path, (width, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, size) in root.split_evenly((1, sizes.len().max(1))).iter().zip(&sizes) {
        let of_size: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.cell.size == *size).collect();
        let mut curves: Vec<Curve> = Vec::new();
        for (outcome, line) in of_size.iter().flat_map(|outcome| outcome.lines.iter().map(move |line| (outcome, line)))
        {
            if !line.ns.is_finite() {
                continue;
            }
            let point = (outcome.cell.depth as f64, line.ns);
            match curves.iter_mut().find(|(name, _)| name == line.name) {
                Some((_, curve)) => curve.push(point),
                None => curves.push((line.name.to_owned(), vec![point])),
            }
        }
        let title = format!("copies of {}, one submitter, one engine or worker", Bytes(*size));
        draw(panel, &Axes { title: &title, x: "operations in flight", y: "ns an operation", above: 12.0 }, &curves)?;
    }
    root.present()?;
    Ok(())
}

/// Time and memory by the number in flight.
pub(crate) fn scaling(outcome: &scaling::Outcome, path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1240, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 2));
    let mut queues: Vec<usize> = outcome.points.iter().map(|point| point.queues).collect();
    queues.sort_unstable();
    queues.dedup();
    let curves = |value: &dyn Fn(&scaling::Point) -> Option<f64>| -> Vec<Curve> {
        let of = |queues: &usize| {
            let here = outcome.points.iter().filter(|point| point.queues == *queues);
            let name = if *queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") };
            (name, here.filter_map(|point| Some((point.depth as f64, value(point)?))).collect())
        };
        queues.iter().map(of).collect()
    };
    let times = curves(&|point| Some(point.ns[1]));
    let axes = Axes { title: "copies of 64B, one engine", x: "operations in flight", y: "ns an operation", above: 3.0 };
    draw(&panels[0], &axes, &times)?;
    let bytes = curves(&|point| (point.depth >= 64).then_some(point.task + outcome.slot));
    let axes = Axes { title: "memory: slot, task and future", x: "operations in flight", y: "bytes, each", above: 3.0 };
    draw(&panels[1], &axes, &bytes)?;
    root.present()?;
    Ok(())
}

/// Lines over logarithmic axes.
fn draw(area: &Area<'_>, axes: &Axes<'_>, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    let most = |value: fn(&(f64, f64)) -> f64| points().map(value).fold(f64::MIN, f64::max);
    let least = points().map(|point| point.1).fold(f64::MAX, f64::min);
    if points().next().is_none() {
        return Ok(());
    }
    let first = points().map(|point| point.0).fold(f64::MAX, f64::min);
    // Room above for the legend.
    let (x, y) = (first..(most(|point| point.0)).max(2.0 * first), 0.6 * least..axes.above * most(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(axes.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(30)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x.log_scale().base(2.0), y.log_scale())?;
    let label = |value: &f64| match *value {
        v if v >= 1e6 => format!("{}M", number(v / 1e6)),
        v if v >= 1e4 => format!("{}k", number(v / 1e3)),
        v => format!("{v:.0}"),
    };
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&label)
        .draw()?;
    for (index, (name, curve)) in curves.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(curve.iter().copied(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(curve.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
