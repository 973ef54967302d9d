//! Counting: this program under callgrind.

use std::process::Command;

/// Rounds of the two runs: multiples of 32, so that batches are whole. So many, because the runtime measures its clock for two
/// milliseconds when it starts, in a loop whose instructions are others in each run.
const FEW: u32 = 3_200;
const MANY: u32 = 67_200;

/// Instructions of one round of a case, without the loop around it.
pub(crate) fn of(name: &str) -> Result<f64, String> {
    let each =
        |way| Ok::<_, String>((run(way, name, MANY)? as f64 - run(way, name, FEW)? as f64) / f64::from(MANY - FEW));
    Ok(each("--run")? - each("--run-around")?)
}

/// Instructions of the whole program with this many rounds.
fn run(way: &str, name: &str, rounds: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        // Kernels by the CPU's model: under valgrind, times say nothing.
        .env("DSA_CPU_TUNING", "model")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([way, name, &rounds.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be run: {error}; its package has the name valgrind"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("the case failed under valgrind:\n{text}"));
    }
    // ==PID== Collected : NUMBER
    text.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, number)| number.trim().parse().ok())
        .ok_or_else(|| format!("valgrind has not said what it collected:\n{text}"))
}
