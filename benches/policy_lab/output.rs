//! The study as text.

use std::fmt::Write as _;

use crate::study::{Row, Study};

/// The study as the page in the documentation.
pub(crate) fn markdown(studies: &[Study], requests: usize, seed: u64) -> String {
    let mut text = String::from(
        "Everything on this page is modelled: no figure here was measured on a device.\n\n\
         # Device or CPU: policies in virtual time (modelled)\n\n",
    );
    // Writing to a string does not fail.
    _ = writeln!(
        text,
        "Four threads ask for copies; a policy says who does each: a simulated Sapphire Rapids device with one shared queue of 64\n\
         entries and four engines, or the thread itself. {requests} copies for each load, seed {seed}. A copy has completed when its thread\n\
         has noticed. CPU time is that of the four threads together, for copying, submitting and noticing. `ours` is\n\
         `dsa::choice` with its defaults. What is modelled, and why the lower bounds are bounds, stands in\n\
         `benches/policy_lab/machine.rs` and `bounds.rs`. Made by\n\n\
         ```sh\n\
         cargo bench -p dsa-benches --bench policy_lab -- --plot $PWD/docs/policy_lab.svg > docs/policy_lab.md\n\
         ```\n\n\
         ![modelled: four measures of each policy, relative to the lower bound](policy_lab.svg)\n\n\
         The lower bound of the 99th percentile, and all of them with a second tenant, leave waiting out and are far from what is possible.\n"
    );
    for study in studies {
        _ = writeln!(text, "## {} (modelled)\n\n{}.\n", study.name, study.what);
        _ = writeln!(
            text,
            "| policy (modelled) | mean us | p99 us | CPU time ms | makespan ms | by the device | refusals |\n|---|---|---|---|---|---|---|"
        );
        let bound = Row::of(&study.bound);
        let best = study.best_threshold();
        let best = Row { policy: format!("best threshold: {}", best.policy), ..best.clone() };
        let usual = study.usual_threshold();
        let shown = [study.ours()].into_iter().chain(study.misled());
        let shown = shown.chain([study.all_to_device(), study.all_to_cpu(), usual, &best, &bound]);
        for row in shown {
            let share = row.by_device.map_or(String::new(), |share| format!("{share:.1} %"));
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {share} | {} |",
                row.policy,
                number(row.mean / 1e3),
                number(row.p99 as f64 / 1e3),
                number(row.cpu_time as f64 / 1e6),
                number(row.makespan as f64 / 1e6),
                row.refusals
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// The study for programs. Times in nanoseconds.
pub(crate) fn json(studies: &[Study], requests: usize, seed: u64) -> String {
    let row = |row: &Row| {
        let Row { policy, mean, p99, cpu_time, makespan, refusals, .. } = row;
        let share = row.by_device.map_or("null".to_owned(), |share| format!("{share:.3}"));
        format!(
            "{{\"policy\": \"{policy}\", \"mean_ns\": {mean:.1}, \"p99_ns\": {p99}, \"cpu_time_ns\": {cpu_time}, \
             \"makespan_ns\": {makespan}, \"by_device_percent\": {share}, \"refusals\": {refusals}}}"
        )
    };
    let study = |study: &Study| {
        let rows: Vec<_> = study.rows.iter().chain([&Row::of(&study.bound)]).map(row).collect();
        let rows = rows.join(",\n      ");
        format!("    {{\"load\": \"{}\", \"what\": \"{}\", \"rows\": [\n      {rows}\n    ]}}", study.name, study.what)
    };
    let studies: Vec<_> = studies.iter().map(study).collect();
    let studies = studies.join(",\n");
    format!(
        "{{\n  \"standing\": \"modelled\",\n  \"requests\": {requests},\n  \"seed\": {seed},\n  \"loads\": [\n{studies}\n  ]\n}}\n"
    )
}
