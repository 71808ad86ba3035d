//! Owns [`Answering`]: who may be about to write, and when a batch waits for them.
//!
//! The driver has its turn right behind the first task that writes. Where others have something new to read, they may be about
//! to write as well: if it waits for them, one batch holds what all of them say.

use crate::proto::limits::BATCH_BYTES;
use crate::proto::mux::{Lifecycle, Mux};
use crate::proto::stream::Stream;

/// Streams with something new that their readers have not looked at. A few less where a batch has waited for them in vain.
#[derive(Debug, Default)]
pub(in crate::proto) struct Answering(u32);

impl Answering {
    /// There is something new to read.
    pub(in crate::proto) fn begin(&mut self, stream: &mut Stream) {
        if let Some(motion) = &mut stream.motion
            && !std::mem::replace(&mut motion.answering, true)
        {
            self.0 = self.0.saturating_add(1);
        }
    }

    /// Its task has looked, or there is none.
    pub(in crate::proto) fn end(&mut self, stream: &mut Stream) {
        if let Some(motion) = &mut stream.motion
            && std::mem::take(&mut motion.answering)
        {
            self.0 = self.0.saturating_sub(1);
        }
    }
}

impl Mux {
    /// Bytes that wait to be cut, where it pays to let others add to them first: there are readers who may be about to
    /// answer, nothing urgent waits, and a batch is not full yet.
    pub(crate) fn gathers(&self) -> Option<usize> {
        let waiting = self.pool.used();
        let open = matches!(self.lifecycle, Lifecycle::Open);
        let urgent = self.schedule.is_urgent(self.config.default_priority());
        let worth = open && self.answering.0 > 0 && (1..BATCH_BYTES).contains(&waiting) && !urgent;
        worth.then_some(waiting)
    }

    /// A batch was put off and nobody has added to it: half of them are taken for busy with something else, so that who is
    /// keeps no more than a few batches.
    pub(crate) const fn gathered_in_vain(&mut self) {
        self.answering.0 /= 2;
    }
}
