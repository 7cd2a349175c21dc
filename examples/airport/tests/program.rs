//! The program, as a process of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn airport() -> Command {
    Command::new(env!("CARGO_BIN_EXE_airport"))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn the_report_shows_the_week_and_what_the_bus_did() {
    let output = airport().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = stdout(&output);
    assert!(report.starts_with("Flights out of New York, 1 to 7 January 2013, replayed on tramline,"), "{report}");
    let line = |words: &[&str]| report.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for words in [
        ["statistics", "flights", "flight.>", "publisher waits"],
        ["statistics", "delays", "alert.delay", "publisher waits"],
        ["audit", "flights", "audit.*", "drops the newest"],
        ["alerts", "weather.at", "weather", "328"],
        ["messages", "dropped", "unheard", "dead letters"],
    ] {
        assert!(line(&words), "{words:?} are in no line of:\n{report}");
    }
}

#[test]
fn the_report_for_programs_is_one_line() {
    let output = airport().args(["--report", "json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(stdout(&output).lines().count(), 1);
    assert_eq!((&report["complete"], &report["flights"]), (&true.into(), &6099.into()));
}

#[test]
fn a_board_has_a_speed_that_can_be_watched() {
    use airport::options::{Options, Speed};
    use clap::Parser;

    let speed = |args: &[&str]| Options::parse_from([&["airport"], args].concat()).speed();
    assert_eq!(speed(&[]), Speed::Max);
    assert_eq!(speed(&["--board", "JFK"]), Speed::Times(600.0));
    assert_eq!(speed(&["--board", "JFK", "--speed", "max"]), Speed::Max);
    assert_eq!(speed(&["--board", "JFK", "--speed", "60"]), Speed::Times(60.0));
}

#[cfg(unix)]
#[test]
fn an_interrupt_prints_the_report_of_what_happened_so_far() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    for args in [["--board", "JFK"], ["--speed", "60"]] {
        let mut child = airport().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("Ctrl-C"), "{line}");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(stdout(&output).contains("Stopped early"), "{output:?}");
    }
}
