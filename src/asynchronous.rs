//! The same operations for tasks of any async runtime: where a thread would sleep, a future waits.

mod publish;
mod receive;
mod reply;
