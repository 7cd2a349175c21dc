//! The gate of a log: who reads it and how far, and who waits to append. All under one short lock, under which no user code
//! runs.

use std::collections::VecDeque;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Waker;

use super::chunk::Record;
use super::place::Place;
use crate::lifecycle::{EndSignal, EndTrigger};
#[cfg(feature = "async")]
use crate::sync::wait_list;
use crate::topic::Topic;

pub(super) struct Gate<T> {
    pub(super) readers: Vec<Arc<Place<T>>>,
    pub(super) line: Line<T>,
}

/// The messages that wait for room, in order.
pub(super) struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    next: u64,
}

struct Waiting<T> {
    number: u64,
    /// `None` until its publisher has a place, or a place in the line, in each of its logs.
    message: Option<(Topic, Record<T>)>,
    owner: Owner,
}

/// How the publisher of a message hears that it is in, or that the log is closed.
pub(super) struct Owner {
    /// Ends when this is dropped.
    _is_over: Option<EndTrigger>,
    #[cfg(feature = "async")]
    task: Option<Waker>,
}

impl Owner {
    fn none() -> Self {
        Self {
            _is_over: None,
            #[cfg(feature = "async")]
            task: None,
        }
    }

    /// Wakes the publisher, which is user code if it is a task.
    pub(super) fn wake(self) {
        #[cfg(feature = "async")]
        self.task.into_iter().for_each(wait_list::wake);
    }
}

impl<T> Gate<T> {
    pub(super) fn new() -> Self {
        Self { readers: Vec::new(), line: Line { waiting: VecDeque::new(), next: 0 } }
    }

    /// The offset of the reader that is furthest behind.
    pub(super) fn slowest(&self) -> Option<u64> {
        self.readers.iter().map(|place| place.position()).min()
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a place to the end, for a message that is still to come.
    pub(super) fn join(&mut self) -> (u64, EndSignal) {
        let (trigger, signal) = EndTrigger::new();
        let number = self.next;
        self.next += 1;
        let mut owner = Owner::none();
        owner._is_over = Some(trigger);
        self.waiting.push_back(Waiting { number, message: None, owner });
        (number, signal)
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.find(number).is_some()
    }

    /// Puts the message into its place.
    pub(super) fn fill(&mut self, number: u64, topic: &Topic, record: Record<T>) {
        if let Some(index) = self.find(number) {
            self.waiting[index].message = Some((topic.clone(), record));
        }
    }

    /// Whether the first message can be moved on.
    pub(super) fn is_first_here(&self) -> bool {
        self.waiting.front().is_some_and(|first| first.message.is_some())
    }

    /// Takes the first message out, which [is here](Self::is_first_here).
    pub(super) fn pop(&mut self) -> Option<(Topic, Record<T>, Owner)> {
        let Waiting { message, owner, .. } = self.waiting.pop_front()?;
        message.map(|(topic, record)| (topic, record, owner))
    }

    /// Takes a place out of the line, with what is in it.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Option<Record<T>>, Owner)> {
        let index = self.find(number)?;
        let Waiting { message, owner, .. } = self.waiting.remove(index)?;
        Some((message.map(|(_, record)| record), owner))
    }

    /// The owners of all, to be woken: they take their messages back.
    pub(super) fn owners(&mut self) -> Vec<Owner> {
        self.waiting.iter_mut().map(|waiting| std::mem::replace(&mut waiting.owner, Owner::none())).collect()
    }

    /// Has the task woken when its message is in, if it is still waiting. Returns the waker before, to be dropped outside
    /// the lock.
    #[cfg(feature = "async")]
    pub(super) fn set_waker(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        match self.find(number) {
            Some(index) => self.waiting[index].owner.task.replace(waker),
            None => Some(waker),
        }
    }
}
