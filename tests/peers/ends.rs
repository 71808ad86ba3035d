//! The two ends of a connection: this crate, and another implementation behind the same trait.

use crate::support::Transport;
use crate::support::node::Node;
use async_trait::async_trait;
use futures::channel::{mpsc, oneshot};
use futures::lock::Mutex;
use futures::{AsyncRead, AsyncWrite, StreamExt};
use sluicegate::{Config, Mode, Stream};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::task::JoinHandle;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

pub type Io = Box<dyn Transport>;
pub type BoxStream = Box<dyn Transport>;

/// One end of a connection. It is driven by a task of its own.
#[async_trait]
pub trait End: Send + Sync {
    async fn open(&self) -> BoxStream;

    async fn accept(&self) -> BoxStream;

    /// Closes the connection in good order.
    async fn close(self: Box<Self>);

    /// Drops the connection and its transport, without a word to the other end.
    async fn abort(self: Box<Self>);
}

/// An implementation to talk to, and what its API offers to a test.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub name: &'static str,
    pub start: fn(Io, Mode, Window) -> Box<dyn End>,
    /// Whether a stream that carries nothing but its end is offered by its API.
    pub empty_streams: bool,
    /// Whether closing its session waits for what its streams have queued.
    pub close_keeps_queue: bool,
    /// How its reader learns of a reset; `None` where that is not offered by its API.
    pub reset_read: Option<io::ErrorKind>,
    /// How its writer learns of a reset.
    pub reset_write: io::ErrorKind,
}

/// The receive windows of a peer.
#[derive(Clone, Copy, Debug)]
pub enum Window {
    /// 256 KiB, as yamux starts.
    Initial,
    /// More than that, from the start or by growth, as the peer has it.
    Large,
}

pub const RUST_YAMUX: Peer = Peer {
    name: "rust-yamux",
    start: RustYamux::start,
    empty_streams: false,
    close_keeps_queue: true,
    reset_read: None,
    reset_write: io::ErrorKind::WriteZero,
};

pub const TOKIO_YAMUX: Peer = Peer {
    name: "tokio-yamux",
    start: TokioYamux::start,
    empty_streams: true,
    close_keeps_queue: false,
    reset_read: Some(io::ErrorKind::ConnectionReset),
    reset_write: io::ErrorKind::BrokenPipe,
};

/// This crate.
pub struct Ours {
    pub node: Node<Io>,
}

impl Ours {
    pub fn start(io: Io, mode: Mode, config: Config) -> Self {
        Self { node: Node::new(io, config, mode) }
    }

    /// A stream as itself.
    pub async fn open_stream(&self) -> Stream {
        self.node.open().await.expect("opens")
    }

    pub async fn accept_stream(&self) -> Stream {
        self.node.accept().await.expect("accepts")
    }
}

#[async_trait]
impl End for Ours {
    async fn open(&self) -> BoxStream {
        Box::new(self.open_stream().await)
    }

    async fn accept(&self) -> BoxStream {
        Box::new(self.accept_stream().await)
    }

    async fn close(self: Box<Self>) {
        self.node.close().await.expect("closes in good order");
    }

    async fn abort(self: Box<Self>) {
        abort(self.node.task).await;
    }
}

async fn abort<T>(task: JoinHandle<T>) {
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()), "the connection had ended before");
}

/// The crate `yamux`.
struct RustYamux {
    commands: mpsc::UnboundedSender<Command>,
    accepted: Mutex<mpsc::UnboundedReceiver<yamux::Stream>>,
    task: JoinHandle<()>,
}

enum Command {
    Open(oneshot::Sender<yamux::Stream>),
    Close,
}

