//! HTTP in front of the bus: each route asks a module or tells it something, and knows nothing else of it.
//!
//! `cargo run --example axum --features async` serves until it is stopped:
//!
//! ```text
//! curl localhost:3000/price/tea
//! curl -X POST localhost:3000/order/tea
//! ```

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tramline::{Bus, Handler, HandlerTask, SubscribeError, Topic};

pub(crate) type Shop = Bus<String, u32>;

/// Longer than any module should take.
const LIMIT: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = Shop::builder().build();
    let _modules = modules(&bus)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes(bus)).await?;
    Ok(())
}

pub(crate) fn routes(bus: Shop) -> Router {
    Router::new().route("/price/{item}", get(price)).route("/order/{item}", post(order)).with_state(bus)
}

/// The modules behind: they know the bus, and nothing of HTTP.
pub(crate) fn modules(bus: &Shop) -> Result<Vec<Handler>, SubscribeError> {
    let on_tokio = |task: HandlerTask| drop(tokio::spawn(task));
    let prices = bus.serve_async("price.*", on_tokio, |request| {
        let item = request.payload().clone();
        async move {
            match item.as_str() {
                "tea" => 350,
                "soup" => 620,
                // The caller hears of it: the request has failed.
                _ => panic!("there is no {item} on the menu"),
            }
        }
    })?;
    let kitchen = bus.on("order.*", |order| println!("kitchen: one {}", order.payload()))?;
    Ok(vec![prices, kitchen])
}

/// Answers with what a module answers, or says what is wrong with it.
async fn price(State(bus): State<Shop>, Path(item): Path<String>) -> Result<String, (StatusCode, String)> {
    let topic = topic("price", &item)?;
    let pending =
        bus.request_async(topic, item).await.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    match timeout(LIMIT, pending).await {
        Ok(Ok(cents)) => Ok(format!("{}.{:02}\n", cents / 100, cents % 100)),
        Ok(Err(error)) if error.is_failed() => Err((StatusCode::NOT_FOUND, error.to_string())),
        Ok(Err(error)) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        // The pending reply was dropped, and so the request is cancelled.
        Err(error) => Err((StatusCode::GATEWAY_TIMEOUT, error.to_string())),
    }
}

/// Tells whoever listens; the answer says how many that are.
async fn order(
    State(bus): State<Shop>,
    Path(item): Path<String>,
) -> Result<(StatusCode, String), (StatusCode, String)> {
    let topic = topic("order", &item)?;
    let delivery =
        bus.publish_async(topic, item).await.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok((StatusCode::ACCEPTED, format!("{} told\n", delivery.delivered())))
}

/// What comes from outside may be no token of a topic.
fn topic(kind: &str, item: &str) -> Result<Topic, (StatusCode, String)> {
    Topic::new(format!("{kind}.{item}")).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}
