//! [`Connection`]: a transport with streams on it, driven poll by poll.
//!
//! Owns the driver and what a caller may wait for on a connection. Only `poll` and `poll_close` do IO.

use crate::config::{Config, RefusedOpen};
use crate::error::{ConnectionError, OpenError};
use crate::mode::Mode;
use crate::ping::Ping;
use crate::proto::Mux;
#[cfg(feature = "libp2p")]
use crate::shell::{AcceptGrace, WaitFor};
use crate::shell::{Driver, PendingOpen, Shared, WaiterSlot};
use crate::stats::{ConnectionStats, NodeStats, Source};
use crate::stream::Stream;
use futures::{AsyncRead, AsyncWrite};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A yamux connection over a transport.
///
/// [`poll`](Connection::poll) moves the bytes of every stream and must be called whenever the task is woken; the other
/// `poll_*` methods work from memory and only ever wait for it. Each of them keeps one waker: the last caller's.
///
/// ```
/// # futures::executor::block_on(async {
/// use futures::{AsyncReadExt, AsyncWriteExt, future};
/// use sluicegate::{Config, Connection, Mode};
///
/// # let (near, far) = sluicegate_doc_pipe();
/// let mut client = Connection::new(near, Config::default(), Mode::Client);
/// let mut server = Connection::new(far, Config::default(), Mode::Server);
///
/// let mut asking = future::poll_fn(|cx| client.poll_outbound(cx)).await?;
/// let talk = async {
///     asking.write_all(b"hello").await?;
///     asking.close().await?;
///     let mut answer = Vec::new();
///     asking.read_to_end(&mut answer).await?;
///     Ok::<_, std::io::Error>(answer)
/// };
/// let echo = async {
///     let mut stream = future::poll_fn(|cx| {
///         let _ = server.poll(cx);
///         server.poll_inbound(cx)
///     })
///     .await?;
///     let mut question = Vec::new();
///     let read = stream.read_to_end(&mut question);
///     future::select(Box::pin(read), future::poll_fn(|cx| server.poll(cx))).await;
///     let write = async {
///         stream.write_all(&question).await?;
///         stream.close().await
///     };
///     future::select(Box::pin(write), future::poll_fn(|cx| server.poll(cx))).await;
///     Ok::<_, std::io::Error>(())
/// };
/// let drive = future::poll_fn(|cx| client.poll(cx));
/// let both = future::try_join(talk, echo);
/// if let future::Either::Left((done, _)) = future::select(Box::pin(both), drive).await {
///     assert_eq!(done?.0, b"hello");
/// }
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap();
/// # fn sluicegate_doc_pipe() -> (impl futures::AsyncRead + futures::AsyncWrite + Unpin, impl futures::AsyncRead + futures::AsyncWrite + Unpin) {
/// #     use tokio_util::compat::TokioAsyncReadCompatExt;
/// #     let (near, far) = tokio::io::duplex(1024);
/// #     (near.compat(), far.compat())
/// # }
/// ```
///
/// # Ends
///
/// Whatever ends the connection, every stream and every waiting call learns of it, once the peer has been told as well
/// as can be (at most two seconds). Polled after that, every method gives the same answer again. Dropping a connection
/// ends it at once, without a word to the peer: use [`poll_close`](Connection::poll_close).
pub struct Connection<T> {
    driver: Driver<T>,
    shared: Arc<Shared>,
    config: Config,
    opener: PendingOpen,
    /// Who accepts streams when it has been dropped.
    acceptor: Acceptor,
    #[cfg(feature = "libp2p")]
    accept_grace: AcceptGrace,
    /// The place among the connections of the node. Given up also where freeing memory panics.
    _listed: Option<Listed>,
}

/// Who accepts the streams that nobody has accepted when a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptor {
    Nobody,
    /// The handles of a session.
    Session,
}

/// A connection that its node counts.
#[derive(Debug)]
struct Listed {
    stats: NodeStats,
    id: u64,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// A connection over `io`, in the role `mode`; the peer must have the other one. Nothing happens until it is polled.
    pub fn new(io: T, config: Config, mode: Mode) -> Self {
        let mux = Mux::new(mode, config.clone(), rand::random(), config.clock().now());
        let shared = Arc::new(Shared::new(mux));
        let listed = config.stats().map(|stats| Listed::new(stats, &shared));
        let driver = Driver::new(io, shared.clone(), config.clone());
        let opener = PendingOpen::default();
        Self {
            driver,
            shared,
            config,
            opener,
            acceptor: Acceptor::Nobody,
            #[cfg(feature = "libp2p")]
            accept_grace: AcceptGrace::default(),
            _listed: listed,
        }
    }

    /// Leaves what was not accepted to the handles of a session when it is dropped.
    pub(crate) fn for_session(mut self) -> Self {
        self.acceptor = Acceptor::Session;
        self
    }

