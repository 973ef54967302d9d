//! The heat map: operation and residency by size; the engine's speed beside the best that does the same work, and beside the
//! yardstick of the operation. Each field has two halves: aligned on the left, misaligned on the right.

use std::error::Error;
use std::path::Path;

use dsa_benches::cell::Bytes;
use dsa_benches::grid::{Alignment, Operation, Residency};
use dsa_benches::statistics::Ratio;
use dsa_benches::verdict::Verdict;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::measure::Outcome;
use super::report::REGRET;
use super::variants::OURS;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A field, in pixels; the room for names on the left, and for titles above.
const WIDTH: i32 = 70;
const HEIGHT: i32 = 20;
const LEFT: i32 = 165;
const TOP: i32 = 62;
const GAP: i32 = 6;

/// A ratio at which the colour is full, and one over which.
const FULL: f64 = 2.0;

/// What a panel shows of a cell: our speed, above 1 is faster; and whether it is marked as a miss.
type Shown = fn(&Outcome) -> Option<(f64, bool)>;

/// A number of fields, for coordinates.
fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Draws both panels.
pub(crate) fn heat_map(outcomes: &[Outcome], path: &Path) -> Result<(), Box<dyn Error>> {
    let mut sizes: Vec<usize> = outcomes.iter().map(|outcome| outcome.place.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let rows = rows(outcomes);
    let operations = pixels(rows.iter().filter(|row| row.2).count());
    let (panel, height) = (
        (LEFT + WIDTH * pixels(sizes.len()) + 30).max(LEFT + 300),
        TOP + HEIGHT * pixels(rows.len()) + GAP * operations + 40,
    );
    let root = SVGBackend::new(path, (2 * panel.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 2));
    let (best, peer): (Shown, Shown) = (against_best, against_yardstick);
    let titles = [
        ["speed beside the best that does the same", "framed: certainly below 0.91"],
        ["speed beside the yardstick of the operation", "framed: a goal is missed"],
    ];
    for ((panel, titles), shown) in panels.iter().zip(titles).zip([best, peer]) {
        draw(panel, titles, outcomes, &rows, &sizes, shown)?;
    }
    root.present()?;
    Ok(())
}

/// Operation, residency, and whether the operation begins there.
fn rows(outcomes: &[Outcome]) -> Vec<(Operation, Residency, bool)> {
    let mut rows: Vec<(Operation, Residency, bool)> = Vec::new();
    for outcome in outcomes {
        let (operation, residency) = (outcome.place.operation, outcome.place.residency);
        if !rows.iter().any(|row| (row.0, row.1) == (operation, residency)) {
            let begins = rows.last().is_none_or(|row| row.0 != operation);
            rows.push((operation, residency, begins));
        }
    }
    rows
}

fn against_best(outcome: &Outcome) -> Option<(f64, bool)> {
    let Ratio { median, low, .. } = outcome.regret?.ratio;
    Some((1.0 / median, outcome.is_valid() && low > REGRET))
}

fn against_yardstick(outcome: &Outcome) -> Option<(f64, bool)> {
    let speed = outcome.speeds[outcome.find(OURS)?].median;
    Some((speed, outcome.findings.iter().any(|finding| finding.verdict == Verdict::Miss)))
}

/// Red is slow, blue is fast; white is as fast as the other.
fn colour(speed: f64) -> RGBColor {
    let part = (speed.log2() / FULL.log2()).clamp(-1.0, 1.0);
    let (r, g, b) = if part < 0.0 { (202.0, 64.0, 50.0) } else { (60.0, 120.0, 190.0) };
    let mix = |full: f64| (255.0 + (full - 255.0) * part.abs()).round() as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

fn draw(
    area: &Area<'_>,
    titles: [&str; 2],
    outcomes: &[Outcome],
    rows: &[(Operation, Residency, bool)],
    sizes: &[usize],
    shown: Shown,
) -> Result<(), Box<dyn Error>> {
    let font = |size: f64| ("sans-serif", size).into_font();
    let centred = |size: f64| font(size).color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
    for (line, title) in titles.into_iter().enumerate() {
        area.draw(&Text::new(title, (LEFT, 8 + 16 * pixels(line)), font(13.0).color(&BLACK)))?;
    }
    for (column, size) in sizes.iter().enumerate() {
        let at = LEFT + WIDTH * pixels(column) + WIDTH / 2;
        area.draw(&Text::new(Bytes(*size).to_string(), (at, TOP - 12), centred(12.0)))?;
    }
    let mut y = TOP;
    for (operation, residency, begins) in rows {
        if *begins {
            y += GAP;
            area.draw(&Text::new(operation.name(), (8, y + 4), font(13.0).color(&BLACK)))?;
        }
        area.draw(&Text::new(residency.name(), (LEFT - 38, y + 4), font(12.0).color(&BLACK)))?;
        for (column, size) in sizes.iter().enumerate() {
            for (half, alignment) in Alignment::ALL.into_iter().enumerate() {
                let here = |outcome: &&Outcome| {
                    let place = outcome.place;
                    (place.operation, place.residency, place.size, place.alignment)
                        == (*operation, *residency, *size, alignment)
                };
                let Some((speed, is_missed)) = outcomes.iter().find(here).and_then(shown) else { continue };
                if !speed.is_finite() {
                    continue;
                }
                let x = LEFT + WIDTH * pixels(column) + WIDTH / 2 * pixels(half);
                let field = [(x, y), (x + WIDTH / 2 - 1, y + HEIGHT - 1)];
                area.draw(&Rectangle::new(field, colour(speed).filled()))?;
                if is_missed {
                    let inside = [(x + 1, y + 1), (x + WIDTH / 2 - 2, y + HEIGHT - 2)];
                    area.draw(&Rectangle::new(inside, BLACK.stroke_width(2)))?;
                }
                let text = if speed >= 9.95 { format!("{speed:.0}") } else { format!("{speed:.2}") };
                area.draw(&Text::new(text, (x + WIDTH / 4, y + HEIGHT / 2), centred(11.0)))?;
            }
        }
        y += HEIGHT;
    }
    Ok(())
}
