//! A bus for the page, behind WebSockets, and what goes to and fro between it and the hub.
//!
//! | topic of the page's bus | who publishes | what |
//! | --- | --- | --- |
//! | `departures.<airport>.<carrier>.<flight>` | [`departures`], retained | a row of the board, or that it has gone |
//! | `clock` | [`departures`], retained | the simulated time, and how fast it goes by |
//! | `bus.stats` | [`stats`], retained | what all buses and the gateway are doing |
//! | `control.speed` | the page | how fast the time is to go by, for [`control`] |
//! | `weather.<airport>` | the page, a request | answered by [`weather`], which asks on the hub |

mod clock;
mod control;
pub(crate) mod data;
mod departures;
mod message;
pub(crate) mod options;
mod pages;
mod replay;
mod schedule;
mod stats;
#[cfg(test)]
mod tests;
mod weather;

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tramline::gateway::Gateway;
use tramline::{Bus, Hub};

use self::clock::Clock;
use self::departures::Departures;
use self::message::{BoardMessage, WeatherReport};
use self::options::Options;
use self::schedule::Schedule;
use crate::names::Names;
use crate::screen::Screen;
use crate::statistics::Statistics;

/// The bus of the page.
type WebBus = Bus<BoardMessage, WeatherReport>;

/// Serves the page and plays the flights, over and over.
pub(crate) async fn run(
    hub: &Hub,
    names: &Names,
    statistics: Statistics,
    screen: &Screen,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let schedule = Schedule::load(names)?;
    if !schedule.has(&options.airport) {
        return Err(format!("--airport: no flight leaves `{}`", options.airport).into());
    }
    let bus = WebBus::builder().name("web").build();
    // Only what the page needs.
    let gateway = Gateway::builder(&bus)
        .allow_subscribe("departures.*.*.*")
        .allow_subscribe("clock")
        .allow_subscribe("bus.stats")
        .allow_publish("control.speed")
        .allow_request("weather.*")
        .build()?;

    let clock = Arc::new(Clock::new(schedule.begin(), options.speed));
    let _control = control::start(&bus, &clock)?;
    let _weather = weather::start(&bus, hub)?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)))
        .await
        .map_err(|error| format!("port {}: {error}", options.port))?;
    let address = listener.local_addr()?;

    Departures::start(hub, &bus, &clock, schedule.clone())?;
    stats::start(hub, &bus, &gateway, statistics)?;
    let failed = replay::start(hub, screen, &clock, &schedule)?;

    let app = pages::routes(&options.airport).route("/bus", gateway.route());
    let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
    // The board is there even if nobody reads this.
    let _ = writeln!(io::stdout(), "the departures board is at http://{address}/");
    tokio::select! {
        served = server => Ok(served?),
        why = failed => Err(why.unwrap_or_else(|_| "the replay has ended".to_owned()).into()),
    }
}

/// Tells the reason for which a thread of the application has ended, which ends the application.
type Failed = oneshot::Receiver<String>;
