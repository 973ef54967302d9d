//! The study as a picture: every measure of every policy, relative to its lower bound.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::study::{Row, Study};

/// One policy's row of a study.
type Pick = fn(&Study) -> &Row;

/// The policies of the picture, with what to call them.
const POLICIES: [(&str, Pick); 5] = [
    ("ours", Study::ours),
    ("best threshold for this load", Study::best_threshold),
    ("from 4 KiB on", Study::usual_threshold),
    ("always the device", Study::all_to_device),
    ("always the CPU", Study::all_to_cpu),
];

/// A measure of a policy or a bound.
type Measure = fn(&Row) -> f64;

const MEASURES: [(&str, Measure); 4] = [
    ("mean completion time", |row| row.mean),
    ("99th percentile of completion times", |row| row.p99 as f64),
    ("CPU time", |row| row.cpu_time as f64),
    ("makespan", |row| row.makespan as f64),
];

/// Draws it to a file.
pub(crate) fn draw(studies: &[Study], path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1400, 1000)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (name, measure)) in root.split_evenly((2, 2)).iter().zip(MEASURES) {
        panel(area, name, measure, studies)?;
    }
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    name: &str,
    measure: Measure,
    studies: &[Study],
) -> Result<(), Box<dyn Error>> {
    let relative = |study: &Study, row: &Row| measure(row) / measure(&Row::of(&study.bound)).max(1.0);
    let values = studies.iter().flat_map(|study| POLICIES.map(|(_, policy)| relative(study, policy(study))));
    let highest = values.fold(2.0, f64::max) * 3.0;
    let loads = studies.len();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("modelled {name}, relative to the lower bound"), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..loads as f64, (0.8..highest).log_scale())?;
    let load = |place: &f64| {
        let middle = place.fract() > 0.4 && place.fract() < 0.6;
        studies.get(*place as usize).filter(|_| middle).map_or(String::new(), |study| study.name.to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * loads + 1)
        .x_label_formatter(&load)
        .y_desc("times the lower bound")
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    let width = 0.8 / POLICIES.len() as f64;
    for (index, (name, policy)) in POLICIES.into_iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let bar = |(place, study): (usize, &Study)| {
            let left = place as f64 + 0.1 + index as f64 * width;
            Rectangle::new([(left, 0.8), (left + width, relative(study, policy(study)))], colour.filled())
        };
        chart
            .draw_series(studies.iter().enumerate().map(bar))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
