//! The airport with its departures board in a browser: `cargo run --release -p airport_web`.
//!
//! The modules of the package `airport` run as they do there, on their hub. Here is a second bus for the page, behind
//! WebSockets, with what the page may see and do, and the modules that translate between the two.
//!
//! | topic of the page's bus | publisher | what |
//! | --- | --- | --- |
//! | `departures.<airport>.<carrier>.<flight>` | [`departures`], retained | a row of the board, or that it has gone |
//! | `clock` | [`departures`], retained | the simulated time, and how fast it goes by |
//! | `bus.stats` | [`stats`], retained | what all buses and the gateway are doing |
//! | `control.speed` | the page | how fast the time is to go by, for [`control`] |
//! | `weather.<airport>` | the page, a request | answered by [`weather`], which asks on the hub |

mod clock;
mod control;
mod departures;
mod message;
mod options;
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
use std::process::ExitCode;
use std::sync::Arc;

use airport::message::name_buses;
use airport::names::Names;
use airport::options::{AIRLINES, AIRPORTS, WEATHER};
use airport::screen::Screen;
use airport::statistics::Statistics;
use airport::{alerts, audit, dead_letters, statistics};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tramline::gateway::Gateway;
use tramline::{Bus, Hub};

use crate::clock::Clock;
use crate::departures::Departures;
use crate::message::{BoardMessage, WeatherReport};
use crate::options::Options;
use crate::schedule::Schedule;

/// The bus of the page.
type WebBus = Bus<BoardMessage, WeatherReport>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln`, which panics if standard error is closed.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the process is stopped, or something fails.
async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let hub = Hub::new();
    name_buses(&hub);
    let screen = Screen::new();
    let _dead_letters = dead_letters::read(&hub, &screen)?;
    let names = Names::load(&hub, AIRLINES.as_ref(), AIRPORTS.as_ref())?;

    let _weather = airport::weather::serve(&hub, WEATHER.as_ref())?;
    let statistics = statistics::start(&hub)?;
    let _alerts = alerts::start(&hub)?;
    let _audit = audit::start(&hub, None)?;
    serve(&hub, &names, statistics, &screen, &options).await
}

/// Serves the page and plays the flights, over and over.
async fn serve(
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
    let bus = WebBus::builder().name("page").build();
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

    let pages = pages::routes(&options.airport, &schedule.period());
    Departures::start(hub, &bus, &clock, schedule.clone())?;
    stats::start(hub, &bus, &gateway, statistics)?;
    let failed = replay::start(hub, screen, &clock, &schedule)?;

    let app = pages.route("/bus", gateway.route());
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
