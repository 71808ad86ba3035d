//! Owns every bound that is not a setting, each with the attack or the cost that it stops, and the evidence for its value.
//!
//! Bounds that users set are in [`Config`](crate::Config).

use std::time::Duration;

/// What a stream may send before any window update, both ways, in bytes. Yamux fixes it (Y-FLOW-1).
pub(crate) const INITIAL_WINDOW: u32 = 256 * 1024;

/// Bytes encoded into one batch at most, the last frame excepted, while streams of several priorities are open. A frame
/// that has just become urgent waits for at most this much below the scheduler.
/// Measured: the 99th percentile of a message beside bulk fell from 142..217 µs to 130..156 µs with 16 KiB
/// (docs/performance.md). 32 KiB is two frames of the default size: one trades throughput, by twice the writes, for less wait.
pub(crate) const BATCH_BYTES: usize = 32 * 1024;

/// The same while all streams have one priority: no frame then waits for a less urgent one.
/// Measured: 128 KiB brought plain TCP 0 to 20 % and nothing through Noise (docs/performance.md).
pub(crate) const LEVEL_BATCH_BYTES: usize = 64 * 1024;

/// Bytes that higher buckets may send while a lower one waits (Y-PRIO-3).
/// One first window, which is 16 frames of the default size: a waiting bucket gets one frame in 17, 6 % of the link, and on 10
/// Mbit/s at the latest after 0.2 s. Trades that share against the delay of the higher buckets.
pub(crate) const STARVATION_BYTES: u32 = 256 * 1024;

/// How long a lower bucket waits for a turn at most while higher ones send, or hold it back (Y-PRIO-3). At a megabit a second a
/// frame of the default size takes an eighth of it.
pub(crate) const STARVATION_TIME: Duration = Duration::from_secs(1);

/// Part of the send buffers that is a connection's fixed cost and not reserved, in bytes. With it every connection makes
/// progress, however full the budget is (Y-MEM-5).
/// One full batch of `LEVEL_BATCH_BYTES`, and a quarter of a connection's fixed 256 KiB (docs/memory.md).
pub(crate) const SEND_BASE: usize = 64 * 1024;

/// Each bucket owns one in so many parts of the send buffers: 4 KiB of the base, and 16 KiB, which is a frame, of 256.
/// Stops: writers of other buckets from keeping a bucket from ever buffering a byte, which the guard above would then never
/// see (Y-MEM-6).
pub(crate) const SEND_PARTS: usize = 16;

/// Writes of a bucket that are accepted while another writer of it waits in vain. After these, only the waiting writers are
/// served. Stops: small writes, for which there is room sooner, from keeping large ones waiting for ever. With 8, a few small
/// writes still use the room that large ones leave. Trades that against the wait of a large write: eight writes a turn at most.
pub(crate) const WRITES_AHEAD: u8 = 8;

/// What a stream itself takes, in bytes. It stays reserved of a window when the application has dropped the stream and the
/// peer has not been told yet, and is all that is reserved for a new stream where memory is charged as it is used. Stops: a
/// peer that reads nothing from making streams that cost no memory.
/// An idle stream takes 189 bytes an end (docs/scaling.md, `cargo test --test idle`); the rest covers its active state.
pub(crate) const STREAM_STATE: usize = 1024;

/// Credit that a stream without any gets at any priority, in bytes. With it every stream that is read makes progress, however
/// full the budget is: this much in each round trip.
/// One frame of the default `max_message_size`: less would make the peer's frames smaller.
pub(crate) const CREDIT_LEAST: u32 = 16 * 1024;

/// Streams whose credit is asked for again when memory was released. Stops: many waiting streams from making every release
/// expensive.
/// 32 x `CREDIT_LEAST` is 512 KiB: more than a release of one first window pays for. The others wait for the next release.
pub(crate) const ASKED_AT_ONCE: usize = 32;

