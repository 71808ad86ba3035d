//! [`Stream`]: what the application reads from and writes to.
//!
//! Owns the handle of one stream and the chunks that it is reading; all other state is in the core, behind the connection's lock.
//! `read` and `write` are its halves, `deadlines` limits their waits, and `on_drop` is its end. It never does IO, which is for
//! `Connection::poll`.

mod deadlines;
mod on_drop;
mod read;
mod write;

pub use self::deadlines::Deadlines;
pub use self::on_drop::Resetter;
use self::on_drop::Usage;
#[cfg(feature = "tokio")]
pub(crate) use self::read::Got;
#[cfg(feature = "libp2p")]
use crate::error::Side;
use crate::error::StreamError;
#[cfg(feature = "libp2p")]
use crate::multistream::{Negotiation, Observed};
use crate::priority::Priority;
use crate::proto::{Chunks, Key};
use crate::shell::{LockAttempts, Shared, Timer};
use crate::stats::StreamStats;
use std::fmt;
use std::io;
use std::sync::Arc;
use web_time::Instant;

/// A stream of a connection: two independent halves.
///
/// It moves only while its connection is polled ([`Connection::poll`](crate::Connection::poll)). The halves may be used
/// from two tasks (`futures::AsyncReadExt::split`): each waits with a waker of its own. A task that comes while another
/// thread is busy with the connection is woken again at once, so that its own thread is not kept waiting: what is pending may
/// be possible a moment later.
///
/// # Ends
///
/// * End of file (`Ok(0)`) comes only after the peer has finished its half (FIN), and after every byte it sent.
/// * A reset is [`io::ErrorKind::ConnectionReset`], a lost connection another error; both come after the bytes that
///   arrived before them. The [`StreamError`](crate::StreamError) inside says who did it, and the code.
/// * Errors repeat: an operation that failed so fails so again.
///
/// # Dropping
///
/// What leaves when a stream is dropped, by what was done with it; the first that fits:
///
/// * It was opened and never used: nothing. The peer never hears of it.
/// * It was closed before (`poll_close` was called): the FIN that was asked for.
/// * The last write was pending or took less than it was offered, or its deadline passed; the thread panics; or
///   [`reset_on_drop`](Stream::reset_on_drop) says so: a reset at once. What was written and has not left is dropped. The
///   message is not whole, and must not look so.
/// * Nothing was read or written, as where a handler has no room for one more request: a reset with code 0. Through libp2p
///   the bytes with which its protocol was negotiated do not count.
/// * Bytes of the peer were not read: what was written, and then a reset with code 0 in the place of the FIN.
/// * Otherwise what was written, and then a FIN.
///
/// A peer that goes on writing after the FIN may use up the credit it has, and what it sends is discarded: it can read what
/// it was sent in peace. Three seconds after it has used it up it is sent a reset, since it would wait for ever.
pub struct Stream {
    shared: Arc<Shared>,
    key: Key,
    id: u32,
    /// Taken from the core and not read yet.
    chunks: Chunks,
    /// Bytes read and not reported to the core, and how many of them make a report due.
    unreported: u32,
    due: u32,
    /// [`Shared::ends_with_held`], when it was last read.
    ends: u64,
    lock_attempts: LockAttempts,
    usage: Usage,
    /// Until when operations wait, once deadlines have been asked for.
    waits: Option<Box<Waits>>,
    /// Follows the negotiation of a protocol; dropped when that is over.
    #[cfg(feature = "libp2p")]
    negotiation: Option<Box<Negotiation>>,
}

