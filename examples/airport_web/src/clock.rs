//! The simulated time, by the clocks of New York. It goes by as fast as it is told to, whoever watches.

use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use parking_lot::{Condvar, Mutex};

/// How many times as fast as in real time; 0 is a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed(f64);

impl Speed {
    const FASTEST: f64 = 3600.0;

    /// None if the clock cannot go so fast, or so slowly.
    pub(crate) fn new(times: f64) -> Option<Self> {
        (times == 0.0 || (1.0..=Self::FASTEST).contains(&times)).then_some(Self(times))
    }

    pub(crate) fn times(self) -> f64 {
        self.0
    }

    fn is_pause(self) -> bool {
        self.0 == 0.0
    }
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or("wanted a number from 1 to 3600, or 0 for a pause")
    }
}

pub(crate) struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the clock shows at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Another for each time that the flights are played.
    pub(crate) round: u64,
    pub(crate) time: DateTime,
    pub(crate) speed: Speed,
}

struct State {
    /// What it showed at that instant.
    reading: Reading,
    since: Instant,
}

impl Clock {
    pub(crate) fn new(time: DateTime, speed: Speed) -> Self {
        let state = State { reading: Reading { round: 0, time, speed }, since: Instant::now() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn read(&self) -> Reading {
        self.state.lock().now()
    }

    /// Goes on at this speed.
    pub(crate) fn set_speed(&self, speed: Speed) {
        let mut state = self.state.lock();
        let reading = state.now();
        *state = State { reading: Reading { speed, ..reading }, since: Instant::now() };
        self.changed.notify_all();
    }

    /// Begins a new round at this time.
    pub(crate) fn restart(&self, time: DateTime) {
        let mut state = self.state.lock();
        let Reading { round, speed, .. } = state.reading;
        *state = State { reading: Reading { round: round + 1, time, speed }, since: Instant::now() };
        self.changed.notify_all();
    }

    /// Goes on from so much later.
    #[cfg(test)]
    pub(crate) fn jump(&self, ahead: SignedDuration) {
        let mut state = self.state.lock();
        state.reading.time = state.reading.time.saturating_add(ahead);
        self.changed.notify_all();
    }

    /// Waits until it shows this time, through all changes of its speed.
    pub(crate) fn wait_until(&self, at: DateTime) {
        let mut state = self.state.lock();
        loop {
            let Reading { time, speed, .. } = state.now();
            if time >= at {
                return;
            }
            if speed.is_pause() {
                self.changed.wait(&mut state);
            } else {
                let seconds = at.duration_since(time).as_secs_f64() / speed.times();
                let left = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                self.changed.wait_for(&mut state, left);
            }
        }
    }
}

impl State {
    fn now(&self) -> Reading {
        let passed = self.since.elapsed().as_secs_f64() * self.reading.speed.times();
        let passed = SignedDuration::try_from_secs_f64(passed).unwrap_or(SignedDuration::MAX);
        Reading { time: self.reading.time.saturating_add(passed), ..self.reading }
    }
}
