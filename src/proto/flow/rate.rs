//! Owns [`Rate`]: the bandwidth estimate of one stream, from how fast its application reads, and the round trips seen
//! by a peer that waits for credit.
//!
//! Pure arithmetic over bytes, times and the round-trip time. The window that it sizes is in `window`.

use crate::proto::limits::{CREDIT_LEFT, TRAIN_GROWTH, TRAIN_SPAN};
use std::time::Duration;
use web_time::Instant;

/// The bandwidth estimate of one stream: how many bytes are read in which time.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// Whether the window has grown by credit that the peer has not been told of.
    pub(super) enlarged: bool,
    /// Unread bytes among those that arrived at the very moment the measurement began. They are not counted.
    pub(super) at_once: u32,
    /// Whether anything was read since the measurement began. Bytes that arrive later are not of its first moment, even
    /// if a coarse clock shows the same time.
    pub(super) begun: bool,
    /// Bytes read since the measurement began. That is at least a round trip ago where the window grows by the rate.
    pub(super) bytes: u32,
    /// Bytes of `bytes` that had arrived before the measurement began: they say nothing of the link's bandwidth.
    pub(super) early: u32,
    /// Value of `bytes` once everything is read that the peer could send when the measurement began; 0 after that was
    /// reviewed. If it took less than a round trip, the peer had to wait for credit.
    pub(super) goal: u32,
    /// Window size that the reviewed measurement asks for; 0 while it is not known.
    pub(super) train: u32,
    pub(super) since: Instant,
    /// Credit that the peer can only use after it has received the window update of `granted`; 0 where the peer has
    /// used some of it.
    pub(super) beyond: u32,
    pub(super) granted: Instant,
    /// Time that the peer has waited for that credit.
    pub(super) waited: Option<Duration>,
    /// The most credit that the peer may have, while the stream makes way for more urgent ones.
    pub(super) limit: u32,
}

impl Rate {
    /// A window update grants the peer `bytes` of credit.
    pub(super) fn granted(&mut self, bytes: u32, now: Instant) {
        if self.beyond == 0 {
            self.granted = now;
        }
        self.beyond = self.beyond.saturating_add(bytes);
    }

    /// The first byte has arrived that the peer could send only after the last window update. If the peer had used up
    /// its credit before, and the whole connection was silent for a good part of the time since, the peer has waited
    /// for just that update (Y-FLOW-12).
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

    /// Sizes the window by bytes that arrived in less than a round trip. If they were all that the peer could send in a
    /// window of this `size`, the peer had to wait: credit granted meanwhile cannot have reached it.
    pub(super) fn look_at_train(&mut self, size: u32, spent: bool, rtt: Duration, elapsed: Duration) {
        let arrived = self.bytes.saturating_sub(self.early);
        if arrived < size / 4 {
            return;
        }
        // Bytes that arrive faster may have waited for this end to read them.
        let believed = elapsed >= TRAIN_SPAN;
        let read = per_round_trip(arrived, rtt, elapsed.max(TRAIN_SPAN));
        if spent {
            let most = size.saturating_mul(if believed { TRAIN_GROWTH } else { 2 });
            self.train = read.saturating_mul(2).min(most);
        }
    }
}

/// Bytes in a round trip at the rate of `bytes` in `elapsed`, saturated at 32 bits.
pub(super) fn per_round_trip(bytes: u32, rtt: Duration, elapsed: Duration) -> u32 {
    let bytes = u128::from(bytes).saturating_mul(rtt.as_nanos()).checked_div(elapsed.as_nanos());
    bytes.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(u32::MAX)
}
