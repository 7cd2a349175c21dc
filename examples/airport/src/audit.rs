//! Writes one line per event. It may fall behind, and then loses events and counts them; it never holds the feed up.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tramline::{Handler, Hub, Overflow};

use crate::message::FlightEvent;

/// The name of the subscription, and the first token of its topics.
pub const NAME: &str = "audit";
/// Room for a burst of more than a month of flights.
const CAPACITY: usize = 65_536;

pub struct Audit {
    log: Arc<Mutex<Log>>,
    _handler: Handler,
}

struct Log {
    output: Box<dyn Write + Send>,
    file: String,
    written: Audited,
}

/// The account of the audit.
#[derive(Default)]
pub struct Audited {
    pub lines: u64,
    /// Events that came after the file could not be written to any more.
    pub unwritten: u64,
    pub error: Option<String>,
}

/// Writes to the file, or nowhere.
pub fn start(hub: &Hub, path: Option<&Path>) -> Result<Audit, Box<dyn Error>> {
    let file = path.map_or_else(String::new, |path| path.display().to_string());
    let output: Box<dyn Write + Send> = match path {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(|error| format!("{file}: {error}"))?)),
        None => Box::new(io::sink()),
    };
    let log = Arc::new(Mutex::new(Log { output, file, written: Audited::default() }));
    let shared = Arc::clone(&log);
    let handler = hub
        .bus::<FlightEvent>()
        .subscription(format!("{NAME}.*"))
        .name(NAME)
        .capacity(CAPACITY)
        .overflow(Overflow::DropNewest)
        .handle(move |event| shared.lock().write(event))?;
    Ok(Audit { log, _handler: handler })
}

impl Log {
    fn write(&mut self, event: &FlightEvent) {
        if self.written.error.is_some() {
            self.written.unwritten += 1;
            return;
        }
        let flight = &event.flight;
        let written = writeln!(
            self.output,
            "{} {} {}{} {} {} {:+}",
            event.at,
            event.kind.token(),
            flight.carrier,
            flight.number,
            flight.origin,
            flight.dest,
            flight.dep_delay
        );
        match written {
            Ok(()) => self.written.lines += 1,
            Err(error) => {
                self.written.unwritten += 1;
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.written.error.get_or_insert(format!("{}: {error}", self.file));
    }
}

impl Audit {
    /// Writes what is still buffered; the bus must be drained.
    pub fn finish(&self) -> Audited {
        let mut log = self.log.lock();
        if let Err(error) = log.output.flush() {
            log.fail(&error);
        }
        std::mem::take(&mut log.written)
    }
}