/// Factor by which a window grows at most after a measurement shorter than a round trip.
/// 128 x 256 KiB is 32 MiB: 1 Gbit/s over 100 ms needs windows of 25 MB, twice the bandwidth-delay product. Measured: 93 % of
/// such a link, where a window that only doubles had 77 % (docs/performance.md).
pub(crate) const TRAIN_GROWTH: u32 = 128;

/// Unread bytes from which on the arrival rate is measured. Stops: a stream that receives little from taking more memory than
/// an idle one. One frame of the default size.
pub(crate) const TRAIN_START: u32 = 16 * 1024;

/// Bytes that arrive in less time than this may have waited for this end to read them: a window only doubles on them.
/// As long as `NEAR_ROUND_TRIP`, which is what the tasks of both ends need for a turn.
pub(crate) const TRAIN_SPAN: Duration = Duration::from_micros(500);

/// Windows above this return credit in eighths, in bytes (Y-FLOW-4). Up to it, the halves of a window are few window updates, and a
/// link on which it matters has a larger window.
pub(crate) const LARGE_WINDOW: u32 = 1024 * 1024;

/// The least round trip that a window is sized for while all streams have one priority: the tasks of both ends have to get a
/// turn.
/// Measured: bulk through Noise 540 to 940 MB/s, over plain TCP 2,470 to 2,900 MB/s (docs/performance.md).
pub(crate) const NEAR_ROUND_TRIP: Duration = Duration::from_micros(500);

/// The largest window that this least round trip leads to, in bytes.
/// Measured: windows of 1 MiB set by hand made bulk on loopback 1.5 times as fast (docs/performance.md).
pub(crate) const NEAR_WINDOW: u32 = 1024 * 1024;

/// How long a bucket counts as in use after a stream of it has sent: that long lower buckets are held back for what may follow
/// (Y-PRIO-5). Twice the interval of libp2p's pings.
pub(crate) const IN_USE: Duration = Duration::from_secs(30);

/// Markers of the pacer whose answers have not come, at most (Y-PRIO-6). Peers that queue 32 answers (`PingBacklog`) have room
/// for other pings too. A peer of this crate may have as many besides what `ping_backlog` allows it.
pub(crate) const MARKERS: usize = 24;

/// How long lower buckets are held back without an answer of the peer. Longer than the queue of a megabyte takes at 2 Mbit/s,
/// which is what the first answer may wait behind.
pub(crate) const HELD_MOST: Duration = Duration::from_secs(5);

/// Time that a peer must have waited for credit before that casts doubt on the measured round trip. Shorter waits look the
/// same as tasks that wait for their turn on a loaded machine, which is 4 ms on Linux; and the window that a short link is
/// given anyway carries 200 MB/s.
pub(crate) const DOUBT_LEAST: Duration = Duration::from_millis(5);

/// How long no doubt is raised after one was settled: doubts may cost a ping a second.
pub(crate) const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// Credit that a peer which waits for more may have left, in bytes: some peers do not send the last of it.
/// As `HALF_OPEN_CREDIT`: a peer that counts a first window as 256,000 bytes keeps 6,144.
pub(crate) const CREDIT_LEFT: u32 = 8 * 1024;

/// Steps of a clock that count as its resolution. A smaller step is fine enough; a larger one only says that the clock was
/// read too seldom. Browsers round to 16.7 and to 100 ms, and the clock of Windows advances in steps of 15.6 ms.
pub(crate) const TICK_LEAST: Duration = Duration::from_millis(1);
pub(crate) const TICK_MOST: Duration = Duration::from_millis(200);

/// How long less than half of a grown window has to arrive in it before it becomes smaller (Y-MEM-12).
/// Many round trips of any link, so that a pause between requests costs no window. Trades the memory of windows that are
/// not used any more, for so long, against a bandwidth estimate that starts anew.
pub(crate) const WINDOW_QUIET: Duration = Duration::from_secs(10);

/// How often grown windows are reviewed. One alarm a second and connection, and only while a window is larger than its first
/// size.
pub(crate) const WINDOW_LOOK: Duration = Duration::from_secs(1);

