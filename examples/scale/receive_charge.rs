//! What the memory manager is charged for on the receive side.

use clap::ValueEnum;
use sluicegate::{Config, ConfigBuilder};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReceiveCharge {
    /// The receive windows of streams, from their opening on.
    Window,
    /// The bytes that have arrived and were not read.
    Buffered,
}

impl ReceiveCharge {
    pub(crate) fn builder(self) -> ConfigBuilder {
        Config::builder().receive_charge(match self {
            Self::Window => sluicegate::ReceiveCharge::Window,
            Self::Buffered => sluicegate::ReceiveCharge::Buffered,
        })
    }

    /// Bytes of the budget that an open stream takes at either end, even if it is idle.
    pub(crate) fn least(self) -> usize {
        match self {
            Self::Window => Config::default().initial_stream_window() as usize,
            Self::Buffered => 1024,
        }
    }
}
