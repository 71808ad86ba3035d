//! Owns [`Control`]: what is owed to the peer for the connection as a whole, in bounded rings and single bits
//! (Y-SEND-4).

use super::limits::REFUSALS_OWED;
use crate::error::Violation;
use crate::wire::{Flags, Header, PingKind, StreamId};
use std::collections::VecDeque;

/// Pongs, resets of refused streams and a go-away that wait for the socket.
#[derive(Debug, Default)]
pub(super) struct Control {
    pongs: VecDeque<u32>,
    refusals: VecDeque<(StreamId, u32)>,
    go_away: Option<u32>,
}

impl Control {
    /// Owes a pong, at most `backlog` of them (Y-PING-4).
    pub(super) fn owe_pong(&mut self, nonce: u32, backlog: usize) -> Result<(), Violation> {
        if self.pongs.len() >= backlog {
            return Err(Violation::PingFlood);
        }
        self.pongs.push_back(nonce);
        Ok(())
    }

    /// Owes a reset for a stream that was never taken in.
    pub(super) fn owe_reset(&mut self, id: StreamId, code: u32) -> Result<(), Violation> {
        if self.refusals.len() >= REFUSALS_OWED {
            return Err(Violation::RefusedFlood);
        }
        self.refusals.push_back((id, code));
        Ok(())
    }

    pub(super) const fn owe_go_away(&mut self, code: u32) {
        self.go_away = Some(code);
    }

    pub(super) fn take_go_away(&mut self) -> Option<Header> {
        self.go_away.take().map(|code| Header::GoAway { code })
    }

    /// The next frame to send.
    pub(super) fn next(&mut self) -> Option<Header> {
        if let Some(header) = self.take_go_away() {
            return Some(header);
        }
        if let Some(nonce) = self.pongs.pop_front() {
            return Some(Header::Ping { kind: PingKind::Response, nonce });
        }
        let (id, code) = self.refusals.pop_front()?;
        Some(Header::WindowUpdate { id, flags: Flags::RST, value: code })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.go_away.is_none() && self.pongs.is_empty() && self.refusals.is_empty()
    }

    /// Gives back what holds nothing.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets all that is owed, and the memory with it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w74_pongs_are_answered_in_order_up_to_the_backlog() {
        let mut control = Control::default();
        for nonce in 0..32 {
            assert_eq!(control.owe_pong(nonce, 32), Ok(()));
        }
        assert_eq!(control.owe_pong(32, 32), Err(Violation::PingFlood));
        for nonce in 0..32 {
            assert_eq!(control.next(), Some(Header::Ping { kind: PingKind::Response, nonce }));
        }
        assert!(control.is_empty());
    }

    #[test]
    fn refusals_are_bounded() {
        let mut control = Control::default();
        let id = |n| StreamId::new(n).expect("not zero");
        for n in 1..=REFUSALS_OWED as u32 {
            assert_eq!(control.owe_reset(id(n), 7), Ok(()));
        }
        assert_eq!(control.owe_reset(id(9999), 7), Err(Violation::RefusedFlood));
        assert_eq!(control.next(), Some(Header::WindowUpdate { id: id(1), flags: Flags::RST, value: 7 }));
    }

    #[test]
    fn a_go_away_goes_first() {
        let mut control = Control::default();
        control.owe_pong(1, 1).expect("room");
        control.owe_go_away(1);
        assert_eq!(control.next(), Some(Header::GoAway { code: 1 }));
        control.clear();
        assert_eq!(control.next(), None);
    }
}
