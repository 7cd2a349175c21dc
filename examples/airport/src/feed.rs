//! Reads the flights and publishes what happens to them, in the order of time.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use jiff::civil::DateTime;
use tramline::{Bus, Hub, Publisher, TopicError};

use crate::bad_rows::BadRows;
use crate::flights;
use crate::message::{Code, FlightEvent, Kind};
use crate::options::Speed;
use crate::screen::Screen;
use crate::table::Table;
use crate::timeline::Timeline;

/// The routes whose publishers are kept. New York has some hundreds; a file of nonsense must not fill the memory.
const ROUTES: usize = 4096;
/// The rows between two looks at the progress.
const STEP: u64 = 256;

/// What the feed has done.
pub(crate) struct Fed {
    pub(crate) flights: u64,
    pub(crate) bad_rows: u64,
}

/// Publishes the whole file, its first event now.
pub(crate) fn run(hub: &Hub, path: &Path, speed: Speed, screen: &Screen) -> Result<Fed, Box<dyn Error>> {
    let mut clock = Clock { speed, start: None };
    play(hub, path, screen, |at| clock.wait_until(at))
}

/// Publishes the whole file, each event when the wait for its time is over. The order of the file's days is that of time; see
/// [`Timeline`] for the rest.
pub(crate) fn play(
    hub: &Hub,
    path: &Path,
    screen: &Screen,
    mut wait_until: impl FnMut(DateTime),
) -> Result<Fed, Box<dyn Error>> {
    let mut table = Table::open(path, flights::COLUMNS)?;
    let mut bad_rows = BadRows::of(hub, "flights")?;
    let mut timeline = Timeline::default();
    let mut stage = Stage::new(hub.bus())?;
    let mut flights = 0;
    let bar = screen.bar(table.size());
    while let Some(row) = table.next_row()? {
        match row.and_then(|row| flights::parse(&row)) {
            Ok(journey) => {
                flights += 1;
                for event in timeline.release(journey.day) {
                    wait_until(event.at);
                    stage.publish(event)?;
                }
                timeline.add(journey);
            }
            Err(fault) => bad_rows.publish(fault)?,
        }
        if (flights + bad_rows.count()) % STEP == 0 {
            bar.set_position(table.bytes());
        }
    }
    for event in timeline.finish() {
        wait_until(event.at);
        stage.publish(event)?;
    }
    bar.finish_and_clear();
    Ok(Fed { flights, bad_rows: bad_rows.count() })
}

/// Where the events are published.
struct Stage {
    bus: Bus<FlightEvent>,
    /// One publisher per route and kind: finding a mailbox through it costs no look-up in the bus.
    routes: HashMap<[Code; 3], [Publisher<FlightEvent>; 4]>,
    audit: [Publisher<FlightEvent>; 4],
}

impl Stage {
    fn new(bus: Bus<FlightEvent>) -> Result<Self, TopicError> {
        let audit = publishers(&bus, "audit")?;
        Ok(Self { bus, routes: HashMap::new(), audit })
    }

    fn publish(&mut self, event: FlightEvent) -> Result<(), Box<dyn Error>> {
        let kind = event.kind as usize;
        let route = [event.flight.origin, event.flight.dest, event.flight.carrier];
        self.audit[kind].fire(event.clone());
        if let Some(publishers) = self.routes.get(&route) {
            let _ = publishers[kind].publish(event)?;
            return Ok(());
        }
        if self.routes.len() >= ROUTES {
            self.routes.clear();
        }
        let [origin, dest, carrier] = route;
        let publishers = publishers(&self.bus, &format!("flight.{origin}.{dest}.{carrier}"))?;
        let _ = publishers[kind].publish(event)?;
        self.routes.insert(route, publishers);
        Ok(())
    }
}

/// A publisher for each kind, in the order of the kinds.
fn publishers(bus: &Bus<FlightEvent>, prefix: &str) -> Result<[Publisher<FlightEvent>; 4], TopicError> {
    let [departed, cancelled, landed, diverted] =
        Kind::ALL.map(|kind| bus.publisher(format!("{prefix}.{}", kind.token())));
    Ok([departed?, cancelled?, landed?, diverted?])
}

/// Lets time go by: the first event is now, the others as much later as they were then, divided by the speed.
struct Clock {
    speed: Speed,
    start: Option<(Instant, DateTime)>,
}

impl Clock {
    fn wait_until(&mut self, at: DateTime) {
        let Speed::Times(times) = self.speed else { return };
        let (start, first) = *self.start.get_or_insert((Instant::now(), at));
        let seconds = at.duration_since(first).as_secs_f64() / times;
        // What lies before the first event, in a file out of order, is due at once.
        let due = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
}
