//! Metrics: what a bus counts, for the recorder of the `metrics` crate.
//!
//! Counts are read when somebody asks, so a message pays for none of this but the few tallies of
//! [`MessageCounters`](crate::counters::MessageCounters). Only durations are recorded as they happen, see
//! `handler/stopwatch.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::bus::{Bus, BusInner};
use crate::counters::{Loss, QueueGauges, Sample};
use crate::handler::HANDLER_DURATION;
use crate::mailbox::Mailbox;
use crate::sync::Instant;
use crate::sync::counters::Ordering;

const PUBLISHED: &str = "tramline_published_total";
const DELIVERED: &str = "tramline_delivered_total";
const DROPPED: &str = "tramline_dropped_total";
const UNHEARD: &str = "tramline_unheard_total";
const ABANDONED: &str = "tramline_abandoned_total";
const DEAD_LETTERS: &str = "tramline_dead_letters_total";
const HANDLED: &str = "tramline_handled_total";
const SUBSCRIPTIONS: &str = "tramline_subscriptions";
const TOPICS: &str = "tramline_topics";
const QUEUE_DEPTH: &str = "tramline_queue_depth";
const QUEUE_CAPACITY: &str = "tramline_queue_capacity";
const OLDEST_AGE: &str = "tramline_oldest_message_age_seconds";

impl<T, R> Bus<T, R> {
    /// Writes what the bus has counted, and how its queues are, to the recorder of the
    /// [`metrics`](https://docs.rs/metrics) crate. All names and labels are in the [guide](crate#metrics).
    ///
    /// Call it before each scrape, or on a timer: counters and gauges stand still between two calls. Publishing pays a
    /// few nanoseconds for the whole of it, however often this is called. What handlers take is recorded as they
    /// finish each message, by the recorder that was there when the handler was made; so install the recorder before
    /// the handlers are made.
    ///
    /// **The age of the oldest message** is known only as well as this is called often. Messages carry no time: a
    /// message is known to be waiting from the first call on that has counted it, so its age is too low, by less than
    /// the time between two calls. It is 0 at the first.
    ///
    /// A bus that a hub has [renamed](crate::Hub::named) goes on under its new name; the gauges of the old one are set to 0.
    /// The gauges of a subscription that has gone are set to 0 by the first call after that. When the last handle of a
    /// bus is dropped, its metrics stay as they were recorded last.
    ///
    /// The recorder runs on this thread, under no lock of the bus. On a closed bus this works as before. Without a
    /// recorder it does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    /// use tramline::Bus;
    ///
    /// let recorder = DebuggingRecorder::new(); // in a program: one that exports, installed for all threads
    /// let snapshotter = recorder.snapshotter();
    /// let bus = Bus::<u32>::builder().name("orders").build();
    /// let _orders = bus.subscribe("orders.*")?;
    /// bus.publish("orders.new", 1)?;
    /// metrics::with_local_recorder(&recorder, || bus.record_metrics());
    ///
    /// let recorded = snapshotter.snapshot().into_vec();
    /// let depth = recorded.iter().find(|(key, ..)| key.key().name() == "tramline_queue_depth");
    /// assert_eq!(depth.unwrap().3, DebugValue::Gauge(1.0.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_metrics(&self) {
        record(self.inner());
    }
}

/// What `record_metrics` does for one bus, whatever holds it.
pub(crate) fn record<T, R>(inner: &BusInner<T, R>) {
    // One recording has one name.
    let name = inner.name.get();
    let bus = || Arc::clone(&name);
    // The lock is held for as long as it takes to look; the recorder is user code.
    if inner.recordings.lock().mark_described() {
        describe();
    }
    let losses = &*inner.losses;
    let messages = &losses.messages;
    counter!(PUBLISHED, "bus" => bus()).absolute(messages.total_published());
    counter!(DELIVERED, "bus" => bus()).absolute(messages.total_delivered());
    for loss in Loss::ALL {
        counter!(DROPPED, "bus" => bus(), "reason" => loss.name()).absolute(losses.dropped.of(loss));
    }
    counter!(UNHEARD, "bus" => bus()).absolute(losses.unheard.get());
    counter!(ABANDONED, "bus" => bus()).absolute(losses.abandoned.load(Ordering::Relaxed));
    counter!(DEAD_LETTERS, "bus" => bus()).absolute(losses.dead_letters.load(Ordering::Relaxed));
    let handled = [
        ("ok", messages.total_handled()),
        ("failed", losses.handler_failures.load(Ordering::Relaxed)),
        ("panicked", losses.handler_panics.load(Ordering::Relaxed)),
        ("skipped", losses.skipped_requests.load(Ordering::Relaxed)),
    ];
    for (outcome, messages) in handled {
        counter!(HANDLED, "bus" => bus(), "outcome" => outcome).absolute(messages);
    }
    record_queues(inner, &name);
}

