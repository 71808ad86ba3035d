//! [`Session`]: a handle on a connection that a task of its own drives.
//!
//! Owns the futures of the handle; all else is [`Connection`]'s. It never does IO, which is for the driver.

use crate::config::Config;
use crate::connection::Connection;
use crate::error::{ConnectionError, OpenError, PingError};
use crate::mode::Mode;
use crate::ping::Ping;
use crate::shell::{EndSignal, PendingOpen, Shared, WaitFor, WaiterSlot};
use crate::stats::{ConnectionStats, Source};
use crate::stream::Stream;
use futures::{AsyncRead, AsyncWrite};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A handle on a connection: clone it, and use it from any task.
///
/// The connection lives as long as its [`SessionDriver`] is polled, usually by a task: without that nothing here makes
/// progress. When the last handle is dropped, no stream can be opened or accepted any more; the open ones live on, and
/// with the last of them the connection closes in good order.
///
/// Every future may be dropped at any time: what it waited for is then as if it had not been asked for, but for
/// [`close`](Session::close), which goes on. One that is kept and not polled holds up nobody else.
///
/// ```
/// # futures::executor::block_on(async {
/// use futures::{AsyncReadExt, AsyncWriteExt, future};
/// use sluicegate::{Config, Mode, Session};
///
/// # let (near, far) = pipe();
/// let (client, driving_client) = Session::new(near, Config::default(), Mode::Client);
/// let (server, driving_server) = Session::new(far, Config::default(), Mode::Server);
///
/// let ask = async {
///     let mut stream = client.open().await?;
///     stream.write_all(b"hello").await?;
///     stream.close().await?;
///     let mut answer = Vec::new();
///     stream.read_to_end(&mut answer).await?;
///     assert_eq!(answer, b"hello");
///     drop(stream);
///     Ok::<_, std::io::Error>(client.close().await?)
/// };
/// let echo = async {
///     let (reader, mut writer) = server.accept().await?.split();
///     futures::io::copy(reader, &mut writer).await?;
///     writer.close().await
/// };
/// // Where there is a runtime, each driver is spawned.
/// let (asked, echoed, ..) = future::join4(ask, echo, driving_client, driving_server).await;
/// asked.and(echoed).unwrap();
/// # });
/// # fn pipe() -> (impl futures::AsyncRead + futures::AsyncWrite + Unpin, impl futures::AsyncRead + futures::AsyncWrite + Unpin) {
/// #     use tokio_util::compat::TokioAsyncReadCompatExt;
/// #     let (near, far) = tokio::io::duplex(1024);
/// #     (near.compat(), far.compat())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Handle>);

/// What all clones of a session share.
struct Handle {
    shared: Arc<Shared>,
    config: Config,
    ended: Arc<EndSignal>,
}

impl Session {
    /// A session over `io`, in the role `mode`, and the future that drives it; the peer must have the other role.
    /// Nothing happens until the driver is polled.
    pub fn new<T>(io: T, config: Config, mode: Mode) -> (Self, SessionDriver<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let connection = Connection::new(io, config.clone(), mode).for_session();
        let ended = Arc::<EndSignal>::default();
        let handle = Handle { shared: connection.shared().clone(), config, ended: ended.clone() };
        (Self(Arc::new(handle)), SessionDriver { connection, ended: Ended(ended) })
    }

