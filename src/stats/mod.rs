//! Figures of connections and streams, as they were at one moment: what [`Connection::stats`](crate::Connection::stats),
//! [`Session::stats`](crate::Session::stats) and [`Stream::stats`](crate::Stream::stats) return. [`NodeStats`] adds up those of many
//! connections.
//!
//! Owns these snapshots. Uses `priority` only. It counts nothing itself: the core does.

mod node;

use crate::priority::Priority;
use std::time::Duration;

pub use node::NodeStats;
pub(crate) use node::Source;

/// The figures of a connection, from its beginning to the moment at which they were taken.
///
/// Figures that only ever rise are counters; `streams.open`, `streams.unaccepted`, `streams.unacknowledged`, the round
/// trips, `reserved` and `pacing` except for `held` are what they are at that moment. Taking them costs the same however many streams there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Streams, by where they are.
    pub streams: StreamCounts,
    /// What was sent. A frame counts from when it is put into the batch that is written next.
    pub sent: Traffic,
    /// What was received.
    pub received: Traffic,
    /// Frames of the peer that changed nothing: empty ones, credit of 0 bytes, frames for streams that never were, second
    /// FINs and go-aways, pongs that nobody asked for. More of them than an honest peer sends end the connection.
    pub useless_frames: u64,
    /// The largest receive window so far, in bytes: that of a new stream, or of one that has grown.
    pub largest_window: u32,
    /// How long writers had to wait, and for what: the sum over all streams, the ended ones included.
    pub stalled: Stalled,
    /// How long the transport took no bytes though some were waiting.
    pub transport_stalled: Duration,
    /// The last round trip that was measured.
    pub rtt: Option<Duration>,
    /// The shortest round trip of the last 8 to 16 that were measured.
    pub min_rtt: Option<Duration>,
    /// How streams of lower priorities make way for more urgent ones.
    pub pacing: Pacing,
    /// Streams that ended with a reset.
    pub resets: Resets,
    /// What was asked for and not granted.
    pub refusals: Refusals,
    /// What is reserved from the memory manager.
    pub reserved: ReservedBytes,
}

/// What is known of the path to the peer while streams of several priorities are in use, and how long streams of lower
/// priorities were held back for it. See [`ConfigBuilder::pacing`](crate::ConfigBuilder::pacing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pacing {
    /// The bandwidth of the path, in bytes a second: the largest of the last 2 to 4 seconds, or of the last 20 to 40 round trips
    /// where these take longer. `None` before it is measured.
    pub bandwidth: Option<u64>,
    /// The shortest round trip in that time.
    pub round_trip: Option<Duration>,
    /// Bytes on their way at this moment: sent, and not known to have been read by the peer. 0 while nothing is paced.
    pub in_flight: u64,
    /// How long streams of lower priorities had bytes to send and were held back.
    pub held: Duration,
}

/// Where the streams of a connection are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamCounts {
    /// Open at this moment, at least half; those that wait to be accepted are counted.
    pub open: u64,
    /// Waiting at this moment to be accepted by this end.
    pub unaccepted: u64,
    /// Opened by this end and waiting at this moment to be acknowledged by the peer.
    pub unacknowledged: u64,
    /// Opened by this end, in all.
    pub opened: u64,
    /// Opened by the peer and accepted here, in all.
    pub accepted: u64,
}

/// Frames and bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Data frames, those that only carry a FIN included.
    pub data_frames: u64,
    /// Bytes in the bodies of data frames.
    pub data_bytes: u64,
    /// Window updates, those that open, acknowledge or reset a stream included.
    pub window_update_frames: u64,
    /// Pings and their answers; none on a stream.
    pub ping_frames: u64,
    /// Go-aways; none on a stream.
    pub go_away_frames: u64,
}

/// How long writers waited, from when one found that nothing could be written until that ended, by what it waited for.
/// What is not asked for any more is not waited for: a write half that is closed, or a stream that was reset or dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalled {
    /// Credit from the peer, whose application does not read as fast, or whose window is small for the link.
    pub window: Duration,
    /// The transport: the stream's share of `max_send_buffer` was full.
    pub socket: Duration,
    /// The memory manager, which refused a larger send buffer.
    pub memory: Duration,
}

/// Streams that ended with a reset, by who sent it and why. Refused streams are among the [`Refusals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resets {
    /// Sent: the application has called [`Stream::reset`](crate::Stream::reset).
    pub application: u64,
    /// Sent: the application has dropped a stream unused, with bytes unread or in the middle of a write, or the peer has used
    /// up its credit for one that was finished and dropped.
    pub dropped: u64,
    /// Sent: the peer wrote after its FIN.
    pub after_fin: u64,
    /// Sent: there was no memory for what the peer wrote. Only with [`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered).
    pub out_of_memory: u64,
    /// Received, for a stream that the application had.
    pub remote: u64,
    /// Received, for a stream that had not been accepted yet.
    pub remote_unaccepted: u64,
}

