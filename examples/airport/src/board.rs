//! The board of one airport: its last departures.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;

use indicatif::ProgressBar;
use parking_lot::Mutex;
use tramline::{Handler, Hub};

use crate::message::{Code, FlightEvent};
use crate::names::Names;
use crate::screen::Screen;

/// The departures that are shown.
const ROWS: usize = 10;

pub struct Board {
    panel: Arc<Mutex<Panel>>,
    canvas: ProgressBar,
    _handler: Handler,
}

struct Panel {
    title: String,
    names: Names,
    departures: VecDeque<FlightEvent>,
}

/// Shows the departures of this airport while it runs.
pub fn start(hub: &Hub, airport: &str, names: &Names, screen: &Screen) -> Result<Board, Box<dyn Error>> {
    let name = names.airport(airport).ok_or_else(|| format!("--board: there is no airport `{airport}`"))?;
    let code = Code::new(airport).map_err(|error| format!("--board: {error}"))?;
    let panel = Panel {
        title: format!("{name} ({code}): last departures, with the delay in minutes"),
        names: names.clone(),
        departures: VecDeque::with_capacity(ROWS),
    };
    let panel = Arc::new(Mutex::new(panel));
    let shown = Arc::clone(&panel);
    let canvas = screen.canvas(move || shown.lock().text());
    let shared = Arc::clone(&panel);
    let handler = hub
        .bus::<FlightEvent>()
        .subscription(format!("flight.{code}.*.*.departed"))
        .name("board")
        .handle(move |departure| shared.lock().add(departure))?;
    Ok(Board { panel, canvas, _handler: handler })
}

impl Panel {
    fn add(&mut self, departure: &FlightEvent) {
        if self.departures.len() == ROWS {
            self.departures.pop_front();
        }
        self.departures.push_back(departure.clone());
    }

    /// The title, then the departures, oldest first.
    fn text(&self) -> String {
        let departures = self.departures.iter().map(|departure| self.row(departure));
        std::iter::once(self.title.clone()).chain(departures).collect::<Vec<_>>().join("\n")
    }

    /// Fits a terminal of 80 columns.
    fn row(&self, departure: &FlightEvent) -> String {
        let flight = &departure.flight;
        let airline = self.names.airline(flight.carrier.as_str());
        let dest = self.names.airport(flight.dest.as_str()).unwrap_or_default();
        let (scheduled, delay) = (flight.scheduled.strftime("%b %d %H:%M"), flight.dep_delay);
        let (code, number) = (flight.carrier, flight.number);
        format!("{scheduled} {delay:>+5}  {code:<3}{number:<5} {airline:<22.22} {:<4}{dest:.22}", flight.dest)
    }
}

impl Board {
    /// Shows the end; where there was no terminal to draw on, for the first time.
    pub fn finish(&self, screen: &Screen) {
        if screen.is_hidden() {
            // Not in one line: the screen must not be waited for with the panel locked.
            let text = self.panel.lock().text();
            screen.say(&text);
        } else {
            self.canvas.abandon();
        }
    }
}