    /// Opens a stream; as [`Connection::poll_outbound`]. Callers who wait are woken together, in the order in which they
    /// came, and served in that in which they are polled then.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: only one of them is the end of the connection.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        let Handle { shared, config, .. } = &*self.0;
        let (mut caller, mut open) = (Caller::new(shared, WaitFor::Outbound), PendingOpen::default());
        let (key, id) = poll_fn(|cx| open.poll(shared, config, config.refused_open(), &mut caller.slot, cx)).await?;
        Ok(Stream::new(shared.clone(), key, id))
    }

    /// Accepts the oldest stream that the peer has opened, and acknowledges it; as [`Connection::poll_inbound`]. Callers who
    /// wait are served as those of [`open`](Session::open) are. What came before the end of the connection is accepted after
    /// it, also when the driver is gone; the last handle that is dropped drops the rest of it.
    ///
    /// # Errors
    ///
    /// Why the connection ended; [`ConnectionError::Closed`] where that was in good order.
    pub async fn accept(&self) -> Result<Stream, ConnectionError> {
        let shared = &self.0.shared;
        let mut caller = Caller::new(shared, WaitFor::Inbound);
        let (key, id) = poll_fn(|cx| shared.poll_accept(&mut caller.slot, cx)).await?;
        Ok(Stream::new(shared.clone(), key, id))
    }

    /// Measures the round-trip time: a [`Ping`] that is polled to its end. It leaves after this call, so the answer is a
    /// round trip old at most.
    ///
    /// # Errors
    ///
    /// [`PingError`].
    pub async fn ping(&self) -> Result<Duration, PingError> {
        Ping::new(self.0.shared.clone()).await
    }

    /// Tells the peer that it may open no more streams; as [`Connection::go_away`].
    pub fn go_away(&self) {
        self.0.shared.with(|inner| inner.mux.go_away());
    }

    /// Closes in good order, and waits for that; as [`Connection::poll_close`], with its bounds.
    ///
    /// # Errors
    ///
    /// Why the connection ended before that.
    pub async fn close(&self) -> Result<(), ConnectionError> {
        self.close_with(0).await
    }

    /// Closes like [`close`](Session::close), with a code that the peer sees; 0 is the same as that.
    ///
    /// # Errors
    ///
    /// Why the connection ended; with a code other than 0 that is [`ConnectionError::GoAway`], by this end where all
    /// went well.
    pub async fn close_with(&self, code: u32) -> Result<(), ConnectionError> {
        self.0.shared.with(|inner| inner.mux.close(code));
        let reason = self.closed().await;
        if reason.is_clean() { Ok(()) } else { Err(reason) }
    }

    /// Waits for the end of the connection, and tells the reason. Any number of callers may wait.
    pub async fn closed(&self) -> ConnectionError {
        let mut waiting = EndWait { ended: &self.0.ended, slot: WaiterSlot::Ticket(None) };
        poll_fn(|cx| {
            // Parked first, then checked: an end in between is not missed.
            waiting.ended.park(&mut waiting.slot, cx);
            self.0.shared.with(|inner| inner.reason()).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.0.shared.with(|inner| inner.mux.closed().is_some())
    }

    /// Streams that are open, at least half; those that wait to be accepted are counted.
    pub fn num_streams(&self) -> usize {
        self.0.shared.with(|inner| inner.mux.num_streams())
    }

    /// The last round-trip time that was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.0.shared.with(|inner| inner.mux.rtt())
    }

    /// The figures of the connection, as they are now.
    pub fn stats(&self) -> ConnectionStats {
        self.0.shared.stats()
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.0.shared.id()
    }
}

/// A caller that may have to wait. Dropping it leaves nothing behind.
struct Caller<'a> {
    shared: &'a Shared,
    wait_for: WaitFor,
    slot: WaiterSlot,
}

impl<'a> Caller<'a> {
    const fn new(shared: &'a Shared, wait_for: WaitFor) -> Self {
        Self { shared, wait_for, slot: WaiterSlot::Ticket(None) }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if self.slot.may_wait() {
            self.shared.with(|inner| inner.leave(self.wait_for, &mut self.slot));
        }
    }
}

/// A caller that waits for the end. Dropping it leaves nothing behind.
struct EndWait<'a> {
    ended: &'a EndSignal,
    slot: WaiterSlot,
}

impl Drop for EndWait<'_> {
    fn drop(&mut self) {
        self.ended.leave(&mut self.slot);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.with(|inner| inner.mux.drain(now));
    }
}

/// For logs: the [id](Session::id) of the connection.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.id())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Drives the connection of a [`Session`]: give it a task.
///
/// Its output is that of [`Connection::poll`]. Dropping it ends the connection at once, without a word to the peer.
#[must_use = "a session makes no progress unless its driver is polled"]
pub struct SessionDriver<T> {
    // Dropped before the tasks that wait for its end are woken.
    connection: Connection<T>,
    ended: Ended,
}

/// Wakes all tasks that wait for the end.
struct Ended(Arc<EndSignal>);

impl<T: AsyncRead + AsyncWrite + Unpin> Future for SessionDriver<T> {
    type Output = Result<(), ConnectionError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let ended = this.connection.poll(cx);
        if ended.is_ready() {
            this.ended.0.notify();
        }
        ended
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.notify();
    }
}

impl<T> fmt::Debug for SessionDriver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDriver").field("connection", &self.connection).finish()
    }
}
