//! Clients, who only listen, and note how late each message is.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::process::Server;

pub type Socket = WebSocketStream<TcpStream>;

/// What is published, and by which messages are known.
pub const TOPIC: &str = "flight.JFK.departed";

/// How to speak to a server.
pub trait Protocol {
    fn name(&self) -> &'static str;
    fn start(&self) -> Server;
    /// A connection that may publish.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = Socket> + Send;
    /// Subscribes to [`TOPIC`], and returns when the server has confirmed it.
    fn subscribe(&self, socket: &mut Socket) -> impl Future<Output = ()> + Send;
    /// The frame that publishes on [`TOPIC`].
    fn publish(&self, payload: &str) -> Message;
}

pub async fn open(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await.expect("it takes WebSockets").0
}

/// Nanoseconds since the program began to ask.
pub fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Some hundred bytes, with the time.
pub fn payload(number: u64) -> String {
    format!(
        r#"{{"at":{},"flight":"AA{}","destination":"Los Angeles International","status":"departed","delay_minutes":{}}}"#,
        now(),
        number % 1000,
        number % 60,
    )
}

/// The times in what was received: a frame may hold several messages, or a part of one.
fn times(unread: &mut Vec<u8>, mut each: impl FnMut(u64)) {
    const MARK: &[u8] = br#""at":"#;
    let mut from = 0;
    while let Some(found) = unread[from..].windows(MARK.len()).position(|window| window == MARK) {
        let digits = from + found + MARK.len();
        let Some(length) = unread[digits..].iter().position(|byte| !byte.is_ascii_digit()) else { break };
        let number = std::str::from_utf8(&unread[digits..digits + length]).expect("digits");
        each(number.parse().expect("a number"));
        from = digits + length;
    }
    // A mark may have been cut.
    let keep = unread.len().saturating_sub(64).max(from);
    unread.drain(..keep);
}

/// All clients of a round.
pub struct Crowd {
    tasks: Vec<JoinHandle<()>>,
    late: Vec<Arc<Mutex<Vec<u32>>>>,
    pub received: Arc<AtomicU64>,
}

impl Crowd {
    pub async fn gather(protocol: &impl Protocol, address: SocketAddr, count: usize) -> Self {
        let mut crowd = Self { tasks: Vec::new(), late: Vec::new(), received: Arc::default() };
        for _ in 0..count {
            let mut socket = protocol.connect(address).await;
            protocol.subscribe(&mut socket).await;
            let late = Arc::<Mutex<Vec<u32>>>::default();
            crowd.late.push(Arc::clone(&late));
            crowd.tasks.push(tokio::spawn(listen(socket, late, Arc::clone(&crowd.received))));
        }
        crowd
    }

    /// How late the messages have been since the last time, in microseconds, in order.
    pub fn take(&self) -> Vec<u32> {
        let lists = self.late.iter().map(|late| std::mem::take(&mut *late.lock().expect("no panic")));
        let mut all: Vec<u32> = lists.flatten().collect();
        all.sort_unstable();
        all
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(mut socket: Socket, late: Arc<Mutex<Vec<u32>>>, received: Arc<AtomicU64>) {
    let mut unread = Vec::new();
    while let Some(Ok(frame)) = socket.next().await {
        if !matches!(frame, Message::Text(_) | Message::Binary(_)) {
            continue;
        }
        unread.extend_from_slice(&frame.into_data());
        let mut count = 0;
        let mut late = late.lock().expect("no panic");
        times(&mut unread, |at| {
            count += 1;
            late.push(u32::try_from(now().saturating_sub(at) / 1000).unwrap_or(u32::MAX));
        });
        drop(late);
        received.fetch_add(count, Ordering::Relaxed);
    }
}
