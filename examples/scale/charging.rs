//! How a stream is charged for.

use clap::ValueEnum;
use sluicegate::{Config, ConfigBuilder};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Charging {
    /// For what its peer may send: a window, from its opening on.
    Promised,
}

impl Charging {
    pub(crate) fn builder(self) -> ConfigBuilder {
        match self {
            Self::Promised => Config::builder(),
        }
    }

    /// Bytes that an open stream takes of the budget at either end, silent as it may be.
    pub(crate) fn least(self) -> usize {
        match self {
            Self::Promised => Config::default().initial_stream_window() as usize,
        }
    }
}
