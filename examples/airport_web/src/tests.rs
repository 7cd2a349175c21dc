//! The modules behind the page, without a page. `cargo test -p airport_web` runs them.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use airport::message::{Code, Flight, FlightEvent, Kind};
use airport::names::Names;
use jiff::SignedDuration;
use jiff::civil::DateTime;
use tramline::{Hub, Topic};

use crate::WebBus;
use crate::clock::{Clock, Speed};
use crate::departures::Departures;
use crate::message::{BoardMessage, Row, Status};
use crate::schedule::Schedule;
use crate::{control, weather};

/// Only what is wrong takes this long.
const LONG: Duration = Duration::from_secs(60);
const PAUSE: f64 = 0.0;

fn speed(times: f64) -> Speed {
    Speed::new(times).expect("it is within the bounds")
}

fn schedule() -> Schedule {
    let hub = Hub::new();
    let names = Names::load(&hub, airport::options::AIRLINES.as_ref(), airport::options::AIRPORTS.as_ref())
        .expect("the files are there");
    Schedule::load(&names).expect("the files are there")
}

/// The boards at this time after the clock has begun, which stands still.
fn boards(after: SignedDuration) -> (WebBus, Arc<Clock>, Departures) {
    let (bus, schedule) = (WebBus::builder().build(), schedule());
    let clock = Arc::new(Clock::new(schedule.begin().saturating_add(after), speed(PAUSE)));
    let departures = Departures::new(&bus, &clock, schedule);
    (bus, clock, departures)
}

/// All rows that are kept for the board of an airport, by their topics.
fn rows(bus: &WebBus, airport: &str) -> Vec<(Topic, Row)> {
    let kept = bus.subscription(format!("departures.{airport}.*.*")).with_retained().open().expect("it is open");
    kept.try_iter()
        .map(|message| match message.payload() {
            BoardMessage::Row(row) => (message.topic().clone(), (**row).clone()),
            other => panic!("this is no row: {other:?}"),
        })
        .collect()
}

/// What the feed would tell of the flight of a row.
fn event(kind: Kind, row: &Row, dep_delay: i32) -> FlightEvent {
    let code = |text: &str| Code::new(text).expect("it is a code");
    let scheduled: DateTime = row.scheduled.parse().expect("it is a time");
    let flight = Flight {
        carrier: code(&row.carrier),
        number: row.number,
        origin: code("JFK"),
        dest: code(&row.dest),
        scheduled,
        dep_delay,
        arr_delay: None,
        hour: row.hour.parse().expect("it is an hour"),
    };
    let at = scheduled.saturating_add(SignedDuration::from_mins(dep_delay.into()));
    FlightEvent { kind, at, flight: Arc::new(flight) }
}

fn row_of(bus: &WebBus, topic: &Topic) -> Option<Row> {
    match bus.retained(topic.clone())? {
        BoardMessage::Row(row) => Some(*row),
        other => panic!("this is no row: {other:?}"),
    }
}

#[test]
fn a_speed_is_a_pause_or_from_1_to_3600() {
    for times in [0.0, 1.0, 3600.0] {
        assert!(Speed::new(times).is_some(), "{times}");
    }
    for times in [-1.0, 0.5, 3601.0, f64::NAN, f64::INFINITY] {
        assert!(Speed::new(times).is_none(), "{times}");
    }
}

#[test]
fn who_waits_for_a_time_hears_of_another_speed() {
    let begin: DateTime = "2013-01-01T05:00".parse().expect("it is a time");
    let clock = Arc::new(Clock::new(begin, speed(PAUSE)));
    let (send, done) = mpsc::channel();
    let waiting = Arc::clone(&clock);
    thread::spawn(move || {
        waiting.wait_until(begin.saturating_add(SignedDuration::from_mins(5)));
        send.send(waiting.read().time)
    });
    assert!(done.try_recv().is_err() && clock.read().time == begin, "it stands still");
    clock.set_speed(speed(3600.0));
    let time = done.recv_timeout(LONG).expect("the time comes");
    assert!(time >= begin.saturating_add(SignedDuration::from_mins(5)));
}

#[test]
fn a_board_has_the_next_flights_and_is_small() {
    let (bus, _clock, mut departures) = boards(SignedDuration::ZERO);
    departures.tick().expect("the bus is open");
    for airport in ["EWR", "JFK", "LGA"] {
        let rows = rows(&bus, airport);
        assert_eq!(rows.len(), 30);
        assert!(rows.iter().all(|(_, row)| row.status == Status::OnTime && row.delay == 0));
        let bytes: usize = rows.iter().map(|(_, row)| serde_json::to_vec(row).expect("it is JSON").len()).sum();
        assert!(bytes < 16 * 1024, "{bytes} bytes");
    }
    let (_, first) = &rows(&bus, "EWR").into_iter().min_by_key(|(_, row)| row.scheduled.clone()).expect("some");
    assert_eq!(
        (&*first.scheduled, &*first.city, &*first.airline),
        ("2013-01-01T05:15:00", "Houston", "United Air Lines")
    );
}

