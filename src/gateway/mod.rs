//! A bus over WebSockets, for browsers and other programs. With the feature `gateway`.
//!
//! A [`Gateway`] is a route of [axum](https://docs.rs/axum), or a server of its own. Clients publish, subscribe, ask and
//! answer in JSON; the payloads and replies of the bus need [`Serialize`] and [`DeserializeOwned`]. The
//! [`protocol`] has a page of its own, and `clients/js` in the repository is a client for browsers and Node.
//!
//! # Safe by default
//!
//! A client may do nothing until a pattern allows it: [`allow_subscribe`](GatewayBuilder::allow_subscribe),
//! [`allow_publish`](GatewayBuilder::allow_publish) and [`allow_request`](GatewayBuilder::allow_request) are separate lists,
//! and [`authorize`](GatewayBuilder::authorize) is asked after them. Pages of other sites are refused. Everything that a
//! client can make the server keep has one of the [`Limits`].
//!
//! # Headers
//!
//! A client may set the [headers](crate::Message::headers) of what it publishes and asks, and gets those of each message. So a
//! trace goes through the program and back to a page: the client sends `traceparent`, of
//! [W3C Trace Context](https://www.w3.org/TR/trace-context/), and a handler passes it on. No header is proof of anything: a
//! client sets what it likes, unless the hook of [`authorize`](GatewayBuilder::authorize), which sees the headers, denies it.
//! Who the client is stands in its [`Session`].
//!
//! ```
//! use tramline::Bus;
//! use tramline::gateway::Gateway;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let bus = Bus::<String>::new();
//! let weak = bus.downgrade();
//! let _shop = bus.on("order.placed", move |order| {
//!     let Some(bus) = weak.upgrade() else { return };
//!     // From the client that has ordered, to the clients that hear of the payment.
//!     bus.message("order.paid", order.to_string()).headers(order.headers()).fire();
//! })?;
//! let gateway = Gateway::builder(&bus).allow_publish("order.placed").allow_subscribe("order.*").build()?;
//! # let paid = bus.subscribe("order.paid")?;
//! # bus.message("order.placed", "tea".to_owned()).header("traceparent", "00-…").publish()?;
//! # assert_eq!(paid.recv()?.headers().get("traceparent"), Some("00-…"));
//! # drop(gateway);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a slow client costs
//!
//! Clients with the same pattern share one mailbox at the bus, and each message is written as JSON once. The mailbox counts as
//! a subscriber and is offered each message before those of the program, as an
//! [observer](crate::SubscriptionBuilder::observer) is: a client with one pattern for both gets a cause before its effect.
//! A message waits for
//! each client in a bounded queue; a client that does not read is disconnected when its queue is full. A slow client delays
//! neither publishers nor other clients. The messages in its queue are lost: over a network the server cannot know what has
//! arrived, so a client that connects again subscribes again, with `retained` where it needs the last values.
//!
//! # One gateway, one bus
//!
//! One gateway serves one bus. A program with a [`Hub`](crate::Hub) gives each bus that clients need a gateway and a
//! route of its own, or publishes to clients on a bus whose payload is an enum.
//!
//! # The end of the program
//!
//! Call [`Gateway::shut_down`] first, and [`Bus::drain`] then: a client whose connection is still open would get
//! `closed` for its commands, and is disconnected only by `shut_down`.
//!
//! # Examples
//!
//! A chat with a room for each topic, for pages of this server:
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use axum::Router;
//! use serde::{Deserialize, Serialize};
//! use tramline::Bus;
//! use tramline::gateway::Gateway;
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Line {
//!     from: String,
//!     text: String,
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let bus = Bus::<Line>::new();
//! let gateway = Gateway::builder(&bus).allow_subscribe("chat.*").allow_publish("chat.*").build()?;
//!
//! let app = Router::new().route("/bus", gateway.route());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

mod access;
mod builder;
mod client;
mod connection;
mod feed;
mod frames;
mod group;
mod handshake;
mod limits;
mod origin;
mod outbox;
mod read_ahead;
mod registry;
mod server;
mod share;
mod shared;
mod write;

#[doc = include_str!("../../docs/gateway-protocol.md")]
pub mod protocol {}

pub use access::{Action, Decision};
pub use builder::{GatewayBuilder, GatewayError};
pub use handshake::{Handshake, Refusal, Session};
pub use limits::Limits;

use crate::bus::Bus;
use crate::panic::catch;
use crate::sync::counters::Ordering;
use registry::{Full, Place};
use shared::Shared;

/// A bus that clients reach over WebSockets. See the [module](self).
///
/// Cloning it gives another handle to the same gateway. It keeps the bus open, because its clients publish. **When the
/// bus closes**, clients get the remaining messages, and `unsubscribed` for each subscription. **Dropping it** ends
/// nothing: routes keep it. [`shut_down`](Self::shut_down) ends the connections.
///
/// # Examples
///
/// ```
/// use tramline::Bus;
/// use tramline::gateway::Gateway;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let bus = Bus::<String>::new();
/// let gateway = Gateway::builder(&bus).allow_subscribe("news.>").build()?;
/// let app: axum::Router = axum::Router::new().route("/bus", gateway.route());
/// # drop(app);
/// assert_eq!(gateway.stats().connections, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Gateway<T, R = T> {
    shared: Arc<Shared<T, R>>,
}

