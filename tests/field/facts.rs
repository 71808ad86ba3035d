//! What has happened to a connection as a whole: [`Facts`], by which its end is explained.

use crate::signs::Signs;
use sluicegate::ConnectionError;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// When something happened; among what happens at one time, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub order: u64,
    pub time: Duration,
}

/// By end where there are two.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When it was closed there.
    pub closed: [Option<Moment>; 2],
    /// Its handles were dropped there.
    pub drained: [bool; 2],
    /// It said there that it takes no more streams.
    pub away: [bool; 2],
    /// The link was cut, or a driver dropped.
    pub cut: bool,
    /// The longest time for which nothing moved.
    pub outage: Duration,
    /// Memory is limited there.
    pub scarce: [bool; 2],
    /// Streams that wait there without being refused.
    pub backlog: [usize; 2],
    /// Pings may have to wait behind so much.
    pub queue_time: Duration,
    /// What each end has seen of its transport.
    pub signs: [Rc<RefCell<Signs>>; 2],
    /// The end whose driver was dropped when nothing was going on.
    pub vanished: Option<usize>,
}

/// What the documents say of time-outs: 10 s with bytes waiting and no sign of life, 40 s without one.
/// A coarse clock may see them pass a little sooner.
const STANDS_STILL: Duration = Duration::from_millis(10_000 - 200);
const SILENCE: Duration = Duration::from_millis(40_000 - 200);

impl Facts {
    /// Whether bytes that were on their way may be lost.
    pub fn lost(&self) -> bool {
        self.cut
    }

    pub fn on_outage(&mut self, time: Duration) {
        self.outage = self.outage.max(time);
    }

    pub fn on_queue_time(&mut self, time: Duration) {
        self.queue_time = self.queue_time.max(time);
    }

    pub fn went_away(&self) -> bool {
        self.away[0] || self.away[1]
    }

    /// Whether that end wants no new streams.
    pub fn is_leaving(&self, side: usize) -> bool {
        self.closed[side].is_some() || self.drained[side] || self.away[side]
    }

    /// Whether the connection may end like this.
    pub fn explain_end(&self, side: usize, reason: &ConnectionError, now: Duration) -> bool {
        match reason {
            _ if self.cut => true,
            ConnectionError::Closed { .. } => {
                self.is_leaving(side) || self.is_leaving(1 - side) || self.vanished == Some(1 - side)
            }
            ConnectionError::Dropped => self.vanished == Some(side),
            // Whether a transport that is gone says so in good order is its own affair; an end of file is in order.
            ConnectionError::Io(error) => {
                self.vanished == Some(1 - side) && error.kind() != io::ErrorKind::UnexpectedEof
            }
            ConnectionError::WriteTimeout => {
                let signs = self.signs[side].borrow();
                signs.full(now) >= STANDS_STILL && signs.silence(now) >= STANDS_STILL
            }
            ConnectionError::KeepAliveTimeout => self.signs[side].borrow().silence(now) >= SILENCE,
            _ => false,
        }
    }

    /// Whether a ping may go unanswered.
    pub fn explain_lost_ping(&self) -> bool {
        self.cut || self.queue_time + self.outage >= STANDS_STILL.mul_f64(0.8)
    }
}
