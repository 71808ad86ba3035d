//! Hostile peers, which encode their frames by hand and ignore the rules of the protocol.

use crate::tally::Tally;
use asynchronous_codec::FramedRead;
use futures::{FutureExt, StreamExt};
use sluicegate::wire::{Codec, Flags, Frame, HEADER_LEN, Header, PingKind, StreamId};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// The first window of a stream, which yamux fixes.
const FIRST_WINDOW: u32 = 256 * 1024;
/// Bytes made and sent at once.
const BATCH: usize = 64 * 1024;
/// Pause before a hostile peer connects again.
const PAUSE: Duration = Duration::from_millis(100);

/// The attack of a hostile peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Opens streams without end, keeps those that are accepted, and never reads.
    Hoard,
    /// Fills every window it gets with frames of one byte, and gives no credit for the answers. After a while it ends the
    /// connection without a go-away, and connects again.
    Crumbs,
    /// Holds a few streams for a while, then opens and resets others as fast as it can.
    Resets,
    /// Holds as many streams as it gets for a while, then pings as fast as it can, and never reads.
    Pings,
}

impl Attack {
    pub(crate) const ALL: [Self; 4] = [Self::Hoard, Self::Crumbs, Self::Resets, Self::Pings];

    async fn carry_out(self, socket: TcpStream) -> io::Result<()> {
        match self {
            Self::Hoard => hoard(socket).await.map(|never| match never {}),
            Self::Crumbs => crumbs(socket).await,
            Self::Resets => resets(socket).await.map(|never| match never {}),
            Self::Pings => pings(socket).await.map(|never| match never {}),
        }
    }
}

/// Attacks, and connects again whenever its connection is ended.
pub(crate) async fn run(attack: Attack, node: SocketAddr, tally: Arc<Tally>) {
    loop {
        if let Ok(socket) = TcpStream::connect(node).await {
            tally.attacked();
            // The node reports how the connection ended.
            let _ = attack.carry_out(socket).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Not all at once: the node would end the connection for a flood before much is held.
async fn hoard(mut socket: TcpStream) -> io::Result<Infallible> {
    const AT_ONCE: usize = 1000;
    let mut ids = ids();
    loop {
        let opened: Vec<u8> = ids.by_ref().take(AT_ONCE).flat_map(|id| open(id).encode()).collect();
        socket.write_all(&opened).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn crumbs(socket: TcpStream) -> io::Result<()> {
    const STREAMS: usize = 64;
    const STAY: Duration = Duration::from_secs(2);
    let (read, mut write) = tokio::io::split(socket);
    let mut frames = FramedRead::new(read.compat(), Codec::default());
    let opened: Vec<u8> = ids().take(STREAMS).flat_map(|id| open(id).encode()).collect();
    write.write_all(&opened).await?;
    let mut credit = BTreeMap::new();
    loop {
        let frame = if credit.is_empty() {
            let Ok(frame) = tokio::time::timeout(STAY, frames.next()).await else { return Ok(()) };
            frame
        } else if let Some(frame) = frames.next().now_or_never() {
            frame
        } else {
            write.write_all(&use_up(&mut credit)).await?;
            continue;
        };
        match frame {
            Some(Ok(Frame::Header(header))) => learn(&mut credit, header),
            Some(Ok(Frame::Body(_))) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// Credit that the node has granted.
fn learn(credit: &mut BTreeMap<StreamId, u32>, header: Header) {
    match header {
        Header::WindowUpdate { id, flags, .. } if flags.contains(Flags::RST) => {
            credit.remove(&id);
        }
        Header::WindowUpdate { id, flags, value } => {
            let first = if flags.contains(Flags::ACK) { FIRST_WINDOW } else { 0 };
            *credit.entry(id).or_default() += first + value;
        }
        Header::Data { .. } | Header::Ping { .. } | Header::GoAway { .. } => {}
    }
}

/// A batch of frames of one byte, as many for each stream as it has credit for.
fn use_up(credit: &mut BTreeMap<StreamId, u32>) -> Vec<u8> {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(mut stream) = credit.first_entry().filter(|_| batch.len() < BATCH) {
        batch.extend(Header::Data { id: *stream.key(), flags: Flags::NONE, len: 1 }.encode());
        batch.push(0x2E);
        *stream.get_mut() -= 1;
        if *stream.get() == 0 {
            stream.remove();
        }
    }
    batch
}

/// Opens streams, and occupies their memory for a while.
async fn hold(socket: &mut TcpStream, ids: impl Iterator<Item = StreamId>) -> io::Result<()> {
    let opened: Vec<u8> = ids.flat_map(|id| open(id).encode()).collect();
    socket.write_all(&opened).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn resets(mut socket: TcpStream) -> io::Result<Infallible> {
    let mut ids = ids();
    // Fewer than it could open: a refused stream cannot be reset.
    hold(&mut socket, ids.by_ref().take(4)).await?;
    loop {
        let reset = |id| Header::WindowUpdate { id, flags: Flags::RST, value: 0 };
        let pairs = ids.by_ref().take(BATCH / (2 * HEADER_LEN));
        let batch: Vec<u8> = pairs.flat_map(|id| [open(id), reset(id)]).flat_map(Header::encode).collect();
        socket.write_all(&batch).await?;
    }
}

async fn pings(mut socket: TcpStream) -> io::Result<Infallible> {
    hold(&mut socket, ids().take(64)).await?;
    let ping = |nonce| Header::Ping { kind: PingKind::Request, nonce };
    let batch: Vec<u8> = (0..(BATCH / HEADER_LEN) as u32).flat_map(|nonce| ping(nonce).encode()).collect();
    loop {
        socket.write_all(&batch).await?;
    }
}

/// The ids of a client's streams, from the first again at the end.
fn ids() -> impl Iterator<Item = StreamId> {
    (1..u32::MAX).step_by(2).filter_map(StreamId::new).cycle()
}

fn open(id: StreamId) -> Header {
    Header::WindowUpdate { id, flags: Flags::SYN, value: 0 }
}
