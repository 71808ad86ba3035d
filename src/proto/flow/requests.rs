//! Owns what is asked of the memory manager for receive windows, and the queue of credit that waits for memory.
//!
//! The memory manager decides, and it is not ours: a [`WindowRequest`] is put to it with no lock held, and the [`WindowDecision`] is brought
//! back. Credit for which there is no memory waits in a [`CreditQueue`], the most urgent first (Y-MEM-10). How much a window
//! is worth is decided in `window`. Never looks at a stream.

use crate::config::{Config, ReceiveCharge};
use crate::memory::{MemoryManager, Reservation};
use crate::priority::Priority;
use crate::proto::key::Key;
use crate::proto::limits::{INITIAL_WINDOW, STREAM_BOOKS};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::iter::successors;
use std::sync::Arc;

/// What a stream's window wants of the memory manager, now that credit is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowRequest {
    pub(in crate::proto) key: Key,
    pub(in crate::proto) priority: Priority,
    pub(in crate::proto) charging: ReceiveCharge,
    /// Bytes by which it would be larger.
    pub(in crate::proto) growth: u32,
    /// Credit that is due at its present size: what counts of it, which is half of the window.
    pub(in crate::proto) credit: u32,
    /// Whether it is larger than it was at first.
    pub(in crate::proto) grown: bool,
    /// What is to be had at any priority, since the stream would stand still without it.
    pub(in crate::proto) least: u32,
}

/// What the memory manager says to that.
#[derive(Debug)]
pub(crate) enum WindowDecision {
    /// The window may be larger by what this has reserved.
    Larger(Reservation),
    /// The window may be larger by so many bytes, which are reserved when they arrive.
    Wider(u32),
    AsItIs,
    /// What it is owed is not given, and the window smaller by it.
    Smaller,
    /// There is no memory for what the credit would let arrive, but for so much.
    Least(u32),
    /// There is none at all.
    Withheld,
}

/// A window that should be larger by `bytes`, since its application says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(in crate::proto) key: Key,
    pub(in crate::proto) priority: Priority,
    pub(in crate::proto) charging: ReceiveCharge,
    pub(in crate::proto) bytes: u32,
}

impl Growth {
    /// Asks, as a [`WindowRequest`] does: [`WindowDecision::Larger`] or [`WindowDecision::Wider`], or it stays as it is.
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> WindowDecision {
        match self.charging {
            ReceiveCharge::Window => {
                Reservation::new(memory, self.bytes as usize, self.priority).map(WindowDecision::Larger).ok()
            }
            ReceiveCharge::Buffered => {
                memory.has_room(self.bytes as usize, self.priority).then_some(WindowDecision::Wider(self.bytes))
            }
        }
        .unwrap_or(WindowDecision::AsItIs)
    }
}

/// Bytes that are reserved when a stream is opened or accepted (Y-MEM-1, Y-MEM-9).
pub(crate) fn first_reservation(config: &Config) -> usize {
    match config.receive_charge() {
        ReceiveCharge::Window => config.initial_stream_window() as usize,
        ReceiveCharge::Buffered => STREAM_BOOKS,
    }
}

impl WindowRequest {
    /// Asks. Called by whoever holds no lock: the manager is not ours.
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> WindowDecision {
        match self.charging {
            ReceiveCharge::Window => self.promised(memory),
            ReceiveCharge::Buffered => self.used(&**memory),
        }
    }

    /// How often the memory manager has said no to a larger window before it gave this answer.
    pub(in crate::proto) fn refusals(self, answer: &WindowDecision) -> u64 {
        let refused = match answer {
            WindowDecision::Larger(granted) => {
                self.growths().take_while(|bytes| *bytes as usize > granted.bytes()).count()
            }
            WindowDecision::Wider(_) => 0,
            // It was only looked whether there is room.
            _ if self.charging == ReceiveCharge::Buffered => usize::from(self.growth > 0),
            _ => self.growths().count(),
        };
        refused as u64
    }

    /// What it would be larger by, and half of that and so on where so much is refused.
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

    /// Y-MEM-10: whether there is room is all that is asked; it is reserved when it is used.
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
            WindowDecision::Withheld
        }
    }
}

/// Streams whose credit waits for memory, the most urgent first and then in the order in which they came. A stream that is
/// here knows its place, and is taken out when it ends.
#[derive(Debug, Default)]
pub(in crate::proto) struct CreditQueue {
    queue: BTreeMap<Place, Key>,
    tickets: u64,
}

/// Where credit that is due stands with the memory manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum CreditState {
    /// It need not be asked, or has granted it.
    Settled,
    /// It is asked before the next batch.
    Requested,
    /// It has refused; this is the place of the stream in the queue.
    Waiting(Place),
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proto) struct Place {
    /// At which it waits: one that is starved of credit waits for the least that there is, which it gets at any priority.
    priority: Reverse<Priority>,
    ticket: u64,
}

impl CreditQueue {
    /// Puts a stream behind the others of this priority.
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

    /// Gives back what holds nothing.
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
