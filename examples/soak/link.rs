//! A connection: both its ends, and the ways to kill it.

use crate::world::World;
use anyhow::Context as _;
use futures::FutureExt as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use sluicegate::{ConnectionError, Mode, Session};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinHandle};

pub(crate) struct Link {
    number: u64,
    /// The dialing end, and the listening end.
    pub(crate) ends: [Session; 2],
    drivers: [AbortHandle; 2],
    /// A duplicate of the dialing end's socket. While it exists, that end of the connection is not closed.
    socket: Mutex<Option<std::net::TcpStream>>,
    /// Whether the connection is being killed.
    doomed: AtomicBool,
}

/// A task that drives one end.
pub(crate) type Driver = JoinHandle<Result<(), ConnectionError>>;

/// How a connection is killed. The number is that of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// The socket is shut under both ends.
    Cut,
    /// One end is dropped, without a go-away.
    Drop(usize),
    /// One end closes in good order, with streams on it.
    Close(usize),
}

impl Kill {
    pub(crate) fn random(rng: &mut StdRng) -> Self {
        let end = rng.random_range(0..2);
        match rng.random_range(0..3) {
            0 => Self::Cut,
            1 => Self::Drop(end),
            _ => Self::Close(end),
        }
    }
}

impl Link {
    /// A connection from one node to the other. The slot decides which of them dials.
    pub(crate) async fn establish(world: &World, place: usize) -> anyhow::Result<(Self, [Driver; 2])> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let [one, other] = &world.nodes;
        let (dialing, dialed) = if place.is_multiple_of(2) { (one, other) } else { (other, one) };
        let (near, far) = dialed.dialed().await?;
        let (near, socket) = twice(near).context("a socket cannot be had twice")?;
        let (near, near_driver) = Session::over_tokio(near, dialing.config.clone(), Mode::Client);
        let (far, far_driver) = Session::over_tokio(far, dialed.config.clone(), Mode::Server);
        let drivers = [tokio::spawn(near_driver), tokio::spawn(far_driver)];
        let link = Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            ends: [near, far],
            drivers: drivers.each_ref().map(JoinHandle::abort_handle),
            socket: Mutex::new(Some(socket)),
            doomed: AtomicBool::new(false),
        };
        Ok((link, drivers))
    }

    /// The connection is being killed from now on.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::SeqCst)
    }

    pub(crate) fn kill(&self, how: Kill) {
        self.doom();
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        match how {
            // The connection may have shut the socket itself a moment ago.
            Kill::Cut => drop(socket.map(|socket| socket.shutdown(Shutdown::Both))),
            Kill::Drop(end) => {
                drop(socket);
                self.drivers[end].abort();
            }
            // The close goes on although its future is dropped.
            Kill::Close(end) => drop(self.ends[end].close().now_or_never()),
        }
    }
}

/// A socket and its duplicate.
fn twice(socket: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let socket = socket.into_std()?;
    let again = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, again))
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.number)
    }
}
