//! Sets the speed of the clock when the page says so.

use std::sync::Arc;

use tramline::{Handler, SubscribeError};

use crate::WebBus;
use crate::clock::{Clock, Speed};
use crate::message::BoardMessage;

pub(crate) fn start(bus: &WebBus, clock: &Arc<Clock>) -> Result<Handler, SubscribeError> {
    let clock = Arc::clone(clock);
    bus.subscription("control.speed").name("control").handle(move |message| match **message {
        BoardMessage::Speed { times } => {
            let speed = Speed::new(times).ok_or_else(|| format!("the clock cannot go {times} times as fast"))?;
            clock.set_speed(speed);
            Ok(())
        }
        _ => Err("this is no speed".to_owned()),
    })
}
