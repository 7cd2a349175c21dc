//! Reads the dead letters, and tells of the first few.

use std::io;
use std::thread::{Builder, JoinHandle};

use tramline::{DeadLetter, DeadLetterReason, DeadLetters};

use crate::audit;
use crate::message::{Event, FlightBus};
use crate::screen::Screen;

/// How many are told of one by one.
const TOLD: u64 = 20;

pub(crate) struct Reader {
    thread: JoinHandle<u64>,
}

/// Starts to read. It goes on until the bus is closed.
pub(crate) fn read(bus: &FlightBus, screen: &Screen) -> io::Result<Reader> {
    let letters = bus.dead_letters();
    let screen = screen.clone();
    let thread = Builder::new().name("dead-letters".to_owned()).spawn(move || tell(&letters, &screen))?;
    Ok(Reader { thread })
}

/// Gives back how many letters it told of.
fn tell(letters: &DeadLetters<Event>, screen: &Screen) -> u64 {
    let mut told = 0;
    for letter in letters.iter() {
        // Reading goes on to the end: letters that nobody takes out would stay in memory.
        if told == TOLD || is_loss_of_audit(&letter) {
            continue;
        }
        told += 1;
        match letter.payload() {
            Event::BadRow(fault) => screen.say(&fault.to_string()),
            _ => screen.say(&format!("dead letter on {}: {}", letter.topic(), letter.reason())),
        }
    }
    told
}

/// The audit chose to lose what it cannot keep up with, and counts it.
fn is_loss_of_audit(letter: &DeadLetter<Event>) -> bool {
    *letter.reason() == DeadLetterReason::Full && letter.topic().tokens().next() == Some(audit::NAME)
}

impl Reader {
    /// Waits until the last letter was read, and tells how many of all there were no words about; the bus must be
    /// closed.
    pub(crate) fn finish(self, all: u64, screen: &Screen) {
        // The thread does not panic; if it did, it would have said so.
        let told = self.thread.join().unwrap_or_default();
        let untold = all.saturating_sub(told);
        if untold > 0 {
            screen.say(&format!("and {untold} more dead letters"));
        }
    }
}
