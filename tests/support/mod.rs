//! What the integration tests share: a connection driven by a task, and a peer driven by hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod clock;
pub mod ending;
pub mod far;
pub mod line;
pub mod manager;
pub mod node;
pub mod outcome;
pub mod pair;
pub mod pattern;
pub mod peer;
pub mod stage;
pub mod tricky;
#[cfg(feature = "libp2p")]
pub mod whole;

use futures::{AsyncRead, AsyncWrite};
use sluicegate::{Config, ConfigBuilder};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Any transport.
pub type Io = Box<dyn Transport>;

/// A transport in memory.
pub type Pipe = Compat<tokio::io::DuplexStream>;

/// Two ends of a transport that holds `capacity` bytes each way.
pub fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let (near, far) = tokio::io::duplex(capacity);
    (near.compat(), far.compat())
}

/// Two ends of a TCP connection on loopback.
pub async fn tcp() -> (Compat<tokio::net::TcpStream>, Compat<tokio::net::TcpStream>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    let (near, far) = (near.expect("connects"), far.expect("accepts").0);
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    (near.compat(), far.compat())
}

/// Runs a test; one that hangs fails.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    limited(&runtime.expect("a runtime"), Box::pin(test))
}

/// The same on two threads.
pub fn run_threaded<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    limited(&runtime.expect("a runtime"), Box::pin(test))
}

/// Every test is a type of its own. In a box it is not, so that the runtime is compiled once for a binary and not once for each
/// of its hundreds of tests.
fn limited<T>(runtime: &Runtime, test: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    runtime.block_on(within(test))
}

/// What `future` gives; it must not take longer than a machine under load ever needs.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("the test hangs")
}

/// Settings under which only what a test does is on the wire, but for the first ping.
pub fn quiet() -> ConfigBuilder {
    Config::builder().keep_alive_interval(None)
}

pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}
