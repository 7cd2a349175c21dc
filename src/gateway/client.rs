//! What the server holds for one connection, as those see it who send it messages.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::feed::Feed;
use super::frames::{self, Broadcast};
use super::outbox::Outbox;
use crate::message::Message;
use crate::request::Responder;
use crate::sync::Mutex;
use crate::topic::Pattern;

/// A connection's subscriptions are told apart by pattern and group.
pub(super) type Key = (Pattern, Option<String>);

pub(super) struct Client<T, R> {
    /// Of all connections of the gateway.
    pub(super) number: u64,
    /// Where it comes from, if that is known.
    pub(super) network: Option<IpAddr>,
    pub(super) outbox: Outbox,
    /// Requests that it may have without an answer.
    requests: usize,
    held: Mutex<Held<T, R>>,
}

struct Held<T, R> {
    subscriptions: HashMap<Key, Subscription<T, R>>,
    /// The oldest first, by number.
    asked: VecDeque<(u64, Responder<R>)>,
    next_token: u64,
    /// The connection has ended: nothing is held any more.
    gone: bool,
}

pub(super) enum Subscription<T, R> {
    /// About to be one of the others.
    Reserved,
    Fed(Arc<Feed<T, R>>),
    /// The task that takes messages out of the mailbox of a group.
    Grouped(JoinHandle<()>),
}

/// Why there is no place for another subscription.
pub(super) enum NoPlace {
    Taken,
    TooMany,
}

impl<T, R> Client<T, R> {
    pub(super) fn new(number: u64, network: Option<IpAddr>, waiting_bytes: usize, requests: usize) -> Self {
        let held = Held { subscriptions: HashMap::new(), asked: VecDeque::new(), next_token: 0, gone: false };
        Self { number, network, outbox: Outbox::new(waiting_bytes), requests, held: Mutex::new(held) }
    }

    /// A place for a subscription, so that its end is known of however early it comes.
    pub(super) fn reserve(&self, key: &Key, most: usize) -> Result<(), NoPlace> {
        let mut held = self.held.lock();
        if held.subscriptions.contains_key(key) {
            return Err(NoPlace::Taken);
        }
        if held.subscriptions.len() >= most {
            return Err(NoPlace::TooMany);
        }
        held.subscriptions.insert(key.clone(), Subscription::Reserved);
        Ok(())
    }

    /// Fills the place, unless it has ended already.
    pub(super) fn hold(&self, key: &Key, subscription: Subscription<T, R>) {
        let mut held = self.held.lock();
        let unneeded = match held.subscriptions.get_mut(key) {
            Some(place) => std::mem::replace(place, subscription),
            None => subscription,
        };
        drop(held);
        drop(unneeded);
    }

    pub(super) fn remove(&self, key: &Key) -> Option<Subscription<T, R>> {
        self.held.lock().subscriptions.remove(key)
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.held.lock().subscriptions.len()
    }

    /// The feed has ended by itself, which concerns the subscription that was to it, and no later one.
    pub(super) fn feed_ended(&self, feed: &Arc<Feed<T, R>>, why: &str) {
        let key = feed.key();
        let mut held = self.held.lock();
        let is_it = |held: &Subscription<T, R>| matches!(held, Subscription::Fed(own) if Arc::ptr_eq(own, feed));
        let removed =
            if held.subscriptions.get(&key).is_some_and(is_it) { held.subscriptions.remove(&key) } else { None };
        drop(held);
        if removed.is_some() {
            self.outbox.push(frames::unsubscribed(&key.0, None, why));
        }
    }

    /// The subscription to a group has ended by itself. There is no later one before its task has ended.
    pub(super) fn group_ended(&self, key: &Key, why: &str) {
        if self.remove(key).is_some() {
            self.outbox.push(frames::unsubscribed(&key.0, key.1.as_deref(), why));
        }
    }

    /// Sends a message, and with a request the right to answer it. What comes back is to be dropped without a lock: a caller
    /// may hear of it.
    #[must_use = "dropping it may wake a caller"]
    pub(super) fn send(&self, message: &Message<T, R>, broadcast: &Broadcast) -> Option<Responder<R>> {
        let open = match broadcast {
            Broadcast::Message(frame) => {
                self.outbox.push(frame.clone());
                return None;
            }
            Broadcast::Request(open) => open,
        };
        let responder = message.responder()?;
        let mut held = self.held.lock();
        if held.gone {
            return Some(responder);
        }
        let token = held.next_token;
        held.next_token += 1;
        held.asked.push_back((token, responder));
        let oldest = if held.asked.len() > self.requests { held.asked.pop_front() } else { None };
        drop(held);
        self.outbox.push(frames::with_token(open, token));
        oldest.map(|(_, responder)| responder)
    }

    /// The right to answer, which a token is good for once.
    pub(super) fn redeem(&self, token: &str) -> Option<Responder<R>> {
        let token = token.parse::<u64>().ok()?;
        let mut held = self.held.lock();
        let index = held.asked.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        held.asked.remove(index).map(|(_, responder)| responder)
    }

    /// Lets go of everything.
    pub(super) fn release(&self) -> Vec<(Key, Subscription<T, R>)> {
        let mut held = self.held.lock();
        held.gone = true;
        let asked = std::mem::take(&mut held.asked);
        let subscriptions = std::mem::take(&mut held.subscriptions);
        drop(held);
        drop(asked);
        subscriptions.into_iter().collect()
    }
}