fn record_queues<T, R>(inner: &BusInner<T, R>, name: &Arc<str>) {
    let renamed = inner.recordings.lock().rename(name);
    if let Some((before, subscriptions)) = renamed {
        empty_queues(&before, subscriptions);
    }
    let (topics, mailboxes) = inner.in_use();
    let samples: Vec<_> =
        mailboxes.iter().filter(|mailbox| mailbox.members() > 0).map(|mailbox| sample(mailbox)).collect();
    let bus = || Arc::clone(name);
    gauge!(TOPICS, "bus" => bus()).set(topics as f64);
    gauge!(SUBSCRIPTIONS, "bus" => bus()).set(samples.len() as f64);
    let queues = inner.recordings.lock().next(Instant::now(), samples);
    for (subscription, queue) in queues {
        record_queue(name, subscription, &queue);
    }
}

fn record_queue(bus: &Arc<str>, subscription: String, queue: &QueueGauges) {
    let subscription: Arc<str> = subscription.into();
    let (bus, name) = (|| Arc::clone(bus), || Arc::clone(&subscription));
    gauge!(QUEUE_DEPTH, "bus" => bus(), "subscription" => name()).set(queue.depth as f64);
    gauge!(QUEUE_CAPACITY, "bus" => bus(), "subscription" => name()).set(queue.capacity as f64);
    gauge!(OLDEST_AGE, "bus" => bus(), "subscription" => name()).set(queue.age);
}

/// Sets the gauges of a name that the bus had before to 0, or they would count for ever.
fn empty_queues(bus: &Arc<str>, subscriptions: BTreeSet<String>) {
    gauge!(TOPICS, "bus" => Arc::clone(bus)).set(0.0);
    gauge!(SUBSCRIPTIONS, "bus" => Arc::clone(bus)).set(0.0);
    for subscription in subscriptions {
        record_queue(bus, subscription, &QueueGauges::default());
    }
}

fn sample<T, R>(mailbox: &Mailbox<T, R>) -> Sample {
    // What was taken out comes first: a message that leaves in between is in neither number, which makes the oldest
    // message younger. In both, it would make it older.
    let taken_out = mailbox.received() + mailbox.removed();
    let depth = mailbox.len() as u64;
    let subscription = match (&mailbox.options.name, &mailbox.options.group) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => mailbox.options.patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    };
    Sample { mailbox: mailbox.id, subscription, taken_out, depth, capacity: mailbox.options.capacity as u64 }
}

fn describe() {
    describe_counter!(
        PUBLISHED,
        Unit::Count,
        "Messages published, requests among them, whether anybody took them or not"
    );
    describe_counter!(DELIVERED, Unit::Count, "Messages put into mailboxes, once for each mailbox");
    describe_counter!(DROPPED, Unit::Count, "Messages lost at mailboxes, once for each mailbox, or fired in vain");
    describe_counter!(UNHEARD, Unit::Count, "Messages that no mailbox took");
    describe_counter!(ABANDONED, Unit::Count, "Messages that were queued when the last reader of their mailbox left");
    describe_counter!(DEAD_LETTERS, Unit::Count, "Dead letters posted; only while somebody listens for them");
    describe_counter!(HANDLED, Unit::Count, "Messages that handlers have finished with");
    describe_histogram!(HANDLER_DURATION, Unit::Seconds, "What a handler took for a message, with all its attempts");
    describe_gauge!(SUBSCRIPTIONS, Unit::Count, "Mailboxes that have a member");
    describe_gauge!(TOPICS, Unit::Count, "Topics in use");
    describe_gauge!(QUEUE_DEPTH, Unit::Count, "Messages waiting");
    describe_gauge!(QUEUE_CAPACITY, Unit::Count, "The most messages that can wait");
    describe_gauge!(OLDEST_AGE, Unit::Seconds, "How long the oldest message has been known to wait");
}
