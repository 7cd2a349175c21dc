//! The ready-made server: a handshake that does not come to its end has a limit, which axum's own server has not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
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

/// Handshakes that have begun have so long when the gateway is shut down.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Between two attempts to accept when there are no resources for it.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn serve<T, R>(gateway: Gateway<T, R>, listener: TcpListener) -> io::Result<()>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let registry = Arc::clone(&gateway.shared.registry);
    let most = gateway.shared.limits.connections;
    // Each ends with the handshake: a connection is a task of its own from then on.
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if handshakes.len() < most.max(1) => match accepted {
                Ok((stream, address)) => {
                    handshakes.spawn(shake_hands(gateway.clone(), stream, ConnectInfo(address)));
                }
                // Of a client that has gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                // Too many open files, as a rule.
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            () = registry.shutting_down() => break,
        }
    }
    drop(listener);
    let ended = async { while handshakes.join_next().await.is_some() {} };
    let _ = timeout(LAST_ANSWERS, ended).await;
    Ok(())
}

async fn shake_hands<T, R>(gateway: Gateway<T, R>, stream: TcpStream, from: ConnectInfo<std::net::SocketAddr>)
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    // Small frames one after the other would wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let within = gateway.shared.limits.connect_within;
    let service = service_fn(move |request: Request<Incoming>| {
        let (gateway, mut request) = (gateway.clone(), request.map(Body::new));
        request.extensions_mut().insert(from);
        async move { Ok::<_, std::convert::Infallible>(gateway.upgrade(request).await) }
    });
    let handshake = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // One that fails is the client's business, and so is one that is late.
    let _ = timeout(within, handshake).await;
}
