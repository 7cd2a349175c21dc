//! A gateway on a socket of its own, and clients that speak the protocol to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};
use tramline::Bus;
use tramline::gateway::{Gateway, GatewayBuilder};

use crate::support::{LONG, patient, within};

/// Runs a test on a runtime with two threads, and fails if it hangs.
pub fn run<Fut: Future<Output = ()>>(test: impl FnOnce() -> Fut + Send + 'static) {
    within(LONG * 4, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(test());
    });
}

/// Allows everything.
pub fn all<T, R>(builder: GatewayBuilder<T, R>) -> GatewayBuilder<T, R> {
    builder.allow_publish(">").allow_subscribe(">").allow_group(">").allow_request(">")
}

/// A gateway that serves.
pub struct Server<T = Value, R = Value> {
    pub bus: Bus<T, R>,
    pub gateway: Gateway<T, R>,
    pub address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl<T, R> Server<T, R>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    pub async fn start(set_up: impl FnOnce(GatewayBuilder<T, R>) -> GatewayBuilder<T, R>) -> Self {
        Self::on(Bus::builder().build(), set_up).await
    }

    pub async fn on(bus: Bus<T, R>, set_up: impl FnOnce(GatewayBuilder<T, R>) -> GatewayBuilder<T, R>) -> Self {
        let gateway = set_up(Gateway::builder(&bus)).build().expect("valid");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serving = tokio::spawn(gateway.clone().serve(listener));
        Self { bus, gateway, address, serving }
    }

    /// A client that has sent its `connect`.
    pub async fn client(&self) -> Client {
        let mut client = self.stranger().await;
        client.connect(None).await;
        client
    }

    /// A client that has not.
    pub async fn stranger(&self) -> Client {
        Client::open(self.address, &[]).await.expect("it is let in")
    }

    /// The status with which a handshake with these headers is refused; 101 if it is not.
    pub async fn status(&self, headers: &[(&'static str, &str)]) -> u16 {
        match Client::open(self.address, headers).await {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Waits until the gateway and the bus hold nothing for clients any more.
    pub async fn is_empty_again(&self) {
        until(|| {
            let (gateway, bus) = (self.gateway.stats(), self.bus.stats());
            gateway.connections == 0 && gateway.subscriptions == 0 && gateway.feeds == 0 && bus.subscriptions.is_empty()
        })
        .await;
    }

    /// Waits until there is no server at the address any more.
    pub async fn stop(self) {
        assert_eq!(self.gateway.shut_down(LONG).await, 0);
        self.serving.await.expect("no panic").expect("served");
    }
}

/// Waits for what only the server knows.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(patient(LONG), look).await.expect("it comes to hold");
}

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    pub response: Response,
}

impl Client {
    pub async fn open(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = format!("ws://{address}/").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { socket, response })
    }

    pub async fn send(&mut self, command: &Value) {
        self.send_text(&command.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("it is open");
    }

    /// The next event but for pings.
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Ok(event) => event,
            Err(code) => panic!("closed with {code}"),
        }
    }

    /// The next event, or the close code; 1006 if the connection broke off.
    pub async fn next(&mut self) -> Result<Value, u16> {
        self.next_text().await.map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    /// The same, as it was written.
    pub async fn next_text(&mut self) -> Result<String, u16> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        if text.as_str() != r#"{"type":"ping"}"# {
                            return Ok(text.to_string());
                        }
                    }
                    Some(Ok(Message::Close(Some(close)))) => return Err(close.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(1006),
                }
            }
        };
        timeout(patient(LONG), next).await.expect("something comes")
    }

    /// The close code, after whatever else there is.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    pub async fn connect(&mut self, token: Option<&str>) -> Value {
        self.send(&json!({"type": "connect", "id": 0, "token": token})).await;
        let connected = self.event().await;
        assert_eq!(connected["type"], "connected", "{connected}");
        assert_eq!(self.event().await, json!({"type": "ok", "id": 0}));
        connected
    }

    /// Sends a command with an id of its own, and takes its answer, which comes next.
    pub async fn ask(&mut self, mut command: Value) -> Value {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        command["id"] = id.into();
        self.send(&command).await;
        let answer = self.event().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// `"ok"`, or the code of the error.
    pub async fn code(&mut self, command: Value) -> String {
        let answer = self.ask(command).await;
        let kind = if answer["type"] == "err" { &answer["code"] } else { &answer["type"] };
        kind.as_str().expect("text").to_owned()
    }

    pub async fn subscribe(&mut self, pattern: &str) {
        assert_eq!(self.code(json!({"type": "sub", "pattern": pattern})).await, "ok");
    }

    /// The payload of the next message.
    pub async fn payload(&mut self) -> Value {
        let mut message = self.event().await;
        assert_eq!(message["type"], "msg", "{message}");
        message["payload"].take()
    }

    /// Closes and waits for the answer.
    pub async fn leave(mut self) {
        self.socket.close(None).await.expect("it is open");
        let answered = async {
            while let Some(frame) = self.socket.next().await {
                if frame.expect("no reset").is_close() {
                    return;
                }
            }
            panic!("no answer");
        };
        timeout(patient(LONG), answered).await.expect("it answers");
    }

    /// Goes without a word: the other side gets a reset.
    pub fn reset(self) {
        let stream = self.socket.into_inner();
        stream.set_zero_linger().expect("a socket");
        drop(stream);
    }
}
