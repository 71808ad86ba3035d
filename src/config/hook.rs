//! `Tap`: a function of the user's that connections call.
//!
//! Owns nothing but the shape: who calls them sees to it that no lock is held.

use crate::tap::TapEvent;
use std::{fmt, sync::Arc};

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
