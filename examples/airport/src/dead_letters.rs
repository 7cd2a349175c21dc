//! Reads the dead letters of the buses that can have some, and reports the first few of each.
//!
//! An alert has none, as its mailbox makes the publisher wait; a request that comes to nothing tells who asked.

use std::io;
use std::thread::{Builder, JoinHandle};

use tramline::{DeadLetter, DeadLetterReason, DeadLetters, Hub};

use crate::audit;
use crate::message::{BadRow, FlightEvent};
use crate::screen::Screen;

/// How many are told of one by one.
const TOLD: u64 = 20;

pub struct Reader {
    threads: [JoinHandle<u64>; 2],
}

/// Starts to read. It goes on until the buses are closed.
pub fn read(hub: &Hub, screen: &Screen) -> io::Result<Reader> {
    let rows = hub.bus::<BadRow>().dead_letters();
    let flights = hub.bus::<FlightEvent>().dead_letters();
    Ok(Reader {
        threads: [
            spawn(rows, screen, |letter| Some(letter.payload().0.to_string()))?,
            spawn(flights, screen, of_flight)?,
        ],
    })
}

/// A thread that gives back how many letters it told of.
fn spawn<T: Send + 'static>(
    letters: DeadLetters<T>,
    screen: &Screen,
    words: fn(&DeadLetter<T>) -> Option<String>,
) -> io::Result<JoinHandle<u64>> {
    let screen = screen.clone();
    Builder::new().name("dead-letters".to_owned()).spawn(move || {
        let mut told = 0;
        // Reading goes on to the end: letters that nobody takes out would stay in memory.
        for words in letters.iter().filter_map(|letter| words(&letter)) {
            if told < TOLD {
                told += 1;
                screen.say(&words);
            }
        }
        told
    })
}

/// None if it is a loss of the audit, which chose to lose what it cannot keep up with, and counts it.
fn of_flight(letter: &DeadLetter<FlightEvent>) -> Option<String> {
    let of_audit = *letter.reason() == DeadLetterReason::Full && letter.topic().tokens().next() == Some(audit::NAME);
    (!of_audit).then(|| format!("dead letter on {}: {}", letter.topic(), letter.reason()))
}

impl Reader {
    /// Waits until the last letter was read, and reports how many letters were not shown; the buses must be
    /// closed.
    pub fn finish(self, all: u64, screen: &Screen) {
        // The threads do not panic; if one did, it would have said so.
        let told: u64 = self.threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum();
        let untold = all.saturating_sub(told);
        if untold > 0 {
            screen.say(&format!("and {untold} more dead letters"));
        }
    }
}
