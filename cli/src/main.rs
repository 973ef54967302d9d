//! `dsa`: tries the runtime on real input.
//!
//! Each subcommand is a module that parses its own arguments. The exit status is 0 if the command did what it says, 1
//! if not, and 2 for a command line that makes no sense. `emulate` has the exit status of the program that it runs.

#![forbid(unsafe_code)]

mod demo;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod emulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Memory offload to Intel's Data Streaming Accelerator
#[derive(Parser)]
#[command(name = "dsa", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Emulate(emulate::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Command::Emulate(args) => return emulate::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dsa: {error}");
            ExitCode::FAILURE
        }
    }
}