/// How long the memory of send buffers stays reserved while nothing is written (docs/memory.md).
/// A second outlasts the pauses between requests. Measured, with reads of 64 KiB: bulk 1.3 to 1.5 times as fast
/// (docs/performance.md).
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(1);

/// How long no byte may cross before a connection gives back the storage that only a busy one uses.
/// A quiet connection and its driver take 3,000 bytes after it (docs/scaling.md, `cargo test --test idle`).
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Round trips that must fit into that time before streams that have ended are forgotten as well. A choice: late frames have
/// arrived by then.
pub(crate) const IDLE_ROUND_TRIPS: u32 = 4;

/// Resets owed for streams that were refused. Stops: a peer that opens streams beyond every limit and reads nothing
/// (Y-LIMIT-3).
pub(crate) const REFUSALS_OWED: usize = 2048;

/// The most resets that are owed while the transport is full; then reading waits (Y-LIMIT-4). 64 KiB of the 256 KiB that a
/// connection may take beside what is reserved.
pub(crate) const REFUSALS_MOST: usize = 8192;

/// How long streams that were dropped keep their places in the backlog while the peer acknowledges none of them (Y-ACK-4).
/// Stops: a peer that acknowledges nothing from blocking opens for ever. hashicorp/yamux gives a connection up after the same
/// time without an ACK.
pub(crate) const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(75);

/// The most pongs owed, where `ping_backlog` is not more: 4 KiB. There are peers that send a ping for each of a thousand
/// tasks.
pub(crate) const PONGS_MOST: usize = 1024;

/// Streams that are remembered after both ends have ended them, or after the peer was told with a reset. Stops: late frames
/// from looking like garbage (Y-RST-6). About 20 KiB at most.
pub(crate) const TOMBSTONES: usize = 512;

/// Half-open streams: ended here, and not by the peer (Y-DROP-4). An end that finishes and drops 10,000 of them in a second
/// has 1,000 at a time over 100 ms. This many just fit a hash table of 2,048 places: 51 KiB at most. Twice as many would not
/// fit the fixed sum of a connection beside its buffers.
pub(crate) const HALF_OPEN: usize = 1_750;

/// How long a peer that has used up its credit for a half-open stream may still read what it was sent before it is told with a
/// reset (Y-DROP-3). Some peers lose at a reset what they have not read: hashicorp/yamux did in 3 to 6 of 10 resets that came
/// 15 µs behind the FIN. So the grace is many round trips, and time for a late task. It is also how long a writer may wait
/// whose bytes will never be read. nginx, whose lingering close has the same reason, gives a request that it has answered 5 s
/// for each of its pieces.
pub(crate) const HALF_OPEN_GRACE: Duration = Duration::from_secs(3);

/// Credit that is as good as none, in bytes: a peer with less may be waiting for more. Some peers count a first window as
/// 256,000 bytes, which leaves 6,144 of it, and some writers wait for a window worth a frame.
pub(crate) const HALF_OPEN_CREDIT: u32 = 8 * 1024;

/// Frames that change nothing. Stops: empty frames, zero credit, frames for unknown streams, unasked pongs, second
/// FINs (Y-LIMIT-1). A frame that does change something returns one token, so honest peers never come near:
/// foreign implementations are held to a twentieth of it (`tests/interop/manners.rs`).
pub(crate) const USELESS_FRAMES: Allowance = Allowance { burst: 10_000, per_second: 1_000 };

/// Streams that the peer reset before they were accepted. Stops: rapid reset, which costs work without ever holding a
/// stream (Y-LIMIT-2). The burst is what an application that gives up all it has begun may send at once: peers that count no
/// acknowledgements have been seen with 2,400 streams.
pub(crate) const RAPID_RESETS: Allowance = Allowance { burst: 5_000, per_second: 200 };

