//! `Tap`, `ProtocolPriorities`: functions of the user that connections call.
//!
//! Owns their types only. The caller makes sure that no lock is held.

use crate::tap::TapEvent;
use std::{fmt, sync::Arc};

#[cfg(feature = "libp2p")]
use crate::priority::Priority;

/// Is called with every header.
#[derive(Clone)]
pub(crate) struct Tap(Arc<dyn Fn(&TapEvent) + Send + Sync>);

impl Tap {
    pub(super) fn new(function: impl Fn(&TapEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(crate) fn show(&self, event: &TapEvent) {
        (self.0)(event);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// Returns the priority of a protocol.
#[cfg(feature = "libp2p")]
#[derive(Clone)]
pub(crate) struct ProtocolPriorities(Arc<dyn Fn(&str) -> Priority + Send + Sync>);

#[cfg(feature = "libp2p")]
impl ProtocolPriorities {
    pub(super) fn new(function: impl Fn(&str) -> Priority + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(crate) fn of(&self, protocol: &str) -> Priority {
        (self.0)(protocol)
    }
}

#[cfg(feature = "libp2p")]
impl fmt::Debug for ProtocolPriorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProtocolPriorities")
    }
}
