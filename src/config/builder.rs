//! `ConfigBuilder`: makes a `Config`.
//!
//! Owns the meaning and unit of every setting; `validate` holds the ranges. Uses `priority` and `memory`. Never panics on
//! a setting, and never corrects one in silence.

use std::{sync::Arc, time::Duration};

#[cfg(feature = "libp2p")]
use super::ProtocolPriorities;
use super::{Config, ConfigError, ReceiveCharge, RefusedOpen, Settings, Tap};
use crate::clock::{Clock, Time};
use crate::memory::MemoryManager;
use crate::priority::Priority;
use crate::stats::NodeStats;
use crate::tap::TapEvent;

/// Builds a [`Config`]. Settings may be made in any order; [`build`](Self::build) checks them all.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder(Settings);

impl ConfigBuilder {
    /// The streams that may wait: inbound ones to be accepted, and outbound ones to be acknowledged by the peer.
    ///
    /// Default 256, valid 1..=65 536. An inbound stream beyond it is reset with the [refusal code](Self::refusal_code);
    /// opening a stream beyond it waits. Other implementations refuse beyond 256, so more helps only between peers that
    /// agree on it. A burst of inbound streams is no overflow where they are accepted as they come: while more than half
    /// of the backlog is taken, reading waits up to 10 ms for one to be accepted.
    pub fn accept_backlog(mut self, streams: usize) -> Self {
        self.0.accept_backlog = streams;
        self
    }

    /// The pongs that may be owed at once to a peer that takes none.
    ///
    /// Default 32, valid 1..=1024. From half of it on, what has arrived waits until they have been written, so any number of
    /// pings at once is answered. When more are owed and the transport has taken nothing for
    /// [`connection_write_timeout`](Self::connection_write_timeout), the connection ends: a peer that pings and does not read
    /// would otherwise make it hold ever more.
    pub fn ping_backlog(mut self, pongs: usize) -> Self {
        self.0.ping_backlog = pongs;
        self
    }

    /// The time without a sign of life from the peer after which it is pinged, so that NATs keep the connection and a dead
    /// peer is noticed. Signs of life are bytes received, and a transport that takes bytes again after it was full.
    ///
    /// A connection that is kept alive ends with a keep-alive timeout when there has been no sign of life for
    /// `keep_alive_interval` and [`connection_write_timeout`](Self::connection_write_timeout) together, and a ping of ours has
    /// waited for its answer for at least `connection_write_timeout`.
    ///
    /// Default 30 s, valid 1 ms..=24 h. `None` turns it off.
    pub fn keep_alive_interval(mut self, interval: Option<Duration>) -> Self {
        self.0.keep_alive_interval = interval;
        self
    }

    /// The time between two measurements of the round trip, after which windows grow.
    ///
    /// Default 30 s, valid 1 ms..=24 h. Each measurement costs a ping of 12 bytes.
    pub fn measure_rtt_interval(mut self, interval: Duration) -> Self {
        self.0.measure_rtt_interval = interval;
        self
    }

    /// The time for which the peer may make no progress before the connection ends.
    ///
    /// The connection ends with a write timeout when the transport has taken no byte for `connection_write_timeout` though
    /// some were waiting to be taken or flushed, and there was no sign of life in that time either; see
    /// [`keep_alive_interval`](Self::keep_alive_interval), which adds this time to its own, for what those are. It is also how
    /// long the answer to a ping is waited for, and for how long a graceful close may stand still; see
    /// [`close_timeout`](Self::close_timeout).
    ///
    /// Default 10 s, valid 1 ms..=24 h.
    pub fn connection_write_timeout(mut self, timeout: Duration) -> Self {
        self.0.connection_write_timeout = timeout;
        self
    }

