//! The systems, one file each. They differ in their adapter and in nothing else.

pub(crate) mod async_broadcast;
pub(crate) mod bus;
mod crossbeam;
pub(crate) mod disruptor;
mod double_decker;
mod event_bus_rs;
mod flume;
mod jaeb;
mod kameo;
mod kanal;
pub(crate) mod multiqueue2;
mod rust_pubsub;
pub(crate) mod tokio;
mod tramline;

use crate::peer::System;

/// In the order of the tables.
pub(crate) const SYSTEMS: &[System] = &[
    System::of::<tramline::Tramline>(),
    System::of::<crossbeam::Crossbeam>(),
    System::of::<rust_pubsub::RustPubsub>(),
    System::of::<double_decker::DoubleDecker>(),
    System::of::<event_bus_rs::EventBusRs>(),
    System::of::<jaeb::AsyncHandlers>(),
    System::of::<jaeb::SyncHandlers>(),
    System::of::<kameo::PubSub>(),
    System::of::<tokio::BroadcastToTasks>(),
    System::of::<tokio::BroadcastToThreads>(),
    System::of::<async_broadcast::AsyncBroadcast>(),
    System::of::<flume::Flume>(),
    System::of::<kanal::Kanal>(),
    System::of::<bus::Bus>(),
    System::of::<multiqueue2::Multiqueue2>(),
    System::of::<disruptor::SingleProducer>(),
    System::of::<disruptor::MultiProducer>(),
];

/// The mailboxes of tramline, beside its journal.
pub(crate) const MAILBOXES: &str = "tramline, mailboxes of 1024";

/// For J1 and J2: a journal, and what else has one order for all who read. Also the mailboxes, which have not.
pub(crate) const JOURNALS: &[System] = &[
    System::of::<tramline::Journal>(),
    System { name: MAILBOXES, ..System::of::<tramline::Tramline>() },
    System::of::<multiqueue2::Multiqueue2>(),
    System::of::<bus::Bus>(),
    System::of::<tokio::BroadcastToTasks>(),
    System::of::<tokio::BroadcastToThreads>(),
    System::of::<async_broadcast::AsyncBroadcast>(),
    System::of::<disruptor::SingleProducer>(),
    System::of::<disruptor::MultiProducer>(),
];

/// What has requests but no topics.
pub(crate) const REQUESTS_ONLY: &[System] = &[
    System::of::<kameo::Ask<false>>(),
    System::of::<kameo::Ask<true>>(),
    System::of::<tokio::MpscAndOneshot<false>>(),
    System::of::<tokio::MpscAndOneshot<true>>(),
];

/// What is made for many topics.
pub(crate) const TOPICS_ONLY: &[System] = &[System::of::<kameo::TopicBroker>()];
