//! One subscription to the bus for all clients who want the same: a message is taken and written once, however many they
//! are, and a publisher has one mailbox more.
//!
//! A client who wants the retained values joins in this way: a new mailbox takes the place of the feed's, in one step of
//! the topic map, which tells the values as of that step. What was published before is in the old mailbox, for those who
//! were there; what comes after is in the new one, for all. The feed begins with the new one when the old has ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::client::{Client, Key, Subscription};
use super::frames::{self, Broadcast};
use super::limits::Limits;
use super::share::{Share, Shares};
use crate::bus::Bus;
use crate::mailbox::Overflow;
use crate::message::{Message, RecvError, Retained};
use crate::metadata::Properties;
use crate::panic::catch;
use crate::routing::SubscribeError;
use crate::subscription::Subscriber;
use crate::sync::Mutex;
use crate::sync::counters::{AtomicU64, Ordering};
use crate::topic::{Pattern, Topic};

/// After as many messages others get a turn.
const STREAK: u32 = 32;

/// Retained values as of the beginning of a generation, and what opens the gate behind them.
struct Kept<T> {
    values: Vec<(Topic, Arc<Retained<T>>)>,
    generation: u64,
    gate: oneshot::Sender<()>,
}

/// Why a client cannot join.
pub(super) enum JoinError {
    Subscribe(SubscribeError),
    /// There are as many feeds as there may be.
    TooMany,
    /// Clients from the same address are members of as many as they may be.
    TooManyOfAddress,
    /// Of retained values: more than may wait for the client.
    TooLarge,
}

/// What clients have to agree on to share a feed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) pattern: Pattern,
    pub(super) overflow: Overflow,
    pub(super) capacity: usize,
}

pub(super) struct Feed<T, R> {
    /// Of all feeds of the gateway.
    number: u64,
    wanted: Wanted,
    state: Mutex<State<T, R>>,
}

struct State<T, R> {
    members: Vec<Member<T, R>>,
    /// Those who are about to be members.
    joining: usize,
    /// The one in which messages arrive now.
    newest: Arc<Subscriber<T, R>>,
    generation: u64,
    /// Those that the task has not begun with.
    next: VecDeque<Source<T, R>>,
    task: Option<AbortHandle>,
    /// Why, when it has: nobody is a member then, and nobody reads.
    ended: Option<&'static str>,
}

struct Member<T, R> {
    client: Arc<Client<T, R>>,
    /// It gets what has arrived since.
    since: u64,
    _share: Share,
}

impl<T, R> Member<T, R> {
    /// The feed does not count for its address any more when the client hears of the end.
    fn leave(self) -> Arc<Client<T, R>> {
        self.client
    }
}

struct Source<T, R> {
    subscriber: Arc<Subscriber<T, R>>,
    generation: u64,
    /// Ends when who has asked for it has got the retained values.
    gate: Option<oneshot::Receiver<()>>,
}

/// The feeds of a gateway.
pub(super) struct Feeds<T, R> {
    bus: Bus<T, R>,
    /// As many as there may be.
    most: usize,
    shares: Arc<Shares>,
    next: AtomicU64,
    feeds: Mutex<HashMap<Wanted, Arc<Feed<T, R>>>>,
    /// Payloads that could not be written as JSON.
    pub(super) unwritable: AtomicU64,
}

