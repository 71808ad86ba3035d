//! Owns every bound that is not a setting, each with the attack or the cost that it stops.
//!
//! Bounds that users set are in [`Config`](crate::Config).

use std::time::Duration;

/// What a stream may send before any window update, both ways, in bytes. Yamux fixes it (Y-FLOW-1).
pub(crate) const INITIAL_WINDOW: u32 = 256 * 1024;

/// Bytes cut into one batch at most, but for the last frame, where streams of several priorities are open. It is what a
/// frame that has just become urgent may have to wait for below the scheduler.
pub(crate) const BATCH_BYTES: usize = 32 * 1024;

/// The same where all streams have one priority: nobody is kept waiting for somebody less urgent.
pub(crate) const LEVEL_BATCH_BYTES: usize = 64 * 1024;

/// Bytes that higher buckets may send while a lower one waits (Y-PRIO-3).
pub(crate) const STARVATION_BYTES: u32 = 256 * 1024;

/// Part of the send buffers that is a connection's fixed cost and not reserved, in bytes. With it every connection
/// moves, however full the budget is.
pub(crate) const SEND_BASE: usize = 64 * 1024;

/// One in so many parts of the send buffers is each bucket's own: 4 KiB of the base, and 16 KiB, which is a frame, of 256.
/// Stops: writers of other buckets from keeping one from ever getting a byte in, which the guard above would then never
/// see (Y-MEM-6).
pub(crate) const SEND_PARTS: usize = 16;

/// Writes that are taken in of a bucket while another one of it waits in vain, before only those who have waited are served.
/// Stops: small writes, for which there is room sooner, from keeping others waiting for ever. With 8 a few small ones still
/// find the room that large ones leave.
pub(crate) const WRITES_AHEAD: u8 = 8;

/// What a stream takes itself, in bytes. It stays reserved of a window when the application has let go of the stream and
/// the peer was not told yet, and is all that is reserved for one where memory is charged as it is used. Stops: a peer
/// that reads nothing from making streams that are no more cost memory.
pub(crate) const STREAM_BOOKS: usize = 1024;

/// What a stream is given at any priority when it would stand still without it, in bytes. With it every stream goes on
/// that is read, however full the budget is: a round trip for so much.
pub(crate) const CREDIT_LEAST: u32 = 16 * 1024;

/// Credit that is asked for anew when memory was released, in streams. Stops: many streams that wait from making every
/// release expensive.
pub(crate) const ASKED_AT_ONCE: usize = 32;

/// How many times as large a window becomes at most by what has come in less than a round trip.
pub(crate) const TRAIN_GROWTH: u32 = 128;

/// From how many unread bytes on it is measured how fast more of them come. Stops: a stream on which little comes from
/// taking more memory than one that is idle.
pub(crate) const TRAIN_START: u32 = 16 * 1024;

/// What comes in less time than this may have waited for this end to read it: a window only doubles by it.
pub(crate) const TRAIN_SPAN: Duration = Duration::from_micros(500);

/// What a round trip counts as at least when a window is sized, where no stream is more urgent than another: the tasks of
/// both ends have to get a turn.
pub(crate) const NEAR_ROUND_TRIP: Duration = Duration::from_micros(500);

/// How large a window becomes at most by that, in bytes.
pub(crate) const NEAR_WINDOW: u32 = 1024 * 1024;

/// Bytes that are let out at once at least beside something more urgent; twice as many are under way at most.
pub(crate) const PACE_BYTES: usize = 24 * 1024;

/// The same for the longest round trip that counts as short.
pub(crate) const PACE_MOST: usize = 128 * 1024;

/// How long after something urgent the others make way for what may follow it, and how long they wait for the peer to say
/// what it has read.
pub(crate) const PACE_TIME: Duration = Duration::from_millis(10);

