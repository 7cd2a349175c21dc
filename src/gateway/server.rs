//! The ready-made server: a handshake that does not come to its end has a limit, which axum's own server has not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Gateway;
use super::registry::{Full, Place};
use crate::sync::Mutex;

/// Handshakes that have begun have so long when the gateway is shut down.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Between two attempts to accept when there are no resources for it.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection without a place gets a status only if it is one of so many, and sends its request in so long.
const REFUSALS: usize = 64;
const REFUSAL_TIME: Duration = Duration::from_secs(1);

pub(super) async fn serve<T, R>(gateway: Gateway<T, R>, listener: TcpListener) -> io::Result<()>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let registry = Arc::clone(&gateway.shared.registry);
    let within = gateway.shared.limits.connect_within;
    // Each ends with the handshake: a connection is a task of its own from then on. There are no more than places.
    let mut handshakes = JoinSet::new();
    let mut refusals = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // A connection takes its place before it sends anything, so one that never sends a request counts too.
                Ok((stream, address)) => match registry.enter(Some(address), &gateway.shared.limits) {
                    Ok(place) => _ = handshakes.spawn(shake_hands(gateway.clone(), stream, address, Ok(place), within)),
                    Err(full) if refusals.len() < REFUSALS => {
                        let within = within.min(REFUSAL_TIME);
                        refusals.spawn(shake_hands(gateway.clone(), stream, address, Err(full), within));
                    }
                    Err(_) => {}
                },
                // Of a client that has gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                // Too many open files, as a rule.
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            Some(_) = refusals.join_next(), if !refusals.is_empty() => {}
            () = registry.shutting_down() => break,
        }
    }
    drop(listener);
    let ended = async {
        while handshakes.join_next().await.is_some() {}
        while refusals.join_next().await.is_some() {}
    };
    let _ = timeout(LAST_ANSWERS, ended).await;
    Ok(())
}

async fn shake_hands<T, R>(
    gateway: Gateway<T, R>,
    stream: TcpStream,
    address: SocketAddr,
    place: Result<Place<T, R>, Full>,
    within: Duration,
) where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    // Small frames one after the other would wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    // It stays here until the request comes, and if none comes, until the time is over.
    let place = Arc::new(Mutex::new(Some(place)));
    let service = service_fn(move |request: Request<Incoming>| {
        let (gateway, mut request, place) = (gateway.clone(), request.map(Body::new), place.lock().take());
        request.extensions_mut().insert(ConnectInfo(address));
        async move {
            let mut response = gateway.upgrade(request, place).await;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // It has no place any more.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let handshake = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // One that fails is the client's business, and so is one that is late.
    let _ = timeout(within, handshake).await;
}
