//! W3: a request and its reply, between two tasks; one after the other, and 64 at a time.

use std::time::Instant;

use criterion::{Bencher, Criterion};
use tokio::sync::{mpsc, oneshot};
use tramline::Bus;

use crate::table::{Bar, Table};
use crate::{RUNTIME, on_worker};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for in_flight in [1, 64] {
        let name = format!("W3 requests of a task, {in_flight} in flight");
        let limit = ("tokio mpsc and oneshot", |bencher: &mut Bencher<'_>| tokio(bencher, in_flight));
        let figure = ("tramline", |bencher: &mut Bencher<'_>| tramline(bencher, in_flight));
        table.compare(criterion, &name, in_flight, Bar::Shown, limit, figure);
    }
}

fn tramline(bencher: &mut Bencher<'_>, in_flight: u64) {
    bencher.iter_custom(|rounds| {
        let bus = Bus::<u64>::new();
        let publisher = bus.publisher("an.echo").expect("the topic is valid");
        let inbox = bus.subscribe("an.echo").expect("the bus is open");
        let server = RUNTIME.spawn(async move {
            while let Ok(n) = inbox.recv_async().await {
                n.reply(*n).expect("the caller waits");
            }
        });
        let elapsed = on_worker(async move {
            let start = Instant::now();
            let mut pending = Vec::new();
            for _ in 0..rounds {
                for n in 0..in_flight {
                    pending.push(publisher.request_async(n).await.expect("the server is here"));
                }
                for (n, reply) in pending.drain(..).enumerate() {
                    assert_eq!(reply.await.expect("the server answers"), n as u64);
                }
            }
            start.elapsed()
        });
        bus.close();
        RUNTIME.block_on(server).expect("the server ended");
        elapsed
    });
}

fn tokio(bencher: &mut Bencher<'_>, in_flight: u64) {
    bencher.iter_custom(|rounds| {
        let (requests, mut inbox) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(256);
        let server = RUNTIME.spawn(async move {
            while let Some((n, reply)) = inbox.recv().await {
                reply.send(n).expect("the caller waits");
            }
        });
        let elapsed = on_worker(async move {
            let start = Instant::now();
            let mut pending = Vec::new();
            for _ in 0..rounds {
                for n in 0..in_flight {
                    let (sender, reply) = oneshot::channel();
                    requests.send((n, sender)).await.expect("the server is here");
                    pending.push(reply);
                }
                for (n, reply) in pending.drain(..).enumerate() {
                    assert_eq!(reply.await.expect("the server answers"), n as u64);
                }
            }
            start.elapsed()
        });
        RUNTIME.block_on(server).expect("the server ended");
        elapsed
    });
}
