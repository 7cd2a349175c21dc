//! W3: a request and its reply, between two threads; one after the other, and 64 at a time.

use std::thread;

use criterion::Criterion;
use crossbeam_channel::{Receiver, Sender, bounded};
use tramline::{Bus, PendingReply};

use crate::table::{Bar, Table};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    let (requests, inbox) = bounded::<(u64, Sender<u64>)>(256);
    let crossbeam_server =
        thread::spawn(move || inbox.iter().for_each(|(n, reply)| reply.send(n).expect("the caller waits")));
    let bus = Bus::<u64>::new();
    let publisher = bus.publisher("an.echo").expect("the topic is valid");
    let inbox = bus.subscribe("an.echo").expect("the bus is open");
    let server = thread::spawn(move || inbox.iter().for_each(|n| n.reply(*n).expect("the caller waits")));

    let ask = |n| -> Receiver<u64> {
        let (sender, reply) = bounded(1);
        requests.send((n, sender)).expect("the server is here");
        reply
    };
    let request = |n| -> PendingReply<u64> { publisher.request(n).expect("the server is here") };
    for in_flight in [1, 64] {
        table.compare(
            criterion,
            &format!("W3 requests, {in_flight} in flight"),
            in_flight,
            Bar::Ratio(1.25),
            ("crossbeam", |bencher| {
                let mut pending = Vec::new();
                bencher.iter(|| {
                    pending.extend((0..in_flight).map(ask));
                    pending.drain(..).map(|reply| reply.recv().expect("the server answers")).sum::<u64>()
                });
            }),
            ("tramline", |bencher| {
                let mut pending = Vec::new();
                bencher.iter(|| {
                    pending.extend((0..in_flight).map(request));
                    pending.drain(..).map(|reply| reply.wait().expect("the server answers")).sum::<u64>()
                });
            }),
        );
    }
    drop(requests);
    bus.close();
    crossbeam_server.join().expect("the server ended");
    server.join().expect("the server ended");
}
