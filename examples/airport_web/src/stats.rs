//! Tells twice a second what all buses and the gateway are doing.

use std::collections::VecDeque;
use std::io;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use airport::statistics::Statistics;
use tramline::gateway::Gateway;
use tramline::{BusStats, Hub, SubscriptionStats};

use crate::WebBus;
use crate::message::{BoardMessage, Connections, Mailbox, Stats, WeatherReport};

const EVERY: Duration = Duration::from_millis(500);
/// A minute of rates.
const RATES: usize = 120;
/// A rate is that of so many steps, or it would jump between none and one.
const SMOOTH: usize = 4;

type WebGateway = Gateway<BoardMessage, WeatherReport>;

/// Starts a thread that ends when the page's bus is closed.
pub(crate) fn start(hub: &Hub, bus: &WebBus, gateway: &WebGateway, statistics: Statistics) -> io::Result<()> {
    let (hub, bus, gateway) = (hub.clone(), bus.clone(), gateway.clone());
    Builder::new().name("stats".to_owned()).spawn(move || {
        let mut rates = Rates::default();
        loop {
            rates.add(Instant::now(), statistics.finish().events());
            let stats = BoardMessage::Stats(Box::new(collect(&hub, &bus, &gateway, &rates)));
            if bus.publish_retained("bus.stats", stats).is_err() {
                return;
            }
            thread::sleep(EVERY);
        }
    })?;
    Ok(())
}

fn collect(hub: &Hub, bus: &WebBus, gateway: &WebGateway, rates: &Rates) -> Stats {
    let mut buses: Vec<_> = hub.stats().into_iter().map(|bus| bus.stats).collect();
    buses.push(bus.stats());
    let sum = |number: fn(&BusStats) -> u64| buses.iter().map(number).sum();
    let subscriptions =
        buses.iter().flat_map(|bus| bus.subscriptions.iter().map(|one| mailbox(&bus.name, one))).collect();
    let of_gateway = gateway.stats();
    Stats {
        rates: rates.rates.iter().copied().collect(),
        events: rates.events(),
        topics: buses.iter().map(|bus| bus.topics).sum(),
        dropped: sum(|stats| stats.dropped),
        dead_letters: sum(|stats| stats.dead_letters),
        subscriptions,
        gateway: Connections {
            connections: of_gateway.connections,
            subscriptions: of_gateway.subscriptions,
            waiting_bytes: of_gateway.waiting_bytes,
            slow_clients: of_gateway.slow_clients,
        },
    }
}

fn mailbox(bus: &str, stats: &SubscriptionStats) -> Mailbox {
    let patterns: Vec<_> = stats.patterns.iter().map(ToString::to_string).collect();
    Mailbox {
        bus: bus.to_owned(),
        // A module that answers by type has no subscription to name; its bus has its name.
        name: stats.name.clone().unwrap_or_else(|| bus.to_owned()),
        patterns: patterns.join(" "),
        depth: stats.depth,
        capacity: stats.capacity,
        high_water: stats.high_water,
        delivered: stats.delivered,
        dropped: stats.dropped,
    }
}

/// How many events there were at each of the last steps, and how many that is in a second.
#[derive(Default)]
struct Rates {
    counts: VecDeque<(Instant, u64)>,
    rates: VecDeque<f64>,
}

impl Rates {
    fn add(&mut self, now: Instant, events: u64) {
        // The first count has nothing to be compared with.
        if let Some(&(then, before)) = self.counts.front() {
            let seconds = now.duration_since(then).as_secs_f64();
            let rate = if seconds > 0.0 { events.saturating_sub(before) as f64 / seconds } else { 0.0 };
            // More digits would be no more than bytes on the line.
            self.rates.push_back((rate * 10.0).round() / 10.0);
        }
        self.counts.push_back((now, events));
        if self.counts.len() > SMOOTH {
            self.counts.pop_front();
        }
        if self.rates.len() > RATES {
            self.rates.pop_front();
        }
    }

    fn events(&self) -> u64 {
        self.counts.back().map_or(0, |&(_, events)| events)
    }
}
