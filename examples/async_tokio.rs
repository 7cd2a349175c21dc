//! The bus between the tasks of a tokio program: a stream, a handler, requests with a time limit, and a graceful end.
//!
//! `cargo run --example async_tokio --features async`

use std::error::Error;
use std::time::Duration;

use futures_lite::StreamExt;
use tokio::time::timeout;
use tramline::{Bus, HandlerTask, Retry};

#[derive(Debug, Clone)]
enum Event {
    Placed { order: u32, item: &'static str },
    PriceOf(&'static str),
}

/// How the handlers' tasks are run.
fn on_tokio(task: HandlerTask) {
    tokio::spawn(task);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Room for two messages in each mailbox: `publish_async` gives way to the readers when there is none.
    let bus = Bus::<Event, u32>::builder().capacity(2).build();

    // A subscriber is a stream. It ends when the bus is closed.
    let mut orders = bus.subscribe("order.>")?;
    let audit = tokio::spawn(async move {
        let mut seen = 0;
        while let Some(order) = orders.next().await {
            println!("audit: {:?} on {}", order.payload(), order.topic());
            seen += 1;
        }
        seen
    });

    // A handler takes what it needs out of the message; the future goes on with that.
    let mail = bus.subscription("order.*.placed").retry(Retry::fixed(2, Duration::from_millis(10)));
    let _mail = mail.handle_async(on_tokio, |message| {
        let order = match **message {
            Event::Placed { order, item } => Ok((order, item)),
            Event::PriceOf(_) => Err("not an order"),
        };
        async move {
            tokio::task::yield_now().await; // hands a letter to the postman
            let (order, item) = order?;
            println!("mail: order {order}, {item}, is on its way");
            Ok::<(), &str>(())
        }
    })?;

    let _prices = bus.serve_async("price.of", on_tokio, |request| {
        let cents = match **request {
            Event::PriceOf("tea") => 350,
            _ => 620,
        };
        async move { cents }
    })?;

    let placed = bus.publisher("order.de.placed")?;
    for (order, item) in [(1, "tea"), (2, "soup"), (3, "tea")] {
        // The runtime's time limit. Whoever runs into it has cancelled the request.
        let pending = bus.request_async("price.of", Event::PriceOf(item)).await?;
        let cents = timeout(Duration::from_secs(1), pending).await??;
        println!("shop: {item} costs {}.{:02}", cents / 100, cents % 100);
        placed.publish_async(Event::Placed { order, item }).await?;
    }

    // The drain waits without blocking the thread, on which the handlers finish what is queued.
    let drained = bus.drain_async(Duration::from_secs(5)).await;
    println!("drained: {}, audited: {}", drained.is_complete(), audit.await?);
    Ok(())
}
