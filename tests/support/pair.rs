//! What the acceptance tests of the API share: pairs of nodes, patterned bytes, and transports that can be held up.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use crate::support::far::far;
use crate::support::node::Node;
use crate::support::{Pipe, Transport, pipe, quiet};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use sluicegate::{Config, ConnectionError, Mode, Session, Stream};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The window with which every stream starts.
pub const WINDOW: usize = super::outcome::WINDOW as usize;

pub fn default() -> Config {
    quiet().build().expect("valid")
}

/// A client and a server over a transport in memory.
pub fn pair(client: Config, server: Config, capacity: usize) -> (Node<Pipe>, Node<Pipe>) {
    let (near, far) = pipe(capacity);
    (Node::client(near, client), Node::server(far, server))
}

/// The result of a session's driver.
pub type Driven = JoinHandle<Result<(), ConnectionError>>;

/// A session whose driver is a task.
pub fn session(io: impl Transport, config: Config, mode: Mode) -> (Session, Driven) {
    let (session, driver) = Session::new(io, config, mode);
    (session, tokio::spawn(driver))
}

/// The two ends of a stream that `from` opens.
pub async fn stream<A: Transport, B: Transport>(from: &Node<A>, to: &Node<B>) -> (Stream, Stream) {
    let mut near = from.open().await.expect("opens");
    near.flush().await.expect("announces itself");
    (near, to.accept().await.expect("is accepted"))
}

/// Both ends have handled everything that the other one sent before.
pub async fn settle<A: Transport, B: Transport>(near: &Node<A>, far: &Node<B>) {
    near.ping().await.expect("the peer answers");
    far.ping().await.expect("the peer answers");
}

/// Bytes in which a lost, doubled or moved piece shows.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16) ^ seed.wrapping_mul(167)) as u8).collect()
}

/// Writes everything, finishes, and reads to the end at the same time.
pub async fn exchange(stream: Stream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(bytes).await?;
        writer.close().await
    };
    let mut read = Vec::new();
    futures::try_join!(write, reader.read_to_end(&mut read))?;
    Ok(read)
}

/// Writes everything at one end and finishes; all of it is read at the other end, and then the end of the stream.
pub async fn deliver(from: &mut Stream, to: &mut Stream, bytes: &[u8]) {
    let write = async {
        from.write_all(bytes).await.expect("writes");
        from.close().await.expect("finishes");
    };
    let mut received = Vec::new();
    let (read, ()) = futures::join!(to.read_to_end(&mut received), write);
    read.expect("reads to the end");
    assert!(received == bytes);
}

/// Sends back what comes, then finishes.
pub async fn echo(stream: Stream) -> io::Result<u64> {
    let (reader, mut writer) = stream.split();
    let copied = futures::io::copy(futures::io::BufReader::new(reader), &mut writer).await?;
    writer.close().await?;
    Ok(copied)
}

/// A waker that counts.
#[derive(Default)]
pub struct Counter(AtomicUsize);

impl Counter {
    pub fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (counter.clone(), counter.into())
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A transport whose writes can be held up and spoiled.
pub struct Gated<T> {
    io: T,
    gate: Gate,
}

/// The handle of a [`Gated`] transport.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    shut: bool,
    spoilt: bool,
    waiting: Option<Waker>,
}

impl Gate {
    pub fn around<T>(io: T) -> (Gated<T>, Self) {
        let gate = Self::default();
        (Gated { io, gate: gate.clone() }, gate)
    }

    /// No write goes through from here on.
    pub fn shut(&self) {
        self.0.lock().unwrap().shut = true;
    }

    pub fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.shut = false;
        let waiting = state.waiting.take();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// What is written from here on begins with a version that there is not.
    pub fn spoil(&self) {
        self.0.lock().unwrap().spoilt = true;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gated<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gated<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.gate.0.lock().unwrap();
        if state.shut {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let spoilt = state.spoilt;
        drop(state);
        if spoilt {
            let mut spoilt = buf.to_vec();
            spoilt[0] = 9;
            return Pin::new(&mut self.io).poll_write(cx, &spoilt);
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Two ends of a transport on which every byte takes `delay` in either direction.
pub fn slow(delay: Duration) -> (Pipe, Pipe) {
    let (here, there) = pipe(1 << 20);
    (far(here, delay), there)
}
