//! Commands that were read while another one waits for the bus.

use std::collections::VecDeque;

/// The server reads no more of a client with at least this much, in bytes. One more frame may be added to less.
const LIMIT: usize = 16 * 1024;

/// Commands behind one that waits, in their order. They are read only because the end of the client comes behind them.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// Of the exact size: a frame would keep the whole buffer into which the socket was read.
    commands: VecDeque<Box<str>>,
    bytes: usize,
}

impl ReadAhead {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < LIMIT
    }

    pub(super) fn push(&mut self, command: &str) {
        self.bytes += cost(command);
        self.commands.push_back(command.into());
    }

    pub(super) fn pop(&mut self) -> Option<Box<str>> {
        let command = self.commands.pop_front()?;
        self.bytes -= cost(&command);
        Some(command)
    }
}

/// An empty command costs something too.
fn cost(command: &str) -> usize {
    command.len() + size_of::<Box<str>>()
}