#[test]
fn what_is_not_gone_at_its_time_is_delayed() {
    let (bus, _clock, mut departures) = boards(SignedDuration::from_mins(62));
    departures.tick().expect("the bus is open");
    // A row is added as it is planned; the next look at the clock finds that its time has gone by.
    departures.tick().expect("the bus is open");
    let rows = rows(&bus, "EWR");
    let first = rows.iter().map(|(_, row)| row).min_by_key(|row| row.scheduled.clone()).expect("some");
    assert_eq!((first.status, first.delay), (Status::Delayed, 50), "52 minutes, in steps of 5");
    let ahead = rows.iter().filter(|(_, row)| row.status == Status::OnTime).count();
    assert_eq!(ahead, 30, "what is late takes no place of what is to come");
}

#[test]
fn a_row_tells_of_its_departure_and_leaves_the_board_later() {
    let (bus, clock, mut departures) = boards(SignedDuration::ZERO);
    departures.tick().expect("the bus is open");
    let (topic, row) = rows(&bus, "JFK").swap_remove(0);
    let live = bus.subscribe(topic.to_string()).expect("the bus is open");

    let mut yesterday = event(Kind::Departed, &row, 0);
    let flight = Arc::get_mut(&mut yesterday.flight).expect("nobody else has it");
    flight.scheduled = flight.scheduled.saturating_sub(SignedDuration::from_hours(24));
    departures.hear(&yesterday).expect("the bus is open");
    assert_eq!(row_of(&bus, &topic), Some(row.clone()), "the same number of another day is another flight");

    departures.hear(&event(Kind::Departed, &row, 17)).expect("the bus is open");
    let departed = row_of(&bus, &topic).expect("it stays a while");
    assert_eq!((departed.status, departed.delay), (Status::Departed, 17));
    assert!(departed.departed.is_some_and(|time| time > row.scheduled));

    clock.jump(SignedDuration::from_hours(5));
    departures.tick().expect("the bus is open");
    assert_eq!(row_of(&bus, &topic), None);
    let last = live.try_iter().last().expect("it was told");
    assert!(matches!(last.payload(), BoardMessage::Gone), "{last:?}");
}

#[test]
fn a_new_round_clears_the_boards() {
    let (bus, clock, mut departures) = boards(SignedDuration::from_hours(8));
    departures.tick().expect("the bus is open");
    let (topic, _) = rows(&bus, "JFK").pop().expect("some");
    let before = rows(&bus, "JFK").len();
    let event = event(Kind::Cancelled, &row_of(&bus, &topic).expect("it is there"), 0);
    departures.hear(&event).expect("the bus is open");
    assert_eq!(row_of(&bus, &topic).map(|row| row.status), Some(Status::Cancelled));
    clock.restart(clock.read().time.saturating_sub(SignedDuration::from_hours(8)));
    departures.tick().expect("the bus is open");
    let rows = rows(&bus, "JFK");
    assert_eq!(rows.len(), 30, "there were {before}");
    assert!(rows.iter().all(|(_, row)| row.status == Status::OnTime));
}

#[test]
fn the_page_sets_the_speed_within_bounds() {
    let bus = WebBus::builder().build();
    let clock = Arc::new(Clock::new("2013-01-01T05:00".parse().expect("it is a time"), speed(120.0)));
    let control = control::start(&bus, &clock).expect("the bus is open");
    for times in [600.0, 1e9] {
        bus.fire("control.speed", BoardMessage::Speed { times });
    }
    bus.fire("control.speed", BoardMessage::Gone);
    assert!(control.stop(LONG).is_complete());
    assert_eq!(clock.read().speed, speed(600.0));
    assert_eq!(bus.stats().handler_failures, 2);
}

#[test]
fn the_weather_comes_from_the_hub() {
    let (hub, bus) = (Hub::new(), WebBus::builder().build());
    let _airport = airport::weather::serve(&hub, airport::options::WEATHER.as_ref()).expect("the file is there");
    let _web = weather::start(&bus, &hub).expect("the bus is open");
    let ask = |airport: &str, hour: &str| {
        let question = BoardMessage::WeatherAt { hour: hour.to_owned() };
        bus.request(format!("weather.{airport}"), question).expect("it is served").wait_timeout(LONG)
    };
    let report = ask("JFK", "2013-01-01T10:00:00Z").expect("an answer");
    assert!(report.observed && report.wind.is_some());
    assert!(!ask("ATL", "2013-01-01T10:00:00Z").expect("an answer").observed, "it is not in the file");
    assert!(ask("JFK", "noon").is_err_and(|error| error.is_failed()));
}