impl RustYamux {
    /// Its windows grow by themselves with the round-trip time.
    fn start(io: Io, mode: Mode, _: Window) -> Box<dyn End> {
        let mode = match mode {
            Mode::Client => yamux::Mode::Client,
            Mode::Server => yamux::Mode::Server,
        };
        let connection = yamux::Connection::new(io, yamux::Config::default(), mode);
        let ((commands, received), (streams, accepted)) = (mpsc::unbounded(), mpsc::unbounded());
        let task = tokio::spawn(Self::drive(connection, received, streams));
        Box::new(Self { commands, accepted: Mutex::new(accepted), task })
    }

    async fn drive(
        mut connection: yamux::Connection<Io>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        accepted: mpsc::UnboundedSender<yamux::Stream>,
    ) {
        let (mut opens, mut closing) = (VecDeque::new(), false);
        poll_fn(|cx| {
            while let Poll::Ready(Some(command)) = commands.poll_next_unpin(cx) {
                match command {
                    Command::Open(answer) => opens.push_back(answer),
                    Command::Close => closing = true,
                }
            }
            if closing {
                return connection.poll_close(cx).map(|closed| closed.expect("closes"));
            }
            while !opens.is_empty() {
                let Poll::Ready(opened) = connection.poll_new_outbound(cx) else { break };
                let answer: Option<oneshot::Sender<_>> = opens.pop_front();
                answer.map(|answer| answer.send(opened.expect("opens")));
            }
            while let Poll::Ready(next) = connection.poll_next_inbound(cx) {
                let Some(Ok(stream)) = next else { return Poll::Ready(()) };
                let _ = accepted.unbounded_send(stream);
            }
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl End for RustYamux {
    async fn open(&self) -> BoxStream {
        let (answer, opened) = oneshot::channel();
        self.commands.unbounded_send(Command::Open(answer)).expect("the connection lives");
        Box::new(opened.await.expect("opens"))
    }

    async fn accept(&self) -> BoxStream {
        Box::new(self.accepted.lock().await.next().await.expect("the connection lives"))
    }

    async fn close(self: Box<Self>) {
        self.commands.unbounded_send(Command::Close).expect("the connection lives");
        self.task.await.expect("closes");
    }

    async fn abort(self: Box<Self>) {
        abort(self.task).await;
    }
}

/// The crate `tokio-yamux`.
struct TokioYamux {
    control: tokio_yamux::Control,
    accepted: Mutex<mpsc::UnboundedReceiver<tokio_yamux::StreamHandle>>,
    task: JoinHandle<()>,
}

impl TokioYamux {
    /// Its windows are a setting.
    fn start(io: Io, mode: Mode, window: Window) -> Box<dyn End> {
        let mut config = tokio_yamux::Config::default();
        if let Window::Large = window {
            config.max_stream_window_size = 1 << 20;
        }
        let mode = match mode {
            Mode::Client => tokio_yamux::session::SessionType::Client,
            Mode::Server => tokio_yamux::session::SessionType::Server,
        };
        let mut session = tokio_yamux::Session::new(io.compat(), config, mode);
        let control = session.control();
        let (streams, accepted) = mpsc::unbounded();
        let task = tokio::spawn(async move {
            while let Some(Ok(stream)) = session.next().await {
                let _ = streams.unbounded_send(stream);
            }
        });
        Box::new(Self { control, accepted: Mutex::new(accepted), task })
    }
}

#[async_trait]
impl End for TokioYamux {
    async fn open(&self) -> BoxStream {
        Box::new(TokioStream(self.control.clone().open_stream().await.expect("opens").compat()))
    }

    async fn accept(&self) -> BoxStream {
        let stream = self.accepted.lock().await.next().await.expect("the connection lives");
        Box::new(TokioStream(stream.compat()))
    }

    async fn close(self: Box<Self>) {
        self.control.clone().close().await;
        self.task.await.expect("closes");
    }

    async fn abort(self: Box<Self>) {
        abort(self.task).await;
    }
}

/// A stream of `tokio-yamux`. It takes in credit when it is read, so a write that waits for credit peeks.
struct TokioStream(Compat<tokio_yamux::StreamHandle>);

impl AsyncRead for TokioStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TokioStream {
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