/// Deadlines, and a timer for the task of each half.
#[derive(Default)]
struct Waits {
    deadlines: Deadlines,
    read: Timer,
    write: Timer,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, key: Key, id: u32) -> Self {
        Self {
            shared,
            key,
            id,
            chunks: Chunks::default(),
            unreported: 0,
            due: u32::MAX,
            ends: 0,
            lock_attempts: LockAttempts::default(),
            usage: Usage::default(),
            waits: None,
            #[cfg(feature = "libp2p")]
            negotiation: None,
        }
    }

    /// The stream's id on the wire: odd where the client opened it, even where the server did.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The [id](crate::Connection::id) of the connection that the stream belongs to.
    pub fn connection_id(&self) -> u64 {
        self.shared.id()
    }

    /// How urgent the stream is.
    pub fn priority(&self) -> Priority {
        self.shared.with(|inner| inner.mux.priority(self.key)).unwrap_or_default()
    }

    /// Changes how urgent the stream is, from the next frame on: who goes first on the wire, and which share of the
    /// memory budget its window and its writes may grow into. The peer does not learn of it.
    ///
    /// What has left already goes before it. While streams of several priorities are in use, the less urgent ones therefore
    /// keep no more on its way than fills the path, in both directions (Y-PRIO-5, Y-PRIO-8): see
    /// [`ConfigBuilder::pacing`](crate::ConfigBuilder::pacing). What the peer sends is ordered by its own priorities: set it at
    /// both ends.
    pub fn set_priority(&self, priority: Priority) {
        let now = self.shared.now();
        self.shared.with(|inner| inner.mux.choose_priority(self.key, priority, now));
    }

    /// The figures of the stream, as they are now.
    pub fn stats(&self) -> StreamStats {
        let mut stats = self.shared.stream_stats(self.key);
        stats.unread = stats.unread.saturating_sub(self.unreported);
        stats
    }

    /// Until when reads and writes may wait; see [`Deadlines`].
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.deadlines().set(at);
    }

    /// Until when reads may wait; see [`Deadlines`].
    pub fn set_read_deadline(&mut self, at: Option<Instant>) {
        self.deadlines().set_read(at);
    }

    /// Until when writes, flushes and closes may wait; see [`Deadlines`].
    pub fn set_write_deadline(&mut self, at: Option<Instant>) {
        self.deadlines().set_write(at);
    }

    /// The deadlines of the stream, to change them while its halves are in use elsewhere.
    ///
    /// ```
    /// # async fn example(stream: sluicegate::Stream) -> std::io::Result<()> {
    /// use futures::{AsyncReadExt, io::ErrorKind};
    /// use std::time::{Duration, Instant};
    ///
    /// let mut stream = stream;
    /// let deadlines = stream.deadlines();
    /// let (mut reader, _writer) = stream.split();
    /// deadlines.set_read(Some(Instant::now() + Duration::from_secs(5)));
    /// match reader.read(&mut [0; 1024]).await {
    ///     Err(error) if error.kind() == ErrorKind::TimedOut => deadlines.set_read(None),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadlines(&mut self) -> Deadlines {
        self.waits.get_or_insert_default().deadlines.clone()
    }

    /// Ends both halves at once. The peer sees the reset with `code`; 0 is "no code". What was written and has not left
    /// yet is dropped, as are bytes that were not read. On a stream that has ended nothing is sent.
    pub fn reset(&mut self, code: u32) {
        self.chunks.clear();
        let (key, unreported, chunks) = (self.key, std::mem::take(&mut self.unreported), &mut self.chunks);
        let now = self.shared.now();
        self.shared.with(|inner| {
            // What was read is not what is dropped: a stream that was read to its end keeps that end.
            inner.mux.consume(key, unreported, now);
            inner.mux.reset(key, code, now);
            inner.mux.reuse(chunks);
        });
    }

    /// Grows the receive window to `bytes` at once, if it is smaller, so that a peer that is about to send as much need not wait
    /// for credit.
    ///
    /// It grows to `max_stream_window` at most. The difference is reserved from the memory manager at the stream's priority, or
    /// only asked for with [`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered); if that is refused, or the read half has
    /// ended, the window stays as it is. Credit that was granted cannot be taken back.
    pub fn grow_receive_window(&self, bytes: u32) {
        let growth = self.shared.with(|inner| inner.mux.shortfall(self.key, bytes));
        let Some(growth) = growth else { return };
        let answer = growth.put_to(self.shared.memory());
        // Y-FLOW-11.
        self.shared.with(|inner| inner.mux.widen(growth, answer));
    }

    /// Reads no more. Unread bytes are dropped, and what still arrives is discarded without holding memory; the peer
    /// may go on writing for as long as this end does. Reading fails with [`StreamError::ReadClosed`](crate::StreamError::ReadClosed) from here on.
    pub fn close_read(&mut self) {
        let unread = self.take_unread();
        let (key, chunks) = (self.key, &mut self.chunks);
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.mux.stop(key, unread, now);
            // Nothing is reserved for them any more.
            inner.mux.reuse(chunks);
        });
    }

    /// Drops the chunks. Returns how many bytes the core still counts as unread that this handle has taken.
    fn take_unread(&mut self) -> u32 {
        u32::try_from(self.chunks.clear()).unwrap_or(u32::MAX).saturating_add(std::mem::take(&mut self.unreported))
    }

    /// Follows the negotiation of a protocol on the stream, which gets the protocol's priority as soon as it is known.
    #[cfg(feature = "libp2p")]
    pub(crate) fn follow(&mut self, negotiation: Negotiation) {
        self.negotiation = Some(Box::new(negotiation));
    }

    /// Bytes sent `by` one of the ends pass while a protocol is negotiated.
    #[cfg(feature = "libp2p")]
    fn observe(&mut self, by: Side, bytes: &[u8]) {
        let Some(mut negotiation) = self.negotiation.take() else { return };
        let Observed { priority, data } = negotiation.observe(by, bytes);
        if let Some(priority) = priority {
            let now = self.shared.now();
            self.shared.with(|inner| inner.mux.suggest_priority(self.key, priority, now));
        }
        match by {
            Side::Local => self.usage.wrote |= data,
            Side::Remote => self.usage.read |= data,
        }
        self.negotiation = Some(negotiation).filter(|negotiation| !negotiation.is_over());
    }

    /// Whether bytes that pass may belong to a negotiation.
    const fn negotiates(&self) -> bool {
        #[cfg(feature = "libp2p")]
        return self.negotiation.is_some();
        #[cfg(not(feature = "libp2p"))]
        false
    }

    /// How many bytes of the negotiation the peer is still to send.
    fn negotiation_to_come(&self) -> usize {
        #[cfg(feature = "libp2p")]
        return self.negotiation.as_ref().map_or(0, |negotiation| negotiation.bytes_to_come());
        #[cfg(not(feature = "libp2p"))]
        0
    }
}

fn exceeded<R>() -> io::Result<R> {
    Err(StreamError::DeadlineExceeded.into())
}

/// For logs: the stream and its connection.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} of connection {}", self.id, self.shared.id())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("connection", &self.shared.id()).field("id", &self.id).finish_non_exhaustive()
    }
}
