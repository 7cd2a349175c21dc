//! Waiting by looking again after a pause: threads and tasks take the same steps, and sleep in their own ways.

use std::time::Duration;

use crate::sync::thread;

/// The result of one look.
pub(crate) enum Step<A> {
    /// It is worth another look after this time.
    Pause(Duration),
    Done(A),
}

/// Takes the steps on this thread, which sleeps in between.
pub(crate) fn take_steps<A>(mut step: impl FnMut() -> Step<A>) -> A {
    loop {
        match step() {
            Step::Pause(pause) => thread::sleep(pause),
            Step::Done(done) => return done,
        }
    }
}

/// Takes the steps in a task, which waits for a timer in between.
#[cfg(feature = "async")]
pub(crate) async fn take_steps_async<A>(mut step: impl FnMut() -> Step<A>) -> A {
    loop {
        match step() {
            Step::Pause(pause) => crate::sync::Delay::new(pause).await,
            Step::Done(done) => return done,
        }
    }
}
