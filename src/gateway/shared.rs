//! What all connections of a gateway share.

use std::sync::Arc;

use super::access::Access;
use super::client::{Client, Subscription};
use super::feed::Feeds;
use super::frames::ToldLimits;
use super::handshake::{Handshake, Refusal, Session};
use super::limits::Limits;
use super::origin::Origins;
use super::registry::Registry;
use crate::bus::Bus;
use crate::sync::counters::AtomicU64;

pub(super) type Authenticate = dyn Fn(&Handshake<'_>) -> Result<Option<String>, Refusal> + Send + Sync;
pub(super) type CheckToken = dyn Fn(&Session, Option<&str>) -> Result<Option<String>, Refusal> + Send + Sync;

pub(super) struct Shared<T, R> {
    pub(super) bus: Bus<T, R>,
    pub(super) access: Access,
    pub(super) origins: Origins,
    pub(super) limits: Limits,
    pub(super) authenticate: Option<Box<Authenticate>>,
    pub(super) token: Option<Box<CheckToken>>,
    pub(super) feeds: Arc<Feeds<T, R>>,
    pub(super) registry: Arc<Registry<T, R>>,
    /// That were cut.
    pub(super) slow_clients: AtomicU64,
}

impl<T, R> Shared<T, R> {
    pub(super) fn told_limits(&self) -> ToldLimits {
        let limits = &self.limits;
        ToldLimits {
            frame: limits.frame,
            topic: limits.topic,
            subscriptions: limits.subscriptions,
            capacity: limits.capacity,
            commands_per_second: limits.commands_per_second,
            timeout_ms: u64::try_from(limits.request_timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Ends a subscription that a client has had.
    pub(super) fn release(&self, client: &Client<T, R>, subscription: Subscription<T, R>) {
        match subscription {
            Subscription::Reserved => {}
            Subscription::Fed(feed) => self.feeds.leave(client, &feed),
            Subscription::Grouped(task) => task.abort(),
        }
    }
}
