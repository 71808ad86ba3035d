//! Owns [`Links`]: a stream's place in one of the intrusive lists, which `store::queue` threads through the streams.

use crate::proto::key::Key;

/// A stream's place in one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proto) struct Links {
    pub(in crate::proto) previous: Option<Key>,
    pub(in crate::proto) next: Option<Key>,
    pub(in crate::proto) queued: bool,
}

impl Links {
    pub(in crate::proto) const fn new() -> Self {
        Self { previous: None, next: None, queued: false }
    }

    pub(in crate::proto) const fn is_queued(&self) -> bool {
        self.queued
    }
}
