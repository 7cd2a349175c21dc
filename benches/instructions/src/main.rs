//! Does one operation many times, all on one thread: `instructions OPERATION MAILBOXES ROUNDS`. `scripts/instructions`
//! counts the instructions that run inside [`counted`], and divides them by [`BATCH`] times the rounds.
//!
//! It also compiles beside an older tramline, so it uses nothing that has changed its name.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;

use tramline::{Bus, Subscriber};

/// Operations of a round. They fit into a mailbox, so that no publisher waits.
const BATCH: u64 = 64;
const TOPIC: &str = "orders.de.placed";

/// Runs the operation that callgrind counts: counting begins when this is entered, and ends when it returns.
#[inline(never)]
fn counted(work: impl FnOnce()) {
    work();
}

fn subscribers(bus: &Bus<u64, u64>, count: usize) -> Vec<Subscriber<u64, u64>> {
    (0..count).map(|_| bus.subscribe(TOPIC).expect("the bus is open")).collect()
}

fn receive(subscribers: &[Subscriber<u64, u64>]) {
    for subscriber in subscribers {
        for _ in 0..BATCH {
            drop(black_box(subscriber.try_recv().expect("each mailbox has a whole batch")));
        }
    }
}

fn publisher_publish(mailboxes: usize, rounds: u64) {
    let bus = Bus::new();
    let subscribers = subscribers(&bus, mailboxes);
    let publisher = bus.publisher(TOPIC).expect("the topic is valid");
    for _ in 0..rounds {
        counted(|| {
            for n in 0..BATCH {
                let _ = black_box(publisher.publish(black_box(n)));
            }
        });
        receive(&subscribers);
    }
}

fn bus_publish(mailboxes: usize, rounds: u64) {
    let bus = Bus::new();
    let subscribers = subscribers(&bus, mailboxes);
    for _ in 0..rounds {
        counted(|| {
            for n in 0..BATCH {
                let _ = black_box(bus.publish(black_box(TOPIC), black_box(n)));
            }
        });
        receive(&subscribers);
    }
}

fn try_recv(mailboxes: usize, rounds: u64) {
    let bus = Bus::new();
    let subscribers = subscribers(&bus, mailboxes);
    let publisher = bus.publisher(TOPIC).expect("the topic is valid");
    for _ in 0..rounds {
        for n in 0..BATCH {
            let _ = publisher.publish(n);
        }
        counted(|| receive(&subscribers));
    }
}

fn request(mailboxes: usize, rounds: u64) {
    let bus = Bus::new();
    let subscribers = subscribers(&bus, mailboxes);
    let publisher = bus.publisher(TOPIC).expect("the topic is valid");
    for _ in 0..rounds {
        counted(|| {
            for n in 0..BATCH {
                let pending = publisher.request(black_box(n)).expect("there is a responder");
                for subscriber in &subscribers {
                    let request = subscriber.try_recv().expect("the request is there");
                    let _ = black_box(request.reply(*request));
                }
                black_box(pending.wait().expect("there is a reply"));
            }
        });
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let run = match arguments.first().map(String::as_str) {
        Some("publisher-publish") => publisher_publish,
        Some("bus-publish") => bus_publish,
        Some("try-recv") => try_recv,
        Some("request") => request,
        _ => {
            eprintln!("usage: instructions publisher-publish|bus-publish|try-recv|request MAILBOXES ROUNDS");
            return ExitCode::from(2);
        }
    };
    match (arguments.get(1).map(|text| text.parse()), arguments.get(2).map(|text| text.parse())) {
        (Some(Ok(mailboxes)), Some(Ok(rounds))) => run(mailboxes, rounds),
        _ => {
            eprintln!("MAILBOXES and ROUNDS must be numbers");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
