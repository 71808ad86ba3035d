//! How a stream is charged for.

use clap::ValueEnum;
use sluicegate::{Config, ConfigBuilder};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Charging {
    /// For what its peer may send: a window, from its opening on.
    Promised,
    /// For what has arrived and was not read.
    Used,
}

impl Charging {
    pub(crate) fn builder(self) -> ConfigBuilder {
        Config::builder().charging(match self {
            Self::Promised => sluicegate::Charging::Promised,
            Self::Used => sluicegate::Charging::Used,
        })
    }

    /// Bytes that an open stream takes of the budget at either end, silent as it may be.
    pub(crate) fn least(self) -> usize {
        match self {
            Self::Promised => Config::default().initial_stream_window() as usize,
            Self::Used => 1024,
        }
    }
}
