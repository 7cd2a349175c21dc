//! Publishing a message that is kept as the last of its topic.

#[cfg(feature = "async")]
use std::future::poll_fn;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::{Context, Poll};

#[cfg(feature = "async")]
use super::Unsent;
#[cfg(feature = "async")]
use super::publish_async::Timer;
use super::{BusInner, PublishError};
#[cfg(feature = "async")]
use crate::dead_letter::LetterPolicy;
#[cfg(feature = "async")]
use crate::delivery::{Delivered, PendingInOrder};
use crate::delivery::{Delivery, InOrder, PutInOrder, Wait};
use crate::message::Outgoing;
use crate::routing::TopicEntry;
use crate::spans::Publishing;
#[cfg(feature = "async")]
use crate::spans::PublishingTask;
#[cfg(feature = "async")]
use crate::topic::Topic;

/// How often the mailboxes of a topic may change while a message is prepared for them. Those that come later still may be of
/// its own `Clone` and filters, without an end: they do not get it.
const MOST_LOOKS: u32 = 100;

/// Waits for room in the mailboxes that were full.
#[cfg(feature = "async")]
struct WaitInOrder<'a, T: Clone, R> {
    inner: &'a BusInner<T, R>,
    topic: &'a Topic,
    letters: LetterPolicy,
    pending: PendingInOrder<T, R>,
    timer: Timer,
}

#[cfg(feature = "async")]
impl<T: Clone, R> WaitInOrder<'_, T, R> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Delivered<T, R>> {
        let Self { inner, topic, letters, pending, timer } = self;
        letters.within(&inner.lifecycle, || match pending.poll(context, topic, |mailbox| inner.unroute(mailbox)) {
            Poll::Pending => timer.poll(context).map(|()| pending.time_out(topic)),
            delivered => delivered,
        })
    }
}

#[cfg(feature = "async")]
impl<T: Clone, R> Drop for WaitInOrder<'_, T, R> {
    fn drop(&mut self) {
        let Self { inner, topic, letters, pending, .. } = self;
        if let Some(delivery) = letters.within(&inner.lifecycle, || pending.cancel(topic)) {
            inner.losses.messages.published(delivery.delivered());
        }
    }
}

impl<T: Clone, R> BusInner<T, R> {
    pub(super) fn publish_retained(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        outgoing: Outgoing<T, R>,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        let _letters = self.begin_publish();
        let topic = &entry.topic;
        let outgoing = self.traced(outgoing);
        let span = Publishing::enter(topic);
        match self.keep(entry, outgoing, wait.may_wait()) {
            Ok(message) => {
                let delivered = message.deliver(topic, wait, |mailbox| self.unroute(mailbox));
                self.published(topic, delivered, span)
            }
            Err(payload) => self.refuse(payload, span),
        }
    }

    #[cfg(feature = "async")]
    pub(super) async fn publish_retained_async(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        outgoing: Outgoing<T, R>,
        wait: Wait,
        letters: LetterPolicy,
    ) -> Result<Delivery, PublishError<T>> {
        let topic = &entry.topic;
        let outgoing = self.traced(outgoing);
        let span = PublishingTask::new(topic);
        let first = span.within(|| {
            letters.within(&self.lifecycle, || {
                let message = self.keep(entry, outgoing, wait.may_wait())?;
                Ok(message.deliver_pending(topic, |mailbox| self.unroute(mailbox)))
            })
        });
        let delivered = match first {
            Err(payload) => {
                span.end(0, 0, "closed");
                return Err(PublishError::Closed(Unsent::new(payload, Delivery::NONE)));
            }
            Ok(Ok(delivered)) => delivered,
            Ok(Err(pending)) => {
                let mut waiting = WaitInOrder { inner: self, topic, letters, pending, timer: Timer::until(wait) };
                poll_fn(|context| span.within(|| waiting.poll(context))).await
            }
        };
        self.published_by_task(topic, delivered, letters, span)
    }

    /// Keeps the payload, and puts it into the mailboxes of its topic that have room. Hands it back if the bus takes no
    /// message of this thread.
    ///
    /// Both are one step among those who publish retained values of the topic, so that the last to be kept is the last to
    /// arrive. User code runs before it: filters, and as many clones as there are mailboxes. If the mailboxes change
    /// meanwhile, the others are asked too.
    pub(super) fn keep(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        outgoing: Outgoing<T, R>,
        may_wait: bool,
    ) -> Result<PutInOrder<T, R>, T> {
        if !self.lifecycle.accepts() {
            return Err(outgoing.payload);
        }
        let (kept, properties) = (outgoing.payload.clone(), outgoing.properties().cloned());
        let mut message = InOrder::new(outgoing);
        let mut looks = 0;
        loop {
            let Some(route) = self.route_of(entry) else { return Err(message.into_payload()) };
            message.prepare(&route, &entry.topic);
            looks += 1;
            // Dropped after the locks: it may be the last hold of a route.
            let current;
            let mut backlogs = entry.backlogs.lock();
            let map = self.map.read();
            current = entry.route.load();
            let is_the_same = map.is_right(&route) && Arc::ptr_eq(&current, &route);
            if map.is_closed() || (!is_the_same && looks < MOST_LOOKS) {
                continue;
            }
            let replaced = map.keep(entry, kept, properties);
            // Under the lock of the map, so that a subscription that begins with the value has not begun before observers have it.
            let message = message.put(route, &entry.topic, &mut backlogs, replaced, may_wait);
            drop(map);
            drop(backlogs);
            return Ok(message);
        }
    }
}
