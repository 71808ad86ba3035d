//! Owns [`Control`]: control frames owed to the peer for the connection as a whole, in bounded rings and single bits
//! (Y-SEND-4).
//!
//! Each ring has three thresholds. From half of its size on, the driver writes before it reads. Beyond its size, the
//! connection ends when the transport takes nothing for the write timeout. At its hard limit, a few times its size, the
//! driver reads nothing (Y-LIMIT-4).

use crate::error::Violation;
use crate::proto::limits::{PONGS_MOST, REFUSALS_MOST, REFUSALS_OWED};
use crate::wire::{Flags, Header, PingKind, StreamId};
use std::collections::VecDeque;
use std::time::Duration;
use web_time::Instant;

/// Pongs, resets of refused streams and a go-away that wait for the transport.
#[derive(Debug)]
pub(in crate::proto) struct Control {
    pongs: VecDeque<u32>,
    refusals: VecDeque<(StreamId, u32)>,
    go_away: Option<u32>,
    /// Size of the ring of pongs: `ping_backlog`.
    backlog: usize,
    /// Whether a ring is at least half full.
    half: bool,
    /// Since when the transport is full.
    full: Option<Instant>,
    /// Whether the transport has ever taken a batch.
    took: bool,
    /// Only a go-away is sent any more, so no other frame is owed either.
    mute: bool,
}

impl Control {
    pub(in crate::proto) const fn new(backlog: usize) -> Self {
        Self {
            pongs: VecDeque::new(),
            refusals: VecDeque::new(),
            go_away: None,
            backlog,
            half: false,
            full: None,
            took: false,
            mute: false,
        }
    }

    /// Owes a pong (Y-PING-4).
    pub(in crate::proto) fn owe_pong(&mut self, nonce: u32) -> Result<(), Violation> {
        if self.mute {
            return Ok(());
        }
        if self.pongs.len() >= self.pongs_most() {
            return Err(Violation::PingFlood);
        }
        self.pongs.push_back(nonce);
        self.look();
        Ok(())
    }

    /// Owes a reset for a stream that is not there (Y-LIMIT-3).
    pub(in crate::proto) fn owe_reset(&mut self, id: StreamId, code: u32) -> Result<(), Violation> {
        if self.mute {
            return Ok(());
        }
        if self.refusals.len() >= REFUSALS_MOST {
            return Err(Violation::RefusedFlood);
        }
        self.refusals.push_back((id, code));
        self.look();
        Ok(())
    }

    /// The id now belongs to another stream: a reset of the previous one is not owed any more.
    pub(in crate::proto) fn cancel_reset(&mut self, id: StreamId) {
        if !self.refusals.is_empty() {
            self.refusals.retain(|(other, _)| *other != id);
            self.look();
        }
    }

    /// Whether owed frames have to be written before more input is applied (Y-LIMIT-4): from half of a ring on unless
    /// the transport is full, since a blocked write does not stop reading; and at the hard limit of a ring. A transport
    /// that has never taken a byte is not waited for.
    pub(in crate::proto) fn must_write(&self) -> bool {
        self.half && (self.full.is_none() || (self.holds_no_more() && self.took))
    }

    /// The violation of a peer that made this end owe more than a ring is for and has read none of it in time.
    pub(in crate::proto) fn overdue(&self, timeout: Duration, now: Instant) -> Option<Violation> {
        self.overdue_at(timeout).filter(|at| now >= *at)?;
        Some(if self.pongs.len() > self.backlog { Violation::PingFlood } else { Violation::RefusedFlood })
    }

    /// When that is due, unless the transport takes bytes before.
    pub(in crate::proto) fn overdue_at(&self, timeout: Duration) -> Option<Instant> {
        let over = self.half && (self.pongs.len() > self.backlog || self.refusals.len() > REFUSALS_OWED);
        self.full.filter(|_| over)?.checked_add(timeout)
    }

    /// The transport is full.
    pub(in crate::proto) fn transport_is_full(&mut self, now: Instant) {
        self.full.get_or_insert(now);
    }

    /// A batch was written.
    pub(in crate::proto) const fn batch_written(&mut self) {
        self.took = true;
    }

    /// The transport has taken bytes. Returns whether it was full before.
    pub(in crate::proto) const fn transport_took(&mut self) -> bool {
        self.took = true;
        self.full.take().is_some()
    }

    /// Only a go-away is sent from here on: forgets the frames owed, and ignores later ones.
    pub(in crate::proto) fn mute(&mut self) {
        (self.pongs, self.refusals) = (VecDeque::new(), VecDeque::new());
        (self.half, self.mute) = (false, true);
    }

    fn holds_no_more(&self) -> bool {
        self.pongs.len() >= self.pongs_most() || self.refusals.len() >= REFUSALS_MOST
    }

    fn pongs_most(&self) -> usize {
        self.backlog.max(PONGS_MOST)
    }

    fn look(&mut self) {
        self.half = self.pongs.len() >= self.backlog.div_ceil(2) || self.refusals.len() >= REFUSALS_OWED / 2;
    }

    pub(in crate::proto) const fn owe_go_away(&mut self, code: u32) {
        self.go_away = Some(code);
    }

    pub(in crate::proto) fn take_go_away(&mut self) -> Option<Header> {
        self.go_away.take().map(|code| Header::GoAway { code })
    }

