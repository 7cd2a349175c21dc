//! Rounds with a growing rate, until one falls behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until};

use crate::clients::{Crowd, Protocol, payload};

/// Later than this is behind.
const IN_TIME: Duration = Duration::from_millis(250);

/// Tells whether the first round was held.
pub async fn rounds(protocol: &impl Protocol, clients: usize, is_test: bool) -> bool {
    let server = protocol.start();
    // What the first of anything takes is not counted to the others.
    let first = Crowd::gather(protocol, server.address, 1).await;
    let before = server.memory();
    let crowd = Crowd::gather(protocol, server.address, clients).await;
    let bytes = server.memory().saturating_sub(before) / clients as u64;
    drop(first);

    let mut publisher = protocol.connect(server.address).await;
    let (mut sink, mut answers) = (&mut publisher).split();
    let reading = async { while let Some(Ok(_)) = answers.next().await {} };
    let publishing = async {
        let (mut number, mut deliveries, mut first_held) = (0, if is_test { 1_000 } else { 20_000 }, None);
        loop {
            let rate = (deliveries / clients).max(1);
            let time = if is_test { Duration::from_millis(200) } else { Duration::from_secs(4) };
            crowd.received.store(0, Ordering::Relaxed);
            drop(crowd.take());
            let begun = Instant::now();
            // In steps of some milliseconds: timers are no finer.
            let step = Duration::from_millis(5);
            let (mut sent, mut at) = (0_u64, begun);
            while at < begun + time {
                at += step;
                let due = ((at - begun).as_secs_f64() * rate as f64) as u64;
                for _ in sent..due {
                    number += 1;
                    if sink.feed(protocol.publish(&payload(number))).await.is_err() {
                        return first_held;
                    }
                }
                sent = due;
                if sink.flush().await.is_err() {
                    return first_held;
                }
                sleep_until(at).await;
            }
            let expected = sent * clients as u64;
            let end = Instant::now() + IN_TIME;
            while crowd.received.load(Ordering::Relaxed) < expected && Instant::now() < end {
                sleep(Duration::from_millis(1)).await;
            }
            let (received, late) = (crowd.received.load(Ordering::Relaxed), crowd.take());
            let at = |part: f64| {
                late.get((late.len() as f64 * part) as usize).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
            };
            let is_held = received == expected && at(0.99) < IN_TIME.as_secs_f64() * 1000.0;
            let (messages, rate) = (sent as f64 / time.as_secs_f64(), expected as f64 / time.as_secs_f64());
            println!(
                "| {} | {clients} | {bytes} | {messages:.0} | {rate:.0} | {:.2} | {:.2} | {} |",
                protocol.name(),
                at(0.5),
                at(0.99),
                if is_held { "" } else { "falls behind" },
            );
            first_held.get_or_insert(is_held);
            if !is_held || is_test {
                return first_held;
            }
            deliveries = deliveries * 3 / 2;
        }
    };
    tokio::select! {
        held = publishing => held == Some(true),
        () = reading => false,
    }
}
