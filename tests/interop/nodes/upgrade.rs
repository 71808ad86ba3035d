//! The muxer of our node, with a tap between it and Noise.

use crate::tap::{Tap, Wire};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use sluicegate::Config;
use std::sync::{Arc, Mutex};

/// Upgrades a connection like the `Config` in it, and shows what crosses.
#[derive(Clone)]
pub struct Tapped {
    pub config: Config,
    /// The wire of the last connection.
    pub wire: Arc<Mutex<Option<Wire>>>,
}

impl Tapped {
    fn tap<C>(&self, io: C) -> Tap<C> {
        let (io, wire) = Tap::new(io);
        *self.wire.lock().unwrap() = Some(wire);
        io
    }
}

impl UpgradeInfo for Tapped {
    type Info = <Config as UpgradeInfo>::Info;
    type InfoIter = <Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.config.protocol_info()
    }
}

impl<C> InboundConnectionUpgrade<C> for Tapped
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = <Config as InboundConnectionUpgrade<Tap<C>>>::Output;
    type Error = <Config as InboundConnectionUpgrade<Tap<C>>>::Error;
    type Future = <Config as InboundConnectionUpgrade<Tap<C>>>::Future;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        let io = self.tap(io);
        self.config.upgrade_inbound(io, info)
    }
}

impl<C> OutboundConnectionUpgrade<C> for Tapped
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = <Config as OutboundConnectionUpgrade<Tap<C>>>::Output;
    type Error = <Config as OutboundConnectionUpgrade<Tap<C>>>::Error;
    type Future = <Config as OutboundConnectionUpgrade<Tap<C>>>::Future;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        let io = self.tap(io);
        self.config.upgrade_outbound(io, info)
    }
}
