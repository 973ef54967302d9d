//! Instruction counts: how much code one operation executes. Counted by callgrind, so the numbers do not depend on how busy
//! the machine is, and may be bounds.
//!
//! ```console
//! $ cargo bench -p dsa-benches --bench instructions            # the table
//! $ cargo bench -p dsa-benches --bench instructions -- --check # fails if a bound is exceeded
//! ```
//!
//! The program runs itself under valgrind, once with few rounds of a case and once with many; the difference, divided by the
//! rounds between, is what one round costs, without start-up and without what is done once. Where a case has a loop of the
//! submitter's in it, the loop alone is counted too and taken off.
//!
//! The software model runs on the submitter's own thread here (`Config::manual`). A "submission to record" is everything
//! between a finished descriptor and a finished completion record: accept, queue, arbitration, checks, execution, record.
//! As on a device with threads, submitter and engine work in turns: 32 descriptors are submitted one by one, then the engine
//! runs until it has nothing left. "Alone" is one descriptor at a time, with the lock that a device without threads takes.

#![allow(clippy::cast_precision_loss)] // counts are far below 2^52

mod cases;
mod count;
mod decisions;
mod engine;
mod runtime;

use std::process::ExitCode;

use cases::Case;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", name, rounds] => {
            let case = Case::named(name).expect("a case's name");
            case.run(rounds.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        ["--run-around", name, rounds] => {
            let case = Case::named(name).expect("a case's name");
            case.run_around(rounds.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        [] => report(false),
        ["--check"] => report(true),
        _ => {
            eprintln!("arguments: none, or --check");
            ExitCode::from(2)
        }
    }
}

/// Prints the table. With `check`, a bound that is exceeded is a failure.
fn report(check: bool) -> ExitCode {
    let mut bad = 0;
    println!("{:<54} {:>12} {:>8}", "case", "instructions", "bound");
    for case in Case::ALL {
        let cost = match count::of(case.name) {
            Ok(cost) => cost,
            Err(error) => {
                eprintln!("{}: {error}", case.name);
                return ExitCode::FAILURE;
            }
        };
        let over = case.bound.is_some_and(|bound| cost > f64::from(bound));
        let bound = case.bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
        println!("{:<54} {cost:>12.1} {bound:>8}{}", case.name, if over { "  EXCEEDED" } else { "" });
        bad += i32::from(over);
    }
    if check && bad != 0 {
        println!("{bad} bounds are exceeded");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