impl<T, R> Gateway<T, R>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// Creates a builder that denies everything until patterns are allowed.
    ///
    /// # Examples
    ///
    /// See [`GatewayBuilder`].
    pub fn builder(bus: &Bus<T, R>) -> GatewayBuilder<T, R> {
        GatewayBuilder::new(bus)
    }

    /// Returns the route on which clients connect, for an axum router with any state.
    ///
    /// [`Limits::connections_per_address`] and [`Session::address`] need a server that passes addresses on:
    /// `app.into_make_service_with_connect_info::<SocketAddr>()`. [`Limits::feeds_per_address`] needs it too. Without it the
    /// limits per address do nothing. Behind a proxy all clients have the address of the proxy. A connection counts from its
    /// request on; that of [`serve`](Self::serve) counts from the moment at which it is accepted. Set `TCP_NODELAY` on the listener's streams, as below, or a
    /// small frame may wait 40 ms for the acknowledgement of the one before it. [`serve`](Self::serve) limits the time
    /// of a handshake; `axum::serve` does not. The connections are tasks of the runtime that serves the route.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    /// use axum::Router;
    /// use axum::serve::ListenerExt;
    /// use tramline::Bus;
    /// use tramline::gateway::Gateway;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let bus = Bus::<String>::new();
    /// let gateway = Gateway::builder(&bus).allow_subscribe("news.>").build()?;
    /// let app = Router::new().route("/bus", gateway.route());
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    /// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let gateway = self.clone();
        any(move |request: Request| async move { gateway.upgrade(request, None).await })
    }

    /// Serves the gateway, and nothing else, on every path, until it is [shut down](Self::shut_down). A handshake times
    /// out after [`Limits::connect_within`]. If there are no files or no memory for another connection, it tries again
    /// each second.
    ///
    /// # Errors
    ///
    /// None now; a later version may have some.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::gateway::Gateway;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let bus = Bus::<String>::new();
    /// let gateway = Gateway::builder(&bus).allow_subscribe("news.>").build()?;
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let serving = tokio::spawn(gateway.clone().serve(listener));
    /// // ...
    /// assert_eq!(gateway.shut_down(Duration::from_secs(5)).await, 0);
    /// serving.await??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        server::serve(self, listener).await
    }

    /// With the place of the connection, if its server has asked for one.
    async fn upgrade(self, request: Request, place: Option<Result<Place<T, R>, Full>>) -> Response {
        let (mut parts, _) = request.into_parts();
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address);
        let header =
            |name| parts.headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or_default());
        if !self.shared.origins.allow(header(header::ORIGIN), header(header::HOST)) {
            return (StatusCode::FORBIDDEN, "this origin is not allowed").into_response();
        }
        let place = place.unwrap_or_else(|| self.shared.registry.enter(address, &self.shared.limits));
        let place = match place {
            Ok(place) => place,
            Err(Full::Address) => return (StatusCode::TOO_MANY_REQUESTS, "too many connections").into_response(),
            Err(Full::All) => return (StatusCode::SERVICE_UNAVAILABLE, "too many connections").into_response(),
            Err(Full::ShuttingDown) => return (StatusCode::SERVICE_UNAVAILABLE, "shutting down").into_response(),
        };
        let user = match &self.shared.authenticate {
            None => None,
            Some(authenticate) => match catch(|| authenticate(&Handshake { parts: &parts, address })) {
                Ok(Ok(user)) => user,
                Ok(Err(refusal)) => return refusal.status().into_response(),
                Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            },
        };
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(rejection) => return rejection.into_response(),
        };
        let session = Session { id: place.session(), address, user };
        let frame = self.shared.limits.frame;
        upgrade
            .protocols([frames::SUBPROTOCOL])
            // There may be thousands, and most are idle: as little as possible for each.
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_frame_size(frame)
            .max_message_size(frame)
            .on_upgrade(move |socket| connection::run(socket, self.shared, session, place))
    }
}

