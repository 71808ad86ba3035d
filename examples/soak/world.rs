//! What everybody shares.

use crate::Options;
use crate::link::Link;
use crate::node::Node;
use crate::tally::Tally;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{RwLock, watch};

/// How long anything may take. Who waits longer is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) nodes: [Node; 2],
    pub(crate) tally: Tally,
    /// Held by whoever has a stream open or kills a connection; alone by whoever wants all to be quiet.
    pub(crate) activity: RwLock<()>,
    /// Streams that each end of a connection has open at once, at most.
    pub(crate) streams: u64,
    seed: u64,
    /// The connections, each in its place.
    places: Vec<Mutex<Option<Arc<Link>>>>,
    stop: watch::Sender<bool>,
}

impl World {
    pub(crate) async fn new(options: &Options, budget: usize) -> anyhow::Result<Self> {
        Ok(Self {
            nodes: [Node::listen(budget).await?, Node::listen(budget).await?],
            tally: Tally::default(),
            activity: RwLock::new(()),
            streams: options.streams.into(),
            seed: options.seed,
            places: (0..options.connections).map(|_| Mutex::default()).collect(),
            stop: watch::Sender::new(false),
        })
    }

    pub(crate) fn num_places(&self) -> usize {
        self.places.len()
    }

    /// The connection in a place, unless it is just being replaced.
    pub(crate) fn link(&self, place: usize) -> Option<Arc<Link>> {
        self.places.get(place)?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn put(&self, place: usize, link: Option<Arc<Link>>) {
        if let Some(kept) = self.places.get(place) {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = link;
        }
    }

    /// Random numbers of one's own: another number, another sequence.
    pub(crate) fn rng(&self, number: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number)
    }

    /// No new streams, and no new connections.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) async fn stopped(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }
}