    /// The next frame to send.
    pub(in crate::proto) fn next(&mut self) -> Option<Header> {
        if let Some(header) = self.take_go_away() {
            return Some(header);
        }
        if let Some(nonce) = self.pongs.pop_front() {
            self.look();
            return Some(Header::Ping { kind: PingKind::Response, nonce });
        }
        let (id, code) = self.refusals.pop_front()?;
        self.look();
        Some(Header::WindowUpdate { id, flags: Flags::RST, value: code })
    }

    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.go_away.is_none() && self.pongs.is_empty() && self.refusals.is_empty()
    }

    /// Frees the storage of empty rings.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets all owed frames, and frees their memory.
    pub(in crate::proto) fn clear(&mut self) {
        (self.pongs, self.refusals, self.go_away) = (VecDeque::new(), VecDeque::new(), None);
        self.half = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::limits::PONGS_MOST;

    const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
    const NANO: Duration = Duration::from_nanos(1);

    fn id(n: u32) -> StreamId {
        StreamId::new(n).expect("not zero")
    }

    /// With so many pongs owed.
    fn pongs(backlog: usize, owed: usize) -> Control {
        let mut control = Control::new(backlog);
        (0..owed).for_each(|nonce| control.owe_pong(nonce as u32).expect("room"));
        control
    }

    /// With so many resets owed.
    fn resets(owed: usize) -> Control {
        let mut control = Control::new(32);
        (1..=owed).for_each(|n| control.owe_reset(id(n as u32), 7).expect("room"));
        control
    }

    #[test]
    fn y_ping_4_pongs_are_answered_in_order() {
        let mut control = pongs(32, 100);
        for nonce in 0..100 {
            assert_eq!(control.next(), Some(Header::Ping { kind: PingKind::Response, nonce }));
        }
        assert!(control.is_empty());
    }

    #[test]
    fn y_limit_4_from_half_of_a_ring_on_writing_goes_first() {
        for (backlog, half) in [(32, 16), (1, 1), (33, 17), (1024, 512)] {
            assert!(!pongs(backlog, half - 1).must_write());
            let mut control = pongs(backlog, half);
            assert!(control.must_write());
            control.next();
            assert!(!control.must_write());
        }
        assert!(!resets(REFUSALS_OWED / 2 - 1).must_write());
        let mut control = resets(REFUSALS_OWED / 2);
        assert!(control.must_write());
        control.next();
        assert!(!control.must_write());
    }

    #[test]
    fn y_limit_4_only_a_full_ring_stops_reading() {
        let now = Instant::now();
        for (mut control, mut full) in
            [(pongs(32, PONGS_MOST - 1), pongs(32, PONGS_MOST)), (resets(REFUSALS_MOST - 1), resets(REFUSALS_MOST))]
        {
            for control in [&mut control, &mut full] {
                assert!(!control.transport_took());
                control.transport_is_full(now);
            }
            assert!(!control.must_write() && full.must_write());
            assert!(full.transport_took(), "it was full");
        }
    }

    #[test]
    fn y_limit_4_a_passed_ring_is_a_violation_when_nothing_is_taken() {
        let now = Instant::now();
        let cases = [
            (pongs(32, 32), pongs(32, 33), Violation::PingFlood),
            (resets(REFUSALS_OWED), resets(REFUSALS_OWED + 1), Violation::RefusedFlood),
        ];
        for (mut within, mut beyond, violation) in cases {
            assert_eq!(
                beyond.overdue(WRITE_TIMEOUT, now + 10 * WRITE_TIMEOUT),
                None,
                "the transport takes all there is"
            );
            for control in [&mut within, &mut beyond] {
                control.transport_is_full(now);
                control.transport_is_full(now + WRITE_TIMEOUT / 2);
            }
            assert_eq!(within.overdue(WRITE_TIMEOUT, now + 10 * WRITE_TIMEOUT), None);
            assert_eq!(beyond.overdue(WRITE_TIMEOUT, now + WRITE_TIMEOUT - NANO), None);
            assert_eq!(beyond.overdue_at(WRITE_TIMEOUT), Some(now + WRITE_TIMEOUT));
            assert_eq!(beyond.overdue(WRITE_TIMEOUT, now + WRITE_TIMEOUT), Some(violation));
            beyond.transport_took();
            assert_eq!(beyond.overdue(WRITE_TIMEOUT, now + WRITE_TIMEOUT), None);
        }
    }

    #[test]
    fn y_limit_4_a_transport_that_never_took_anything_is_not_waited_for() {
        let (now, mut control) = (Instant::now(), pongs(32, PONGS_MOST));
        control.transport_is_full(now);
        assert!(!control.must_write());
        assert_eq!(control.owe_pong(1), Err(Violation::PingFlood));
        let mut control = resets(REFUSALS_MOST);
        control.transport_is_full(now);
        assert!(!control.must_write());
        assert_eq!(control.owe_reset(id(9), 7), Err(Violation::RefusedFlood));
        assert_eq!(control.next(), Some(Header::WindowUpdate { id: id(1), flags: Flags::RST, value: 7 }));
    }

    #[test]
    fn where_nothing_is_sent_any_more_nothing_is_owed() {
        let mut control = pongs(32, 40);
        control.mute();
        assert!(control.is_empty() && !control.must_write());
        for n in 1..100_000 {
            assert_eq!((control.owe_pong(n), control.owe_reset(id(n), 0)), (Ok(()), Ok(())));
        }
        control.owe_go_away(0);
        assert_eq!((control.next(), control.next()), (Some(Header::GoAway { code: 0 }), None));
    }

    #[test]
    fn a_go_away_goes_first() {
        let mut control = Control::new(1);
        control.owe_pong(1).expect("room");
        control.owe_go_away(1);
        assert_eq!(control.next(), Some(Header::GoAway { code: 1 }));
        control.clear();
        assert_eq!(control.next(), None);
    }
}
