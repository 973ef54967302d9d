//! The runtime's choice between device and CPU, in virtual time, beside simpler ones. **Everything here is modelled.**
//!
//! ```console
//! $ cargo bench -p dsa-benches --bench policy_lab -- --json $PWD/lab.json --plot $PWD/docs/policy_lab.svg > docs/policy_lab.md
//! ```
//!
//! (Paths are taken from `benches/`, where cargo runs it.) `--requests N` and `--seed N` change the loads, `--weight N` and `--band N` the options of the same names.

#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // times and counts are far below 2^52, and not negative

mod bounds;
mod loads;
mod machine;
mod output;
mod plot;
mod policies;
mod study;

use std::error::Error;
use std::path::PathBuf;

use dsa::choice::Options;

/// What the command line asks for.
struct Arguments {
    requests: usize,
    seed: u64,
    options: Options,
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments(std::env::args().skip(1))?;
    let studies = study::studies(arguments.requests, arguments.seed, &arguments.options);
    print!("{}", output::markdown(&studies, arguments.requests, arguments.seed));
    if let Some(path) = arguments.json {
        std::fs::write(path, output::json(&studies, arguments.requests, arguments.seed))?;
    }
    if let Some(path) = arguments.plot {
        plot::draw(&studies, &path)?;
    }
    Ok(())
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments { requests: 20_000, seed: 1, options: Options::default(), json: None, plot: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            // From `cargo bench`.
            "--bench" => {}
            "--requests" => arguments.requests = value()?.parse::<usize>()?.clamp(1_000, 10_000_000),
            "--seed" => arguments.seed = value()?.parse()?,
            "--weight" => arguments.options.cpu_cost_weight = value()?.parse()?,
            "--band" => arguments.options.band = value()?.parse()?,
            "--json" => arguments.json = Some(value()?.into()),
            "--plot" => arguments.plot = Some(value()?.into()),
            _ => {
                return Err(format!(
                    "`{word}` is not known; there are --requests, --seed, --weight, --band, --json, --plot"
                )
                .into());
            }
        }
    }
    Ok(arguments)
}
