//! The immutable list of mailboxes that get the messages of one topic.

use std::sync::Arc;

use crate::mailbox::MailboxSender;
use crate::sync::Guard;

type Sender<T, R> = Arc<MailboxSender<T, R>>;

/// The mailboxes of one topic; never changed, but replaced.
pub(crate) struct Route<T, R> {
    mailboxes: Vec<Sender<T, R>>,
    /// Whether no mailbox has a filter.
    unfiltered: bool,
}

/// A route in use by a publisher. It keeps the senders of its mailboxes, so a publisher lets go of it before it sleeps.
pub(crate) type RouteGuard<T, R> = Guard<Arc<Route<T, R>>>;

impl<T, R> Route<T, R> {
    /// A route over these mailboxes: in the order in which they were made, and each once, even if several of its
    /// patterns match.
    pub(crate) fn new(mut mailboxes: Vec<Arc<MailboxSender<T, R>>>) -> Self {
        mailboxes.sort_by_key(|sender| sender.mailbox.id);
        mailboxes.dedup_by_key(|sender| sender.mailbox.id);
        let unfiltered = mailboxes.iter().all(|sender| sender.mailbox.filter.is_none());
        Self { mailboxes, unfiltered }
    }

    pub(crate) fn with(&self, sender: &Arc<MailboxSender<T, R>>) -> Self {
        let mut mailboxes = Vec::with_capacity(self.mailboxes.len() + 1);
        mailboxes.extend_from_slice(&self.mailboxes);
        mailboxes.push(Arc::clone(sender));
        Self::new(mailboxes)
    }

    pub(crate) fn without(&self, mailbox: u64) -> Self {
        Self::new(self.mailboxes.iter().filter(|sender| sender.mailbox.id != mailbox).cloned().collect())
    }

    pub(crate) fn contains(&self, mailbox: u64) -> bool {
        self.mailboxes.iter().any(|sender| sender.mailbox.id == mailbox)
    }

    pub(crate) fn len(&self) -> usize {
        self.mailboxes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mailboxes.is_empty()
    }

    pub(crate) fn mailboxes(&self) -> &[Sender<T, R>] {
        &self.mailboxes
    }

    /// The mailboxes, if each of them wants every message, so that it is known which is the last to get it.
    #[inline(always)]
    pub(crate) fn unfiltered(&self) -> Option<&[Sender<T, R>]> {
        self.unfiltered.then_some(&self.mailboxes[..])
    }
}