/// How many pings in a row may be answered later than that before nothing is let out by them any more: the round trip was
/// measured too short, or the peer is too busy for it to matter. A ping that is answered sooner ends that.
pub(crate) const LATE_PACES: u8 = 4;

/// Time for which a peer has to have waited for credit before that is held against the round trip that was measured. Below it
/// tasks that have to wait for their turn on a loaded machine, which is 4 ms on Linux, look the same; and the window that a
/// short link is given anyway carries 200 MB/s.
pub(crate) const DOUBT_LEAST: Duration = Duration::from_millis(5);

/// How long after a doubt was settled there is no other: a ping a second is what doubts may cost.
pub(crate) const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// What a peer that waits for credit may have left of it, in bytes: there are those that do not send the last of it.
pub(crate) const CREDIT_LEFT: u32 = 8 * 1024;

/// Steps of a clock that count as its resolution: below, it is fine enough; above, it was looked at too seldom to say. Browsers
/// round to 16.7 and to 100 ms, and the clock of Windows goes in steps of 15.6 ms.
pub(crate) const TICK_LEAST: Duration = Duration::from_millis(1);
pub(crate) const TICK_MOST: Duration = Duration::from_millis(200);

/// How long a window that has grown may be more than twice as large as what arrives in it before it becomes smaller.
pub(crate) const WINDOW_QUIET: Duration = Duration::from_secs(10);

/// How often windows that have grown are looked at.
pub(crate) const WINDOW_LOOK: Duration = Duration::from_secs(1);

/// How long the memory of send buffers stays reserved though nothing is written.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(1);

/// How long nothing may cross before storage that only a connection which moves has a use for is given back.
pub(crate) const REST_AFTER: Duration = Duration::from_secs(1);

/// Round trips that have to fit into that for streams which have ended to be forgotten as well.
pub(crate) const REST_ROUND_TRIPS: u32 = 4;

/// Resets owed for streams that were refused. Stops: a peer that opens streams beyond every limit and reads nothing
/// (Y-LIMIT-3).
pub(crate) const REFUSALS_OWED: usize = 2048;

/// The most resets that are owed while the transport is full; then reading waits (Y-LIMIT-4). 64 KiB of the 256 KiB that a
/// connection may take beside what is reserved.
pub(crate) const REFUSALS_MOST: usize = 8192;

/// How long streams that were dropped keep their places in the backlog while the peer acknowledges none of them (Y-ACK-4).
/// Stops: opens from waiting for ever for a peer that acknowledges nothing. hashicorp/yamux gives a connection up after the
/// same time without an ACK.
pub(crate) const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(75);

/// The most pongs, where `ping_backlog` is not more. There are peers that send a ping for each of a thousand tasks. 4 KiB.
pub(crate) const PONGS_MOST: usize = 1024;

/// Streams that are remembered after both ends were done with them, or were told so. Stops: late frames from looking like
/// garbage (Y-RST-6). About 20 KiB at most.
pub(crate) const TOMBSTONES: usize = 512;

/// Streams that have ended here and that the peer has not ended (Y-DROP-4). An end that finishes and drops 10,000 of them in
/// a second has 1,000 at a time over 100 ms, and as many as this just fit a table of 2,048 places: 51 KiB at most, where
/// twice as many would not fit the fixed sum of a connection beside its buffers.
pub(crate) const HALF_OPEN: usize = 1_750;

/// How long a peer that has used up its credit for such a stream is left to read what it was sent before it is told
/// (Y-DROP-3). Some lose at a reset what they have not read (hashicorp/yamux did in 3 to 6 of 10 that came 15 µs behind the
/// FIN), so it is many round trips, and time for a task that is late. It is also how long a writer may wait who will never be
/// read. nginx, which lingers for the same reason, gives a request that it has answered 5 s for each of its pieces.
pub(crate) const HALF_OPEN_GRACE: Duration = Duration::from_secs(3);

