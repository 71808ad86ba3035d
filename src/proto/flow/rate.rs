//! Owns [`Rate`]: the bandwidth estimate of one stream, which is how fast it is read, and what a peer that waits for credit
//! tells of the round trip.
//!
//! Pure arithmetic over bytes, times and the round-trip time. The window that it sizes is in `window`.

use crate::proto::limits::{CREDIT_LEFT, TRAIN_GROWTH, TRAIN_SPAN};
use std::time::Duration;
use web_time::Instant;

/// How fast a stream is read.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// Whether the window has grown by what the peer has not been told of.
    pub(super) enlarged: bool,
    /// What of that which came when the measuring began has not been read: it is not counted.
    pub(super) at_once: u32,
    /// Whether anything was read since then: what comes later has not come at that moment, though a coarse clock shows it.
    pub(super) begun: bool,
    /// What was read since then, which is at least a round trip ago where the window grows by it.
    pub(super) bytes: u32,
    /// What of `bytes` had arrived before: it says nothing of how fast the link is.
    pub(super) early: u32,
    /// What it is when all is read that the peer could send then; 0 once that was looked at. If it took less than a round
    /// trip, the peer has had to wait for credit.
    pub(super) goal: u32,
    /// How large the window should be by that; 0 while it is not known.
    pub(super) train: u32,
    pub(super) since: Instant,
    /// Credit that the peer cannot have used before it had what it was given at `granted`; 0 where that is over.
    pub(super) beyond: u32,
    pub(super) granted: Instant,
    /// For how long it has waited for that.
    pub(super) waited: Option<Duration>,
}

impl Rate {
    /// The peer is given so much.
    pub(super) fn granted(&mut self, bytes: u32, now: Instant) {
        if self.beyond == 0 {
            self.granted = now;
        }
        self.beyond = self.beyond.saturating_add(bytes);
    }

    /// The first byte has come that the peer could not send before it had that. If it had used up what it had before, and the
    /// whole connection was silent for a good part of the time since, it has waited for just that (Y-FLOW-12).
    #[cold]
    pub(super) fn crossed(&mut self, credit: u32, quiet: Instant, now: Instant) {
        let left = credit.saturating_sub(std::mem::take(&mut self.beyond));
        let (round_trip, silence) = (now.saturating_duration_since(self.granted), now.saturating_duration_since(quiet));
        if left <= CREDIT_LEFT && silence.saturating_mul(4) >= round_trip {
            self.waited = Some(round_trip);
        }
    }

    pub(super) fn read(&mut self, bytes: u32) {
        self.begun = true;
        let counted = bytes.saturating_sub(self.at_once);
        if self.at_once > 0 {
            self.at_once = self.at_once.saturating_sub(bytes);
        }
        self.bytes = self.bytes.saturating_add(counted);
    }

    /// How fast what there was came in less than a round trip. If it was all that the peer could send to a window of this
    /// `size`, it has had to wait, since what it was given meanwhile cannot have reached it: then that says how large the
    /// window should be.
    pub(super) fn look_at_train(&mut self, size: u32, spent: bool, rtt: Duration, elapsed: Duration) {
        let arrived = self.bytes.saturating_sub(self.early);
        if arrived < size / 4 {
            return;
        }
        // What comes faster may have waited for this end to read it.
        let believed = elapsed >= TRAIN_SPAN;
        let read = per_round_trip(arrived, rtt, elapsed.max(TRAIN_SPAN));
        if spent {
            let most = size.saturating_mul(if believed { TRAIN_GROWTH } else { 2 });
            self.train = read.saturating_mul(2).min(most);
        }
    }
}

/// `bytes` in `elapsed` are so many in a round trip, as far as 32 bits go.
pub(super) fn per_round_trip(bytes: u32, rtt: Duration, elapsed: Duration) -> u32 {
    let bytes = u128::from(bytes).saturating_mul(rtt.as_nanos()).checked_div(elapsed.as_nanos());
    bytes.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(u32::MAX)
}
