//! A typed message bus within one process: publish-subscribe with wildcard topics, request-reply, fire-and-forget and
//! event handlers.
//!
//! A [`Bus`] carries payloads of one type, often an enum of a program's events. It is a handle: clone it into every
//! module. A module publishes to *topics* and subscribes to *patterns*, and knows nothing of the other modules.
//!
//! ```
//! use tramline::Bus;
//!
//! let bus = Bus::<String>::new();
//! let orders = bus.subscribe("orders.>")?;
//! bus.publish("orders.de.placed", "tea".to_owned())?;
//! assert_eq!(orders.recv()?.as_str(), "tea");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Publishing
//!
//! A [`Publisher`] is bound to one topic and is the fast path; [`Bus::publish`] looks the topic up. Both come in the
//! same kinds, which differ in what they do at a full mailbox:
//!
//! | call | at a full mailbox that blocks | fails when the bus is closed |
//! | --- | --- | --- |
//! | [`publish`](Publisher::publish) | waits | yes |
//! | [`publish_timeout`](Publisher::publish_timeout) | waits up to the timeout, then returns the payload; other mailboxes may have it | yes |
//! | [`try_publish`](Publisher::try_publish) | does not wait: a counted loss | yes |
//! | [`fire`](Publisher::fire) | does not wait: a counted loss | no: a counted loss |
//! | [`publish_retained`](Publisher::publish_retained) | waits; and keeps the value for later subscriptions. Its [long form](Publisher::message) need not wait | yes |
//!
//! `Ok` means that the message is in mailboxes: the [`Delivery`] says in how many. Publishing without
//! subscribers is not an error.
//!
//! ## Headers and limits
//!
//! These calls are short forms of a [`MessageBuilder`], which [`Bus::message`] and [`Publisher::message`] begin. It sets
//! [headers](Headers), limits the wait or does without, and says when a message expires; then a call such as `publish` or `request` ends it.
//!
//! ```
//! use std::time::Duration;
//! use tramline::Bus;
//!
//! let bus = Bus::<u32>::new();
//! let orders = bus.subscribe("order.placed")?;
//! bus.message("order.placed", 7)
//!     .header("tenant", "acme") // short strings, which every copy has
//!     .timeout(Duration::from_secs(2)) // the longest wait for room; of a request, for room and reply together
//!     .expires_after(Duration::from_secs(30)) // not delivered later than that, but a dead letter
//!     .publish()?;
//! assert_eq!(orders.recv()?.headers().get("tenant"), Some("acme"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Subscribing
//!
//! A subscription is a mailbox: a bounded queue with an [`Overflow`] policy. [`Bus::subscribe`] takes the defaults of
//! the bus, [`Bus::subscription`] opens with options of its own: more patterns, a [group](SubscriptionBuilder::group)
//! that shares one mailbox, a [filter](SubscriptionBuilder::filter), the [last value](SubscriptionBuilder::with_retained) of
//! each topic first. It ends in a [`Subscriber`] that you read, or in a [`Handler`] that calls your closure on its own
//! thread.
//!
//! In a pattern `*` stands for one token and a last `>` for one or more; see [`Pattern`].
//!
//! An [observer](SubscriptionBuilder::observer) watches: an audit trail, a recorder, a live view. It gets each message before
//! the other subscriptions of its bus, so it sees a cause before its effect; it does not count in the [`Delivery`] and cannot
//! answer.
//!
//! ## Which policy
//!
//! - [`Block`](Overflow::Block), the default: every message counts, and the publisher may be slowed down to the pace of
//!   the reader.
//! - [`DropOldest`](Overflow::DropOldest): the latest state counts; a reader that is late skips.
//! - [`DropNewest`](Overflow::DropNewest): the first messages of a burst count, such as log lines.
//! - [`Disconnect`](Overflow::Disconnect): a reader that falls behind has to start afresh.
//!
//! What is lost is counted: in the [`Delivery`], in [`Bus::stats`], in [`Message::lost_before`] of the next message,
//! and as a [`DeadLetter`] if the program [listens](Bus::dead_letters). A letter names the handler that gave up on the message.
//! [`DeadLetter::retry`] delivers it to that handler alone, [`DeadLetter::republish`] publishes it again; that makes no second
//! letter, but a handler that fails on the message again does.
//!
//! # Journals
//!
//! A [`Journal`] keeps the messages of some topics, each once, in one order with offsets: [`Bus::journal`] opens one. Its
//! [readers](JournalReader) begin [where they like](Start), so a latecomer has the history; they read without a clone, and
//! a publish is one append, however many there are. [`Journal::on`] calls a closure for each entry. A mailbox is for one subscription that
//! takes messages away; a journal is for many that look at the same.
//!
//! ```
//! use tramline::{Bus, Start};
//!
//! let bus = Bus::<u32>::new();
//! let ticks = bus.journal("tick.*").open()?;
//! (0..5).try_for_each(|tick| bus.publish("tick.slow", tick).map(drop))?;
//! let mut late = ticks.reader(Start::Last(2))?;
//! assert_eq!(*late.recv()?, 3);
//! assert_eq!(*late.recv()?, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Requests
//!
//! [`Bus::request`] publishes a message that wants an answer, and returns a [`PendingReply`]: wait for it, poll it, or
//! give it a callback. If there is no responder, or every responder drops the request, the caller learns of it immediately.
//! Every subscription of the topic counts as a responder, while it keeps the request; one that only watches is better an
//! [observer](SubscriptionBuilder::observer). [`Bus::gather`] collects the answers of all responders. A responder answers with
//! [`Message::reply`], from a closure given to [`Bus::serve`] or, if it may fail, to [`Bus::serve_result`], or later through a
//! [`Responder`].
//!
//! A request with a [timeout](MessageBuilder::timeout) always comes back, also from a responder that hangs and whose mailbox is
//! full: `bus.message("double", 21).timeout(limit).request()?.wait()?`.
//!
//! Dropping a [`PendingReply`] or [`Replies`] cancels the request. A handler made with `serve` or `serve_result` skips a request
//! that was cancelled before its turn came, and counts it in [`BusStats::skipped_requests`](BusStats). A handler made with `on` or
//! `handle` did not promise an answer, and handles every message.
//!
//! ```
//! use tramline::Bus;
//!
//! let bus = Bus::<u32, String>::builder().build();
//! let _server = bus.serve("double", |n| (2 * **n).to_string())?;
//! assert_eq!(bus.request("double", 21)?.wait()?, "42");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Handlers
//!
//! [`Bus::on`] runs a closure on a thread of its own; [`workers`](SubscriptionBuilder::workers) shares it among
//! several. A message whose closure returns `Err` is retried according to its [`Retry`] policy, and then becomes a
//! dead letter; a panic makes a dead letter at once. The handler lives on either way.
//!
//! Dropping the [`Handler`] ends it, and [`Handler::stop`] finishes what is queued first. [`Handler::detach`] lets it run until
//! the bus closes.
//!
//! A handler that publishes into its own full mailbox, which only it could drain, has that delivery refused. A cycle
//! of several handlers that publish into one another's full mailboxes is not detected: give one of them a policy that
//! does not block, or use [`try_publish`](Publisher::try_publish) there. The same goes for a handler that waits for the
//! reply to a request that only its own thread could serve.
//!
//! # Many types
//!
//! Instead of an enum of everything, a [`Hub`] has a bus for each type of message. A module asks it for the ones that it
//! knows.
//!
//! ```
//! use tramline::{Event, Hub};
//!
//! #[derive(Clone)]
//! struct OrderPlaced { order: u32 }
//!
//! impl Event for OrderPlaced {
//!     const TOPIC: &'static str = "order.placed";
//! }
//!
//! let hub = Hub::new();
//! let orders = hub.subscribe::<OrderPlaced>()?;
//! hub.publish(OrderPlaced { order: 7 })?;
//! assert_eq!(orders.recv()?.order, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Hub::on`] and [`Hub::serve`] run a closure on each message of a type. For other topics, patterns and options take
//! the bus itself: [`Hub::bus`] for an event, [`Hub::bus_with_reply`] for a request.
//!
//! # Async
//!
//! With the feature `async` the same bus serves tasks, on any runtime: where a thread would sleep, a future waits. Threads
//! and tasks mix, on one bus, in one group and on one subscriber.
//!
//! | a thread | a task |
//! | --- | --- |
//! | [`subscriber.recv()`](Subscriber::recv), `recv_many`, iterator | `subscriber.recv_async().await`, `recv_many_async`, `Stream` |
//! | [`publisher.publish(x)`](Publisher::publish), `publish_retained`, `publish_all` | `publisher.publish_async(x).await`, `publish_retained_async`, `publish_all_async` |
//! | [`bus.message("t", x)`](Bus::message)`.timeout(limit).publish()?` | `bus.message("t", x).timeout(limit).publish_async().await?` |
//! | [`bus.request("t", x)?`](Bus::request)[`.wait()?`](PendingReply::wait) | `bus.request_async("t", x).await?.await?` |
//! | [`bus.gather("t", x)?`](Bus::gather) | `bus.gather_async("t", x).await?`, a `Stream` |
//! | [`bus.on("t", f)`](Bus::on), [`serve`](Bus::serve), [`serve_result`](Bus::serve_result) | `bus.on_async("t", spawner, f)`, `serve_async`, `serve_result_async` |
//! | [`handler.stop(t)`](Handler::stop) | `handler.stop_async(t).await` |
//! | [`bus.drain(t)`](Bus::drain), [`drain_handlers`](Bus::drain_handlers) | `bus.drain_async(t).await`, `drain_handlers_async` |
//! | [`dead_letters.recv()`](DeadLetters::recv), iterator | `dead_letters.recv_async().await`, `Stream` |
//!
//! What never waits is the same for both: [`try_publish`](Bus::try_publish), [`fire`](Bus::fire),
//! [`try_recv`](Subscriber::try_recv), [`reply`](Message::reply). Every future can be dropped before it is ready; what
//! that means is in its `Cancel safety`.
//!
//! # The end
//!
//! [`Bus::close`] refuses new messages at once; readers get what is queued, then `Closed`. [`Bus::drain`] finishes the
//! work first, and reports which subscriptions had not finished when its time was over. [`Bus::drain_handlers`] does not wait
//! for the queues of subscribers. A bus also closes when its last [`Bus`] and [`Publisher`] are dropped. Subscribers,
//! handlers and pending replies do not keep it open, but a closure that captures a [`Bus`] does: capture
//! [`Bus::downgrade`] there.
//!
//! # Observing
//!
//! [`Bus::stats`] is a snapshot of everything that the bus counts. It displays as a [table](BusStats), with the
//! subscription that is the furthest behind marked. Two features make a bus visible to what observes the whole program;
//! one that is off costs nothing.
//!
//! ## Metrics
//!
//! With the feature `metrics`, `Bus::record_metrics` writes what the bus has counted, and how its queues are, to the
//! recorder of the [`metrics`](https://docs.rs/metrics) crate, for which there are exporters to Prometheus and others.
//! `Hub::record_metrics` does so for all its buses. Call it before each scrape, or on a timer: in between, counters and
//! gauges stand still. Only the durations of handlers are recorded as they happen, by the recorder that was there when
//! the handler was made.
//!
//! | name | labels | what it is |
//! | --- | --- | --- |
//! | `tramline_published_total` | `bus` | messages published, requests among them, delivered or not |
//! | `tramline_delivered_total` | `bus` | messages put into mailboxes, once for each mailbox; without retained values that a new subscription began with |
//! | `tramline_dropped_total` | `bus`, `reason` | messages lost at mailboxes, once for each mailbox: `full`, `evicted`, `overflowed`, `self_deadlock`, `cancelled`, `expired`; and fired in vain: `closed`, `invalid_topic`, `invalid_header` |
//! | `tramline_unheard_total` | `bus` | messages that no mailbox took |
//! | `tramline_abandoned_total` | `bus` | messages that were queued when the last reader of their mailbox left |
//! | `tramline_dead_letters_total` | `bus` | dead letters posted; only while a reader listens for them |
//! | `tramline_handled_total` | `bus`, `outcome` | messages that handlers have finished with: `ok`, `failed`, `panicked`; and requests that were not served because the caller had gone: `skipped` |
//! | `tramline_handler_duration_seconds` | `bus`, `handler` | histogram: the time of a handler for a message, with all attempts and the pauses between them |
//! | `tramline_subscriptions` | `bus` | mailboxes that have a member |
//! | `tramline_topics` | `bus` | topics in use |
//! | `tramline_queue_depth` | `bus`, `subscription` | messages waiting |
//! | `tramline_queue_capacity` | `bus`, `subscription` | the most messages that can wait |
//! | `tramline_oldest_message_age_seconds` | `bus`, `subscription` | how long the oldest message has been known to wait; too low by less than the time between two recordings |
//!
//! A `bus` has the name that its [builder](BusBuilder::name) set, or [`Hub::named`], or the name of the type of its
//! messages. A `handler` is
//! called by its [name](SubscriptionBuilder::name), or its first pattern; a `subscription` by its name, or its group,
//! or its patterns with commas between them. Queues of the same name are added up, and the older message counts. So
//! names are for a few subscriptions that stay, not for one made for each client.
//!
//! ## Spans
//!
//! With the feature `tracing` the bus makes spans for the subscriber of the [`tracing`](https://docs.rs/tracing) crate,
//! with the target `tramline`:
//!
//! | span | level | fields | open |
//! | --- | --- | --- | --- |
//! | `publish` | trace | `topic`, `delivered`, `dropped`, `outcome`: `delivered`, `dropped`, `unheard`, `timeout`, `closed`, `cancelled` | while a message is published |
//! | `request` | debug | `topic`, `outcome`: `replied`, `failed`, `unanswered`, `closed`, `cancelled`, `no_responders`, `timeout` | until the caller has the outcome, and every copy of the request is gone |
//! | `gather` | debug | `topic`, `outcome`: `asked`, `no_responders`, `timeout`, `closed` | until every copy of the request is gone |
//! | `handle` | debug | `topic`, `pattern`, `group`, `name`, `outcome`: `ok`, `failed`, `panicked`, `skipped`, `attempts` | while a handler has a message in hand, with all attempts |
//!
//! While a message is published, or a handler's closure runs, the span is entered; for a task, in each poll. The parent
//! of a `handle` is the request that is handled, across threads. The `handle` of a message that is not a request has no parent;
//! with `Bus::builder().trace_messages(true)` it follows from the span in which the message was published.
//!
//! A handler belongs to the caller of the request at every level. With a subscriber at `INFO`, which wants none of these
//! spans, the request carries the span that the caller is in, and the handler's closure runs within that: its own spans
//! and events have the caller's span as their parent, and a request that it sends carries it on. A filter that wants some
//! of these spans skips only the others. A callback of [`PendingReply::on_reply`] runs within the span of the request, or
//! that of the caller in its place, on whatever thread.
//!
//! So the span of the caller closes when every copy of the request is gone. What a handler does goes to the subscriber
//! of its thread. If the caller has another, such as one set by `with_default` for its thread alone, that one gets the
//! spans of the bus, and no spans of the handler's closure.
//!
//! A subscriber runs under no lock of the bus. A span that it does not want costs a look at a flag; a request costs a look
//! at the span that the caller is in, too.
//!
//! # Testing
//!
//! With the feature `testkit`, in `[dev-dependencies]`, the module `testkit` has what the tests of a program's own modules
//! need. A module under test is given a bus, as in the program; around it are:
//!
//! | tool | made by | it |
//! | --- | --- | --- |
//! | `Recorder` | `kit.record("order.>")?` | writes down messages, requests, losses and dead letters with their headers, in order; `wait_for`, `assert_published`, `assert_nothing_more` fail with the list |
//! | `Script` | `kit.reply_to("price.*")?.with(350).then_fail("out of stock")` | answers in place of another module |
//! | faults | `kit.panic_on("order.*", 3)?`, `kit.always_full("order.*", Overflow::Block)?` | a handler that panics, a mailbox that is full |
//!
//! `kit.wait_until_idle(within)` waits until everything is handled. A complete test is in the documentation of the module.
//!
//! # WebSockets
//!
//! With the feature `gateway`, the module `gateway` puts a bus behind WebSockets, for browsers and other programs, as a
//! route of axum or a server of its own. Clients subscribe, publish, ask and answer in JSON, may do what patterns allow
//! and nothing else, and a client that does not read delays neither publishers nor other clients. It needs tokio.
//!
//! # Your code and the bus's locks
//!
//! No lock of the bus is held while code of yours runs: `Clone` and `Drop` of payloads, filters, handlers, callbacks.
//! Each of them may publish, subscribe, unsubscribe or close the same bus. Payloads are cloned on the publishing
//! thread; retained values on the thread of the subscriber that takes them. A retained value has a lock of its own, because
//! payloads need not be `Sync`: its `Clone` must not wait for a thread that wants the same value.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds | what it needs |
//! | --- | --- | --- |
//! | `async` | futures, streams and handlers that are tasks, on any runtime | futures-core 0.3, futures-timer |
//! | `gateway` | the module [`gateway`](#websockets): the bus for browsers | axum 0.8, tokio 1, serde 1, and what `async` needs |
//! | `metrics` | [`record_metrics`](#metrics), for the recorder of the metrics crate | metrics 0.24 |
//! | `testkit` | the module [`testkit`](#testing), for the tests of your modules | nothing |
//! | `tracing` | [spans](#spans), for the subscriber of the tracing crate | tracing 0.1 |
//!
//! The versions are those of crates whose types or traits are in this API. Without features, [`Subscriber::register`] and
//! [`Subscriber::complete`] have types of crossbeam-channel 0.5.
//!
//! # Errors
//!
//! Each operation has an error of its own that hands back what was given to it. `Closed` is the one word for the end.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bus;
mod counters;
mod dead_letter;
mod delivery;
#[cfg(doctest)]
mod doctests;
#[cfg(feature = "gateway")]
pub mod gateway;
mod handler;
mod hub;
mod journal;
mod lifecycle;
mod log;
mod mailbox;
mod message;
mod metadata;
mod observe;
mod panic;
mod request;
mod routing;
mod spans;
mod subscription;
mod sync;
#[cfg(feature = "testkit")]
pub mod testkit;
mod topic;

