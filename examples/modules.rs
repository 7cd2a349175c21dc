//! Three modules of one program. They share the hub and the types of the messages, and know nothing of each other.
//!
//! `cargo run --example modules`

use std::error::Error;
use std::time::Duration;

use tramline::Hub;

/// What the modules say to each other: all that they have in common.
mod messages {
    use tramline::{Event, Request};

    #[derive(Debug, Clone)]
    pub(crate) struct OrderPlaced {
        pub(crate) order: u32,
        pub(crate) item: &'static str,
    }

    impl Event for OrderPlaced {
        const TOPIC: &'static str = "order.placed";
    }

    #[derive(Debug, Clone)]
    pub(crate) struct OrderPriced {
        pub(crate) order: u32,
        pub(crate) cents: u32,
    }

    impl Event for OrderPriced {
        const TOPIC: &'static str = "order.priced";
    }

    #[derive(Debug, Clone)]
    pub(crate) struct GetPrice(pub(crate) &'static str);

    impl Request for GetPrice {
        type Reply = u32;
        const TOPIC: &'static str = "price.of";
    }
}

/// Knows the prices.
mod catalogue {
    use tramline::{Handler, Hub, SubscribeError};

    use super::messages::GetPrice;

    pub(crate) fn start(hub: &Hub) -> Result<Handler, SubscribeError> {
        hub.named_with_reply::<GetPrice, u32>("prices");
        hub.serve::<GetPrice>(|request| match request.0 {
            "tea" => 350,
            "soup" => 620,
            _ => 0,
        })
    }
}

/// Asks for the price of every order.
mod billing {
    use tramline::{Handler, Hub, SubscribeError};

    use super::messages::{GetPrice, OrderPlaced, OrderPriced};

    pub(crate) fn start(hub: &Hub) -> Result<Handler, SubscribeError> {
        hub.named::<OrderPlaced>("orders");
        hub.named::<OrderPriced>("priced orders");
        // A handler that held the hub itself would keep its own bus open.
        let weak = hub.downgrade();
        hub.on::<OrderPlaced>(move |placed| -> Result<(), Box<dyn std::error::Error>> {
            let hub = weak.upgrade().ok_or("the program ends")?;
            let cents = hub.request(GetPrice(placed.item))?.wait()?;
            hub.publish(OrderPriced { order: placed.order, cents })?;
            Ok(())
        })
    }
}

/// Tells the customer.
mod mail {
    use tramline::{Handler, Hub, SubscribeError};

    use super::messages::OrderPriced;

    pub(crate) fn start(hub: &Hub) -> Result<Handler, SubscribeError> {
        hub.on::<OrderPriced>(|priced| {
            println!("mail: order {} costs {}.{:02}", priced.order, priced.cents / 100, priced.cents % 100);
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::new();
    let _modules = [catalogue::start(&hub)?, billing::start(&hub)?, mail::start(&hub)?];

    for (order, item) in [(1, "tea"), (2, "soup"), (3, "tea")] {
        hub.publish(messages::OrderPlaced { order, item })?;
    }

    // An order goes through three buses. The drain waits until none has anything left.
    let report = hub.drain(Duration::from_secs(5));
    for bus in hub.stats() {
        println!("{}: {} unheard, {} dropped", bus.stats.name, bus.stats.unheard, bus.stats.dropped);
    }
    println!("drained: {}", report.is_complete());
    Ok(())
}
