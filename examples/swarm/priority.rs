//! Priority for one stream of a Swarm.
//!
//! A Swarm hands out its streams in a box, out of which [`sluicegate::Stream::set_priority`] cannot be reached. What can
//! be done without it is done here: the multiplexer upgrade is wrapped, and the wrapper sees every stream while it still
//! has its own type. Its rule is this example's: **the first stream of a connection, whoever opened it, is urgent**, and
//! the example opens its ping stream first.

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use sluicegate::{Config, Connection, ConnectionError, Priority, Stream};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Upgrades a connection like the `Config` in it; its first stream gets another priority.
#[derive(Clone, Debug)]
pub(crate) struct FirstStreamUrgent {
    pub(crate) config: Config,
    pub(crate) priority: Priority,
}

/// The muxer that [`FirstStreamUrgent`] makes.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: Connection<C>,
    /// Until the first stream has been seen.
    first: Option<Priority>,
}

impl UpgradeInfo for FirstStreamUrgent {
    type Info = <Config as UpgradeInfo>::Info;
    type InfoIter = <Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.config.protocol_info()
    }
}

impl<C> InboundConnectionUpgrade<C> for FirstStreamUrgent
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Muxer<C>, Infallible>>;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        let Self { config, priority } = self;
        config.upgrade_inbound(io, info).map_ok(move |connection| Muxer::new(connection, priority)).boxed()
    }
}

impl<C> OutboundConnectionUpgrade<C> for FirstStreamUrgent
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Muxer<C>, Infallible>>;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        let Self { config, priority } = self;
        config.upgrade_outbound(io, info).map_ok(move |connection| Muxer::new(connection, priority)).boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let stream = ready!(StreamMuxer::poll_inbound(Pin::new(&mut self.connection), cx))?;
        Poll::Ready(Ok(self.prioritised(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let stream = ready!(StreamMuxer::poll_outbound(Pin::new(&mut self.connection), cx))?;
        Poll::Ready(Ok(self.prioritised(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        StreamMuxer::poll_close(Pin::new(&mut self.connection), cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        StreamMuxer::poll(Pin::new(&mut self.connection), cx)
    }
}

impl<C> Muxer<C> {
    fn new(connection: Connection<C>, priority: Priority) -> Self {
        Self { connection, first: Some(priority) }
    }

    fn prioritised(&mut self, stream: Stream) -> Stream {
        if let Some(priority) = self.first.take() {
            stream.set_priority(priority);
        }
        stream
    }
}
