//! Owns the invariants that hold after every step, whatever has happened.

use super::end::End;
use crate::config::ReceiveCharge;
use crate::priority::Priority;
use crate::proto::counters::stall::Cause;
use crate::proto::flow::requests::CreditState;
use crate::proto::mux::Inspect;
use crate::proto::stream::{Handle, ReceiveState, SendState, Stream};
use crate::proto::{Key, limits};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

impl End {
    /// The sums and bounds of one core.
    pub(super) fn check(&mut self) {
        let mux = &self.mux.inspect();
        let buffered: usize = streams(mux).map(|(_, stream)| stream.active().unsent.len()).sum();
        if self.mux.closed().is_none() {
            assert_eq!(mux.send_pool.used(), buffered + self.unsent_data, "the pool is what is buffered");
        }
        assert!(mux.send_pool.used() <= mux.config.max_send_buffer());
        assert!(mux.incoming.len() <= mux.config.accept_backlog());
        let linked = |key: &Key, stream: &Stream| mux.store.find(stream.id) == Some(*key);
        let live: Vec<_> = streams(mux).filter(|(key, stream)| linked(key, stream)).collect();
        assert_eq!(live.len(), mux.store.live());
        let unacknowledged = live.iter().filter(|(_, stream)| stream.handshake.is_unacknowledged()).count();
        assert_eq!(unacknowledged, mux.unacknowledged, "places are derived from states");
        assert!(mux.awaiting_ack <= mux.config.accept_backlog());
        let inbound = live.iter().filter(|(_, stream)| stream.id.is_client() != mux.mode.is_client()).count();
        assert_eq!(inbound, mux.inbound);
        assert!(inbound <= mux.config.max_incoming_streams());
        assert!(mux.ahead.is_none());
        let waits = |(_, stream): &(Key, &Stream)| matches!(stream.active().credit_state, CreditState::Waiting(_));
        assert_eq!(streams(mux).filter(waits).count(), mux.credit_queue.len(), "each waiting stream is queued");
        let arriving = |key| mux.arriving.map_or(0, |(other, left)| if other == key { left } else { 0 });
        let mut reserved = mux.send_pool.reserved();
        for (key, stream) in streams(mux) {
            let window = &stream.receive.window;
            assert_eq!(window.credit() + window.held() + window.owed(), window.size());
            assert!(window.size() <= mux.config.max_stream_window() && window.size() <= window.largest());
            self.smaller += u64::from(window.size() < window.largest());
            reserved += stream.reservation.as_ref().map_or(0, |reservation| reservation.bytes());
            let receives = stream.receive.state == ReceiveState::Open && stream.handle == Handle::Held;
            if receives && linked(&key, stream) {
                let own = stream.reservation.as_ref().expect("an open stream holds its window");
                let needed = match mux.config.receive_charge() {
                    ReceiveCharge::Window => window.size() as usize,
                    ReceiveCharge::Buffered => {
                        assert!(own.bytes() >= limits::STREAM_STATE);
                        assert!(window.held() > arriving(key) || own.bytes() == limits::STREAM_STATE, "{stream:?}");
                        limits::STREAM_STATE + stream.active().unread.capacity()
                    }
                };
                let exact = mux.config.receive_charge() == ReceiveCharge::Window;
                assert!(own.bytes() == needed || !exact && own.bytes() > needed, "what is held is reserved");
            }
            let own = stream.reservation.as_ref().map_or(0, |reservation| reservation.bytes());
            if stream.is_receive_over() {
                let unread = stream.active().unread.capacity() + stream.receive.lent as usize;
                let kept = if stream.linked { unread + limits::STREAM_STATE } else { unread };
                // A window of small pieces takes a little more than was promised for it.
                let whole =
                    mux.config.receive_charge() == ReceiveCharge::Window && own >= window.size() as usize && own < kept;
                assert!(own == kept || whole, "{own} of {kept} for what is unread: {stream:?}");
            }
            assert_eq!(stream.queues(), stream.wanted_queues(), "each verb has ended with `sync`: {stream:?}");
            if linked(&key, stream) {
                assert!(own >= limits::STREAM_STATE, "it takes that itself: {stream:?}");
                assert!(!stream.is_wire_over(), "a stream that is over leaves the wire: {stream:?}");
            } else {
                assert_eq!(stream.handle, Handle::Held, "a stream that nobody holds is gone");
            }
        }
        assert_eq!(reserved, self.limit.reserved(), "the manager knows of every byte");
        self.check_figures();
    }

