//! Owns the requests to the memory manager for receive windows, the policy that says which memory of a window is
//! reserved and when, and the queue of credit that waits for memory.
//!
//! The memory manager is user code. So a [`WindowRequest`] is made under the lock, put to the manager with no lock
//! held, and its [`WindowDecision`] is applied under the lock again. Credit for which there is no memory waits in a
//! [`CreditQueue`], the most urgent first (Y-MEM-10). `window` decides how large a window should be. Never looks at a
//! stream.

use crate::config::{Config, ReceiveCharge};
use crate::memory::{MemoryManager, Reservation};
use crate::priority::Priority;
use crate::proto::buffer::chunk_pool::CHUNK;
use crate::proto::key::Key;
use crate::proto::limits::{INITIAL_WINDOW, STREAM_STATE};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::iter::successors;
use std::sync::Arc;

/// A request for one stream's window, made when credit is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowRequest {
    pub(in crate::proto) key: Key,
    pub(in crate::proto) priority: Priority,
    pub(in crate::proto) charge: Charge,
    /// Bytes by which the window would grow.
    pub(in crate::proto) growth: u32,
    /// Credit that is due at the present size. At most half of the window counts.
    pub(in crate::proto) credit: u32,
    /// Whether the window is larger than its first size.
    pub(in crate::proto) grown: bool,
    /// Credit that is granted at any priority, since the stream is starved of credit without it; 0 where it is not.
    pub(in crate::proto) least: u32,
}

/// The memory manager's decision on a request.
#[derive(Debug)]
pub(crate) enum WindowDecision {
    /// The window grows by the bytes of this reservation.
    Larger(Reservation),
    /// The window grows by so many bytes, which are reserved when they arrive.
    Wider(u32),
    AsItIs,
    /// The window shrinks: the credit that is owed is not granted.
    Smaller,
    /// The memory manager refuses the credit, but for so many bytes.
    Least(u32),
    /// The memory manager refuses all credit.
    Denied,
}

/// A request of the application to grow a window by `bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(in crate::proto) key: Key,
    pub(in crate::proto) priority: Priority,
    pub(in crate::proto) charge: Charge,
    pub(in crate::proto) bytes: u32,
}

impl Growth {
    /// Asks the memory manager, as a [`WindowRequest`] does. The decision is [`WindowDecision::Larger`],
    /// [`WindowDecision::Wider`] or [`WindowDecision::AsItIs`].
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> WindowDecision {
        let (bytes, priority) = (self.bytes as usize, self.priority);
        let granted = match self.charge.is_as_used() {
            false => Reservation::new(memory, bytes, priority).map(WindowDecision::Larger).ok(),
            true => memory.has_room(bytes, priority).then_some(WindowDecision::Wider(self.bytes)),
        };
        granted.unwrap_or(WindowDecision::AsItIs)
    }
}

/// Which memory of a receive window is reserved, and when: a window as a whole when the peer is granted it, or received
/// bytes as they are buffered (Y-MEM-1, Y-MEM-9).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    receive: ReceiveCharge,
    /// The least size of windows, in bytes.
    initial_window: u32,
}

impl Charge {
    pub(crate) fn new(config: &Config) -> Self {
        Self { receive: config.receive_charge(), initial_window: config.initial_stream_window() }
    }

    /// Whether received bytes are charged, and not windows.
    pub(in crate::proto) fn is_as_used(self) -> bool {
        self.receive == ReceiveCharge::Buffered
    }

    /// Bytes that are reserved when a stream is opened or accepted.
    pub(crate) fn first_reservation(self) -> usize {
        if self.is_as_used() { STREAM_STATE } else { self.initial_window as usize }
    }

    /// The window of a stream for which `reserved` bytes were reserved then.
    pub(in crate::proto) fn first_window(self, reserved: usize) -> u32 {
        if self.is_as_used() { self.initial_window } else { u32::try_from(reserved).unwrap_or(u32::MAX) }
    }

    /// Bytes of the `reserved` ones that a stream does not need while `held` bytes are unread.
    pub(in crate::proto) fn excess(self, reserved: usize, held: usize) -> usize {
        let unused = if self.is_as_used() { reserved.saturating_sub(STREAM_STATE) } else { 0 };
        unused.saturating_sub(needed_for(held))
    }

    /// Bytes of a reservation that a window gives up when it shrinks by `bytes`.
    pub(in crate::proto) fn given_up(self, bytes: u32) -> usize {
        if self.is_as_used() { 0 } else { bytes as usize }
    }
}

/// The most memory that chunks with `held` unread bytes take. Most of the first chunk may have been read. The last
/// chunk that the reader has taken and the last one that arrives may be nearly empty. All others are full.
pub(in crate::proto) const fn needed_for(held: usize) -> usize {
    if held == 0 { 0 } else { held.saturating_add(3 * CHUNK) }
}

impl WindowRequest {
    /// Asks the memory manager. The caller holds no lock: the manager is user code.
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> WindowDecision {
        if self.charge.is_as_used() { self.used(&**memory) } else { self.promised(memory) }
    }

    /// How often the memory manager has refused growth before it came to this decision.
    pub(in crate::proto) fn refusals(self, decision: &WindowDecision) -> u64 {
        let refused = match decision {
            WindowDecision::Larger(granted) => {
                self.growths().take_while(|bytes| *bytes as usize > granted.bytes()).count()
            }
            WindowDecision::Wider(_) => 0,
            // The manager was only asked whether there is room, and once.
            _ if self.charge.is_as_used() => usize::from(self.growth > 0),
            _ => self.growths().count(),
        };
        refused as u64
    }

