//! How long handlers take: recorded as they finish each message, since no snapshot could tell it later.

#[cfg(not(feature = "metrics"))]
pub(crate) use stopped::Stopwatch;
#[cfg(feature = "metrics")]
pub(crate) use ticking::{HANDLER_DURATION, Stopwatch};

#[cfg(feature = "metrics")]
mod ticking {
    use std::sync::Arc;

    use ::metrics::{Histogram, histogram};

    use crate::sync::Instant;

    pub(crate) const HANDLER_DURATION: &str = "tramline_handler_duration_seconds";

    #[derive(Clone)]
    pub(crate) struct Stopwatch(Histogram);

    impl Stopwatch {
        /// For the recorder of this thread, or of the program, and the name of the bus, as they are now: to look for them
        /// with every message would cost a look-up by name.
        pub(crate) fn new(bus: impl FnOnce() -> Arc<str>, handler: &str) -> Self {
            Self(histogram!(HANDLER_DURATION, "bus" => bus(), "handler" => handler.to_owned()))
        }

        pub(crate) fn start(&self) -> Instant {
            Instant::now()
        }

        pub(crate) fn stop(&self, started: Instant) {
            self.0.record(started.elapsed());
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod stopped {
    use std::sync::Arc;

    #[derive(Clone)]
    pub(crate) struct Stopwatch;

    pub(crate) struct Started;

    impl Stopwatch {
        #[inline(always)]
        pub(crate) fn new(_: impl FnOnce() -> Arc<str>, _: &str) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn start(&self) -> Started {
            Started
        }

        #[inline(always)]
        pub(crate) fn stop(&self, _: Started) {}
    }
}
