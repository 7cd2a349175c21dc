//! What waits to be written to one client: bounded in bytes, and nobody waits who puts something in.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

use super::frames::CloseCode;
use crate::sync::Mutex;

/// As much is written at once, in bytes, before it counts as written.
const BATCH: usize = 64 * 1024;

/// A client with less than this waiting is fast enough for another message of a group.
const SHALLOW: usize = 16 * 1024;

pub(super) struct Outbox {
    waiting: Mutex<Backlog>,
    /// In bytes.
    pub(super) limit: usize,
    /// One task waits for it, that of the connection.
    more: Notify,
    room: Notify,
    full: Notify,
    ended: Notify,
}

#[derive(Default)]
struct Backlog {
    frames: VecDeque<Utf8Bytes>,
    /// Of these, and of those that are being written.
    bytes: usize,
    /// Frames that have been put in, and those of them that have been taken out, ever.
    put: u64,
    taken: u64,
    /// `put` at the last answer.
    answered: u64,
    /// Set once. Nothing is put in after that.
    close: Option<CloseCode>,
}

/// What is to be written next.
pub(super) enum Next {
    Frames(Vec<Utf8Bytes>),
    Close(CloseCode),
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        let notify = Notify::new;
        Self { waiting: Mutex::default(), limit, more: notify(), room: notify(), full: notify(), ended: notify() }
    }

    /// Puts a frame in. A client that has too much waiting is cut.
    pub(super) fn push(&self, frame: Utf8Bytes) {
        self.put(frame, false);
    }

    /// Puts the answer to a command in, as [`push`](Self::push) does. Only the task of the connection answers.
    pub(super) fn answer(&self, answer: Utf8Bytes) {
        self.put(answer, true);
    }

    fn put(&self, frame: Utf8Bytes, is_answer: bool) {
        let mut waiting = self.waiting.lock();
        if waiting.close.is_some() {
            return;
        }
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        waiting.put += 1;
        if is_answer {
            waiting.answered = waiting.put;
        }
        if waiting.bytes > self.limit {
            drop(waiting);
            return self.close(CloseCode::Slow);
        }
        let is_deep = waiting.bytes > SHALLOW;
        drop(waiting);
        self.more.notify_one();
        if is_deep {
            self.full.notify_waiters();
        }
    }

    /// Ends the connection. What still waits comes first, but for a client that is too slow for it.
    pub(super) fn close(&self, code: CloseCode) {
        let mut waiting = self.waiting.lock();
        if waiting.close.is_some() {
            return;
        }
        waiting.close = Some(code);
        let unsent = if code == CloseCode::Slow { std::mem::take(&mut waiting.frames) } else { VecDeque::new() };
        drop(waiting);
        drop(unsent);
        self.more.notify_one();
        self.ended.notify_one();
        self.room.notify_waiters();
        self.full.notify_waiters();
    }

    /// Nothing is put in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().close.is_some()
    }

    /// Returns `true` if an answer has not been taken out yet.
    pub(super) fn owes_answer(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.answered > waiting.taken
    }

    /// Waits for something to write.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.more.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut waiting = self.waiting.lock();
        if waiting.frames.is_empty() {
            return waiting.close.map(Next::Close);
        }
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH {
            let Some(frame) = waiting.frames.pop_front() else { break };
            bytes += frame.len();
            waiting.taken += 1;
            frames.push(frame);
        }
        Some(Next::Frames(frames))
    }

    /// So many bytes have been written.
    pub(super) fn written(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        waiting.bytes -= bytes;
        let is_shallow = waiting.bytes <= SHALLOW;
        drop(waiting);
        if is_shallow {
            self.room.notify_waiters();
        }
    }

    /// Waits until the connection is to be ended while a write is stuck.
    pub(super) async fn cut(&self) {
        while self.waiting.lock().close != Some(CloseCode::Slow) {
            self.ended.notified().await;
        }
    }

    /// Waits until little is waiting; `false` if the connection ends.
    pub(super) async fn shallow(&self) -> bool {
        loop {
            let room = self.room.notified();
            {
                let waiting = self.waiting.lock();
                if waiting.close.is_some() {
                    return false;
                }
                if waiting.bytes <= SHALLOW {
                    return true;
                }
            }
            room.await;
        }
    }

    /// Waits until more than little is waiting, or the connection ends.
    pub(super) async fn deep(&self) {
        loop {
            let full = self.full.notified();
            {
                let waiting = self.waiting.lock();
                if waiting.close.is_some() || waiting.bytes > SHALLOW {
                    return;
                }
            }
            full.await;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }
}
