//! [`Deadlines`]: until when the two halves of a stream may wait.
//!
//! Owns the handle that sets them, from any task, and the mark of a reset that came from another task. The shell waits for them.

use crate::shell::Deadline;
use crate::sync::{AtomicBool, Ordering};
use std::sync::Arc;
use web_time::Instant;

/// Sets the deadlines of a stream while other tasks read from it and write to it.
///
/// Comes from [`Stream::deadlines`](crate::Stream::deadlines). A change is seen at once, also by an operation that is
/// waiting. A deadline that has passed stays passed until it is changed: every operation of that half fails with
/// [`StreamError::DeadlineExceeded`](crate::StreamError::DeadlineExceeded), of the kind `TimedOut`. Nothing is lost by
/// that: what was received can still be read, and what was not taken was not sent. `None` is no deadline, as it is at first.
#[derive(Clone, Debug, Default)]
pub struct Deadlines(Arc<Both>);

#[derive(Debug, Default)]
struct Both {
    read: Deadline,
    write: Deadline,
    /// The stream was reset through a [`Resetter`](super::Resetter).
    reset: AtomicBool,
}

impl Deadlines {
    /// Sets both deadlines.
    pub fn set(&self, at: Option<Instant>) {
        self.set_read(at);
        self.set_write(at);
    }

    /// Until when a read may wait.
    pub fn set_read(&self, at: Option<Instant>) {
        self.0.read.set(at);
    }

    /// Until when a write, a flush and a close may wait. What was written and the end of the stream still go out.
    pub fn set_write(&self, at: Option<Instant>) {
        self.0.write.set(at);
    }

    pub(crate) fn read(&self) -> &Deadline {
        &self.0.read
    }

    pub(crate) fn write(&self) -> &Deadline {
        &self.0.write
    }

    /// Marks the stream as reset by another task: there is nothing to wait for any more, and nothing to read.
    pub(crate) fn reset(&self) {
        self.0.reset.store(true, Ordering::Release);
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Acquire)
    }
}
