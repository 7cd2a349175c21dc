//! The same operations for tasks of any async runtime: where a thread would sleep, a future waits.

mod handler;
mod hub;
mod publish;
mod receive;
mod reply;
mod spawner;

pub use spawner::{HandlerTask, Spawner};
