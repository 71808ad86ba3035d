//! The applications. Each is written as a user would, as two halves: what opens the stream, and what serves it.
//!
//! They give up at the first error; whether that error was in order is for the oracle to say.

mod bulk;
mod cancel;
mod cut;
mod early;
mod echo;
mod message;
mod opens;
mod pings;
mod priorities;
mod request;

use crate::chance::Chance;
use crate::end::End;
use crate::oracle::pattern;
use crate::watched::Watched;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use sluicegate::Priority;
use std::io;
use std::rc::Rc;

/// What an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Echo,
    /// Much data to the peer, whose reader pauses.
    Upload,
    Download,
    /// Much data both ways.
    Both,
    Request,
    /// Bytes, a close, and nothing else.
    Message,
    /// The same without the close.
    Dropped,
    /// Most of an upload is not read before it is answered.
    EarlyAnswer,
    /// The same, and the server drops without a close.
    HalfRead,
    /// The server drops the stream as it comes.
    Refused,
    /// The writer is dropped in the middle of a write, by itself or by a panic.
    CutShort,
    /// Either end resets.
    Reset,
    /// Futures are dropped at any await.
    Cancel,
    /// Streams that are opened and not used, more than wait for the peer at once.
    Unused,
    /// Thousands of streams at once.
    Burst,
    Pings,
    /// Pings and opens that are asked for and not polled any more, while others ask.
    Kept,
    /// Small messages of low priority beside urgent bulk.
    Low,
    /// Small urgent messages beside bulk.
    Urgent,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub kind: Kind,
    /// Bytes that its opener means to send.
    pub there: u64,
    /// Bytes that are to come back.
    pub back: u64,
    pub priority: Option<Priority>,
}

impl Plan {
    pub fn new(kind: Kind, there: u64, back: u64) -> Self {
        Self { kind, there, back, priority: None }
    }
}

/// The half that opens streams.
pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    match kind {
        Kind::Echo => echo::run(end, chance).await,
        Kind::Upload | Kind::Download | Kind::Both => bulk::run(kind, end, chance).await,
        Kind::Request => request::run(end, chance).await,
        Kind::Message | Kind::Dropped => message::run(kind, end, chance).await,
        Kind::EarlyAnswer | Kind::HalfRead | Kind::Refused => early::run(kind, end, chance).await,
        Kind::CutShort | Kind::Reset => cut::run(kind, end, chance).await,
        Kind::Cancel => cancel::run(end, chance).await,
        Kind::Unused | Kind::Burst => opens::run(kind, end, chance).await,
        Kind::Pings => pings::run(end, chance).await,
        Kind::Kept => pings::keep(end, chance).await,
        Kind::Low | Kind::Urgent => priorities::run(kind, end, chance).await,
    }
}

/// The half that serves one.
pub async fn serve(plan: Plan, stream: Watched, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    if let Some(priority) = plan.priority {
        stream.stream().set_priority(priority);
    }
    match plan.kind {
        Kind::Echo | Kind::Cancel | Kind::Burst | Kind::Unused => echo::serve(stream, end).await,
        Kind::Upload | Kind::Download | Kind::Both => bulk::serve(plan, stream, end, chance).await,
        Kind::Request | Kind::Urgent => request::serve(plan, stream, end, chance).await,
        Kind::Message | Kind::Dropped | Kind::Low => message::serve(stream, end, chance).await,
        Kind::EarlyAnswer | Kind::HalfRead | Kind::Refused => early::serve(plan, stream, end, chance).await,
        Kind::CutShort | Kind::Reset => cut::serve(plan, stream, end, chance).await,
        Kind::Pings | Kind::Kept => unreachable!("they open none"),
    }
}

/// Writes the bytes of the stream's pattern from `from` up to `to`.
async fn put<W: AsyncWrite + Unpin>(
    io: &mut W,
    id: u32,
    (from, to): (u64, u64),
    end: &End,
    chance: &mut Chance,
) -> io::Result<()> {
    let most = chance.pick(&[1, 100, 4_096, 20_000, 200_000, 200_000]).max((to - from) / 200 + 1);
    let mut at = from;
    while at < to {
        let len = (chance.below(most) + 1).min(to - at);
        let bytes: Vec<u8> = (at..at + len).map(|index| pattern(id, index)).collect();
        end.world.op("a write", io.write_all(&bytes)).await?;
        at += len;
        if chance.of(20) {
            end.world.op("a flush", io.flush()).await?;
        }
    }
    Ok(())
}

/// Reads to the end of file.
async fn drain<R: AsyncRead + Unpin>(io: &mut R, end: &End, chance: &mut Chance) -> io::Result<()> {
    let most = chance.pick(&[1_000, 16_384, 16_384, 300_000]);
    let pauses = chance.pick(&[0, 0, 0, 5, 30]);
    // All together they take seconds.
    let mut patience = 60_u64;
    let mut buffer = vec![0; most];
    loop {
        let len = if chance.of(3) { chance.below(most as u64) as usize + 1 } else { most };
        if end.world.op("a read", io.read(&mut buffer[..len])).await? == 0 {
            return Ok(());
        }
        if pauses > 0 && patience > 0 && chance.of(pauses) {
            patience -= 1;
            let longest = chance.pick(&[1, 100, 100, 2_000]);
            end.world.sleep(chance.millis(longest)).await;
        }
    }
}

async fn close<W: AsyncWrite + Unpin>(io: &mut W, end: &End) -> io::Result<()> {
    end.world.op("the close of its stream", io.close()).await
}
