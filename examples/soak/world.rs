//! The state that all tasks share.

use crate::Options;
use crate::link::Link;
use crate::node::Node;
use crate::tally::Tally;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{RwLock, watch};

/// How long one operation may take. A task that waits longer is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) nodes: [Node; 2],
    pub(crate) tally: Tally,
    /// Held shared by a task with an open stream or one that kills a connection, and exclusively for a quiet point.
    pub(crate) activity: RwLock<()>,
    /// Streams that each end of a connection has open at once, at most.
    pub(crate) streams: u64,
    seed: u64,
    /// The connections, each in its slot.
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

    /// The connection in a slot, unless it is being replaced.
    pub(crate) fn link(&self, place: usize) -> Option<Arc<Link>> {
        self.places.get(place)?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn put(&self, place: usize, link: Option<Arc<Link>>) {
        if let Some(kept) = self.places.get(place) {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = link;
        }
    }

    /// A random number generator for one task: each number gives another sequence.
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
        // This holds the sender, so the channel is open.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }
}
