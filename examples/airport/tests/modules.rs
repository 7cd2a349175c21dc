//! The modules, each by itself: the test kit stands in for the other modules.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use airport::message::{BadRow, Code, Delayed, Flight, FlightEvent, Kind, Observation, WeatherAt};
use airport::options::Speed;
use airport::screen::Screen;
use airport::stop::Stop;
use airport::{alerts, audit, feed, statistics, table, weather};
use jiff::Timestamp;
use tramline::testkit::{RecordedKind, TestKit, wait_until_hub_idle};
use tramline::{Bus, DeadLetterReason, Event, Hub, Overflow, Request};

use support::{LONG, within_limit};

const NOW: Duration = Duration::ZERO;

fn hour() -> Timestamp {
    "2013-01-01T10:00:00Z".parse().unwrap()
}

fn event(kind: Kind, number: u32, dep_delay: i32) -> FlightEvent {
    let code = |text| Code::new(text).unwrap();
    let at = "2013-01-01T05:15".parse().unwrap();
    let flight = Flight {
        carrier: code("UA"),
        number,
        origin: code("JFK"),
        dest: code("IAH"),
        scheduled: at,
        dep_delay,
        arr_delay: None,
        hour: hour(),
    };
    FlightEvent { kind, at, flight: Arc::new(flight) }
}

/// Publishes what happened to a flight, as the feed does.
fn publish(hub: &Hub, kind: Kind, number: u32, dep_delay: i32) {
    let topic = format!("flight.JFK.IAH.UA.{}", kind.token());
    hub.bus::<FlightEvent>().publish(topic, event(kind, number, dep_delay)).unwrap();
}

fn weather_bus(hub: &Hub) -> Bus<WeatherAt, Option<Observation>> {
    hub.bus_with_reply()
}

/// A file of its own for each test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

mod of_alerts {
    use super::*;

    #[test]
    fn a_late_departure_raises_one_alert_and_asks_for_the_weather() {
        within_limit(|| {
            let hub = Hub::new();
            let (delays, weather) = (TestKit::new(&hub.bus::<Delayed>()), TestKit::new(&weather_bus(&hub)));
            let (alerted, asked) = (delays.record(">").unwrap(), weather.record(">").unwrap());
            weather.reply_to("weather.*").unwrap().with(Some(Observation { wind: Some(12.0), visibility: None }));
            let alerts = alerts::start(&hub).unwrap();

            publish(&hub, Kind::Departed, 1, 59);
            publish(&hub, Kind::Departed, 2, 61);
            publish(&hub, Kind::Landed, 3, 90);
            wait_until_hub_idle(&hub, LONG);

            alerted.wait_for(1, NOW);
            alerted.assert_nothing_more(NOW);
            alerted.assert_published_where(Delayed::TOPIC, |Delayed(flight)| flight.number == 2);
            asked.wait_for(1, NOW);
            asked.assert_nothing_more(NOW);
            asked.assert_published_where(WeatherAt::TOPIC, |at| at.origin.as_str() == "JFK" && at.hour == hour());
            let tally = alerts.finish();
            assert_eq!((tally.alerts, tally.answered, tally.missing, tally.failed), (1, 1, 0, 0));
            assert_eq!((tally.wind.value(), tally.visibility.value()), (Some(12.0), None));
        });
    }

    #[test]
    fn weather_that_is_missing_or_fails_is_counted_and_holds_nothing_up() {
        within_limit(|| {
            let hub = Hub::new();
            let (flights, weather) = (TestKit::new(&hub.bus::<FlightEvent>()), TestKit::new(&weather_bus(&hub)));
            let departed = flights.record("flight.>").unwrap();
            weather.reply_to("weather.*").unwrap().with(None).then_fail("the tower is closed").then_ignore();
            let alerts = alerts::start(&hub).unwrap();

            (1..=4).for_each(|number| publish(&hub, Kind::Departed, number, 120));
            wait_until_hub_idle(&hub, LONG);

            let tally = alerts.finish();
            assert_eq!((tally.alerts, tally.answered, tally.missing, tally.failed), (4, 0, 1, 3));
            departed.assert_no_dead_letters();
        });
    }

