//! Retained values of one topic that wait for room, in the order in which they were kept.

use std::collections::VecDeque;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Waker;

use crate::lifecycle::{EndSignal, EndTrigger};
use crate::mailbox::{MailboxSender, Put};
use crate::message::Outgoing;
use crate::sync::Mutex;
#[cfg(feature = "async")]
use crate::sync::wait_list;
use crate::topic::Topic;

/// The backlogs of a topic, one for each mailbox at which somebody has waited.
///
/// The lock around it is held from keeping a value until it was put into every mailbox, or into its backlog: so values get
/// everywhere in the order in which they are kept. It is taken before the lock of the map, and no user code runs under it.
pub(crate) struct Backlogs<T, R>(Vec<(u64, Arc<Backlog<T, R>>)>);

/// The messages that wait for room in one mailbox. Whoever waits with one of them and finds room puts the first in, his own
/// or not: so nobody waits for a task that does not go on.
// Invariant 12.
struct Backlog<T, R>(Mutex<Waiting<T, R>>);

struct Waiting<T, R> {
    messages: VecDeque<Place<T, R>>,
    next: u64,
}

struct Place<T, R> {
    number: u64,
    outgoing: Outgoing<T, R>,
    owner: Owner,
}

/// How the owner of a message hears that it is in.
struct Owner {
    /// Ends when this is dropped.
    _is_in: EndTrigger,
    #[cfg(feature = "async")]
    task: Option<Waker>,
}

/// A message in a backlog, as its publisher holds it. Dropping it takes the message out.
pub(crate) struct InBacklog<T, R> {
    backlog: Arc<Backlog<T, R>>,
    number: u64,
    /// Ends when the message is in the mailbox.
    is_in: EndSignal,
}

impl<T, R> Default for Backlogs<T, R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, R> Backlogs<T, R> {
    /// Whether nobody waits for room in this mailbox.
    pub(crate) fn is_empty_at(&mut self, mailbox: u64) -> bool {
        // Those who wait have the others.
        self.0.retain(|(_, backlog)| Arc::strong_count(backlog) > 1);
        !self.0.iter().any(|(other, backlog)| *other == mailbox && !backlog.0.lock().messages.is_empty())
    }

    /// Adds a message to the backlog of a mailbox.
    pub(crate) fn add(&mut self, mailbox: u64, outgoing: Outgoing<T, R>) -> InBacklog<T, R> {
        let backlog = match self.0.iter().find(|(other, _)| *other == mailbox) {
            Some((_, backlog)) => Arc::clone(backlog),
            None => {
                let waiting = Waiting { messages: VecDeque::new(), next: 0 };
                let backlog = Arc::new(Backlog(Mutex::new(waiting)));
                self.0.push((mailbox, Arc::clone(&backlog)));
                backlog
            }
        };
        let (trigger, is_in) = EndTrigger::new();
        let mut waiting = backlog.0.lock();
        let number = waiting.next;
        waiting.next += 1;
        let owner = Owner {
            _is_in: trigger,
            #[cfg(feature = "async")]
            task: None,
        };
        waiting.messages.push_back(Place { number, outgoing, owner });
        drop(waiting);
        InBacklog { backlog, number, is_in }
    }
}

impl<T, R> Waiting<T, R> {
    fn find(&self, number: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&number, |place| place.number).ok()
    }
}

impl<T, R> InBacklog<T, R> {
    /// Ends when the message is in the mailbox.
    pub(crate) fn is_in(&self) -> &EndSignal {
        &self.is_in
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.backlog.0.lock().find(self.number).is_some()
    }

    /// Has the task woken when the message is in, if it is still waiting.
    #[cfg(feature = "async")]
    pub(crate) fn wake_when_in(&self, waker: &Waker) {
        let mut before = Some(waker.clone());
        let mut waiting = self.backlog.0.lock();
        if let Some(index) = waiting.find(self.number) {
            std::mem::swap(&mut waiting.messages[index].owner.task, &mut before);
        }
        drop(waiting);
        drop(before);
    }

    /// Takes the message out, if it is still waiting.
    pub(crate) fn take(&self) -> Option<Outgoing<T, R>> {
        let mut waiting = self.backlog.0.lock();
        let index = waiting.find(self.number)?;
        let place = waiting.messages.remove(index);
        drop(waiting);
        place.map(|place| place.outgoing)
    }
}

impl<T: Clone, R> InBacklog<T, R> {
    /// Puts messages into the mailbox, the first one first, until it is full or has them all.
    pub(crate) fn put(&self, topic: &Topic, sender: &MailboxSender<T, R>) {
        while self.put_first(topic, sender) {}
    }

    fn put_first(&self, topic: &Topic, sender: &MailboxSender<T, R>) -> bool {
        let mut waiting = self.backlog.0.lock();
        let Some(Place { number, outgoing, owner }) = waiting.messages.pop_front() else { return false };
        let put = match sender.put_silently(topic, outgoing) {
            Put::NotTaken(outgoing) => {
                waiting.messages.push_front(Place { number, outgoing, owner });
                return false;
            }
            enqueued => enqueued,
        };
        drop(waiting);
        let _ = sender.settle_put(put, false);
        sender.mailbox.wake_for_message();
        owner.wake();
        true
    }
}

impl Owner {
    fn wake(self) {
        #[cfg(feature = "async")]
        self.task.into_iter().for_each(wait_list::wake);
    }
}

impl<T, R> Drop for InBacklog<T, R> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
