//! x
#![allow(missing_docs)]
mod config;
mod connection;
mod error;
mod memory;
mod mode;
#[cfg(feature = "libp2p")]
mod muxer;
mod priority;
mod proto;
mod shell;
mod stream;
pub mod wire;

pub use config::{Config, ConfigBuilder, ConfigError, RefusedOpen};
pub use connection::Connection;
pub use error::{ConnectionError, OpenError, PingError, Side, StreamError, Violation};
pub use memory::{MemoryLimit, MemoryManager, Refused, Reservation, Unlimited};
pub use mode::Mode;
pub use priority::Priority;
pub use stream::Stream;
