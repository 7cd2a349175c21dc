//! Plays the flights from the command line: `cargo run --release -p airport`. The modules are in the library.

use std::error::Error;
use std::io::{self, Write};
use std::process::{self, ExitCode};

use airport::options::Options;
use airport::stop::Stop;
use clap::Parser;

/// What shells report for a program that Ctrl-C has ended, so that a script does not go on as if all had been played.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let stop = Stop::default();
    match run(&Options::parse(), &stop) {
        Ok(()) if stop.is_requested() => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln`, which panics if standard error is closed.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, stop: &Stop) -> Result<(), Box<dyn Error>> {
    let on_interrupt = stop.clone();
    ctrlc::set_handler(move || {
        if !on_interrupt.request() {
            process::exit(INTERRUPTED.into());
        }
    })?;
    airport::run(options, stop)
}
