//! The connections of a gateway: how many there may be, from where, and how they end together.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout_at};

use super::client::Client;
use super::frames::CloseCode;
use super::limits::{Limits, after};
use super::share::decrease;
use crate::sync::Mutex;

/// So many connections are told of a shutdown at once, so that they do not all come to another server at once.
const BATCH: usize = 100;
const BETWEEN_BATCHES: Duration = Duration::from_millis(20);

/// Why there is no place for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Address,
    ShuttingDown,
}

pub(super) struct Registry<T, R> {
    places: Mutex<Places<T, R>>,
    /// The shutdown has.
    begun: Notify,
    left: Notify,
    names: RandomState,
}

struct Places<T, R> {
    next: u64,
    /// `None` until the handshake is over.
    taken: HashMap<u64, Option<Arc<Client<T, R>>>>,
    /// By network.
    from: HashMap<IpAddr, usize>,
    is_shutting_down: bool,
}

/// One connection, from its handshake to its end.
pub(super) struct Place<T, R> {
    registry: Arc<Registry<T, R>>,
    number: u64,
    from: Option<IpAddr>,
}

impl<T, R> Registry<T, R> {
    pub(super) fn new() -> Self {
        let places = Places { next: 0, taken: HashMap::new(), from: HashMap::new(), is_shutting_down: false };
        Self { places: Mutex::new(places), begun: Notify::new(), left: Notify::new(), names: RandomState::new() }
    }

    pub(super) fn enter(self: &Arc<Self>, address: Option<SocketAddr>, limits: &Limits) -> Result<Place<T, R>, Full> {
        let from = address.map(|address| network(address.ip()));
        let mut places = self.places.lock();
        if places.is_shutting_down {
            return Err(Full::ShuttingDown);
        }
        if places.taken.len() >= limits.connections {
            return Err(Full::All);
        }
        if let Some(from) = from {
            let count = places.from.entry(from).or_default();
            if *count >= limits.connections_per_address {
                return Err(Full::Address);
            }
            *count += 1;
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, None);
        Ok(Place { registry: Arc::clone(self), number, from })
    }

    /// Waits for the beginning of the shutdown.
    pub(super) async fn shutting_down(&self) {
        loop {
            let begun = self.begun.notified();
            if self.places.lock().is_shutting_down {
                return;
            }
            begun.await;
        }
    }

    pub(super) fn clients(&self) -> Vec<Arc<Client<T, R>>> {
        self.places.lock().taken.values().flatten().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.places.lock().taken.len()
    }

    /// Refuses new connections, tells those there are, and waits until they are gone; how many are not in time.
    pub(super) async fn shut_down(&self, within: Duration) -> usize {
        let deadline = after(within);
        self.places.lock().is_shutting_down = true;
        self.begun.notify_waiters();
        let clients = self.clients();
        for (index, batch) in clients.chunks(BATCH).enumerate() {
            if index > 0 {
                sleep_until(deadline.min(after(BETWEEN_BATCHES))).await;
            }
            for client in batch {
                client.outbox.close(CloseCode::Shutdown);
            }
        }
        drop(clients);
        loop {
            let left = self.left.notified();
            let count = self.len();
            if count == 0 || timeout_at(deadline, left).await.is_err() {
                return count;
            }
        }
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, because one client can have all addresses of that.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

impl<T, R> Place<T, R> {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Where the connection comes from, if that is known.
    pub(super) fn network(&self) -> Option<IpAddr> {
        self.from
    }

    /// The name of its session. It tells nothing: not even how many there were before.
    pub(super) fn session(&self) -> String {
        format!("{:016x}", self.registry.names.hash_one(self.number))
    }

    /// The handshake is over.
    pub(super) fn occupy(&self, client: &Arc<Client<T, R>>) {
        let mut places = self.registry.places.lock();
        places.taken.insert(self.number, Some(Arc::clone(client)));
        if places.is_shutting_down {
            drop(places);
            client.outbox.close(CloseCode::Shutdown);
        }
    }
}

impl<T, R> Drop for Place<T, R> {
    fn drop(&mut self) {
        let mut places = self.registry.places.lock();
        let client = places.taken.remove(&self.number);
        if let Some(from) = self.from {
            decrease(&mut places.from, &from);
        }
        drop(places);
        drop(client);
        self.registry.left.notify_waiters();
    }
}
