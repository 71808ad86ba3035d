//! Owns [`Motion`]: what a stream has only while something moves on it, and where it is kept when nothing does.

use super::{ReceiveBuffer, SendBuffer};
use crate::proto::store::Links;
use crate::proto::withheld::Asking;

/// How many are kept to be used again, also with fewer streams than that.
const KEPT: usize = 16;

/// What is on its way, and where the stream stands in line for it. Most streams wait for something to happen: they have
/// none.
#[derive(Debug)]
pub(in crate::proto) struct Motion {
    /// What was written and not cut yet.
    pub(in crate::proto) unsent: SendBuffer,
    /// What has arrived and was not read.
    pub(in crate::proto) unread: ReceiveBuffer,
    pub(in crate::proto) asking: Asking,
    /// Credit that may leave though the rest of it waits, in bytes.
    pub(in crate::proto) trickle: u32,
    pub(in crate::proto) control_links: Links,
    pub(in crate::proto) data_links: Links,
    pub(in crate::proto) flush_links: Links,
    pub(in crate::proto) room_links: Links,
}

/// That of a stream which has none.
pub(super) static STILL: Motion = Motion::new();

/// Those that nobody needs at the moment: what comes and goes with every message is not allocated for each.
#[derive(Debug, Default)]
pub(in crate::proto) struct Motions {
    #[expect(clippy::vec_box, reason = "they go from stream to stream as boxes")]
    kept: Vec<Box<Motion>>,
}

impl Motion {
    const fn new() -> Self {
        Self {
            unsent: SendBuffer::new(),
            unread: ReceiveBuffer::new(),
            asking: Asking::No,
            trickle: 0,
            control_links: Links::new(),
            data_links: Links::new(),
            flush_links: Links::new(),
            room_links: Links::new(),
        }
    }

    /// Whether the stream is as well off without.
    fn is_over(&self) -> bool {
        let links = [self.control_links, self.data_links, self.flush_links, self.room_links];
        self.unsent.is_empty()
            && self.unread.is_empty()
            && !links.iter().any(Links::is_queued)
            && self.asking == Asking::No
            && self.trickle == 0
    }
}

impl Motions {
    pub(in crate::proto) fn take(&mut self) -> Box<Motion> {
        self.kept.pop().unwrap_or_else(|| Box::new(Motion::new()))
    }

    /// Takes that of a stream back on which nothing moves any more. As many are kept as there are `streams`: each has been
    /// charged for one.
    pub(in crate::proto) fn put(&mut self, motion: &mut Option<Box<Motion>>, streams: usize) {
        if motion.as_deref().is_some_and(Motion::is_over)
            && let Some(motion) = motion.take()
            && self.kept.len() < KEPT.max(streams)
            && motion.unsent.is_small()
            && motion.unread.is_small()
        {
            self.kept.push(motion);
        }
    }

    /// There are fewer `streams` now.
    pub(in crate::proto) fn trim(&mut self, streams: usize) {
        self.kept.truncate(KEPT.max(streams));
    }

    /// Gives them back to the allocator.
    pub(in crate::proto) fn clear(&mut self) {
        self.kept = Vec::new();
    }
}