    /// The time that a close in good order may take at most, however the transport moves, until its go-away has been flushed.
    ///
    /// Before that it ends only where it stands still: where the transport has taken no byte and nothing was read for
    /// [`connection_write_timeout`](Self::connection_write_timeout). Either is
    /// [`ConnectionError::WriteTimeout`](crate::ConnectionError::WriteTimeout).
    ///
    /// Default 120 s, valid 1 ms..=24 h.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.0.close_timeout = timeout;
        self
    }

    /// Through libp2p: the time for which somebody waits for a stream that can never be opened, as the peer has said
    /// go-away or all ids of this end have been used, while streams that are open keep the connection. Then it closes in
    /// good order, its streams fail, and the swarm can dial anew.
    ///
    /// Default 60 s, valid 1 ms..=24 h. `None` waits for the last stream however long that takes. It counts from the first
    /// open that was wanted in vain; a connection that nobody wants to open streams on is not affected. Sessions and
    /// [`Connection::poll_outbound`](crate::Connection::poll_outbound) are not either: there such an open fails at once.
    pub fn drain_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.0.drain_timeout = timeout;
        self
    }

    /// The streams that the peer may have open at once.
    ///
    /// Default 1000, valid from 1. A stream beyond it is reset with the [refusal code](Self::refusal_code).
    pub fn max_incoming_streams(mut self, streams: usize) -> Self {
        self.0.max_incoming_streams = streams;
        self
    }

    /// The receive window with which a stream starts, in bytes. Opening or accepting a stream reserves it, unless
    /// [`receive_charge`](Self::receive_charge) says otherwise.
    ///
    /// Default 256 KiB, valid 256 KiB..=[`max_stream_window`](Self::max_stream_window). Yamux fixes the start at 256
    /// KiB; what is more is announced to the peer together with the stream or its acknowledgement.
    pub fn initial_stream_window(mut self, bytes: u32) -> Self {
        self.0.initial_stream_window = bytes;
        self
    }

    /// The receive window up to which a stream may grow, in bytes. Growing reserves the difference, unless
    /// [`receive_charge`](Self::receive_charge) says otherwise. A window becomes smaller again where less than half of it was used
    /// in 10 s, and while [memory](Self::memory) has no room at its priority.
    ///
    /// Default 16 MiB, valid [`initial_stream_window`](Self::initial_stream_window)..=1 GiB. Credit is returned at half
    /// of it, and in eighths above 1 MiB, so one stream fills a link where the rest lasts for a round trip: 16 MiB are enough for
    /// 1.1 Gbit/s over 100 ms. At most one window is received in a round trip.
    pub fn max_stream_window(mut self, bytes: u32) -> Self {
        self.0.max_stream_window = bytes;
        self
    }

    /// The bytes read from the transport at once. They are part of what each connection holds, busy or not.
    ///
    /// Default 64 KiB, valid 4 KiB..=1 MiB.
    pub fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.0.read_buffer_size = bytes;
        self
    }

    /// Whether streams of lower priorities are paced while streams of several priorities are in use; `true` by default.
    ///
    /// What was handed to the transport cannot be overtaken. With pacing, streams that are less urgent than others keep no more
    /// on its way to the peer, and let the peer send no more, than fills the path: the buffers below stay short, and what is
    /// urgent arrives soon. It costs bulk beside urgent streams a few percent of its throughput, and up to 16 pings under way.
    /// It costs nothing while all streams have one priority. The order of sending is by priority in either case.
    pub fn pacing(mut self, enabled: bool) -> Self {
        self.0.pacing = enabled;
        self
    }

    /// The time for which a small write that is not followed by a flush may wait for more to share its frame.
    ///
    /// Default zero, which is off, valid up to 1 s. Writes made while the transport is busy are merged without any
    /// delay.
    pub fn write_coalesce_delay(mut self, delay: Duration) -> Self {
        self.0.write_coalesce_delay = delay;
        self
    }

    /// The largest body of a data frame that is sent, in bytes. What is received is bounded by the window only.
    ///
    /// Default 16 KiB, valid 1 KiB..=64 KiB. Smaller frames let urgent streams through sooner; larger ones cost fewer
    /// headers.
    pub fn max_message_size(mut self, bytes: u32) -> Self {
        self.0.max_message_size = bytes;
        self
    }

    /// The bytes that one connection accepts from its writers and has not yet handed to the transport.
    ///
    /// Default 256 KiB, valid 64 KiB..=64 MiB. The first 64 KiB are part of a connection's fixed cost; more is reserved
    /// from the [memory manager](Self::memory), at the priority of the stream that writes. A sixteenth of what there is
    /// belongs to the streams of each of the four levels of [`Priority`] alone.
    pub fn max_send_buffer(mut self, bytes: usize) -> Self {
        self.0.max_send_buffer = bytes;
        self
    }

    /// The priority with which a stream starts. Default [`Priority::MEDIUM`].
    pub fn default_priority(mut self, priority: Priority) -> Self {
        self.0.default_priority = priority;
        self
    }

    /// What the [memory manager](Self::memory) is charged for on the receive side: the windows that were granted, or the bytes that
    /// have arrived. Default [`ReceiveCharge::Window`].
    pub fn receive_charge(mut self, charge: ReceiveCharge) -> Self {
        self.0.receive_charge = charge;
        self
    }

    /// What opening a stream does when the [memory manager](Self::memory) refuses. Default [`RefusedOpen::Fail`].
    pub fn refused_open(mut self, choice: RefusedOpen) -> Self {
        self.0.refused_open = choice;
        self
    }

    /// The code sent when an inbound stream is refused: for want of memory, because the backlog is full, or because
    /// there are too many streams.
    ///
    /// Default 0, which means "no code" and is what every peer understands. Any value is valid.
    pub fn refusal_code(mut self, code: u32) -> Self {
        self.0.refusal_code = code;
        self
    }

    /// Whether dropping a stream that was not closed is a reset at once, and with which code. Default `None`: then it is one
    /// only where something was cut short, or where the peer would not learn otherwise that nobody reads
    /// ([`Stream`](crate::Stream#dropping)).
    ///
    /// For applications whose every message ends with a close: nothing that was not closed is taken for whole, also where a
    /// handler returned early between two writes. Any code is valid; 0 means "no code". What was written and has not left
    /// is dropped. [`Stream::reset_on_drop`](crate::Stream::reset_on_drop) does it for one stream. In a libp2p `Swarm`,
    /// which hands out streams that can only be read, written and closed, this is how a handler resets: it drops the stream.
    pub fn reset_on_drop(mut self, code: Option<u32>) -> Self {
        self.0.reset_on_drop = code;
        self
    }

    /// Who grants the memory that connections hold for their streams. Default [`Unlimited`](crate::memory::Unlimited).
    ///
    /// Takes the `Arc` of any manager, as in `.memory(budget.clone())`, and shares it between all connections made with
    /// this configuration.
    pub fn memory(mut self, manager: Arc<dyn MemoryManager>) -> Self {
        self.0.memory = manager;
        self
    }

    /// Where the figures of all connections made with this configuration are gathered. Default nowhere; each connection
    /// has its own all the same.
    pub fn stats(mut self, stats: NodeStats) -> Self {
        self.0.stats = Some(stats);
        self
    }

    /// The clock that connections go by. Default the real one.
    ///
    /// For tests in virtual time: every deadline, timeout, interval and measurement of a connection, of its streams and of
    /// its waits for memory is by this clock. It must not go back.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = Time::Virtual(clock);
        self
    }

    /// A function that is handed every header that crosses, for debugging. Default none, which costs nothing.
    ///
    /// It is called by the task that polls the connection, with no lock held, in the order of each direction; it should
    /// not block. What the peer still sends after the end of a connection is thrown away unseen.
    ///
    /// ```
    /// use sluicegate::Config;
    /// use sluicegate::wire::{Direction, Header};
    ///
    /// let config = Config::builder()
    ///     .tap(|event| {
    ///         let arrow = if event.direction == Direction::Inbound { "<-" } else { "->" };
    ///         println!("connection {} {arrow} {:?}", event.connection, Header::decode(&event.header));
    ///     })
    ///     .build()?;
    /// # drop(config);
    /// # Ok::<_, sluicegate::ConfigError>(())
    /// ```
    pub fn tap(mut self, tap: impl Fn(&TapEvent) + Send + Sync + 'static) -> Self {
        self.0.tap = Some(Tap::new(tap));
        self
    }

    /// The priority of a substream by the protocol that is negotiated on it. Default
    /// [`default_priority`](Self::default_priority) for all.
    ///
    /// Through libp2p a protocol's handler never holds the [`Stream`](crate::Stream) itself, so it cannot set its
    /// priority. Here the multistream-select negotiation at the start of each substream is watched instead, for either
    /// role and also where a protocol is proposed lazily, together with the first data. A dialler's stream has the
    /// priority of what it proposes, a listener's that of what it accepts. No byte is altered, at most 1 KiB is held, and
    /// nothing is left of it when the negotiation is over. What is not understood keeps its priority, and one that
    /// [`Stream::set_priority`](crate::Stream::set_priority) has set is not changed.
    ///
    /// The function is called by the task that reads or writes the stream, with no lock held.
    ///
    /// ```
    /// use sluicegate::{Config, Priority};
    ///
    /// let config = Config::builder()
    ///     .priority_by_protocol(|protocol| match protocol {
    ///         "/ipfs/ping/1.0.0" => Priority::HIGH,
    ///         "/my-node/blocks/1" => Priority::LOW,
    ///         _ => Priority::default(),
    ///     })
    ///     .build()?;
    /// # drop(config);
    /// # Ok::<_, sluicegate::ConfigError>(())
    /// ```
    #[cfg(feature = "libp2p")]
    pub fn priority_by_protocol(mut self, priority: impl Fn(&str) -> Priority + Send + Sync + 'static) -> Self {
        self.0.priority_by_protocol = Some(ProtocolPriorities::new(priority));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] for the first setting that is not valid, or does not fit another.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.0.validate()?;
        Ok(Config(Arc::new(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryLimit, Unlimited};

    #[test]
    fn every_setting_reads_back_what_was_set() {
        let second = Duration::from_secs(1);
        let config = Config::builder()
            .accept_backlog(1)
            .ping_backlog(2)
            .keep_alive_interval(None)
            .measure_rtt_interval(3 * second)
            .connection_write_timeout(4 * second)
            .close_timeout(7 * second)
            .drain_timeout(None)
            .max_incoming_streams(5)
            .initial_stream_window(300_000)
            .max_stream_window(400_000)
            .read_buffer_size(5000)
            .pacing(false)
            .write_coalesce_delay(second)
            .max_message_size(6000)
            .max_send_buffer(70_000)
            .default_priority(Priority::HIGH)
            .receive_charge(ReceiveCharge::Buffered)
            .refused_open(RefusedOpen::Wait)
            .refusal_code(0x1002)
            .reset_on_drop(Some(0x1003))
            .memory(Arc::new(MemoryLimit::new(8)))
            .build()
            .unwrap();
        assert_eq!(config.accept_backlog(), 1);
        assert_eq!(config.ping_backlog(), 2);
        assert_eq!(config.keep_alive_interval(), None);
        assert_eq!(config.measure_rtt_interval(), 3 * second);
        assert_eq!(config.connection_write_timeout(), 4 * second);
        assert_eq!((config.close_timeout(), config.drain_timeout()), (7 * second, None));
        assert_eq!(config.max_incoming_streams(), 5);
        assert_eq!(config.initial_stream_window(), 300_000);
        assert_eq!(config.max_stream_window(), 400_000);
        assert_eq!(config.read_buffer_size(), 5000);
        assert!(!config.pacing());
        assert_eq!(config.write_coalesce_delay(), second);
        assert_eq!(config.max_message_size(), 6000);
        assert_eq!(config.max_send_buffer(), 70_000);
        assert_eq!(config.default_priority(), Priority::HIGH);
        assert_eq!(config.receive_charge(), ReceiveCharge::Buffered);
        assert_eq!(config.refused_open(), RefusedOpen::Wait);
        assert_eq!(config.refusal_code(), 0x1002);
        assert_eq!(config.reset_on_drop(), Some(0x1003));
        assert!(format!("{:?}", config.memory()).starts_with("MemoryLimit { limit: 8"));
    }

    #[test]
    fn memory_takes_a_managers_own_arc_and_a_shared_one() {
        let own = Arc::new(Unlimited);
        let shared: Arc<dyn MemoryManager> = own.clone();
        for builder in [Config::builder().memory(own.clone()), Config::builder().memory(shared.clone())] {
            let config = builder.build().unwrap();
            assert!(Arc::ptr_eq(config.memory(), &shared));
        }
    }
}