/// Credit that is as good as none, in bytes: a peer with less may be waiting for more. There are some that count a first
/// window as 256,000 bytes, which leaves 6,144 of it, and writers that wait for a window worth a frame.
pub(crate) const HALF_OPEN_CREDIT: u32 = 8 * 1024;

/// Frames that change nothing. Stops: empty frames, zero credit, frames for unknown streams, unasked pongs, second
/// FINs (Y-LIMIT-1). A frame that does change something gives one back, so honest peers never come near.
pub(crate) const USELESS_FRAMES: Allowance = Allowance { burst: 10_000, per_second: 1_000 };

/// Streams that the peer reset before they were accepted. Stops: rapid reset, which costs work without ever holding a
/// stream (Y-LIMIT-2). The burst is what an application that gives up all it has begun may send at once: peers that count no
/// acknowledgements have been seen with 2,400 streams.
pub(crate) const RAPID_RESETS: Allowance = Allowance { burst: 5_000, per_second: 200 };

/// How long what others write does not hold up a flush that somebody waits for: then nothing new is cut until it is done
/// (Y-SEND-5). Longer than the flushes that are known to take time, which is 100 ms for a websocket in a browser; and a
/// transport that flushes only when its buffer is empty would otherwise never do so beside bulk.
pub(crate) const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// How long a go-away that reports a violation may take to reach the transport, and how long the peer's last bytes are
/// read and discarded after the write side has been shut, so that the go-away is not lost with them (Y-CLOSE-3).
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(1);

/// What is still read after a write has failed, in bytes (Y-CLOSE-6): as much as four streams with their first windows may
/// have sent. Stops: a peer that only sends from keeping a connection that cannot answer.
pub(crate) const FINAL_READ_BYTES: usize = 1024 * 1024;
/// How long that may take, and how long nothing comes before there is nothing more: sockets say only that they have nothing
/// at the moment, those of tokio also after 128 reads that brought something.
pub(crate) const FINAL_READ_TIME: Duration = Duration::from_secs(1);
pub(crate) const FINAL_READ_QUIET: Duration = Duration::from_millis(50);
/// How long a muxer keeps the end of its connection back for streams that nobody has accepted, after the last one that
/// somebody has (Y-CLOSE-10).
#[cfg(feature = "libp2p")]
pub(crate) const ACCEPT_GRACE: Duration = Duration::from_secs(1);
/// Bytes read in one poll before the driver yields.
pub(crate) const POLL_READ_BYTES: usize = 128 * 1024;

/// Headers and pieces of bodies applied in one poll before the driver yields. Stops: a peer that sends tiny frames from
/// keeping the thread from everybody else, since a read holds tens of thousands of them.
pub(crate) const POLL_PIECES: usize = 4096;

/// How long reading waits for somebody to accept a stream when more than half of the backlog is taken, and then once
/// more (Y-OPEN-13).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// Of how much time such waits may take one part. Stops: a slow acceptor from holding up the other streams.
pub(crate) const ACCEPT_PAUSE_SHARE: u32 = 10;

/// The time over which that share is reckoned.
pub(crate) const ACCEPT_PAUSE_WINDOW: Duration = Duration::from_secs(1);

/// Bytes that a reader copies with the lock held at most: to hand it their chunks takes longer.
pub(crate) const SMALL_READ: usize = 2 * 1024;

/// How often a task that finds the lock of its connection taken lets others have their turn, until it waits for the lock
/// once: each time costs a turn, and waiting costs the thread a sleep.
pub(crate) const LOCK_ATTEMPTS: u8 = 64;

/// How often a batch is put off at most for what others are about to write.
pub(crate) const COALESCE_TURNS: usize = 16;

/// Bytes of batches written in one poll before the driver yields, but for the last one.
pub(crate) const POLL_WRITE_BYTES: usize = 128 * 1024;

/// A burst, and what comes back with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) burst: u32,
    pub(crate) per_second: u32,
}
