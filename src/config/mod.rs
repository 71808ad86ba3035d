//! The settings of a connection.
//!
//! Owns the names and defaults of the settings; `builder` makes them, `validate` holds their ranges, `error` says which
//! one is at fault. Uses `priority`, `memory`, `stats` and `tap`. A built config never changes, and never acts on a setting.

mod builder;
mod callbacks;
mod error;
mod validate;

use std::{sync::Arc, time::Duration};

use crate::clock::Time;
use crate::memory::{MemoryManager, Unlimited};
use crate::priority::Priority;
use crate::stats::NodeStats;

pub use builder::ConfigBuilder;
#[cfg(feature = "libp2p")]
pub(crate) use callbacks::ProtocolPriorities;
pub(crate) use callbacks::Tap;
pub use error::ConfigError;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;
/// The window with which yamux starts every stream, in both directions (Y-FLOW-1).
const YAMUX_WINDOW: u32 = 256 * KIB;

/// The settings of a connection: valid, immutable and cheap to clone.
///
/// [`Config::default`] suits most users. [`Config::builder`] changes settings; each is described at its setter in
/// [`ConfigBuilder`].
///
/// There is no setting for log output: events go to the `tracing` crate, and its subscribers decide what becomes of
/// them.
///
/// # Example
///
/// ```
/// use std::{ops::RangeInclusive, sync::Arc, time::Duration};
/// use sluicegate::{Config, ConfigError, MemoryLimit};
///
/// let budget = Arc::new(MemoryLimit::new(64 << 20));
/// let config = Config::builder()
///     .memory(budget.clone())
///     .keep_alive_interval(Some(Duration::from_secs(15)))
///     .build()?;
/// assert_eq!(config.accept_backlog(), 256);
///
/// let wrong = Config::builder().accept_backlog(0).build();
/// assert!(matches!(wrong, Err(ConfigError::OutOfRange { field: "accept_backlog", .. })));
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config(Arc<Settings>);

impl Config {
    /// A builder that starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Streams that may wait to be accepted or acknowledged. See [`ConfigBuilder::accept_backlog`].
    pub fn accept_backlog(&self) -> usize {
        self.0.accept_backlog
    }

    /// Pongs that may be owed to the peer. See [`ConfigBuilder::ping_backlog`].
    pub fn ping_backlog(&self) -> usize {
        self.0.ping_backlog
    }

    /// Time without traffic after which the peer is pinged. See [`ConfigBuilder::keep_alive_interval`].
    pub fn keep_alive_interval(&self) -> Option<Duration> {
        self.0.keep_alive_interval
    }

    /// Time between measurements of the round trip. See [`ConfigBuilder::measure_rtt_interval`].
    pub fn measure_rtt_interval(&self) -> Duration {
        self.0.measure_rtt_interval
    }

    /// Time for which the peer may make no progress. See [`ConfigBuilder::connection_write_timeout`].
    pub fn connection_write_timeout(&self) -> Duration {
        self.0.connection_write_timeout
    }

    /// Time that a close in good order may take at most. See [`ConfigBuilder::close_timeout`].
    pub fn close_timeout(&self) -> Duration {
        self.0.close_timeout
    }

    /// Time for which a Swarm waits for a stream that cannot be opened any more. See [`ConfigBuilder::drain_timeout`].
    pub fn drain_timeout(&self) -> Option<Duration> {
        self.0.drain_timeout
    }

    /// Streams that the peer may have open at once. See [`ConfigBuilder::max_incoming_streams`].
    pub fn max_incoming_streams(&self) -> usize {
        self.0.max_incoming_streams
    }

    /// First receive window of a stream in bytes. See [`ConfigBuilder::initial_stream_window`].
    pub fn initial_stream_window(&self) -> u32 {
        self.0.initial_stream_window
    }

    /// Largest receive window of a stream in bytes. See [`ConfigBuilder::max_stream_window`].
    pub fn max_stream_window(&self) -> u32 {
        self.0.max_stream_window
    }