    #[test]
    fn without_a_weather_module_the_departure_becomes_a_dead_letter() {
        within_limit(|| {
            let hub = Hub::new();
            let (flights, delays) = (TestKit::new(&hub.bus::<FlightEvent>()), TestKit::new(&hub.bus::<Delayed>()));
            let (departed, alerted) = (flights.record("flight.>").unwrap(), delays.record("alert.>").unwrap());
            let _alerts = alerts::start(&hub).unwrap();

            publish(&hub, Kind::Departed, 7, 61);

            let letters = departed.wait_for_dead_letters(1, LONG);
            let RecordedKind::DeadLetter { payload, reason: DeadLetterReason::Failed(why), attempts: 1, .. } =
                &letters[0].kind
            else {
                panic!("{}", letters[0]);
            };
            assert_eq!((payload.flight.number, why.as_str()), (7, "no mailbox took the request"));
            alerted.assert_published_where(Delayed::TOPIC, |Delayed(flight)| flight.number == 7);
        });
    }
}

mod of_weather {
    use super::*;

    const TABLE: &str = "\
origin,time_hour,wind_speed,visib
JFK,2013-01-01T10:00:00Z,10.5,NA
JFK,noon,1,1
EWR,2013-01-01T10:00:00Z,fast,1
";

    #[test]
    fn it_answers_what_was_observed() {
        within_limit(|| {
            let hub = Hub::new();
            let weather = weather::serve(&hub, &file("observed.csv", TABLE)).unwrap();
            let ask = |origin: &str| {
                let origin = Code::new(origin).unwrap();
                hub.request(WeatherAt { origin, hour: hour() }).unwrap().wait().unwrap()
            };
            let observation = ask("JFK").unwrap();
            assert_eq!((observation.wind, observation.visibility), (Some(10.5), None));
            assert!(ask("LGA").is_none());
            assert_eq!(weather.bad_rows, 2);
        });
    }

    #[test]
    fn bad_rows_are_published_and_told_by_their_place() {
        within_limit(|| {
            let hub = Hub::new();
            let kit = TestKit::new(&hub.bus::<BadRow>());
            let recorder = kit.record(BadRow::TOPIC).unwrap();
            let path = file("bad.csv", TABLE);

            let _weather = weather::serve(&hub, &path).unwrap();

            let letters = recorder.wait_for_dead_letters(2, NOW); // as nobody subscribes to them
            let faults: Vec<_> = letters
                .iter()
                .map(|letter| match &letter.kind {
                    RecordedKind::DeadLetter { payload: BadRow(fault), reason: DeadLetterReason::Unheard, .. } => {
                        fault.to_string()
                    }
                    _ => panic!("{letter}"),
                })
                .collect();
            let path = path.display();
            assert!(faults[0].starts_with(&format!("{path}:3:2: time_hour `noon`: ")), "{}", faults[0]);
            assert!(faults[1].starts_with(&format!("{path}:4:3: wind_speed `fast`: ")), "{}", faults[1]);
            assert!(letters.iter().all(|letter| letter.topic == BadRow::TOPIC));
        });
    }
}

mod of_statistics {
    use super::*;

    #[test]
    fn they_count_what_happens_and_keep_the_longest_delay() {
        within_limit(|| {
            let hub = Hub::new();
            let statistics = statistics::start(&hub).unwrap();
            let kinds = [Kind::Departed, Kind::Departed, Kind::Landed, Kind::Diverted, Kind::Cancelled];
            kinds.into_iter().zip(1..).for_each(|(kind, number)| publish(&hub, kind, number, 0));
            for (number, delay) in [(1, 70), (2, 200), (3, 90)] {
                hub.publish(Delayed(event(Kind::Departed, number, delay).flight)).unwrap();
            }
            wait_until_hub_idle(&hub, LONG);

            let tally = statistics.finish();
            assert_eq!((tally.departed, tally.landed, tally.diverted, tally.cancelled), (2, 1, 1, 1));
            assert_eq!(tally.departed_by_carrier[&Code::new("UA").unwrap()], 2);
            assert_eq!((tally.delays, tally.longest_delay.unwrap().number), (3, 2));
        });
    }
}

mod of_feed {
    use super::*;

    const TABLE: &str = "\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_delay,carrier,flight,origin,dest,air_time,time_hour
2013,1,1,600,600,0,5,UA,1,JFK,IAH,60,2013-01-01T11:00:00Z
2013,1,1,NA,500,NA,NA,AA,2,LGA,MIA,NA,2013-01-01T10:00:00Z
2013,1,1,500,500,0,0,B6,three,JFK,BQN,60,2013-01-01T10:00:00Z
2013,1,1,530,530,0,NA,DL,4,EWR,ATL,60,2013-01-01T10:00:00Z
";

