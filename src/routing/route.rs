//! The immutable list of mailboxes and logs that get the messages of one topic.

use std::sync::Arc;

use super::subscriptions::Version;
use crate::lifecycle::Generation;
use crate::log::SyncLog;
use crate::mailbox::MailboxSender;
use crate::sync::Guard;

type Sender<T, R> = Arc<MailboxSender<T, R>>;

/// The mailboxes and logs of one topic, as they were found; never changed, but replaced.
pub(crate) struct Route<T, R> {
    mailboxes: Vec<Sender<T, R>>,
    logs: Vec<Arc<dyn SyncLog<T>>>,
    /// Whether no mailbox has a filter.
    unfiltered: bool,
    /// Whether in addition none is an observer's, and there is no journal.
    simple: bool,
    /// The number of mailboxes that come first.
    first: usize,
    /// The number of mailboxes that are observers'.
    observers: usize,
    /// Whether there is one log and nothing else, and it counts and wants every message.
    only_log: bool,
    /// Of the subscriptions that match the topic.
    version: Version,
    /// The last generation in which it was looked at and found to be right.
    generation: AtomicGeneration,
}

/// Orders nothing: the route does not change, so who finds that another thread has looked needs nothing else from it.
type AtomicGeneration = crate::sync::counters::AtomicU64;
const RELAXED: crate::sync::counters::Ordering = crate::sync::counters::Ordering::Relaxed;

/// A route in use by a publisher. It keeps the senders of its mailboxes, so a publisher lets go of it before it sleeps.
pub(crate) type RouteGuard<T, R> = Guard<Arc<Route<T, R>>>;

impl<T, R> Route<T, R> {
    // Invariant 14.
    /// A route over these mailboxes: those that come first, then the others, both in the order in which they were made, and
    /// each once, even if several of its patterns match.
    pub(super) fn new(
        mut mailboxes: Vec<Sender<T, R>>,
        logs: Vec<Arc<dyn SyncLog<T>>>,
        version: Version,
        generation: Generation,
    ) -> Self {
        mailboxes.sort_by_key(|sender| (!comes_first(sender), sender.mailbox.id));
        mailboxes.dedup_by_key(|sender| sender.mailbox.id);
        let unfiltered = mailboxes.iter().all(|sender| sender.mailbox.filter.is_none());
        let first = mailboxes.partition_point(comes_first);
        let simple = logs.is_empty()
            && unfiltered
            && mailboxes[..first].iter().all(|sender| sender.mailbox.options.role.counts());
        let only_log = match &logs[..] {
            [log] => mailboxes.is_empty() && !log.has_filter() && !log.options.is_observer,
            _ => false,
        };
        let observers = mailboxes[..first].iter().filter(|sender| sender.mailbox.is_observer()).count();
        Self {
            mailboxes,
            logs,
            unfiltered,
            simple,
            first,
            observers,
            only_log,
            version,
            generation: AtomicGeneration::new(generation),
        }
    }

    /// In the place of a route that has to be found anew.
    pub(super) fn stale() -> Self {
        Self::new(Vec::new(), Vec::new(), Version::NONE, Generation::MAX)
    }

    /// The generation of subscriptions for which it is right.
    #[inline(always)]
    pub(crate) fn generation(&self) -> Generation {
        self.generation.load(RELAXED)
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Nothing that matches its topic has changed until this generation.
    pub(super) fn is_right_in(&self, generation: Generation) {
        self.generation.store(generation, RELAXED);
    }

    pub(super) fn contains(&self, mailbox: u64) -> bool {
        let (first, others) = self.mailboxes.split_at(self.first);
        [first, others].iter().any(|part| part.binary_search_by_key(&mailbox, |sender| sender.mailbox.id).is_ok())
    }

    pub(crate) fn len(&self) -> usize {
        self.mailboxes.len()
    }

    /// Whether it has neither mailboxes nor logs.
    pub(crate) fn is_empty(&self) -> bool {
        self.mailboxes.is_empty() && self.logs.is_empty()
    }

    /// The number of mailboxes that are observers', and of the others.
    pub(crate) fn observers_and_others(&self) -> (usize, usize) {
        (self.observers, self.mailboxes.len() - self.observers)
    }

    /// The log, if that is all there is, if it counts, and wants every message.
    #[inline]
    pub(crate) fn only_log(&self) -> Option<&Arc<dyn SyncLog<T>>> {
        self.only_log.then(|| self.logs.first()).flatten()
    }

    /// The logs of the topic's journals.
    pub(crate) fn logs(&self) -> &[Arc<dyn SyncLog<T>>] {
        &self.logs
    }

    pub(crate) fn mailboxes(&self) -> &[Sender<T, R>] {
        &self.mailboxes
    }

    /// Whether each mailbox wants every message.
    pub(crate) fn is_unfiltered(&self) -> bool {
        self.unfiltered
    }

    /// The mailboxes, if each of them wants every message, none is an observer's, and there is no journal, so that it is known which is the last
    /// to get it.
    #[inline(always)]
    pub(crate) fn simple(&self) -> Option<&[Sender<T, R>]> {
        self.simple.then_some(&self.mailboxes[..])
    }
}

fn comes_first<T, R>(sender: &Sender<T, R>) -> bool {
    sender.mailbox.options.role.comes_first()
}
