//! Owns [`PendingReaders`]: how many readers have something new to read and may be about to write.
//!
//! The driver has its turn right behind the first task that writes. Where others have something new to read, they may be about
//! to write as well: if it waits for them, one batch holds what all of them say. When it waits is decided where batches are
//! filled.

use crate::proto::stream::Stream;

/// Streams with something new that their readers have not looked at. A few less where a batch has waited for them in vain.
#[derive(Debug, Default)]
pub(in crate::proto) struct PendingReaders(u32);

impl PendingReaders {
    /// There is something new to read.
    pub(in crate::proto) fn begin(&mut self, stream: &mut Stream) {
        if let Some(active) = &mut stream.active
            && !std::mem::replace(&mut active.reader_pending, true)
        {
            self.0 = self.0.saturating_add(1);
        }
    }

    /// Its task has looked, or there is none.
    pub(in crate::proto) fn end(&mut self, stream: &mut Stream) {
        if let Some(active) = &mut stream.active
            && std::mem::take(&mut active.reader_pending)
        {
            self.0 = self.0.saturating_sub(1);
        }
    }

    /// Whether there are any.
    pub(in crate::proto) const fn any(&self) -> bool {
        self.0 > 0
    }

    /// A batch has waited for them in vain: half of them are taken for busy with something else, so that those keep no more
    /// than a few batches.
    pub(in crate::proto) const fn forget_half(&mut self) {
        self.0 /= 2;
    }
}
