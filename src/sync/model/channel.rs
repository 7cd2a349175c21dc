//! A bounded channel with the interface of `crossbeam_channel`, as far as the bus uses it.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub use crossbeam_channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, TryRecvError, TrySendError,
};

use super::checker::sync::Condvar;
use super::{Instant, Mutex, MutexGuard};

struct Channel<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Room that a `select` has chosen and that is about to be filled. Readers wait for that, as they do at the original.
    promised: usize,
    senders: usize,
    receivers: usize,
    /// Since the lock was taken.
    changed: bool,
    /// Those who sleep until something changes.
    sleepers: Vec<Arc<Sleeper>>,
}

/// One who sleeps, at one channel or at several.
struct Sleeper {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Sleeper {
    fn new() -> Arc<Self> {
        Arc::new(Self { woken: Mutex::new(false), wake: Condvar::new() })
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock();
        while !*woken {
            woken = self.wake.wait(woken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wake(&self) {
        *self.woken.lock() = true;
        self.wake.notify_one();
    }
}

impl<T> State<T> {
    fn len(&self) -> usize {
        self.queue.len() + self.promised
    }

    fn push(&mut self, item: T) {
        self.queue.push_back(item);
        self.changed = true;
    }

    /// The first, or that there will be none; `None` if it is about to come.
    fn pop(&mut self) -> Option<Result<T, TryRecvError>> {
        if let Some(item) = self.queue.pop_front() {
            self.changed = true;
            return Some(Ok(item));
        }
        match (self.promised, self.senders) {
            (0, 0) => Some(Err(TryRecvError::Disconnected)),
            (0, _) => Some(Err(TryRecvError::Empty)),
            _ => None,
        }
    }
}

impl<T> Channel<T> {
    /// Releases the lock, and wakes those who sleep if there is something new for them.
    fn release(mut state: MutexGuard<'_, State<T>>) {
        let changed = std::mem::take(&mut state.changed);
        let sleepers = if changed { std::mem::take(&mut state.sleepers) } else { Vec::new() };
        drop(state);
        sleepers.iter().for_each(|sleeper| sleeper.wake());
    }

    /// Tries until it succeeds, asleep in between.
    fn wait<A>(&self, mut attempt: impl FnMut(&mut State<T>) -> Option<A>) -> A {
        loop {
            let mut state = self.state.lock();
            if let Some(result) = attempt(&mut state) {
                Self::release(state);
                return result;
            }
            let sleeper = Sleeper::new();
            state.sleepers.push(Arc::clone(&sleeper));
            drop(state);
            sleeper.sleep();
        }
    }
}

pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state =
        State { queue: VecDeque::new(), promised: 0, senders: 1, receivers: 1, changed: false, sleepers: Vec::new() };
    let channel = Arc::new(Channel { capacity, state: Mutex::new(state) });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

pub struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut state = self.0.state.lock();
        if state.receivers == 0 {
            return Err(TrySendError::Disconnected(item));
        }
        if state.len() >= self.0.capacity {
            return Err(TrySendError::Full(item));
        }
        state.push(item);
        Channel::release(state);
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.0.state.lock().len() >= self.0.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.senders -= 1;
        state.changed = state.senders == 0;
        Channel::release(state);
    }
}

pub struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.wait(|state| match state.pop()? {
            Err(TryRecvError::Empty) => None,
            item => Some(item.map_err(|_| RecvError)),
        })
    }

    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.wait(State::pop)
    }

    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(Instant::now() + timeout)
    }

    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        let look = || match self.try_recv() {
            Ok(item) => Some(Ok(item)),
            Err(TryRecvError::Disconnected) => Some(Err(RecvTimeoutError::Disconnected)),
            Err(TryRecvError::Empty) => None,
        };
        deadline.wait(look).unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    pub fn len(&self) -> usize {
        self.0.state.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.receivers -= 1;
        state.changed = state.receivers == 0;
        let rest = if state.changed { std::mem::take(&mut state.queue) } else { VecDeque::new() };
        Channel::release(state);
        drop(rest);
    }
}

/// One end of a channel, to be waited for.
trait ChannelEnd {
    /// Whether something can be done here at once. If not, `sleeper` is woken when that may have changed.
    fn is_ready(&self, sleeper: Option<&Arc<Sleeper>>) -> bool;
    /// As `is_ready`; what can be done is kept for the one who asks.
    fn choose(&self, sleeper: Option<&Arc<Sleeper>>) -> bool;
}

impl<T> Sender<T> {
    fn look(&self, sleeper: Option<&Arc<Sleeper>>, promise: usize) -> bool {
        let mut state = self.0.state.lock();
        if state.receivers == 0 || state.len() < self.0.capacity {
            state.promised += promise;
            return true;
        }
        state.sleepers.extend(sleeper.cloned());
        false
    }
}

impl<T> ChannelEnd for Sender<T> {
    fn is_ready(&self, sleeper: Option<&Arc<Sleeper>>) -> bool {
        self.look(sleeper, 0)
    }

    fn choose(&self, sleeper: Option<&Arc<Sleeper>>) -> bool {
        self.look(sleeper, 1)
    }
}

impl<T> ChannelEnd for Receiver<T> {
    fn is_ready(&self, sleeper: Option<&Arc<Sleeper>>) -> bool {
        let mut state = self.0.state.lock();
        let ready = !state.queue.is_empty() || (state.senders == 0 && state.promised == 0);
        if !ready {
            state.sleepers.extend(sleeper.cloned());
        }
        ready
    }

    /// Nothing is kept: the one who asks waits for the next item if another reader is faster.
    fn choose(&self, sleeper: Option<&Arc<Sleeper>>) -> bool {
        self.is_ready(sleeper)
    }
}

/// Always takes the first that is ready, which is one of the choices that the original may make.
#[derive(Default)]
pub struct Select<'a>(Vec<&'a dyn ChannelEnd>);

impl<'a> Select<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn new_biased() -> Self {
        Self::default()
    }

    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.0.push(sender);
        self.0.len() - 1
    }

    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.0.push(receiver);
        self.0.len() - 1
    }

    pub fn ready(&mut self) -> usize {
        self.wait(|end, sleeper| end.is_ready(sleeper))
    }

    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        deadline.wait(|| self.0.iter().position(|end| end.is_ready(None))).ok_or(ReadyTimeoutError)
    }

    pub fn select(&mut self) -> SelectedOperation<'a> {
        SelectedOperation { index: self.wait(|end, sleeper| end.choose(sleeper)), ends: PhantomData }
    }

    pub fn select_deadline(&mut self, deadline: Instant) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        let chosen = deadline.wait(|| self.0.iter().position(|end| end.choose(None)));
        chosen.map(|index| SelectedOperation { index, ends: PhantomData }).ok_or(SelectTimeoutError)
    }

    fn wait(&self, look: impl Fn(&dyn ChannelEnd, Option<&Arc<Sleeper>>) -> bool) -> usize {
        loop {
            let sleeper = Sleeper::new();
            if let Some(index) = self.0.iter().position(|end| look(*end, Some(&sleeper))) {
                return index;
            }
            sleeper.sleep();
        }
    }
}

#[must_use]
pub struct SelectedOperation<'a> {
    index: usize,
    ends: PhantomData<&'a ()>,
}

impl SelectedOperation<'_> {
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn send<T>(self, sender: &Sender<T>, item: T) -> Result<(), SendError<T>> {
        let mut state = sender.0.state.lock();
        state.promised -= 1;
        if state.receivers == 0 {
            return Err(SendError(item));
        }
        state.push(item);
        Channel::release(state);
        Ok(())
    }

    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        receiver.recv()
    }
}