    /// What is kept as sums is what the streams add up to.
    fn check_figures(&self) {
        let mux = &self.mux.inspect();
        let mut windows = [0; Priority::BUCKETS];
        for (_, stream) in streams(mux) {
            let bytes = stream.reservation.as_ref().map_or(0, |reservation| reservation.bytes());
            windows[stream.priority.bucket()] += bytes;
        }
        assert_eq!(mux.levels.bytes(), windows);
        // In a second each sum grows by a second for each stream that waits, and for nothing else.
        let now = mux.latest;
        let [before, after] = [now, now + SECOND].map(|at| mux.counters.stalled(at));
        let waiting = |cause| streams(mux).filter(|(_, stream)| stream.stall.cause() == Some(cause)).count() as u32;
        assert_eq!(after.window - before.window, SECOND * waiting(Cause::Window));
        assert_eq!(after.socket - before.socket, SECOND * waiting(Cause::Socket));
        assert_eq!(after.memory - before.memory, SECOND * waiting(Cause::Memory));
        for (_, stream) in streams(mux).filter(|(_, stream)| stream.stall.cause().is_some()) {
            assert!(stream.send.state == SendState::Open && stream.handle == Handle::Held, "{stream:?}");
            let for_room = stream.stall.cause() != Some(Cause::Window);
            assert!(!for_room || stream.active().room_links.is_queued(), "nothing will end this wait: {stream:?}");
        }
    }

    /// Nothing is left of any stream.
    pub(super) fn check_empty(&self) {
        let mux = &self.mux.inspect();
        assert_eq!((mux.store.live(), mux.store.len()), (0, 0), "{:?}", streams(mux).next());
        assert_eq!((mux.unacknowledged, mux.inbound, mux.incoming.len()), (0, 0, 0));
        assert_eq!(self.limit.reserved(), 0);
    }
}

/// What one end has sent is what the other end has received, once nothing is under way.
pub(super) fn check_traffic(near: &End, far: &End) {
    for (from, to) in [(near, far), (far, near)] {
        let mut sent = from.mux.inspect().counters.sent;
        sent.ping_frames += from.foreign_pings;
        assert_eq!(sent, to.mux.inspect().counters.received);
    }
}

/// What one end may send is what the other end takes, once nothing is under way.
pub(super) fn check_credit(near: &End, far: &End) {
    for (sender, receiver) in [(near, far), (far, near)] {
        let (sender, receives, receiver) = (&sender.mux.inspect(), receiver, &receiver.mux.inspect());
        for (_, stream) in streams(sender).filter(|(key, stream)| sender.store.find(stream.id) == Some(*key)) {
            let Some(other) = receiver.store.find(stream.id).and_then(|key| receiver.store.get(key)) else { continue };
            let credit = other.receive.window.credit();
            if !stream.send.state.is_over() && other.receive.state == ReceiveState::Open {
                assert_eq!(stream.send.window.available(), credit, "stream {}", stream.id);
            }
            let denied = matches!(other.active().credit_state, CreditState::Waiting(_));
            assert!(denied || credit + other.receive.window.held() >= limits::INITIAL_WINDOW / 2, "credit is due");
            // No stream that is read stays starved of credit while there is memory for the minimum.
            let stuck = denied && other.receive.window.is_exhausted();
            assert!(!stuck || !receives.limit.has_room_for_sure(limits::CREDIT_LEAST as usize), "{other:?}");
        }
    }
}

fn streams<'a>(mux: &Inspect<'a>) -> impl Iterator<Item = (Key, &'a Stream)> + use<'a> {
    let store = mux.store;
    store.keys().filter_map(|key| Some((key, store.get(key)?)))
}
