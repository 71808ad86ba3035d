//! What dropping a stream means, by how the application has used it, and [`Resetter`], a reset from another task.
//!
//! Owns what the handle has recorded of its use. What leaves then is decided by the core.

use super::Stream;
use super::deadlines::Deadlines;
use crate::proto::{Key, Leave};
use crate::shell::Shared;
use std::fmt;
use std::sync::{Arc, Weak};
use std::thread;

/// How the application has used a stream, as far as that matters when it is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Bytes have been read that are the application's, and none of the negotiation of its protocol.
    pub(super) read: bool,
    /// The same of what was written.
    pub(super) wrote: bool,
    /// The last write was pending or took less than it was offered.
    pub(super) cut: bool,
    /// The application has closed the stream, or begun to.
    pub(super) closed: bool,
    /// A drop is a reset with this code.
    on_drop: Option<u32>,
}

impl Usage {
    /// The first case that applies: `read` is as in [`Leave::Done`], and `setting` is what the configuration says of drops.
    fn leave(self, read: u32, setting: Option<u32>) -> Leave {
        let on_drop = self.on_drop.or(setting);
        if self.closed {
            Leave::Closed
        } else if self.cut || on_drop.is_some() || thread::panicking() {
            // Y-DROP-6.
            Leave::CutShort(on_drop.unwrap_or(0))
        } else if !self.read && !self.wrote {
            Leave::Unused
        } else {
            Leave::Done { read, wrote: self.wrote }
        }
    }
}

impl Stream {
    /// Makes dropping the stream a reset with `code` at once, unless it was closed before: for a handler that gives up by
    /// returning, and whose peer must not take what it has for all there is. 0 is "no code". See
    /// [`ConfigBuilder::reset_on_drop`](crate::ConfigBuilder::reset_on_drop) for all streams.
    ///
    /// ```
    /// # async fn example(mut stream: sluicegate::Stream, parts: Vec<std::io::Result<Vec<u8>>>) -> std::io::Result<()> {
    /// use futures::AsyncWriteExt;
    ///
    /// stream.reset_on_drop(0x1000);
    /// for part in parts {
    ///     stream.write_all(&part?).await?;
    /// }
    /// // Only from here on it is whole.
    /// stream.close().await
    /// # }
    /// ```
    pub const fn reset_on_drop(&mut self, code: u32) {
        self.usage.on_drop = Some(code);
    }

    /// A handle that resets the stream while its halves are in use elsewhere.
    ///
    /// ```
    /// # async fn example(mut stream: sluicegate::Stream) -> std::io::Result<()> {
    /// use futures::{AsyncReadExt, io::ErrorKind};
    ///
    /// let resetter = stream.resetter();
    /// let (mut reader, _writer) = stream.split();
    /// resetter.reset(7);
    /// assert_eq!(reader.read(&mut [0; 8]).await.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    /// # Ok(())
    /// # }
    /// ```
    pub fn resetter(&mut self) -> Resetter {
        Resetter { shared: Arc::downgrade(&self.shared), key: self.key, deadlines: self.deadlines() }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let aside = u32::try_from(self.negotiation_to_come()).unwrap_or(u32::MAX);
        let (usage, read) = (self.usage, self.unreported.saturating_add(aside));
        let unread = self.take_unread();
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.forget(self.key);
            let leave = usage.leave(read, inner.mux.config().reset_on_drop());
            inner.mux.release(self.key, unread, leave, now);
        });
    }
}

/// Resets a stream from whichever task, while its halves are in use elsewhere.
///
/// Comes from [`Stream::resetter`](crate::Stream::resetter). It keeps neither the stream nor the connection.
#[derive(Clone)]
pub struct Resetter {
    shared: Weak<Shared>,
    key: Key,
    deadlines: Deadlines,
}

impl Resetter {
    /// Does what [`Stream::reset`](crate::Stream::reset) does, and wakes both halves. Nothing happens to a stream that was
    /// dropped, which may still be sending what was written, nor to one that has ended.
    pub fn reset(&self, code: u32) {
        let Some(shared) = self.shared.upgrade() else { return };
        let now = shared.now();
        shared.with(|inner| {
            // Y-RST-8: what the handle has taken it drops when it is used next.
            if inner.mux.reset_from_afar(self.key, code, now) {
                self.deadlines.reset();
            }
        });
    }
}

impl fmt::Debug for Resetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resetter").field("key", &self.key).finish_non_exhaustive()
    }
}
