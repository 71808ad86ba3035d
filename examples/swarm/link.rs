//! A link with a rate, for what loopback is not: slower than its two ends.
//!
//! Where the link is the bottleneck, data waits in front of it in the sender's muxer, and priorities decide who goes
//! first. On bare loopback it waits in the kernel's socket buffers, several MiB of them, where no muxer can overtake.

use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Upgrades a connection like the upgrade in it, on a link that sends so many bytes a second. 0 is no limit.
#[derive(Clone, Debug)]
pub(crate) struct OverLink<U> {
    pub(crate) upgrade: U,
    pub(crate) rate: u64,
}

impl<U: UpgradeInfo> UpgradeInfo for OverLink<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.upgrade.protocol_info()
    }
}

impl<C, U: InboundConnectionUpgrade<Link<C>>> InboundConnectionUpgrade<C> for OverLink<U> {
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        self.upgrade.upgrade_inbound(Link::new(io, self.rate), info)
    }
}

impl<C, U: OutboundConnectionUpgrade<Link<C>>> OutboundConnectionUpgrade<C> for OverLink<U> {
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        self.upgrade.upgrade_outbound(Link::new(io, self.rate), info)
    }
}

/// A transport that takes no more than its rate.
#[derive(Debug)]
pub(crate) struct Link<C> {
    io: C,
    rate: u64,
    /// When all that was taken has been sent, at this rate.
    busy_until: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<C> Link<C> {
    /// What may be taken ahead: a timer is not more precise than this.
    const AHEAD: Duration = Duration::from_millis(1);

    fn new(io: C, rate: u64) -> Self {
        Self { io, rate, busy_until: Instant::now(), alarm: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// Waits until the link has room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.busy_until > Instant::now() + Self::AHEAD {
            self.alarm.as_mut().reset((self.busy_until - Self::AHEAD).into());
            if self.alarm.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Link<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Link<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.rate == 0 {
            return Pin::new(&mut self.io).poll_write(cx, buf);
        }
        if self.poll_room(cx).is_pending() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = written {
            let time = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
            self.busy_until = self.busy_until.max(Instant::now()) + time;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