    fn topics(hub: &Hub, name: &str, watched: &TestKit<FlightEvent>) -> Vec<String> {
        let recorder = watched.record("flight.>").unwrap();
        let fed = feed::run(hub, &file(name, TABLE), Speed::Max, &Stop::default(), &Screen::new()).unwrap();
        assert_eq!((fed.flights, fed.bad_rows), (3, 1));
        recorder.wait_for(5, NOW).iter().map(|recorded| recorded.topic.to_string()).collect()
    }

    const IN_ORDER: [&str; 5] = [
        "flight.LGA.MIA.AA.cancelled",
        "flight.EWR.ATL.DL.departed",
        "flight.JFK.IAH.UA.departed",
        "flight.EWR.ATL.DL.diverted",
        "flight.JFK.IAH.UA.landed",
    ];

    #[test]
    fn events_come_in_the_order_of_time() {
        within_limit(|| {
            let hub = Hub::new();
            let kit = TestKit::new(&hub.bus());
            assert_eq!(topics(&hub, "ordered.csv", &kit), IN_ORDER);
        });
    }

    #[test]
    fn a_full_audit_does_not_hold_it_up() {
        within_limit(|| {
            let hub = Hub::new();
            let kit = TestKit::new(&hub.bus());
            let audited = kit.record("audit.*").unwrap();
            kit.always_full("audit.*", Overflow::Block).unwrap();
            assert_eq!(topics(&hub, "audited.csv", &kit), IN_ORDER);
            let letters = audited.wait_for_dead_letters(5, NOW);
            for letter in letters {
                assert!(
                    matches!(letter.kind, RecordedKind::DeadLetter { reason: DeadLetterReason::Full, .. }),
                    "{letter}"
                );
            }
        });
    }

    #[test]
    fn a_stop_ends_it_while_it_waits_for_the_next_event() {
        within_limit(|| {
            let (hub, stop) = (Hub::new(), Stop::default());
            let on_second = stop.clone();
            let on_departure = move |_: &_| {
                on_second.request();
            };
            let _handler = hub.bus::<FlightEvent>().on("flight.EWR.>", on_departure).unwrap();
            // In real time, half an hour lies between the second event and the third.
            let path = file("stopped.csv", &TABLE.replace(",500,NA", ",530,NA"));
            let fed = feed::run(&hub, &path, Speed::Times(1.0), &stop, &Screen::new()).unwrap();
            assert!(fed.is_stopped);
            assert_eq!((fed.flights, fed.in_the_air, fed.bad_rows), (2, 1, 1));
        });
    }

    #[test]
    fn it_counts_the_flights_and_days_that_it_has_published() {
        within_limit(|| {
            let hub = Hub::new();
            let path = file("days.csv", &TABLE.replace("2013,1,1,530", "2013,1,3,530"));
            let fed = feed::run(&hub, &path, Speed::Max, &Stop::default(), &Screen::new()).unwrap();
            let days = fed.days.map(|(first, last)| (first.to_string(), last.to_string()));
            assert_eq!(days, Some(("2013-01-01".to_owned(), "2013-01-03".to_owned())));
            assert_eq!((fed.flights, fed.in_the_air, fed.is_stopped), (3, 0, false));
            assert_eq!(table::count_rows(&path), Some(4), "good and bad ones");
        });
    }

    #[test]
    fn a_handler_that_panics_does_not_stop_it() {
        within_limit(|| {
            let hub = Hub::new();
            let kit = TestKit::new(&hub.bus());
            let recorder = kit.record("flight.>").unwrap();
            kit.panic_on("flight.>", 2).unwrap();
            assert_eq!(topics(&hub, "panics.csv", &kit), IN_ORDER);
            recorder.wait_for_dead_letters(1, LONG);
        });
    }
}

mod of_audit {
    use super::*;

    #[test]
    fn it_writes_a_line_for_each_event() {
        within_limit(|| {
            let hub = Hub::new();
            let path = file("audit.log", "");
            let audit = audit::start(&hub, Some(&path)).unwrap();
            hub.bus().fire("audit.departed", event(Kind::Departed, 7, 61));
            hub.bus().fire("audit.landed", event(Kind::Landed, 7, 61));
            wait_until_hub_idle(&hub, LONG);
            let audited = audit.finish();
            assert_eq!((audited.lines, audited.unwritten, audited.error), (2, 0, None));
            let text = fs::read_to_string(path).unwrap();
            let expected = "\
2013-01-01T05:15:00 departed UA7 JFK IAH +61
2013-01-01T05:15:00 landed UA7 JFK IAH +61
";
            assert_eq!(text, expected);
        });
    }
}