    /// Bytes read from the transport at once. See [`ConfigBuilder::read_buffer_size`].
    pub fn read_buffer_size(&self) -> usize {
        self.0.read_buffer_size
    }

    /// Whether streams of lower priorities are paced beside more urgent ones. See [`ConfigBuilder::pacing`].
    pub fn pacing(&self) -> bool {
        self.0.pacing
    }

    /// Time for which a small write may wait for more. See [`ConfigBuilder::write_coalesce_delay`].
    pub fn write_coalesce_delay(&self) -> Duration {
        self.0.write_coalesce_delay
    }

    /// Largest body of a sent data frame in bytes. See [`ConfigBuilder::max_message_size`].
    pub fn max_message_size(&self) -> u32 {
        self.0.max_message_size
    }

    /// Bytes that a connection accepts from its writers ahead of the transport. See [`ConfigBuilder::max_send_buffer`].
    pub fn max_send_buffer(&self) -> usize {
        self.0.max_send_buffer
    }

    /// The priority with which a stream starts. See [`ConfigBuilder::default_priority`].
    pub fn default_priority(&self) -> Priority {
        self.0.default_priority
    }

    /// What the memory manager is charged for on the receive side. See [`ConfigBuilder::receive_charge`].
    pub fn receive_charge(&self) -> ReceiveCharge {
        self.0.receive_charge
    }

    /// What opening a stream does when memory is refused. See [`ConfigBuilder::refused_open`].
    pub fn refused_open(&self) -> RefusedOpen {
        self.0.refused_open
    }

    /// The code with which inbound streams are refused. See [`ConfigBuilder::refusal_code`].
    pub fn refusal_code(&self) -> u32 {
        self.0.refusal_code
    }

    /// The code with which streams are reset that are dropped and were not closed. See [`ConfigBuilder::reset_on_drop`].
    pub fn reset_on_drop(&self) -> Option<u32> {
        self.0.reset_on_drop
    }

    /// Who grants the memory. See [`ConfigBuilder::memory`].
    pub fn memory(&self) -> &Arc<dyn MemoryManager> {
        &self.0.memory
    }

    /// Where the connections' figures are gathered. See [`ConfigBuilder::stats`].
    pub fn stats(&self) -> Option<&NodeStats> {
        self.0.stats.as_ref()
    }

    pub(crate) fn clock(&self) -> &Time {
        &self.0.clock
    }

    pub(crate) fn tap(&self) -> Option<&Tap> {
        self.0.tap.as_ref()
    }

    #[cfg(feature = "libp2p")]
    pub(crate) fn priority_by_protocol(&self) -> Option<&ProtocolPriorities> {
        self.0.priority_by_protocol.as_ref()
    }
}

/// What the memory manager is charged for on the receive side. `docs/memory.md` says which of them suits which node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReceiveCharge {
    /// The receive window, which is what the peer may send: it is reserved before it is granted. There is memory for all that
    /// arrives, so no stream ever ends for want of memory; a budget has room for as many streams as for windows.
    #[default]
    Window,
    /// The bytes that have arrived and were not read, and 1 KiB a stream. A budget then has room for hundreds of times as many
    /// idle streams; what their peers may send together may be more than there is.
    ///
    /// So when memory becomes scarce, a stream gets no more credit while the budget is fuller than its priority may fill it: the
    /// lowest bucket waits first. Only if that is too late, since what was granted before still arrives, the stream on which it
    /// arrives is reset. Its reader gets what had arrived before, and then
    /// [`StreamError::OutOfMemory`](crate::StreamError::OutOfMemory).
    Buffered,
}

/// What opening a stream does when the memory manager refuses its first window.
///
/// Through libp2p it always waits, since an error from there would end the whole connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedOpen {
    /// Opening fails with an error at once. Other streams and the connection are not affected.
    #[default]
    Fail,
    /// Opening waits until memory has been released, and then tries again.
    Wait,
}

