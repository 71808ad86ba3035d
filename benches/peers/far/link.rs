//! The link: a relay between two sockets that lets bytes through at a rate, late, behind a queue.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What the kernel may keep of what the relay has not read yet, in bytes: small beside the queue.
const KERNEL: u32 = 256 * 1024;

const PIECE: usize = 32 * 1024;

/// What a link is like, the same both ways.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub bytes_per_second: u64,
    pub round_trip: Duration,
    /// How much may wait in front of it, as time.
    pub queue: Duration,
}

impl Link {
    pub const FAR: Self = Self {
        bytes_per_second: 125_000_000,
        round_trip: Duration::from_millis(100),
        queue: Duration::from_millis(25),
    };

    fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

/// Starts a relay for one connection to `target`, on a thread of its own, which ends with that connection. Says where
/// it listens.
pub async fn relay(link: Link, target: SocketAddr) -> SocketAddr {
    let (bound, address) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listening = socket();
            listening.bind(([127, 0, 0, 1], 0).into()).expect("a port");
            let listener = listening.listen(1).expect("listens");
            bound.send(listener.local_addr().expect("bound")).expect("somebody waits");
            let near = listener.accept().await.expect("accepts").0;
            let far = socket().connect(target).await.expect("connects");
            connected(link, near, far).await;
        });
    });
    address.await.expect("the relay runs")
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(KERNEL).expect("a size");
    socket
}

async fn connected(link: Link, near: TcpStream, far: TcpStream) {
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::join!(direction(link, near_in, far_out), direction(link, far_in, near_out));
}

/// Takes bytes while the queue has room, and gives them out when they have crossed.
fn direction(link: Link, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> impl Future<Output = ()> {
    let (leaving, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let taking = tokio::spawn(async move {
        // When the last byte that was taken has been put on the line.
        let mut sent = Instant::now();
        let mut buffer = vec![0; PIECE];
        loop {
            let waits = sent.saturating_duration_since(Instant::now());
            if waits > link.queue {
                tokio::time::sleep(waits - link.queue).await;
            }
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            sent = sent.max(Instant::now()) + link.time_of(read);
            if leaving.send((sent + link.round_trip / 2, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    async move {
        while let Some((at, bytes)) = arriving.recv().await {
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
        taking.abort();
    }
}