pub use crate::bus::{
    Bus, BusBuilder, DrainReport, MessageBuilder, PublishAllError, PublishError, Publisher, Unfinished, Unsent, WeakBus,
};
pub use crate::dead_letter::{
    DeadLetter, DeadLetterIter, DeadLetterReason, DeadLetterTryIter, DeadLetters, RetryError,
};
pub use crate::delivery::Delivery;
pub use crate::handler::{Handler, Outcome, Retry, StopReport};
#[cfg(feature = "async")]
pub use crate::handler::{HandlerTask, Spawner};
#[cfg(feature = "async")]
pub use crate::hub::{AsyncHandlerFn, AsyncServeResultFn};
pub use crate::hub::{Event, HandlerFn, Hub, HubBusStats, Request, ServeResultFn, WeakHub};
pub use crate::journal::{
    Entry, Journal, JournalBuilder, JournalHandlerBuilder, JournalIter, JournalReader, JournalTryIter, OwnedEntry,
};
pub use crate::log::{Start, StartError};
pub use crate::mailbox::Overflow;
pub use crate::message::{Message, RecvError, RecvTimeoutError, TryRecvError};
pub use crate::metadata::{HeaderError, Headers};
pub use crate::observe::{BusStats, SubscriptionStats};
pub use crate::request::{GatherError, PendingReply, Replies, ReplyError, RequestError, RespondError, Responder};
pub use crate::routing::SubscribeError;
pub use crate::subscription::{Iter, ManyWorkers, OneWorker, Subscriber, SubscriptionBuilder, TryIter};
pub use crate::topic::{InvalidToken, Pattern, Topic, TopicError};
