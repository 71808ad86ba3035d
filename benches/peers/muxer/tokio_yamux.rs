//! The crate `tokio-yamux`.

use super::{Driver, End, Muxer};
use futures::channel::mpsc;
use futures::{AsyncRead, AsyncWrite, StreamExt};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_yamux::session::SessionType;
use tokio_yamux::{Config, Control, Session, StreamHandle};

pub struct TokioYamux;

pub struct Theirs {
    control: Control,
    accepted: Mutex<mpsc::UnboundedReceiver<StreamHandle>>,
    _driver: Driver,
}

impl Muxer for TokioYamux {
    type End = Theirs;

    fn pair(client: TcpStream, server: TcpStream, streams: usize) -> (Theirs, Theirs) {
        (Theirs::new(client, SessionType::Client, streams), Theirs::new(server, SessionType::Server, streams))
    }
}

impl Theirs {
    fn new(socket: TcpStream, mode: SessionType, streams: usize) -> Self {
        let mut config = Config::default();
        config.max_stream_count = config.max_stream_count.max(streams);
        let mut session = Session::new(socket, config, mode);
        let control = session.control();
        let (streams, accepted) = mpsc::unbounded();
        let driver = Driver::spawn(async move {
            while let Some(Ok(stream)) = session.next().await {
                let _ = streams.unbounded_send(stream);
            }
        });
        Self { control, accepted: Mutex::new(accepted), _driver: driver }
    }
}

impl End for Theirs {
    type Stream = Stream;

    async fn open(&self) -> Stream {
        Stream(self.control.clone().open_stream().await.expect("opens").compat())
    }

    async fn accept(&self) -> Stream {
        Stream(self.accepted.lock().await.next().await.expect("the driver runs").compat())
    }
}

/// A stream takes in credit when it is read, so a write that waits for credit peeks.
pub struct Stream(Compat<StreamHandle>);

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Poll::Ready(written) = Pin::new(&mut self.0).poll_write(cx, buf) {
                return Poll::Ready(written);
            }
            let stream = self.0.get_mut();
            let _ = stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]));
            if stream.send_window() == 0 {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
