//! Event-driven: handlers on threads of their own, workers, retries, a dead letter, and an orderly end.
//!
//! `cargo run --example event_driven`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tramline::{Bus, PublishError, Retry};

#[derive(Debug, Clone)]
enum Event {
    Ordered { order: u32 },
    Paid { order: u32 },
}

fn main() -> Result<(), Box<dyn Error>> {
    let bus = Bus::<Event>::new();
    let dead_letters = bus.dead_letters();

    // One handler's event is the next one's cause. The closure holds a weak handle, so that it does not keep its own
    // bus open.
    let weak = bus.downgrade();
    let _till = bus.on("order.placed", move |event| -> Result<(), PublishError<Event>> {
        if let (Event::Ordered { order }, Some(bus)) = (event.payload(), weak.upgrade()) {
            println!("till:    order {order} is paid");
            bus.publish("order.paid", Event::Paid { order: *order })?;
        }
        Ok(())
    })?;

    // Four workers share one mailbox: orders are packed side by side.
    let packed = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&packed);
    let _packers = bus.subscription("order.paid").name("packers").workers(4).handle(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    })?;

    // A handler that fails: the error is tried again, and then becomes a dead letter. The next event is handled.
    let _printer = bus
        .subscription("order.paid")
        .name("printer")
        .retry(Retry::exponential(2, Duration::from_millis(1)).max(Duration::from_millis(10)))
        .handle(|event| match event.payload() {
            Event::Paid { order: 3 } => Err("paper jam"),
            _ => Ok(()),
        })?;

    // A panic costs one event, not the handler. It is told on stderr as any other.
    let _auditor = bus.on("order.>", |event| {
        if matches!(event.payload(), Event::Ordered { order: 4 }) {
            panic!("order 4 is suspicious");
        }
    })?;

    for order in 1..=5 {
        bus.publish("order.placed", Event::Ordered { order })?;
    }

    // What is on its way is finished, also what handlers publish meanwhile; then the bus is closed.
    let report = bus.drain(Duration::from_secs(10));
    println!("drained: {}", report.is_complete());
    println!("packed:  {}", packed.load(Ordering::Relaxed));
    for letter in dead_letters.try_iter() {
        println!(
            "dead:    {:?} on {}, attempt {}: {}",
            letter.payload(),
            letter.topic(),
            letter.attempts(),
            letter.reason()
        );
    }
    Ok(())
}
