//! Reads the flights and publishes what happens to them, in the order of time.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use jiff::civil::{Date, DateTime};
use parking_lot::Mutex;
use tramline::{Bus, Hub, Publisher, TopicError};

use crate::bad_rows::BadRows;
use crate::flights;
use crate::message::{Code, FlightEvent, Kind};
use crate::options::Speed;
use crate::screen::Screen;
use crate::stop::Stop;
use crate::table::{self, Table};
use crate::timeline::Timeline;

/// The routes whose publishers are kept. New York has some hundreds; a file of nonsense must not fill the memory.
const ROUTES: usize = 4096;

/// The account of the feed.
#[derive(Debug, Default)]
pub struct Fed {
    /// Flights that have departed or were cancelled: all in the file, unless it was stopped.
    pub flights: u64,
    /// Flights that have departed and not come to their end: 0, unless it was stopped.
    pub in_the_air: u64,
    pub bad_rows: u64,
    /// The first and the last day of which a flight was published.
    pub days: Option<(Date, Date)>,
    pub is_stopped: bool,
}

/// Publishes the whole file, its first event now. It ends early if `stop` is requested.
pub fn run(hub: &Hub, path: &Path, speed: Speed, stop: &Stop, screen: &Screen) -> Result<Fed, Box<dyn Error>> {
    let mut clock = Clock { speed, stop, start: None };
    play(hub, path, screen, |at| clock.wait_until(at))
}

/// Publishes the whole file, each event when `wait_until` returns from the wait for its time, or ends early if it returns
/// `false`. The file has its days in the order of time; see [`Timeline`] for the order within a day.
pub fn play(
    hub: &Hub,
    path: &Path,
    screen: &Screen,
    mut wait_until: impl FnMut(DateTime) -> bool,
) -> Result<Fed, Box<dyn Error>> {
    // Counting reads the file once more, which is only worth it if the bar is seen.
    let total = if screen.is_hidden() { None } else { table::count_rows(path) };
    let mut table = Table::open(path, flights::COLUMNS)?;
    let mut bad_rows = BadRows::new(hub);
    let mut timeline = Timeline::default();
    let mut stage = Stage::new(hub.bus(), total, screen)?;
    let mut goes_on = true;
    while let Some(row) = table.next_row()? {
        match row.and_then(|row| flights::parse(&row)) {
            Ok(journey) => {
                goes_on = stage.play(timeline.release(journey.day), &mut wait_until)?;
                if !goes_on {
                    break;
                }
                timeline.add(journey);
            }
            Err(fault) => bad_rows.publish(fault)?,
        }
    }
    if goes_on {
        goes_on = stage.play(timeline.finish(), &mut wait_until)?;
    }
    stage.bar.finish_and_clear();
    Ok(Fed { bad_rows: bad_rows.count(), is_stopped: !goes_on, ..stage.fed })
}

/// Where the events are published.
struct Stage {
    bus: Bus<FlightEvent>,
    /// One publisher per route and kind: finding a mailbox through it costs no lookup in the bus.
    routes: HashMap<[Code; 3], [Publisher<FlightEvent>; 4]>,
    audit: [Publisher<FlightEvent>; 4],
    bar: ProgressBar,
    /// The time of the last event, for the bar.
    time: Arc<Mutex<Option<DateTime>>>,
    fed: Fed,
}

impl Stage {
    fn new(bus: Bus<FlightEvent>, total: Option<u64>, screen: &Screen) -> Result<Self, TopicError> {
        let audit = publishers(&bus, "audit")?;
        let time = Arc::new(Mutex::new(None::<DateTime>));
        let shown = Arc::clone(&time);
        let bar = screen.bar(total, move || shown.lock().map(|time| time.strftime("%b %d %H:%M").to_string()));
        Ok(Self { bus, routes: HashMap::new(), audit, bar, time, fed: Fed::default() })
    }

    /// Publishes the events, each at its time. Returns `false` if a wait has ended that.
    fn play(
        &mut self,
        events: impl Iterator<Item = FlightEvent>,
        wait_until: &mut impl FnMut(DateTime) -> bool,
    ) -> Result<bool, Box<dyn Error>> {
        for event in events {
            if !wait_until(event.at) {
                return Ok(false);
            }
            self.count(&event);
            self.publish(event)?;
        }
        Ok(true)
    }

    fn count(&mut self, event: &FlightEvent) {
        *self.time.lock() = Some(event.at);
        match event.kind {
            Kind::Departed => self.fed.in_the_air += 1,
            Kind::Cancelled => {}
            Kind::Landed | Kind::Diverted => {
                // Cannot underflow: the timeline releases a departure before its end.
                self.fed.in_the_air -= 1;
                return;
            }
        }
        self.fed.flights += 1;
        self.bar.inc(1);
        let day = event.flight.scheduled.date();
        let (first, last) = self.fed.days.unwrap_or((day, day));
        self.fed.days = Some((first.min(day), last.max(day)));
    }

    fn publish(&mut self, event: FlightEvent) -> Result<(), Box<dyn Error>> {
        let kind = event.kind as usize;
        let route = [event.flight.origin, event.flight.dest, event.flight.carrier];
        self.audit[kind].fire(event.clone());
        if let Some(publishers) = self.routes.get(&route) {
            publishers[kind].publish(event)?;
            return Ok(());
        }
        if self.routes.len() >= ROUTES {
            self.routes.clear();
        }
        let [origin, dest, carrier] = route;
        let publishers = publishers(&self.bus, &format!("flight.{origin}.{dest}.{carrier}"))?;
        publishers[kind].publish(event)?;
        self.routes.insert(route, publishers);
        Ok(())
    }
}

/// Returns a publisher for each kind, in the order of the kinds.
fn publishers(bus: &Bus<FlightEvent>, prefix: &str) -> Result<[Publisher<FlightEvent>; 4], TopicError> {
    let [departed, cancelled, landed, diverted] =
        Kind::ALL.map(|kind| bus.publisher(format!("{prefix}.{}", kind.token())));
    Ok([departed?, cancelled?, landed?, diverted?])
}

/// Lets time go by: the first event is now, the others as much later as they were then, divided by the speed.
struct Clock<'a> {
    speed: Speed,
    stop: &'a Stop,
    start: Option<(Instant, DateTime)>,
}

impl Clock<'_> {
    /// Returns `false` once the stop is requested.
    fn wait_until(&mut self, at: DateTime) -> bool {
        let Speed::Times(times) = self.speed else { return !self.stop.is_requested() };
        let (start, first) = *self.start.get_or_insert((Instant::now(), at));
        let seconds = at.duration_since(first).as_secs_f64() / times;
        // An event before the first, in a file out of order, is due at once.
        let due = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        !self.stop.wait_for(due.saturating_sub(start.elapsed()))
    }
}