/// What was asked for and not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// Streams of the peer: the memory manager refused their window.
    pub incoming_by_memory: u64,
    /// Streams of the peer: `accept_backlog` of them waited to be accepted.
    pub incoming_by_backlog: u64,
    /// Streams of the peer: it had `max_incoming_streams` open.
    pub incoming_by_limit: u64,
    /// Streams of the peer: one of the ends had said go-away, or this one was closing.
    pub incoming_by_go_away: u64,
    /// Streams of this end: the memory manager refused their window. One that waits is counted once.
    pub opens: u64,
    /// Larger windows: the memory manager refused the difference, or had no room for it.
    pub windows: u64,
    /// Credit: there was no room for it at the stream's priority, so that the peer had to wait for it, or for most of it.
    /// Only with [`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered). Counted as often as the memory manager was asked in vain.
    pub credit: u64,
    /// Larger send buffers: the memory manager refused the difference.
    pub send_buffers: u64,
}

/// Bytes reserved from the memory manager: windows by the bucket of their stream's [`Priority`], and send buffers. With
/// [`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered) it is what has arrived and was not read, in place of windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservedBytes {
    /// Windows of streams up to [`Priority::LOW`].
    pub low: usize,
    /// Windows of streams above that, up to [`Priority::MEDIUM`].
    pub medium: usize,
    /// Windows of streams above that, up to [`Priority::HIGH`].
    pub high: usize,
    /// Windows of streams above that.
    pub always: usize,
    /// Send buffers beyond the first 64 KiB of each connection.
    pub send_buffers: usize,
}

/// The figures of a stream, from its beginning to the moment at which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// How urgent it is.
    pub priority: Priority,
    /// What was sent.
    pub sent: Traffic,
    /// What was received.
    pub received: Traffic,
    /// Bytes that were written and have not left yet.
    pub unsent: usize,
    /// Bytes that have arrived and were not read yet.
    pub unread: u32,
    /// The receive window at this moment, in bytes.
    pub receive_window: u32,
    /// The largest that it has been, in bytes.
    pub largest_receive_window: u32,
    /// What the peer takes at this moment: its credit, in bytes.
    pub send_window: u32,
    /// The most credit that the peer has given at once, in bytes.
    pub largest_send_window: u32,
    /// How long the writer had to wait, and for what.
    pub stalled: Stalled,
    /// Bytes reserved from the memory manager for the window, or for what is unread and the stream itself.
    pub reserved: usize,
}

impl ConnectionStats {
    /// Adds the figures of another connection. Of round trips the longest of the last and the shortest of all are kept, and
    /// of paths the largest bandwidth and the longest round trip.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { streams, sent, received, stalled, pacing, resets, refusals, reserved, .. } = self;
        pacing.add(&other.pacing);
        streams.add(&other.streams);
        sent.add(&other.sent);
        received.add(&other.received);
        stalled.add(&other.stalled);
        resets.add(&other.resets);
        refusals.add(&other.refusals);
        reserved.add(&other.reserved);
        add(&mut self.useless_frames, other.useless_frames);
        self.largest_window = self.largest_window.max(other.largest_window);
        self.transport_stalled = self.transport_stalled.saturating_add(other.transport_stalled);
        self.rtt = self.rtt.into_iter().chain(other.rtt).max();
        self.min_rtt = self.min_rtt.into_iter().chain(other.min_rtt).min();
    }

    /// Only what rises: what stays true when the connection is gone.
    pub(crate) fn counters(self) -> Self {
        let StreamCounts { opened, accepted, .. } = self.streams;
        Self {
            streams: StreamCounts { opened, accepted, ..StreamCounts::default() },
            rtt: None,
            min_rtt: None,
            reserved: ReservedBytes::default(),
            pacing: Pacing { held: self.pacing.held, ..Pacing::default() },
            ..self
        }
    }

    /// Of a connection that is gone while streams of it live: what rises, what waits and what is reserved.
    pub(crate) fn without_life(self) -> Self {
        let (reserved, unaccepted) = (self.reserved, self.streams.unaccepted);
        let counters = self.counters();
        Self { streams: StreamCounts { unaccepted, ..counters.streams }, reserved, ..counters }
    }
}

impl Pacing {
    fn add(&mut self, other: &Self) {
        self.bandwidth = self.bandwidth.max(other.bandwidth);
        self.round_trip = self.round_trip.max(other.round_trip);
        add(&mut self.in_flight, other.in_flight);
        self.held = self.held.saturating_add(other.held);
    }
}

impl Traffic {
    /// Frames of every type.
    pub const fn frames(&self) -> u64 {
        let others = self.window_update_frames.saturating_add(self.ping_frames).saturating_add(self.go_away_frames);
        self.data_frames.saturating_add(others)
    }

    /// Bytes on the transport: bodies, and twelve bytes a frame.
    pub const fn wire_bytes(&self) -> u64 {
        self.data_bytes.saturating_add(self.frames().saturating_mul(12))
    }
}

