//! What a stream in full flow asks of the allocator, on the end that sends and on the end that receives.

#![allow(unreachable_pub, reason = "a test binary has no users")]

use allocation_counter::{AllocationInfo, measure};
use futures::{AsyncRead, AsyncWrite};
use sluicegate::{Config, Connection, Mode, Stream};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Bytes that a direction of the transport holds: as many as one read of the receiver takes.
const HOLDS: usize = 64 * 1024;

/// One end of a transport that allocates nothing once it is there.
struct Ring {
    to: Arc<Mutex<VecDeque<u8>>>,
    from: Arc<Mutex<VecDeque<u8>>>,
}

fn rings() -> (Ring, Ring) {
    let [here, there] = [(); 2].map(|()| Arc::new(Mutex::new(VecDeque::with_capacity(HOLDS))));
    (Ring { to: here.clone(), from: there.clone() }, Ring { to: there, from: here })
}

impl AsyncRead for Ring {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // It is polled again in any case.
        match io::Read::read(&mut *self.from.lock().expect("not poisoned"), buf)? {
            0 => Poll::Pending,
            read => Poll::Ready(Ok(read)),
        }
    }
}

impl AsyncWrite for Ring {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (mut to, mut written) = (self.to.lock().expect("not poisoned"), 0);
        for buf in bufs {
            let room = (HOLDS - to.len()).min(buf.len());
            to.extend(&buf[..room]);
            written += room;
        }
        if written > 0 { Poll::Ready(Ok(written)) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Two ends, and streams between them.
struct Pair {
    client: Connection<Ring>,
    server: Connection<Ring>,
    writers: Vec<Stream>,
    readers: Vec<Stream>,
    write: Vec<u8>,
    read: Vec<u8>,
}

impl Pair {
    fn new(streams: usize, write: usize) -> Self {
        let (near, far) = rings();
        let client = Connection::new(near, Config::default(), Mode::Client);
        let server = Connection::new(far, Config::default(), Mode::Server);
        let (write, read) = (vec![7; write], vec![0; 64 * 1024]);
        let mut pair = Self { client, server, writers: Vec::new(), readers: Vec::new(), write, read };
        (0..streams).for_each(|_| pair.open());
        assert_eq!(pair.receive(), streams);
        pair
    }

    fn open(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(mut writer)) = self.client.poll_outbound(cx) else { panic!("it does not open") };
        assert!(matches!(Pin::new(&mut writer).poll_write(cx, &[0]), Poll::Ready(Ok(1))));
        self.writers.push(writer);
        self.readers.push(loop {
            assert!(self.client.poll(cx).is_pending() && self.server.poll(cx).is_pending());
            if let Poll::Ready(accepted) = self.server.poll_inbound(cx) {
                break accepted.expect("accepts");
            }
        });
    }

    /// Writes on one stream after the other, until that is half of what the transport holds, and lets it leave; says how
    /// many bytes that was.
    fn send(&mut self) -> usize {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut sent = 0;
        while sent < HOLDS / 2 {
            let before = sent;
            for writer in &mut self.writers {
                let Poll::Ready(written) = Pin::new(writer).poll_write(cx, &self.write) else { break };
                sent += written.expect("writes");
            }
            if sent == before {
                break;
            }
        }
        assert!(sent > 0, "nothing is taken any more");
        assert!(self.client.poll(cx).is_pending());
        sent
    }

    /// Takes in what has come, and reads all of it.
    fn receive(&mut self) -> usize {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut received = 0;
        assert!(self.server.poll(cx).is_pending());
        for reader in &mut self.readers {
            while let Poll::Ready(read) = Pin::new(&mut *reader).poll_read(cx, &mut self.read) {
                received += read.expect("reads");
            }
        }
        // The credit leaves.
        assert!(self.server.poll(cx).is_pending());
        received
    }

    /// `bytes` from end to end; says what the ends have allocated.
    fn transfer(&mut self, bytes: usize) -> (AllocationInfo, AllocationInfo) {
        let (mut sending, mut receiving) = (AllocationInfo::default(), AllocationInfo::default());
        let (mut sent, mut received) = (0, 0);
        while sent < bytes {
            sending += measure(|| sent += self.send());
            receiving += measure(|| received += self.receive());
        }
        assert_eq!(received, sent);
        (sending, receiving)
    }
}

/// In full flow sending allocates nothing, and receiving at most once for each 64 KiB.
fn flows_without_allocating(streams: usize, write: usize) {
    const BYTES: usize = 16 << 20;
    let mut pair = Pair::new(streams, write);
    pair.transfer(BYTES);
    let (sending, receiving) = pair.transfer(BYTES);
    println!("{streams} streams, {write}: sending {sending:?}, receiving {receiving:?}");
    assert_eq!(sending.count_total, 0, "allocations of the end that sends");
    assert!(receiving.count_total <= (BYTES / (64 << 10)) as u64, "{} by the end that receives", receiving.count_total);
}

#[test]
fn bulk_flows_without_allocating() {
    flows_without_allocating(1, 64 * 1024);
}

#[test]
fn small_writes_flow_without_allocating() {
    flows_without_allocating(1, 512);
}

#[test]
fn tiny_writes_flow_without_allocating() {
    flows_without_allocating(1, 64);
}

#[test]
fn messages_of_many_streams_flow_without_allocating() {
    flows_without_allocating(48, 1024);
}

/// What giving up `kept` frees.
fn freed_by<T>(kept: T) -> usize {
    let freed = measure(|| drop(kept)).bytes_current;
    usize::try_from(-freed).expect("it frees memory")
}

#[test]
fn a_piece_that_is_kept_holds_at_most_8_kib() {
    let cx = &mut Context::from_waker(Waker::noop());
    // A long transfer, and messages that are read as they come, of which one byte each is kept.
    for (message, least, most) in [(64 * 1024, 8 * 1024, 8 * 1024), (1, 512, 512), (1500, 2048, 2048)] {
        let mut pair = Pair::new(1, message);
        pair.transfer(1 << 20);
        let (mut kept, mut sent) = (Vec::with_capacity(1024), 0);
        while sent < 16 * message {
            let Poll::Ready(written) = Pin::new(&mut pair.writers[0]).poll_write(cx, &pair.write) else {
                panic!("nothing is taken any more")
            };
            sent += written.expect("writes");
            assert!(pair.client.poll(cx).is_pending() && pair.server.poll(cx).is_pending());
            let mut pieces = Vec::new();
            while let Poll::Ready(piece) = pair.readers[0].poll_read_bytes(cx) {
                pieces.push(piece.expect("reads").expect("not the end"));
            }
            kept.extend(pieces.iter().map(|piece| piece.slice(piece.len() - 1..)));
            assert!(pair.server.poll(cx).is_pending() && pair.client.poll(cx).is_pending());
        }
        let (pieces, storage) = (kept.len(), kept.capacity() * size_of::<bytes::Bytes>());
        let each = (freed_by(kept) - storage) / pieces;
        println!("messages of {message} bytes: {pieces} pieces of one byte hold {each} bytes each");
        // Beside it there is the count of those who hold a part of it.
        assert!((least..=most + 64).contains(&each), "{each} bytes each");
    }
}
