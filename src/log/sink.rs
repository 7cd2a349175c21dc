//! A log as publishers see it. They know the type of the payload and nothing of whether it is `Sync`: only who opens a journal
//! promises that.

use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Waker;

use super::append::{Claim, NoClaim, Refused, Written};
use super::line::{InLine, Joined};
use super::{Log, LogOptions, ReaderLeft, Record};
use crate::dead_letter::{Again, DeadLetterReason};
use crate::lifecycle::{CountGuard, EndSignal, HandlerWorkers};
use crate::mailbox::SeenWorkers;
use crate::metadata::Properties;
use crate::topic::Topic;

pub(crate) trait LogSink<T>: Send + Sync {
    fn id(&self) -> u64;
    fn options(&self) -> &LogOptions;
    fn has_filter(&self) -> bool;
    fn accepts(&self, payload: &T) -> bool;
    fn is_full(&self) -> bool;
    fn append(&self, topic: &Topic, record: Record<T>) -> Result<(), (Refused, Record<T>)>;
    fn append_bare(&self, topic: &Topic, payload: T) -> Result<(), (Refused, T)>;
    fn claim(&self) -> Result<Claim<T>, NoClaim>;
    fn claim_or_join(&self) -> Joined<T>;
    fn write(&self, claim: Claim<T>, topic: &Topic, record: Record<T>) -> Result<Written<T>, Record<T>>;
    fn finish(&self, written: Written<T>);
    fn fill(&self, number: u64, topic: &Topic, record: Record<T>);
    fn in_line(&self, number: u64) -> InLine<T>;
    fn leave_line(&self, number: u64) -> Option<Option<Record<T>>>;
    fn look_again(&self);
    #[cfg(feature = "async")]
    fn wake_when_in(&self, number: u64, waker: &Waker);
    fn count_loss(&self, topic: &Topic, payload: &T, properties: Option<&Arc<Properties>>, reason: DeadLetterReason);
    fn count_observed(&self);
    fn give_back(&self, reader: u64, topic: &Topic, again: Again<T>) -> Result<(), Again<T>>;
    fn close(&self);
    fn is_at_rest(&self, handled_only: bool, seen: &mut SeenWorkers) -> bool;
    fn is_awake(&self) -> bool;
    fn left(&self, handled_only: bool) -> Vec<ReaderLeft>;
    fn pause_worker(&self, reader: u64, handler: u64) -> Option<CountGuard<HandlerWorkers>>;
}

impl<T: Clone + Send + Sync> LogSink<T> for Log<T> {
    fn id(&self) -> u64 {
        self.id
    }

    fn options(&self) -> &LogOptions {
        &self.options
    }

    fn has_filter(&self) -> bool {
        Log::has_filter(self)
    }

    fn accepts(&self, payload: &T) -> bool {
        Log::accepts(self, payload)
    }

    fn is_full(&self) -> bool {
        Log::is_full(self)
    }

    fn append(&self, topic: &Topic, record: Record<T>) -> Result<(), (Refused, Record<T>)> {
        Log::append(self, topic, record)
    }

    fn append_bare(&self, topic: &Topic, payload: T) -> Result<(), (Refused, T)> {
        Log::append(self, topic, Record { payload, properties: None }).map_err(|(why, record)| (why, record.payload))
    }

    fn claim(&self) -> Result<Claim<T>, NoClaim> {
        Log::claim(self)
    }

    fn claim_or_join(&self) -> Joined<T> {
        Log::claim_or_join(self)
    }

    fn write(&self, claim: Claim<T>, topic: &Topic, record: Record<T>) -> Result<Written<T>, Record<T>> {
        Log::write(self, claim, topic, record)
    }

    fn finish(&self, written: Written<T>) {
        written.finish(self);
    }

    fn fill(&self, number: u64, topic: &Topic, record: Record<T>) {
        Log::fill(self, number, topic, record);
    }

    fn in_line(&self, number: u64) -> InLine<T> {
        Log::in_line(self, number)
    }

    fn leave_line(&self, number: u64) -> Option<Option<Record<T>>> {
        Log::leave_line(self, number)
    }

    fn look_again(&self) {
        Log::look_again(self);
    }

    #[cfg(feature = "async")]
    fn wake_when_in(&self, number: u64, waker: &Waker) {
        let waker = waker.clone();
        let before = self.gate.lock().line.set_waker(number, waker);
        drop(before);
    }

    fn count_loss(&self, topic: &Topic, payload: &T, properties: Option<&Arc<Properties>>, reason: DeadLetterReason) {
        Log::count_loss(self, topic, payload, properties, reason);
    }

    fn count_observed(&self) {
        self.losses.messages.observed();
    }

    fn give_back(&self, reader: u64, topic: &Topic, again: Again<T>) -> Result<(), Again<T>> {
        Log::give_back(self, reader, topic, again)
    }

    fn close(&self) {
        Log::close(self);
    }

    fn is_at_rest(&self, handled_only: bool, seen: &mut SeenWorkers) -> bool {
        Log::is_at_rest(self, handled_only, seen)
    }

    fn is_awake(&self) -> bool {
        Log::is_awake(self)
    }

    fn left(&self, handled_only: bool) -> Vec<ReaderLeft> {
        Log::left(self, handled_only)
    }

    fn pause_worker(&self, reader: u64, handler: u64) -> Option<CountGuard<HandlerWorkers>> {
        Log::pause_worker(self, reader, handler)
    }
}

/// A place in the line, as its publisher holds it. Dropping it takes the message out.
pub(crate) struct Ticket<T> {
    log: Arc<dyn LogSink<T>>,
    number: u64,
    is_over: EndSignal,
}

impl<T> Ticket<T> {
    pub(crate) fn new(log: &Arc<dyn LogSink<T>>, number: u64, is_over: EndSignal) -> Self {
        Self { log: Arc::clone(log), number, is_over }
    }

    pub(crate) fn log(&self) -> &Arc<dyn LogSink<T>> {
        &self.log
    }

    /// Ends when the message is in the log, or that is closed.
    pub(crate) fn is_over(&self) -> &EndSignal {
        &self.is_over
    }

    pub(crate) fn fill(&self, topic: &Topic, record: Record<T>) {
        self.log.fill(self.number, topic, record);
    }

    pub(crate) fn look(&self) -> InLine<T> {
        self.log.in_line(self.number)
    }

    /// Gives up; `None` if the message is in the log.
    pub(crate) fn take_back(&self) -> Option<Option<Record<T>>> {
        self.log.leave_line(self.number)
    }

    #[cfg(feature = "async")]
    pub(crate) fn wake_when_in(&self, waker: &Waker) {
        self.log.wake_when_in(self.number, waker);
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        drop(self.take_back());
    }
}
