//! The traits of libp2p: connection upgrades and `StreamMuxer`. The only module that names `libp2p_core`.
//!
//! Owns what `libp2p` expects of a muxer: an error ends the whole connection, so what concerns one stream is never an error here.

use crate::config::{Config, RefusedOpen};
use crate::connection::Connection;
use crate::error::{ConnectionError, OpenError, Side};
use crate::mode::Mode;
use crate::multistream::Negotiation;
use crate::stream::Stream;
use futures::future::{Ready, ready};
use futures::{AsyncRead, AsyncWrite};
use libp2p_core::UpgradeInfo;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use std::convert::Infallible;
use std::iter::{Once, once};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The name that is negotiated, fixed by the specification of libp2p.
const PROTOCOL: &str = "/yamux/1.0.0";

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        once(PROTOCOL)
    }
}

impl<C> InboundConnectionUpgrade<C> for Config
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Connection<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Connection::new(io, self, Mode::Server)))
    }
}

impl<C> OutboundConnectionUpgrade<C> for Config
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Connection<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Connection::new(io, self, Mode::Client)))
    }
}

impl<C> StreamMuxer for Connection<C>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let this = self.get_mut();
        let accepted = Self::poll_inbound(this, cx).map_ok(|stream| negotiating(this.config(), stream, Side::Remote));
        if accepted.is_ready() {
            this.has_accepted(cx);
        }
        accepted
    }

    /// A stream that cannot be opened is waited for, with memory as with the backlog: an error would end the connection.
    /// The swarm gives up on its own time; where no stream will ever be opened, only the end of the connection is left, which
    /// comes with the last stream or after [`Config::drain_timeout`]; it is kept back as in `poll`.
    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let this = self.get_mut();
        match this.poll_open(RefusedOpen::Wait, cx) {
            Poll::Ready(Ok(stream)) => Poll::Ready(Ok(negotiating(this.config(), stream, Side::Local))),
            Poll::Ready(Err(OpenError::Connection(reason))) => this.poll_backlog(cx).map(|()| Err(reason)),
            Poll::Ready(Err(_)) => {
                let reason = ready!(this.poll_opener_end(cx));
                this.poll_backlog(cx).map(|()| Err(reason))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let this = self.get_mut();
        this.close_muxer();
        Self::poll_close(this, cx)
    }

    /// The end of the connection is an error here, and drops the muxer: it is kept back while there are streams to accept
    /// that came before it, for a second after the last one that was accepted.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let this = self.get_mut();
        let polled = Self::poll(this, cx);
        if polled.is_ready() {
            ready!(this.poll_backlog(cx));
        }
        match polled {
            Poll::Ready(Ok(())) => {
                Poll::Ready(Err(this.closed().unwrap_or(ConnectionError::Closed { by: Side::Remote })))
            }
            Poll::Ready(Err(reason)) => Poll::Ready(Err(reason)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A protocol is going to be negotiated on a stream that was opened `by` one of the ends.
fn negotiating(config: &Config, mut stream: Stream, by: Side) -> Stream {
    stream.follow(Negotiation::new(config.priority_by_protocol().cloned(), by));
    stream
}