impl<T, R> Feeds<T, R>
where
    T: Clone + Serialize + Send + 'static,
    R: Send + 'static,
{
    pub(super) fn new(bus: Bus<T, R>, limits: &Limits) -> Self {
        Self {
            bus,
            most: limits.feeds,
            shares: Arc::new(Shares::new(limits.feeds_per_address)),
            next: AtomicU64::new(0),
            feeds: Mutex::default(),
            unwritable: AtomicU64::new(0),
        }
    }

    /// Makes the client a member. Before its first message it gets `ok`, and then the retained values if it wants them.
    pub(super) fn join(
        self: &Arc<Self>,
        client: &Arc<Client<T, R>>,
        wanted: &Wanted,
        retained: bool,
        ok: Utf8Bytes,
    ) -> Result<(), JoinError> {
        let mut feeds = self.feeds.lock();
        let open = feeds.get(wanted).filter(|feed| feed.state.lock().ended.is_none()).cloned();
        if open.is_none() && feeds.len() >= self.most {
            return Err(JoinError::TooMany);
        }
        let number = open.as_ref().map_or_else(|| self.next.fetch_add(1, Ordering::Relaxed), |feed| feed.number);
        let share = self.shares.take(client.network, number).ok_or(JoinError::TooManyOfAddress)?;
        let feed = match open {
            Some(feed) => feed,
            None => {
                let feed = self.open(number, wanted).map_err(JoinError::Subscribe)?;
                feeds.insert(wanted.clone(), Arc::clone(&feed));
                feed
            }
        };
        // Before it can end, so that the client hears of the end.
        client.hold(&feed.key(), Subscription::Fed(Arc::clone(&feed)));
        let mut state = feed.state.lock();
        // It stays as long as this, even if all others leave.
        state.joining += 1;
        let kept = if retained { state.renew().map(Some) } else { Ok(None) };
        let newest = state.generation;
        drop(state);
        drop(feeds);
        let result =
            kept.map_err(JoinError::Subscribe).and_then(|kept| self.admit(client, share, &feed, newest, kept, ok));
        feed.state.lock().joining -= 1;
        if result.is_err() {
            self.end_if_deserted(&feed);
        }
        result
    }

    fn admit(
        &self,
        client: &Arc<Client<T, R>>,
        share: Share,
        feed: &Arc<Feed<T, R>>,
        newest: u64,
        kept: Option<Kept<T>>,
        ok: Utf8Bytes,
    ) -> Result<(), JoinError> {
        let Some(Kept { values, generation, gate }) = kept else {
            feed.admit(client, share, newest, ok, []);
            return Ok(());
        };
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for (topic, value) in &values {
            let headers = Properties::headers(value.properties());
            let written = catch(|| Broadcast::message(&feed.wanted.pattern, topic, headers, &value.get()));
            let Some(frame) = self.written(written) else { continue };
            bytes += frame.len();
            if bytes > client.outbox.limit {
                // The gate ends without a word.
                return Err(JoinError::TooLarge);
            }
            frames.push(frame);
        }
        feed.admit(client, share, generation, ok, frames);
        // The feed may have gone with the bus.
        let _ = gate.send(());
        Ok(())
    }

    fn open(self: &Arc<Self>, number: u64, wanted: &Wanted) -> Result<Arc<Feed<T, R>>, SubscribeError> {
        let builder = self.bus.subscription(wanted.pattern.clone()).feed().name("gateway");
        let subscriber = Arc::new(builder.capacity(wanted.capacity).overflow(wanted.overflow).open()?);
        let source = Source { subscriber: Arc::clone(&subscriber), generation: 0, gate: None };
        let state = State {
            members: Vec::new(),
            joining: 0,
            newest: subscriber,
            generation: 0,
            next: VecDeque::from([source]),
            task: None,
            ended: None,
        };
        let feed = Arc::new(Feed { number, wanted: wanted.clone(), state: Mutex::new(state) });
        let task = tokio::spawn(run(Arc::clone(self), Arc::clone(&feed)));
        feed.state.lock().task = Some(task.abort_handle());
        Ok(feed)
    }
}

impl<T, R> Feeds<T, R> {
    pub(super) fn len(&self) -> usize {
        self.feeds.lock().len()
    }

    pub(super) fn leave(&self, client: &Client<T, R>, feed: &Arc<Feed<T, R>>) {
        let mut state = feed.state.lock();
        let left = state.members.iter().position(|member| member.client.number == client.number);
        let left = left.map(|index| state.members.swap_remove(index));
        drop(state);
        drop(left);
        self.end_if_deserted(feed);
    }

