//! Plays the flights over and over, at the pace of the clock.

use std::io;
use std::sync::Arc;
use std::thread::Builder;

use airport::feed;
use airport::screen::Screen;
use tokio::sync::oneshot;
use tramline::Hub;

use crate::Failed;
use crate::clock::Clock;
use crate::schedule::Schedule;

pub(crate) fn start(hub: &Hub, screen: &Screen, clock: &Arc<Clock>, schedule: &Schedule) -> io::Result<Failed> {
    let (fail, failed) = oneshot::channel();
    let (hub, screen, clock) = (hub.clone(), screen.clone(), Arc::clone(clock));
    let (begin, end) = (schedule.begin(), schedule.end());
    Builder::new().name("replay".to_owned()).spawn(move || {
        // What comes after the end is published at once, so that the modules have had all of the file.
        let play = || {
            feed::play(&hub, airport::options::FLIGHTS.as_ref(), &screen, |at| {
                clock.wait_until(at.min(end));
                true
            })
        };
        let why = loop {
            match play() {
                Ok(_) => clock.restart(begin),
                Err(why) => break why.to_string(),
            }
        };
        // Nobody waits for it if the server has ended before.
        drop(fail.send(why));
    })?;
    Ok(failed)
}
