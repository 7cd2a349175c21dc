//! Stand-ins for locks, atomics, channels, threads and the time, in terms of a model checker: loom or shuttle.
//!
//! They do what the originals promise, in the simplest way. So a model shows whether the bus orders its steps rightly,
//! not whether the originals keep their promises; and since the channel is a lock here, it orders more memory than it
//! has to: how strong the orderings of atomics beside it must be is for their comments to say.

#![allow(unreachable_pub, missing_debug_implementations, reason = "the public interface names some, in models only")]

use std::cell::Cell;
#[cfg(feature = "async")]
use std::future::Future;
use std::ops::{Add, Deref};
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(loom)]
pub use loom as checker;
#[cfg(shuttle)]
pub use shuttle as checker;

#[cfg(shuttle)]
pub use checker::sync::atomic;
pub use checker::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

#[cfg(loom)]
pub mod atomic;
pub mod channel;
mod init_once;
mod weak_link;
mod write_once;

pub use init_once::InitOnce;
pub use weak_link::WeakLink;
pub use write_once::WriteOnce;

/// A lock that is not poisoned by a panic.
#[derive(Default)]
pub struct Mutex<T>(checker::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(checker::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    pub fn is_locked(&self) -> bool {
        self.0.try_lock().is_err()
    }

    #[cfg(feature = "async")]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without unsafe code it cannot be entered twice: in a model no `Clone` asks for the value that it clones.
pub type ReentrantMutex<T> = Mutex<T>;

#[derive(Default)]
pub struct RwLock<T>(checker::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub fn new(value: T) -> Self {
        Self(checker::sync::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load is one step, and so is a swap.
pub struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub fn new(value: Arc<T>) -> Self {
        Self(Mutex::new(value))
    }

    pub fn load(&self) -> Guard<Arc<T>> {
        Guard(self.load_full())
    }

    pub fn load_full(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }

    pub fn swap(&self, value: Arc<T>) -> Arc<T> {
        std::mem::replace(&mut self.0.lock(), value)
    }
}

pub struct Guard<T>(T);

impl<T> Guard<T> {
    pub fn from_inner(value: T) -> Self {
        Self(value)
    }

    pub fn into_inner(guard: Self) -> T {
        guard.0
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Lets the others go on once, and is at its end: a model does not spin.
pub struct Backoff(Cell<bool>);

impl Backoff {
    pub fn new() -> Self {
        Self(Cell::new(false))
    }

    pub fn snooze(&self) {
        self.0.set(true);
        thread::yield_now();
    }

    pub fn is_completed(&self) -> bool {
        self.0.get()
    }
}

std::thread_local! {
    /// All threads of a model run on one thread, and another model on another. Not 0, so that `Duration::MAX` from now is
    /// as much beyond the end of time as it usually is.
    static NOW: Cell<Duration> = const { Cell::new(Duration::from_secs(1)) };
}

/// Time passes only for one who waits for it: who waits until a deadline lets the others go on once, and looks; what is
/// not there then comes too late. As the others may be anywhere at that moment, this is a deadline that passes whenever
/// it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Self {
        Self(NOW.get())
    }

    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }

    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    /// What `look` finds after the others were let go on; otherwise the deadline has passed.
    fn wait<A>(self, look: impl FnOnce() -> Option<A>) -> Option<A> {
        thread::yield_now();
        let found = look();
        if found.is_none() {
            NOW.set(NOW.get().max(self.0));
        }
        found
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

/// A timer for tasks. It wakes its task at once, and has passed when it is polled again: the others may be anywhere by then,
/// so this too is a deadline that passes whenever it likes.
#[cfg(feature = "async")]
pub struct Delay {
    until: Option<Instant>,
    was_polled: bool,
}

#[cfg(feature = "async")]
impl Delay {
    pub fn new(duration: Duration) -> Self {
        Self { until: Instant::now().checked_add(duration), was_polled: false }
    }
}

#[cfg(feature = "async")]
impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        if std::mem::replace(&mut self.was_polled, true) {
            NOW.set(NOW.get().max(until.0));
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

pub mod thread {
    use std::time::Duration;

    pub use super::checker::thread::{Builder, JoinHandle, yield_now};

    pub fn sleep(duration: Duration) {
        let until = super::Instant::now() + duration;
        until.wait(|| None::<()>);
    }
}

/// `const` initialisers are not for every checker.
macro_rules! model_thread_local {
    (static $name:ident: $type:ty = const { $value:expr };) => {
        $crate::sync::checker::thread_local! { static $name: $type = $value; }
    };
}
pub(crate) use model_thread_local as thread_local;
