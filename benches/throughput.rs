//! Throughput of one stream over loopback TCP, this crate beside rust-yamux in one process.
//!
//! `cargo bench --bench throughput`, with `-- --rounds N --mib N` for other than the usual size. Rounds are interleaved
//! and the medians are compared: on a machine that others use too, only ratios mean something. Every round checks what
//! arrived, so a fast wrong answer fails.

use clap::Parser;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Parser)]
struct Options {
    /// Rounds of each muxer; the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// MiB moved in a round of 64 KiB writes; a round of 512-byte writes moves an eighth of it.
    #[arg(long, default_value_t = 512)]
    mib: usize,
    /// What `cargo bench` passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The socket that libp2p's TCP transport uses.
type Socket = libp2p::tcp::tokio::TcpStream;

#[derive(Clone, Copy, Debug)]
enum Muxer {
    Sluicegate,
    RustYamux,
}

struct Workload {
    name: &'static str,
    write: usize,
    bytes: usize,
}

fn main() {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let bytes = options.mib << 20;
    let workloads = [
        Workload { name: "64 KiB writes", write: 64 * 1024, bytes },
        Workload { name: "512 B writes", write: 512, bytes: bytes / 8 },
    ];
    println!("| workload | sluicegate MB/s | rust-yamux MB/s | ratio (min..max of rounds) |");
    println!("| --- | --- | --- | --- |");
    for workload in workloads {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=options.rounds {
            for (muxer, rates) in [Muxer::Sluicegate, Muxer::RustYamux].into_iter().zip(&mut rates) {
                let time = runtime.block_on(transfer(muxer, workload.write, workload.bytes));
                // The first round warms up.
                if round > 0 {
                    rates.push(workload.bytes as f64 / time.as_secs_f64() / 1e6);
                }
            }
        }
        let ratios = rates[0].iter().zip(&rates[1]).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>();
        let (low, high) = (ratios.iter().copied().fold(f64::MAX, f64::min), ratios.iter().copied().fold(0.0, f64::max));
        let [ours, theirs] = rates.map(median);
        println!("| {} | {ours:.0} | {theirs:.0} | {:.2} ({low:.2}..{high:.2}) |", workload.name, median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn sockets() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, far) = (near.expect("connects"), far.expect("accepts").0);
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    (libp2p::tcp::tokio::TcpStream(near), libp2p::tcp::tokio::TcpStream(far))
}

async fn transfer(muxer: Muxer, write: usize, bytes: usize) -> Duration {
    let (near, far) = sockets().await;
    match muxer {
        Muxer::Sluicegate => sluicegate_transfer(near, far, write, bytes).await,
        Muxer::RustYamux => yamux_transfer(near, far, write, bytes).await,
    }
}

/// Writes `bytes` of a pattern, `write` at a time, and waits for the reader to finish its half.
async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, write: usize, bytes: usize) {
    let chunk: Vec<u8> = (0..write).map(|i| i as u8).collect();
    for _ in 0..bytes / write {
        stream.write_all(&chunk).await.expect("writes");
    }
    stream.close().await.expect("closes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("reads");
    assert_eq!(answer, b"done");
}

/// Reads to the end and checks the pattern and the length.
async fn receive(mut stream: impl AsyncRead + AsyncWrite + Unpin, write: usize, bytes: usize) {
    let (mut buffer, mut received) = (vec![0; 64 * 1024], 0);
    loop {
        let read = stream.read(&mut buffer).await.expect("reads");
        if read == 0 {
            break;
        }
        assert_eq!(buffer[0], ((received % write) % 256) as u8, "byte {received}");
        received += read;
        assert_eq!(buffer[read - 1], (((received - 1) % write) % 256) as u8, "byte {received}");
    }
    assert_eq!(received, bytes / write * write);
    stream.write_all(b"done").await.expect("writes");
    stream.close().await.expect("closes");
}

async fn sluicegate_transfer(near: Socket, far: Socket, write: usize, bytes: usize) -> Duration {
    use sluicegate::{Config, Connection, Mode};
    let mut client = Connection::new(near, Config::default(), Mode::Client);
    let mut server = Connection::new(far, Config::default(), Mode::Server);
    let stream = poll_fn(|cx| client.poll_outbound(cx)).await.expect("opens");
    let driver = tokio::spawn(async move { poll_fn(|cx| client.poll(cx)).await });
    let start = Instant::now();
    let receiver = tokio::spawn(async move {
        let stream = poll_fn(|cx| match server.poll(cx) {
            Poll::Ready(_) => panic!("ended"),
            Poll::Pending => server.poll_inbound(cx),
        })
        .await
        .expect("accepts");
        let driver = tokio::spawn(async move { poll_fn(|cx| server.poll(cx)).await });
        receive(stream, write, bytes).await;
        driver.abort_handle()
    });
    tokio::spawn(send(stream, write, bytes)).await.expect("sends");
    let time = start.elapsed();
    driver.abort();
    receiver.await.expect("receives").abort();
    time
}

async fn yamux_transfer(near: Socket, far: Socket, write: usize, bytes: usize) -> Duration {
    use yamux::{Config, Connection, Mode};
    let mut client = Connection::new(near, Config::default(), Mode::Client);
    let mut server = Connection::new(far, Config::default(), Mode::Server);
    let stream = poll_fn(|cx| client.poll_new_outbound(cx)).await.expect("opens");
    let driver = tokio::spawn(async move { poll_fn(|cx| client.poll_next_inbound(cx)).await.map(drop) });
    let start = Instant::now();
    let receiver = tokio::spawn(async move {
        let stream = poll_fn(|cx| server.poll_next_inbound(cx)).await.expect("accepts").expect("open");
        let driver = tokio::spawn(async move { poll_fn(|cx| server.poll_next_inbound(cx)).await.map(drop) });
        receive(stream, write, bytes).await;
        driver.abort_handle()
    });
    tokio::spawn(send(stream, write, bytes)).await.expect("sends");
    let time = start.elapsed();
    driver.abort();
    receiver.await.expect("receives").abort();
    time
}