/// Bytes of a connection's own, beside those of its socket. What is written is gathered up to that size.
const READ_BUFFER: usize = 4096;
const WRITE_BUFFER: usize = 16 * 1024;

impl<T, R> Gateway<T, R> {
    /// Refuses new connections with HTTP status 503, and ends the open ones, in batches, with close code 3001, on which
    /// clients connect again. The messages that wait for them are written first.
    ///
    /// Waits up to `within` until all connections have ended, and returns the number of connections still open; those end by
    /// their own limits. The bus stays open: [drain](Bus::drain) or close it afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::gateway::Gateway;
    ///
    /// let gateway = Gateway::builder(&Bus::<String>::new()).build()?;
    /// assert_eq!(gateway.shut_down(Duration::from_secs(5)).await, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn shut_down(&self, within: Duration) -> usize {
        self.shared.registry.shut_down(within).await
    }

    /// Returns a snapshot of the connections, subscriptions and losses.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::gateway::Gateway;
    ///
    /// let gateway = Gateway::builder(&Bus::<String>::new()).build()?;
    /// assert_eq!((gateway.stats().connections, gateway.stats().unwritable), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> GatewayStats {
        let clients = self.shared.registry.clients();
        GatewayStats {
            connections: self.shared.registry.len(),
            subscriptions: clients.iter().map(|client| client.subscriptions()).sum(),
            feeds: self.shared.feeds.len(),
            waiting_bytes: clients.iter().map(|client| client.outbox.bytes()).sum(),
            slow_clients: self.shared.slow_clients.load(Ordering::Relaxed),
            unwritable: self.shared.feeds.unwritable.load(Ordering::Relaxed),
        }
    }
}

impl<T, R> Clone for Gateway<T, R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T, R> fmt::Debug for Gateway<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("connections", &self.shared.registry.len()).finish_non_exhaustive()
    }
}

/// The numbers of a [`Gateway`], see [`Gateway::stats`].
///
/// # Examples
///
/// ```
/// use tramline::gateway::GatewayStats;
///
/// fn is_idle(stats: &GatewayStats) -> bool {
///     stats.subscriptions == 0
/// }
/// # let _ = is_idle;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayStats {
    /// Connections: those that [`serve`](Gateway::serve) has accepted, and those at a route from their request on.
    pub connections: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Subscriptions to the bus that clients without a group share, one for each pattern and choice of options.
    pub feeds: usize,
    /// Bytes that wait for slow clients.
    pub waiting_bytes: usize,
    /// Clients that were cut because too much waited for them, ever.
    pub slow_clients: u64,
    /// Messages that could not be written as JSON, ever: clients find them in `lost_before` of the next message.
    pub unwritable: u64,
}