    /// Moves bytes both ways. Ready when the connection is over: `Ok` when it was closed in good order by either side.
    ///
    /// # Errors
    ///
    /// Why the connection ended otherwise.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.driver.poll(cx).map(|reason| if reason.is_clean() { Ok(()) } else { Err(reason) })
    }

    /// Opens a stream. Nothing is sent until it is written to, flushed, closed or read.
    ///
    /// Pending while `accept_backlog` streams wait for the peer to acknowledge them. When the memory manager refuses
    /// the window, [`Config::refused_open`] decides. Nothing is kept between calls that could leak: give up at any time.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: only one of them is the end of the connection.
    pub fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, OpenError>> {
        self.poll_open(self.config.refused_open(), cx)
    }

    pub(crate) fn poll_open(&mut self, refused: RefusedOpen, cx: &mut Context<'_>) -> Poll<Result<Stream, OpenError>> {
        let opened = self.opener.poll(&self.shared, &self.config, refused, &mut WaiterSlot::Single, cx);
        opened.map_ok(|(key, id)| Stream::new(self.shared.clone(), key, id))
    }

    /// Waits for the end of the connection, in the slot of `poll_outbound`.
    #[cfg(feature = "libp2p")]
    pub(crate) fn poll_opener_end(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        let now = self.shared.now();
        self.shared.with(|inner| match inner.reason() {
            Some(reason) => Poll::Ready(reason),
            None => {
                inner.mux.wait_for_end(now);
                inner.park(WaitFor::Outbound, &mut WaiterSlot::Single, cx);
                Poll::Pending
            }
        })
    }

    /// Ready when the end of the connection can be reported: no stream waits to be accepted, or the application accepts none.
    #[cfg(feature = "libp2p")]
    pub(crate) fn poll_backlog(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.accept_grace.poll(&self.shared, cx)
    }

    /// A stream was accepted.
    #[cfg(feature = "libp2p")]
    pub(crate) fn has_accepted(&mut self, cx: &Context<'_>) {
        self.accept_grace.accepted(cx);
    }

    /// Accepts the oldest stream that the peer has opened, and acknowledges it. Not calling this is back-pressure: after
    /// `accept_backlog` streams the peer waits, or is refused.
    ///
    /// Streams that came before the end of the connection are accepted after it, too, and read: all of them where that was in
    /// good order, otherwise those that are complete or on which bytes have arrived. Then comes the error.
    ///
    /// # Errors
    ///
    /// Why the connection ended; [`ConnectionError::Closed`] where that was in good order.
    pub fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let accepted = self.shared.poll_accept(&mut WaiterSlot::Single, cx);
        accepted.map_ok(|(key, id)| Stream::new(self.shared.clone(), key, id))
    }

    /// Measures the round-trip time: a future to be polled beside [`poll`](Connection::poll), which sends the ping. Any
    /// number of them may be under way.
    ///
    /// ```
    /// # async fn example<T: futures::AsyncRead + futures::AsyncWrite + Unpin>(mut connection: sluicegate::Connection<T>) {
    /// use std::future::{Future, poll_fn};
    /// use std::pin::Pin;
    ///
    /// let mut ping = connection.ping();
    /// let answered = poll_fn(|cx| {
    ///     let _ = connection.poll(cx);
    ///     Pin::new(&mut ping).poll(cx)
    /// });
    /// println!("round trip: {:?}", answered.await);
    /// # }
    /// ```
    pub fn ping(&self) -> Ping {
        Ping::new(self.shared.clone())
    }

    /// Closes in good order: what was written goes out, then the go-away; the write side of the transport is shut and
    /// what the peer still sends is discarded, until the peer has ended its side or said go-away too, for at most a second.
    /// Ready when that is done; streams fail then, after the bytes that they have received. It takes as long as the
    /// transport needs, and fails with [`ConnectionError::WriteTimeout`] where that stands still, which is that it takes
    /// nothing and gives nothing for `connection_write_timeout`, or after [`Config::close_timeout`].
    ///
    /// # Errors
    ///
    /// Why the connection ended before that.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.shared.with(|inner| inner.mux.close(0));
        self.poll(cx)
    }

    /// What comes before that where it is a swarm that closes, and drops its streams.
    #[cfg(feature = "libp2p")]
    pub(crate) fn close_muxer(&mut self) {
        let now = self.shared.now();
        self.shared.with(|inner| inner.mux.close_muxer(now));
    }

    /// Closes like [`poll_close`](Connection::poll_close), with a code that the peer sees; 0 is the same as that. The
    /// work is done by [`poll`](Connection::poll).
    pub fn close_with(&mut self, code: u32) {
        self.shared.with(|inner| inner.mux.close(code));
    }

    /// Tells the peer that it may open no more streams. Those that are open live on, and the peer closes the connection when
    /// the last of them has ended. Opening streams from this end does not fail: it works, or waits for the backlog, though
    /// the peer may reset what is opened (Y-AWAY-1).
    pub fn go_away(&mut self) {
        self.shared.with(|inner| inner.mux.go_away());
    }

    /// Streams that are open, at least half; those that wait to be accepted are counted.
    pub fn num_streams(&self) -> usize {
        self.shared.with(|inner| inner.mux.num_streams())
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.closed().is_some()
    }

    /// Why the connection is over, once it is.
    pub fn closed(&self) -> Option<ConnectionError> {
        self.shared.with(|inner| inner.mux.closed().cloned())
    }

    /// The last round-trip time that was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared.with(|inner| inner.mux.rtt())
    }

    /// The figures of the connection, as they are now.
    pub fn stats(&self) -> ConnectionStats {
        self.shared.stats()
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.shared.id()
    }

    #[cfg(feature = "libp2p")]
    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The transport, for its addresses and options.
    pub const fn get_ref(&self) -> &T {
        self.driver.io()
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.mux.fail(ConnectionError::Dropped, now);
            inner.end();
            if self.acceptor == Acceptor::Nobody {
                inner.mux.drain(now);
            }
        });
    }
}

impl Listed {
    fn new(stats: &NodeStats, shared: &Arc<Shared>) -> Self {
        stats.enter(shared.id(), shared.clone());
        Self { stats: stats.clone(), id: shared.id() }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.stats.leave(self.id);
    }
}

/// For logs: the [id](Connection::id).
impl<T> fmt::Display for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.shared.id())
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.shared.id()).finish_non_exhaustive()
    }
}
