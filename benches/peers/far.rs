//! A link of 1 Gbit/s that is 100 ms long, emulated in user space by a relay, and a large transfer on one fresh stream.

mod link;

pub use self::link::{Link, relay};

use crate::muxer::{End, Muxer, Needs};
use crate::transfer::{check, send};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

const WRITE: usize = 64 * 1024;

/// Who opens the stream on which the bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    Sender,
    /// Who opened it has said how many bytes it expects, where there are means.
    Receiver,
}

/// How far windows may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    Default,
    /// Twice what is under way on a link that is full. Credit that is returned at half of it comes just in time.
    Twice,
}

impl Windows {
    /// In bytes, where it is set.
    pub fn largest(self, link: Link) -> Option<u32> {
        let twice = 2.0 * link.bytes_per_second as f64 * link.round_trip.as_secs_f64();
        (self == Self::Twice).then_some(twice as u32)
    }
}

/// How long a connection is there before the stream is opened: round trips have been measured by then.
const WARM: Duration = Duration::from_millis(400);

/// From the first write until the last byte has been read, both ends being in this process.
pub async fn far<M: Muxer>(link: Link, opener: Opener, windows: Windows, bytes: usize) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = relay(link, listener.local_addr().expect("bound")).await;
    let (client, server) = connect(&listener, relay).await;
    let (client, server) = M::pair(client, server, Needs { streams: 1, window: windows.largest(link) });
    tokio::time::sleep(WARM).await;
    let mut near = client.open().await;
    let accepted = tokio::spawn(async move { (server.accept().await, server) });
    if opener == Opener::Receiver {
        M::End::grow_receive_window(&near, bytes);
        near.write_all(&[1]).await.expect("writes");
        near.flush().await.expect("flushes");
        let (mut far, _server) = accepted.await.expect("accepts");
        far.read_exact(&mut [0]).await.expect("reads");
        let sending = tokio::spawn(clocked(far, bytes));
        return until_read(near, bytes).await.duration_since(sending.await.expect("sends").0);
    }
    let sending = tokio::spawn(clocked(near, bytes));
    let (far, _server) = accepted.await.expect("accepts");
    let end = until_read(far, bytes).await;
    end.duration_since(sending.await.expect("sends").0)
}

/// Writes `bytes`; says when it began, and keeps the stream open.
async fn clocked<S: AsyncWrite + Unpin>(mut stream: S, bytes: usize) -> (Instant, S) {
    let start = Instant::now();
    send(&mut stream, WRITE, bytes).await;
    stream.flush().await.expect("flushes");
    (start, stream)
}

/// When the last of `bytes` has been read.
async fn until_read(mut stream: impl AsyncRead + Unpin, bytes: usize) -> Instant {
    let (mut buffer, mut received) = (vec![0; WRITE], 0);
    while received < bytes {
        let read = stream.read(&mut buffer).await.expect("reads");
        assert_ne!(read, 0, "the end after {received} bytes");
        check(&buffer[..read], received, WRITE);
        received += read;
    }
    assert_eq!(received, bytes);
    Instant::now()
}

async fn connect(listener: &TcpListener, relay: SocketAddr) -> (TcpStream, TcpStream) {
    let (near, far) = tokio::join!(TcpStream::connect(relay), listener.accept());
    let (near, far) = (near.expect("connects"), far.expect("accepts").0);
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    (near, far)
}
