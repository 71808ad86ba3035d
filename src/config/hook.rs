//! `Tap`, `ProtocolPriorities`: functions of the user's that connections call.
//!
//! Owns nothing but the shape: who calls them sees to it that no lock is held.

use crate::tap::TapEvent;
use std::{fmt, sync::Arc};

#[cfg(feature = "libp2p")]
use crate::priority::Priority;

/// What is shown every header.
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

/// What says how urgent a protocol is.
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
