//! Writing to a socket, which may be stuck.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::frames::{self, CloseCode};
use super::outbox::Outbox;

/// A client has read the close code by then.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection is over: `None` if the socket is.
type Cut = Option<CloseCode>;

pub(super) async fn frames(
    socket: &mut WebSocket,
    outbox: &Outbox,
    within: Duration,
    frames: Vec<Utf8Bytes>,
) -> Result<(), Cut> {
    let bytes = frames.iter().map(|frame| frame.len()).sum();
    let writing = async {
        for frame in frames {
            socket.feed(Frame::Text(frame)).await?;
        }
        socket.flush().await
    };
    in_time(writing, outbox, within).await?;
    outbox.written(bytes);
    Ok(())
}

/// A ping of the WebSocket, which browsers answer and do not show, and one of the protocol, which they show.
pub(super) async fn ping(socket: &mut WebSocket, outbox: &Outbox, within: Duration) -> Result<(), Cut> {
    let writing = async {
        socket.feed(Frame::Ping(Bytes::new())).await?;
        socket.send(Frame::Text(frames::ping())).await
    };
    in_time(writing, outbox, within).await
}

/// The answers to a client's pings, of which the socket keeps any number.
pub(super) async fn pongs(socket: &mut WebSocket, outbox: &Outbox, within: Duration) -> Result<(), Cut> {
    in_time(socket.flush(), outbox, within).await
}

/// A client may become too slow while a write to it is stuck.
async fn in_time(
    writing: impl Future<Output = Result<(), axum::Error>>,
    outbox: &Outbox,
    within: Duration,
) -> Result<(), Cut> {
    tokio::select! {
        biased;
        written = timeout(within, writing) => match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => Err(Some(CloseCode::WriteTimeout)),
        },
        () = outbox.cut() => Err(Some(CloseCode::Slow)),
    }
}

/// Returns the close code for a mistake of the client; `None` if the socket has ended.
pub(super) fn mistake(error: &axum::Error) -> Option<CloseCode> {
    match error.source()?.downcast_ref()? {
        Error::Capacity(_) => Some(CloseCode::TooLarge),
        Error::Utf8(_) => Some(CloseCode::InvalidUtf8),
        // The end of the stream without a close frame.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// The close handshake that the client has begun.
pub(super) async fn farewell(socket: &mut WebSocket, within: Duration) {
    // The socket has the answer, and writes it now.
    let _ = timeout(within, socket.flush()).await;
}

/// The close handshake, as far as the client takes part.
pub(super) async fn goodbye(socket: &mut WebSocket, within: Duration, code: CloseCode) {
    let frame = CloseFrame { code: code.number(), reason: Utf8Bytes::from_static(code.reason()) };
    let goodbye = async {
        if socket.send(Frame::Close(Some(frame))).await.is_err() {
            return;
        }
        loop {
            match socket.recv().await {
                Some(Ok(Frame::Close(_))) => return,
                Some(Ok(_)) => {}
                Some(Err(error)) if mistake(&error).is_none() => return,
                // What is not read any more, such as the rest of a frame that is too large, makes the end a reset, which
                // overtakes the code. The end comes without an error if the mistake was made before.
                Some(Err(_)) | None => return sleep(LINGER).await,
            }
        }
    };
    // Who does not answer is gone.
    let _ = timeout(within, goodbye).await;
}
