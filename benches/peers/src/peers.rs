//! The systems, one file each. They differ in their adapter and in nothing else.

mod async_broadcast;
mod bus;
mod crossbeam;
mod disruptor;
mod double_decker;
mod event_bus_rs;
mod flume;
mod jaeb;
mod kameo;
mod kanal;
mod multiqueue2;
mod rust_pubsub;
mod tokio;
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

/// What has requests but no topics.
pub(crate) const REQUESTS_ONLY: &[System] = &[
    System::of::<kameo::Ask<false>>(),
    System::of::<kameo::Ask<true>>(),
    System::of::<tokio::MpscAndOneshot<false>>(),
    System::of::<tokio::MpscAndOneshot<true>>(),
];

/// What is made for many topics.
pub(crate) const TOPICS_ONLY: &[System] = &[System::of::<kameo::TopicBroker>()];