    fn end_if_deserted(&self, feed: &Arc<Feed<T, R>>) {
        let mut feeds = self.feeds.lock();
        let state = feed.state.lock();
        if !state.members.is_empty() || state.joining > 0 {
            return;
        }
        let task = state.task.clone();
        drop(state);
        let removed = remove(&mut feeds, feed);
        drop(feeds);
        drop(removed);
        // Not under a lock: it may end here and now.
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Nobody finds it any more.
    fn forget(&self, feed: &Arc<Feed<T, R>>) {
        let removed = remove(&mut self.feeds.lock(), feed);
        drop(removed);
    }

    /// A message that was written, if it could be.
    pub(super) fn written<A>(&self, written: Result<Result<A, serde_json::Error>, String>) -> Option<A> {
        if let Ok(Ok(written)) = written {
            return Some(written);
        }
        self.unwritable.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Takes the feed out, unless another is in its place.
fn remove<T, R>(feeds: &mut HashMap<Wanted, Arc<Feed<T, R>>>, feed: &Arc<Feed<T, R>>) -> Option<Arc<Feed<T, R>>> {
    let is_it = feeds.get(&feed.wanted).is_some_and(|other| Arc::ptr_eq(other, feed));
    if is_it { feeds.remove(&feed.wanted) } else { None }
}

impl<T: Clone + Send + 'static, R: Send + 'static> State<T, R> {
    /// A new mailbox in the place of the newest, and the retained values as of that step.
    fn renew(&mut self) -> Result<Kept<T>, SubscribeError> {
        let (subscriber, values) = self.newest.renew()?;
        let (open, gate) = oneshot::channel();
        self.newest = Arc::new(subscriber);
        self.generation += 1;
        let source = Source { subscriber: Arc::clone(&self.newest), generation: self.generation, gate: Some(gate) };
        self.next.push_back(source);
        Ok(Kept { values, generation: self.generation, gate: open })
    }
}

impl<T, R> Feed<T, R> {
    /// `since` is the first generation that the client gets messages of.
    fn admit(
        self: &Arc<Self>,
        client: &Arc<Client<T, R>>,
        share: Share,
        since: u64,
        ok: Utf8Bytes,
        retained: impl IntoIterator<Item = Utf8Bytes>,
    ) {
        let mut state = self.state.lock();
        client.outbox.answer(ok);
        for value in retained {
            client.outbox.push(value);
        }
        match state.ended {
            None => {
                state.members.push(Member { client: Arc::clone(client), since, _share: share });
            }
            Some(why) => {
                drop(state);
                drop(share);
                client.feed_ended(self, why);
            }
        }
    }

    pub(super) fn key(&self) -> Key {
        (self.wanted.pattern.clone(), None)
    }

    /// The mailbox has run over, which ends the subscriptions of those who had it; others may have joined the next.
    fn end_for(self: &Arc<Self>, generation: u64) {
        let mut state = self.state.lock();
        let (ended, others) = state.members.drain(..).partition::<Vec<_>, _>(|member| member.since <= generation);
        state.members = others;
        drop(state);
        for client in ended.into_iter().map(Member::leave) {
            client.feed_ended(self, frames::OVERFLOWED);
        }
    }

    /// What to read next. After the last nobody can ask for more.
    fn next(&self, why: &RecvError) -> Option<Source<T, R>> {
        let mut state = self.state.lock();
        let next = state.next.pop_front();
        if next.is_none() {
            state.ended = Some(end(why));
        }
        next
    }

    fn broadcast(&self, message: &Message<T, R>, broadcast: &Broadcast, generation: u64) {
        let mut unanswerable = Vec::new();
        let state = self.state.lock();
        for member in state.members.iter().filter(|member| member.since <= generation) {
            unanswerable.extend(member.client.send(message, broadcast));
        }
        drop(state);
        drop(unanswerable);
    }
}

/// The task of a feed, which tells the members when it ends: with the bus, by running over, or because its runtime does.
struct Reading<T, R> {
    feeds: Arc<Feeds<T, R>>,
    feed: Arc<Feed<T, R>>,
    why: RecvError,
}

impl<T, R> Drop for Reading<T, R> {
    fn drop(&mut self) {
        let Self { feeds, feed, why } = self;
        let why = end(why);
        let mut state = feed.state.lock();
        state.ended = Some(why);
        let (members, unread) = (std::mem::take(&mut state.members), std::mem::take(&mut state.next));
        drop(state);
        feeds.forget(feed);
        drop(unread);
        for client in members.into_iter().map(Member::leave) {
            client.feed_ended(feed, why);
        }
    }
}

/// Takes messages and gives them to the members, until the subscription has ended or the last member has left.
async fn run<T, R>(feeds: Arc<Feeds<T, R>>, feed: Arc<Feed<T, R>>)
where
    T: Clone + Serialize + Send + 'static,
    R: Send + 'static,
{
    let mut reading = Reading { feeds, feed, why: RecvError::Closed };
    let (mut unwritable, mut streak) = (0, 0);
    while let Some(source) = reading.feed.next(&reading.why) {
        if let Some(gate) = source.gate {
            // It ends without a word if the client has gone in between.
            let _ = gate.await;
        }
        let mut told = 0;
        loop {
            let message = match source.subscriber.recv_async().await {
                Ok(message) => message,
                Err(why) => {
                    reading.why = why;
                    break;
                }
            };
            let Reading { feeds, feed, .. } = &reading;
            told += message.lost_before();
            let lost_before = message.lost_before() + unwritable;
            match feeds.written(catch(|| Broadcast::new(&feed.wanted.pattern, None, lost_before, &message))) {
                Some(broadcast) => {
                    unwritable = 0;
                    feed.broadcast(&message, &broadcast, source.generation);
                }
                None => unwritable += 1,
            }
            // The `Drop` of a payload may panic.
            let _ = catch(|| drop(message));
            streak += 1;
            if streak == STREAK {
                streak = 0;
                tokio::task::yield_now().await;
            }
        }
        if reading.why.is_overflowed() {
            reading.feed.end_for(source.generation);
            unwritable = 0;
        } else {
            // What was lost behind its last message is for the first of the next to tell.
            unwritable += source.subscriber.dropped().saturating_sub(told);
        }
    }
}

/// What a client is told of the end of its subscription.
pub(super) fn end(why: &RecvError) -> &'static str {
    if why.is_overflowed() { frames::OVERFLOWED } else { frames::CLOSED }
}