/// How long an awaited flush may be put off by the writes of other streams. After this, nothing new is encoded until the flush
/// is done (Y-SEND-5). It is longer than the flushes that are known to take time: 100 ms for a websocket in a browser. A
/// transport that flushes only when its buffer is empty would otherwise never flush beside bulk.
pub(crate) const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// How long a go-away that reports a violation may take to reach the transport, and how long the lingering close reads and
/// discards the peer's last bytes after the write side has been shut, so that the go-away is not lost with them (Y-CLOSE-3).
/// A second is several round trips of any link, and bounds how long a peer that never closes holds the connection.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(1);

/// Bytes that are still read after a write has failed (Y-CLOSE-6): as much as four streams with their first windows may have
/// sent. Stops: a peer that only sends from keeping a connection that cannot answer.
pub(crate) const FINAL_READ_BYTES: usize = 1024 * 1024;

/// How long that may take, and how long nothing has to come before there is nothing more. Sockets say only that they have
/// nothing at the moment; those of tokio say so also after 128 reads that brought something.
pub(crate) const FINAL_READ_TIME: Duration = Duration::from_secs(1);
pub(crate) const FINAL_READ_QUIET: Duration = Duration::from_millis(50);

/// How long a muxer holds back the end of its connection for streams that were not accepted, counted from the last accept
/// (Y-CLOSE-10). A second outlasts a turn of a busy Swarm.
#[cfg(feature = "libp2p")]
pub(crate) const ACCEPT_GRACE: Duration = Duration::from_secs(1);

/// Bytes read in one poll before the driver yields.
/// Measured: 1 MiB was no faster, and a poll is that much shorter (docs/performance.md).
pub(crate) const POLL_READ_BYTES: usize = 128 * 1024;

/// Headers and pieces of bodies applied in one poll before the driver yields. Stops: a peer that sends tiny frames from
/// keeping the thread from other tasks, since one read holds tens of thousands of them.
/// A frame of one byte takes 627 instructions (benches/README.md): this many take about a millisecond.
pub(crate) const POLL_PIECES: usize = 4096;

/// How long reading waits for an accept when more than half of the backlog is taken, and then once more (Y-OPEN-13).
/// Longer than a turn of a loaded machine, which is 4 ms on Linux.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// Such waits may take one part in so many of the time. Stops: a slow acceptor from holding up the other streams.
pub(crate) const ACCEPT_PAUSE_SHARE: u32 = 10;

/// The time over which that share is counted: a tenth of each second at most is lost by waiting.
pub(crate) const ACCEPT_PAUSE_WINDOW: Duration = Duration::from_secs(1);

/// The most bytes that a reader copies while it holds the lock: handing over their chunks takes longer.
/// Measured: `rr1000` 240,000 to 284,000 and `rr100` 162,000 to 180,000 a second, the allocator's share of the time from 12 %
/// to 0.4 % (docs/performance.md).
pub(crate) const SMALL_READ: usize = 2 * 1024;

/// How often a task that finds its connection's lock taken yields to other tasks before it blocks on the lock once: each yield
/// costs a turn, and blocking costs the thread a sleep.
/// Measured with 0, 1, 4, 16, 64, 255: `rr100` 177,000, 202,000, 227,000, 256,000, 261,000, 262,000 a second
/// (docs/performance.md).
pub(crate) const LOCK_ATTEMPTS: u8 = 64;

/// How often a batch is put off at most to coalesce it with what other tasks are about to write.
/// A bound that few batches reach, since one is put off again only while each turn adds bytes. Measured with putting off at
/// all: `rr100` 205,000 to 316,000 a second (docs/performance.md).
pub(crate) const COALESCE_TURNS: usize = 16;

/// Bytes of batches written in one poll before the driver yields, the last batch excepted.
/// Measured: 2 MiB was no faster, and a poll is that much shorter (docs/performance.md).
pub(crate) const POLL_WRITE_BYTES: usize = 128 * 1024;

/// Parameters of a token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) burst: u32,
    pub(crate) per_second: u32,
}
