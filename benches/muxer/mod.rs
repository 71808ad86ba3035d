//! What a workload needs of a muxer, and who has it: this crate, the other two of Rust, and plain TCP. The benches `peers` and
//! `wan` drive the same ones.

#![allow(dead_code, unused_imports, reason = "each bench uses its part")]

mod rust_yamux;
mod sluicegate;
mod tcp;
mod tokio_yamux;

pub use self::rust_yamux::RustYamux;
pub use self::sluicegate::{Mode, Sluicegate, Unpaced, without_pacing};
pub use self::tcp::Tcp;
pub use self::tokio_yamux::TokioYamux;

use futures::{AsyncRead, AsyncWrite};
use std::future::Future;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One end of a connection; a task drives it for as long as this lives.
pub trait End: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn open(&self) -> impl Future<Output = Self::Stream> + Send;

    /// The next stream of the peer. One caller at a time.
    fn accept(&self) -> impl Future<Output = Self::Stream> + Send;

    /// Says that a stream goes before the others, where there are means.
    fn hurry(_: &Self::Stream) {}

    /// Says that a stream goes behind the others, where there are means.
    fn defer(_: &Self::Stream) {}

    /// Makes the receive window as large as what is about to arrive, where the API can.
    fn grow_receive_window(_: &Self::Stream, _: usize) {}
}

/// How a muxer's ends come to be.
pub trait Muxer {
    type End: End;

    /// One end over a connected socket, with all settings as they are by default but for what is needed.
    fn end(socket: TcpStream, mode: Mode, needs: Needs) -> Self::End;

    /// Both ends of a connection.
    fn pair(client: TcpStream, server: TcpStream, needs: Needs) -> (Self::End, Self::End) {
        (Self::end(client, Mode::Client, needs), Self::end(server, Mode::Server, needs))
    }
}

/// What settings have to allow.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// How many streams there are at a time.
    pub streams: usize,
    /// How far windows grow, in bytes, where they grow and where that is limited for each of them.
    pub window: Option<u32>,
}

impl Needs {
    pub const fn streams(streams: usize) -> Self {
        Self { streams, window: None }
    }
}

/// A task that ends with its owner.
pub struct Driver(JoinHandle<()>);

impl Driver {
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection over loopback, with `TCP_NODELAY`.
pub async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, far) = (near.expect("connects"), far.expect("accepts").0);
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    (near, far)
}

/// Two ends over a connection of their own.
pub async fn pair<M: Muxer>(streams: usize) -> (M::End, M::End) {
    let (client, server) = sockets().await;
    M::pair(client, server, Needs::streams(streams))
}
