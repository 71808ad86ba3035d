//! A yamux stream muxer that keeps to a memory budget and sends what is urgent first.
//!
//! Many streams over one transport, each with its own flow control. Windows are reserved from a
//! [`MemoryManager`] that any number of connections share, so that no peer can make a node use more than it was given;
//! what a peer is refused costs that one stream and nothing else. Streams have priorities that decide who goes first on
//! the wire and who may still grow when memory is scarce.
//!
//! # In a libp2p `Swarm`
//!
//! [`Config`] takes the place of `libp2p::yamux::Config`, here with a budget for the whole node:
//!
//! ```
//! use libp2p::{SwarmBuilder, noise, tcp};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let budget = Arc::new(sluicegate::MemoryLimit::new(64 << 20));
//! let config = sluicegate::Config::builder().memory(budget.clone()).build()?;
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let swarm = SwarmBuilder::with_new_identity()
//!     .with_tokio()
//!     .with_tcp(tcp::Config::default(), noise::Config::new, move || config.clone())?
//!     .with_behaviour(|_| libp2p::ping::Behaviour::default())?
//!     .build();
//! # drop(swarm);
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok(())
//! # }
//! ```
//!
//! # On any transport
//!
//! [`Session`] is a handle for any number of tasks, on anything that is `AsyncRead + AsyncWrite`; [`Connection`] is the
//! same poll by poll. Neither needs a runtime of its own. There are examples at their documentation.
//!
//! # Features
//!
//! * `libp2p` (default): the `StreamMuxer` and connection upgrade implementations.
//! * `metrics`: `NodeStats::register`, the figures in a `prometheus-client` registry.
//! * `tokio`: `tokio::io::AsyncRead`, `AsyncBufRead` and `AsyncWrite` on [`Stream`], beside those of `futures`, and
//!   `Session::over_tokio`.
//!
//! # Types of other crates
//!
//! These are all that the public API names. A new major version of one of them is a new major version of this crate.
//!
//! | crate | what | why |
//! | --- | --- | --- |
//! | `futures` | `AsyncRead`, `AsyncBufRead`, `AsyncWrite`; `BoxFuture`, which is a type of `std` | libp2p's traits of transports and streams; no runtime is assumed |
//! | `bytes` | `Bytes`, `BytesMut` | reads without a copy, and the buffers of [`wire::Codec`] |
//! | `web-time` | `Instant`, which is that of `std` but in a browser | deadlines |
//! | `asynchronous-codec` | `Decoder`, `Encoder` | [`wire::Codec`] works with its `Framed` |
//! | `libp2p-core` (feature `libp2p`) | `StreamMuxer`, `UpgradeInfo` and both connection upgrades | what a `Swarm` asks of a muxer |
//! | `tokio`, `tokio-util` (feature `tokio`) | the traits of `tokio::io`; `Compat` | streams and transports of tokio |
//! | `prometheus-client` (feature `metrics`) | `Registry` | where metrics are registered |

// Neither a peer's bytes nor a caller can make it panic: what could is spelled otherwise, or says why it cannot.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod clock;
mod config;
mod connection;
mod counting;
mod error;
#[cfg(feature = "libp2p")]
mod libp2p;
mod logging;
pub mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod mode;
#[cfg(feature = "libp2p")]
mod multistream;
mod ping;
mod priority;
mod proto;
mod session;
mod shell;
pub mod stats;
mod stream;
mod sync;
mod tap;
#[cfg(feature = "tokio")]
mod tokio_io;
pub mod wire;

pub use clock::Clock;
pub use config::{Config, ConfigBuilder, ConfigError, ReceiveCharge, RefusedOpen};
pub use connection::Connection;
pub use error::{ConnectionError, OpenError, PingError, Side, StreamError, Violation};
pub use memory::{MemoryLimit, MemoryManager};
pub use mode::Mode;
pub use ping::Ping;
pub use priority::Priority;
pub use session::{Session, SessionDriver};
pub use stream::{Deadlines, Resetter, Stream};

/// Runs the code of the README as tests.
#[cfg(all(doctest, feature = "libp2p"))]
#[doc = include_str!("../README.md")]
struct Readme;