/// What [`Config`] and [`ConfigBuilder`] share: the settings, valid or not.
#[derive(Clone, Debug)]
struct Settings {
    accept_backlog: usize,
    ping_backlog: usize,
    keep_alive_interval: Option<Duration>,
    measure_rtt_interval: Duration,
    connection_write_timeout: Duration,
    close_timeout: Duration,
    drain_timeout: Option<Duration>,
    max_incoming_streams: usize,
    initial_stream_window: u32,
    max_stream_window: u32,
    read_buffer_size: usize,
    pacing: bool,
    write_coalesce_delay: Duration,
    max_message_size: u32,
    max_send_buffer: usize,
    default_priority: Priority,
    receive_charge: ReceiveCharge,
    refused_open: RefusedOpen,
    refusal_code: u32,
    reset_on_drop: Option<u32>,
    memory: Arc<dyn MemoryManager>,
    stats: Option<NodeStats>,
    tap: Option<Tap>,
    clock: Time,
    #[cfg(feature = "libp2p")]
    priority_by_protocol: Option<ProtocolPriorities>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accept_backlog: 256,
            ping_backlog: 32,
            keep_alive_interval: Some(Duration::from_secs(30)),
            measure_rtt_interval: Duration::from_secs(30),
            connection_write_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(120),
            drain_timeout: Some(Duration::from_secs(60)),
            max_incoming_streams: 1000,
            initial_stream_window: YAMUX_WINDOW,
            max_stream_window: 16 * MIB,
            read_buffer_size: 64 << 10,
            pacing: true,
            write_coalesce_delay: Duration::ZERO,
            max_message_size: 16 * KIB,
            max_send_buffer: 256 << 10,
            default_priority: Priority::MEDIUM,
            receive_charge: ReceiveCharge::Window,
            refused_open: RefusedOpen::Fail,
            refusal_code: 0,
            reset_on_drop: None,
            memory: Arc::new(Unlimited),
            stats: None,
            tap: None,
            clock: Time::Real,
            #[cfg(feature = "libp2p")]
            priority_by_protocol: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_docs() {
        let config = Config::default();
        assert_eq!(config.accept_backlog(), 256);
        assert_eq!(config.ping_backlog(), 32);
        assert_eq!(config.keep_alive_interval(), Some(Duration::from_secs(30)));
        assert_eq!(config.measure_rtt_interval(), Duration::from_secs(30));
        assert_eq!(config.connection_write_timeout(), Duration::from_secs(10));
        assert_eq!(config.close_timeout(), Duration::from_secs(120));
        assert_eq!(config.drain_timeout(), Some(Duration::from_secs(60)));
        assert_eq!(config.max_incoming_streams(), 1000);
        assert_eq!(config.initial_stream_window(), 262_144);
        assert_eq!(config.max_stream_window(), 16_777_216);
        assert_eq!(config.read_buffer_size(), 65_536);
        assert!(config.pacing());
        assert_eq!(config.write_coalesce_delay(), Duration::ZERO);
        assert_eq!(config.max_message_size(), 16_384);
        assert_eq!(config.max_send_buffer(), 262_144);
        assert_eq!(config.default_priority(), Priority::MEDIUM);
        assert_eq!(config.receive_charge(), ReceiveCharge::Window);
        assert_eq!(config.refused_open(), RefusedOpen::Fail);
        assert_eq!(config.refusal_code(), 0);
        assert_eq!(config.reset_on_drop(), None);
        assert_eq!(format!("{:?}", config.memory()), "Unlimited");
        assert!(config.stats().is_none() && config.tap().is_none());
    }

    #[test]
    fn clones_share_their_settings() {
        let config = Config::default();
        assert!(Arc::ptr_eq(&config.0, &config.clone().0));
        assert_eq!(size_of::<Config>(), size_of::<usize>());
    }

    #[test]
    fn debug_fits_a_log_line() {
        let printed = format!("{:?}", Config::default());
        assert!(printed.starts_with("Config(Settings { accept_backlog: 256,"));
        assert!(printed.len() < 700, "{printed}");
    }
}