impl Refusals {
    /// Streams of the peer that were refused, for whatever reason.
    pub const fn incoming(&self) -> u64 {
        let others = self.incoming_by_limit.saturating_add(self.incoming_by_go_away);
        self.incoming_by_memory.saturating_add(self.incoming_by_backlog).saturating_add(others)
    }
}

impl ReservedBytes {
    /// All of them.
    pub const fn total(&self) -> usize {
        let windows = self.low.saturating_add(self.medium).saturating_add(self.high).saturating_add(self.always);
        windows.saturating_add(self.send_buffers)
    }

    /// The figures of windows, from the lowest bucket on, and of send buffers.
    pub(crate) const fn new([low, medium, high, always]: [usize; Priority::BUCKETS], send_buffers: usize) -> Self {
        Self { low, medium, high, always, send_buffers }
    }
}

/// Counts an event. A figure at the end of its range stays there.
pub(crate) const fn count(figure: &mut u64) {
    add(figure, 1);
}

pub(crate) const fn add(figure: &mut u64, more: u64) {
    *figure = figure.saturating_add(more);
}

/// `add` for structs all of whose fields are summed. A field that is forgotten does not compile.
macro_rules! sums {
    ($($name:ident { $($field:ident),* })*) => {
        $(impl $name {
            pub(crate) fn add(&mut self, other: &Self) {
                let Self { $($field),* } = other;
                $(self.$field = self.$field.saturating_add(*$field);)*
            }
        })*
    };
}

sums! {
    StreamCounts { open, unaccepted, unacknowledged, opened, accepted }
    Traffic { data_frames, data_bytes, window_update_frames, ping_frames, go_away_frames }
    Stalled { window, socket, memory }
    Resets { application, dropped, after_fin, out_of_memory, remote, remote_unaccepted }
    Refusals {
        incoming_by_memory, incoming_by_backlog, incoming_by_limit, incoming_by_go_away, opens, windows, credit,
        send_buffers
    }
    ReservedBytes { low, medium, high, always, send_buffers }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(rtt: u64) -> ConnectionStats {
        let [rtt, second] = [rtt, 1].map(Duration::from_secs);
        ConnectionStats {
            streams: StreamCounts { open: 1, unaccepted: 2, unacknowledged: 3, opened: 4, accepted: 5 },
            sent: Traffic {
                data_frames: 1,
                data_bytes: 100,
                window_update_frames: 2,
                ping_frames: 3,
                go_away_frames: 4,
            },
            useless_frames: 9,
            largest_window: 300_000,
            stalled: Stalled { window: second, socket: 2 * second, memory: 3 * second },
            transport_stalled: second,
            rtt: Some(rtt),
            min_rtt: Some(rtt),
            pacing: Pacing { bandwidth: Some(8), round_trip: Some(rtt), in_flight: 9, held: second },
            reserved: ReservedBytes { low: 1, medium: 2, high: 3, always: 4, send_buffers: 5 },
            ..ConnectionStats::default()
        }
    }

    #[test]
    fn the_sum_of_two_connections() {
        let mut sum = some(7);
        sum.add(&some(5));
        assert_eq!((sum.streams.open, sum.streams.accepted), (2, 10));
        assert_eq!((sum.sent.frames(), sum.sent.wire_bytes(), sum.useless_frames), (20, 440, 18));
        assert_eq!(sum.stalled.memory, Duration::from_secs(6));
        assert_eq!((sum.rtt, sum.min_rtt), (Some(Duration::from_secs(7)), Some(Duration::from_secs(5))));
        assert_eq!((sum.reserved.total(), sum.largest_window), (30, 300_000));
        let (round_trip, held) = (Some(Duration::from_secs(7)), Duration::from_secs(2));
        assert_eq!(sum.pacing, Pacing { bandwidth: Some(8), round_trip, in_flight: 18, held });
        sum.add(&ConnectionStats::default());
        assert_eq!(sum.min_rtt, Some(Duration::from_secs(5)));
    }

    #[test]
    fn counters_outlive_a_connection_and_the_rest_does_not() {
        let counters = some(7).counters();
        assert_eq!((counters.streams.open, counters.streams.opened, counters.streams.accepted), (0, 4, 5));
        assert_eq!((counters.reserved.total(), counters.rtt, counters.min_rtt), (0, None, None));
        assert_eq!((counters.sent, counters.stalled), (some(7).sent, some(7).stalled));
        assert_eq!(counters.pacing, Pacing { held: Duration::from_secs(1), ..Pacing::default() });
    }

    #[test]
    fn each_bucket_has_its_figure() {
        let reserved = ReservedBytes { low: 1, medium: 10, high: 100, always: 1000, send_buffers: 2 };
        assert_eq!(ReservedBytes::new([1, 10, 100, 1000], 2), reserved);
    }
}