    /// The sizes of growth to ask for: all of it, then half and so on while the last one is refused.
    fn growths(self) -> impl Iterator<Item = u32> {
        let half = |growth: &u32| Some(growth / 2).filter(|half| *half >= INITIAL_WINDOW);
        successors(Some(self.growth).filter(|growth| *growth > 0), half)
    }

    /// Y-MEM-2, Y-MEM-12.
    fn promised(self, memory: &Arc<dyn MemoryManager>) -> WindowDecision {
        let granted = self.growths().find_map(|bytes| Reservation::new(memory, bytes as usize, self.priority).ok());
        match granted {
            Some(granted) => WindowDecision::Larger(granted),
            None if !memory.has_room(0, self.priority) => WindowDecision::Smaller,
            None => WindowDecision::AsItIs,
        }
    }

    /// Y-MEM-10: the manager is only asked whether there is room. Bytes are reserved when they arrive.
    fn used(self, memory: &dyn MemoryManager) -> WindowDecision {
        let room = |bytes: u32, priority| memory.has_room(bytes as usize, priority);
        let granted = self.growths().find(|bytes| room(self.credit.saturating_add(*bytes), self.priority));
        if let Some(bytes) = granted {
            WindowDecision::Wider(bytes)
        } else if room(self.credit, self.priority) {
            WindowDecision::AsItIs
        } else if self.grown {
            WindowDecision::Smaller
        } else if self.least > 0 && room(self.least, Priority::ALWAYS) {
            WindowDecision::Least(self.least)
        } else {
            WindowDecision::Denied
        }
    }
}

/// Streams whose credit waits for memory, the most urgent first and then in the order of arrival. A queued stream knows
/// its place, and is removed when it ends.
#[derive(Debug, Default)]
pub(in crate::proto) struct CreditQueue {
    queue: BTreeMap<Place, Key>,
    tickets: u64,
}

/// State of a stream's due credit in relation to the memory manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum CreditState {
    /// The credit needs no request, or the request was granted.
    Settled,
    /// The request is made before the next batch.
    Requested,
    /// The request was refused. This is the stream's place in the queue.
    Waiting(Place),
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proto) struct Place {
    /// The priority at which the stream waits. A stream that is starved of credit waits at the highest, for the minimum
    /// that any priority gets.
    priority: Reverse<Priority>,
    ticket: u64,
}

impl CreditQueue {
    /// Queues a stream behind the others of this priority.
    pub(in crate::proto) fn push(&mut self, key: Key, priority: Priority) -> Place {
        let place = Place { priority: Reverse(priority), ticket: self.tickets };
        self.tickets = place.ticket.wrapping_add(1);
        self.queue.insert(place, key);
        place
    }

    pub(in crate::proto) fn remove(&mut self, place: Place) {
        self.queue.remove(&place);
    }

    /// The first stream, and the priority at which it waits.
    pub(in crate::proto) fn first(&self) -> Option<(Priority, Key)> {
        let (Place { priority: Reverse(priority), .. }, key) = self.queue.first_key_value()?;
        Some((*priority, *key))
    }

    pub(in crate::proto) fn pop(&mut self) -> Option<Key> {
        self.queue.pop_first().map(|(_, key)| key)
    }

    /// Frees the storage of an empty queue.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        if self.queue.is_empty() {
            self.queue = BTreeMap::new();
        }
    }

    #[cfg(test)]
    pub(in crate::proto) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::key::Serial;

    fn key(slot: u32) -> Key {
        Key { slot, serial: Serial::FIRST }
    }

    fn drain(queue: &mut CreditQueue) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|key| key.slot).collect()
    }

    #[test]
    fn y_mem_10_credit_waits_by_priority_then_by_arrival() {
        let mut queue = CreditQueue::default();
        let waiting = [Priority::LOW, Priority::HIGH, Priority::LOW, Priority::ALWAYS, Priority::HIGH];
        for (slot, priority) in (0..).zip(waiting) {
            queue.push(key(slot), priority);
        }
        assert_eq!((queue.first(), queue.len()), (Some((Priority::ALWAYS, key(3))), 5));
        assert_eq!(drain(&mut queue), [3, 1, 4, 0, 2]);
        assert_eq!((queue.first(), queue.pop()), (None, None));
    }

    #[test]
    fn a_stream_that_leaves_the_queue_is_skipped() {
        let mut queue = CreditQueue::default();
        let places = [0, 1, 2].map(|slot| queue.push(key(slot), Priority::MEDIUM));
        queue.remove(places[1]);
        queue.remove(places[1]);
        assert_eq!(drain(&mut queue), [0, 2]);
    }

    #[test]
    fn a_stream_that_queues_again_waits_behind_the_others() {
        let mut queue = CreditQueue::default();
        let [first, _] = [0, 1].map(|slot| queue.push(key(slot), Priority::MEDIUM));
        queue.remove(first);
        queue.push(key(0), Priority::MEDIUM);
        assert_eq!(drain(&mut queue), [1, 0]);
    }

    #[test]
    fn places_stay_distinct_after_an_empty_queue() {
        let mut queue = CreditQueue::default();
        let before = queue.push(key(0), Priority::MEDIUM);
        queue.pop();
        queue.release_if_idle();
        let after = queue.push(key(1), Priority::MEDIUM);
        assert_ne!(before, after);
        queue.remove(before);
        assert_eq!(drain(&mut queue), [1], "an old place removes no other stream");
    }
}
