//! Owns how large receive windows are: which grows, which becomes smaller again, and what credit waits for memory.
//!
//! The memory manager decides, and it is not ours: a [`Wish`] is put to it with no lock held, and the [`Answer`] brought
//! back. What a window is worth is arithmetic and stands in `flow`.

use super::limits::{ASKED_AT_ONCE, STREAM_BOOKS, WINDOW_LOOK, WINDOW_QUIET};
use super::mux::Mux;
use super::store::Key;
use super::stream::{ReceiveState, Stream};
use crate::config::{Charging, Config};
use crate::memory::{MemoryManager, Reservation};
use crate::priority::Priority;
use crate::stats::{add, count};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use web_time::Instant;

/// The windows of a connection that wait for something.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Streams whose credit is due, and whose windows may become larger or smaller with it.
    wishing: VecDeque<Key>,
    /// Streams whose credit waits until memory is less scarce, the most urgent first and then in the order in which they
    /// came. Those that have ended are taken out when it is their turn.
    withheld: BTreeMap<(Reverse<Priority>, u64), Key>,
    tickets: u64,
    /// Windows larger than a stream's first, and what arrives in them.
    grown: BTreeMap<Key, Usage>,
    look_at: Option<Instant>,
}

/// What had arrived on a stream at a moment.
#[derive(Clone, Copy, Debug)]
struct Usage {
    since: Instant,
    received: u64,
}

/// What a stream's window wants of the memory manager, now that credit is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) priority: Priority,
    charging: Charging,
    /// Bytes by which it would be larger.
    growth: u32,
    /// Credit that is due at its present size.
    credit: u32,
}

/// What the memory manager says to that.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The window may be larger by so much. Where memory is charged as it is used this is given back at once.
    Larger(Reservation),
    AsItIs,
    /// Its credit is not given again, and the window smaller by it.
    Smaller,
    /// There is no memory for what the credit would let arrive.
    Withheld,
}

/// A window that should be larger by `bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) key: Key,
    pub(crate) bytes: u32,
    pub(crate) priority: Priority,
}

/// Bytes that are reserved when a stream is opened or accepted (Y-MEM-1, Y-MEM-9).
pub(crate) fn first_reservation(config: &Config) -> usize {
    match config.charging() {
        Charging::Promised => config.initial_stream_window() as usize,
        Charging::Used => STREAM_BOOKS,
    }
}

impl Wish {
    /// Asks. Called by whoever holds no lock: the manager is not ours.
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> Answer {
        let reserve = |bytes: u32| Reservation::new(memory, bytes as usize, self.priority);
        match self.charging {
            // Y-MEM-2, Y-MEM-12.
            Charging::Promised => match reserve(self.growth) {
                Ok(granted) if self.growth > 0 => Answer::Larger(granted),
                _ if memory.is_scarce(self.priority) => Answer::Smaller,
                _ => Answer::AsItIs,
            },
            // Y-MEM-10: whether it could be reserved is all that is asked; it is reserved when it arrives.
            Charging::Used => match reserve(self.credit.saturating_add(self.growth)) {
                Ok(mut granted) if self.growth > 0 => Answer::Larger(granted.split(self.growth as usize)),
                Ok(_) => Answer::AsItIs,
                Err(_) if self.growth > 0 && reserve(self.credit).is_ok() => Answer::AsItIs,
                Err(_) => Answer::Withheld,
            },
        }
    }
}

impl Mux {
    /// A stream's credit is due, or its window is to be looked at: the memory manager is asked first. The answer comes
    /// before the next batch, so that credit and growth leave as one update.
    pub(super) fn wish(&mut self, key: Key) {
        let (max, floor, charging) = (self.config.max_stream_window(), self.floor(), self.config.charging());
        let open = self.lifecycle_is_open();
        let Some(stream) = self.store.get_mut(key).filter(|stream| open && is_reading(stream)) else { return };
        let size = stream.receive.window.size();
        let matters = size < max || size > floor || charging == Charging::Used;
        if matters && !stream.asking && stream.owes_credit() {
            stream.asking = true;
            self.windows.wishing.push_back(key);
            self.events.attention = true;
        }
    }

    /// Whether [`Mux::next_wish`] has anything to say.
    pub(crate) fn has_wishes(&self) -> bool {
        !self.windows.wishing.is_empty()
    }

    /// The next question to the memory manager; answered with [`Mux::answer`].
    pub(crate) fn next_wish(&mut self, now: Instant) -> Option<Wish> {
        let (rtt, max, charging) =
            (self.liveness.rtt.minimum(), self.config.max_stream_window(), self.config.charging());
        let floor = self.floor();
        while let Some(key) = self.windows.wishing.pop_front() {
            let Some(stream) = self.store.get_mut(key).filter(|stream| stream.asking) else { continue };
            let window = &mut stream.receive.window;
            let growth = if window.is_due() { window.growth(rtt, max, now).unwrap_or(0) } else { 0 };
            if growth > 0 || window.size() > floor || charging == Charging::Used {
                return Some(Wish { key, priority: stream.priority, charging, growth, credit: window.owed() });
            }
            stream.asking = false;
            self.queue_control(key);
        }
        None
    }

    /// What the memory manager has said to a wish. What is owed then leaves as one window update.
    pub(crate) fn answer(&mut self, wish: Wish, answer: Answer) {
        let refused = wish.growth > 0 && !matches!(answer, Answer::Larger(_));
        add(&mut self.ledger.refusals.windows, refused.into());
        let Some(stream) = self.store.get_mut(wish.key).filter(|stream| stream.asking) else {
            if let Answer::Larger(granted) = answer {
                self.events.released.push(granted);
            }
            return;
        };
        stream.asking = matches!(answer, Answer::Withheld);
        match answer {
            Answer::Larger(granted) => self.enlarge(wish.key, granted),
            Answer::AsItIs => {}
            Answer::Smaller => self.shrink(wish.key),
            Answer::Withheld => {
                count(&mut self.ledger.refusals.credit);
                self.withhold(wish.key, wish.priority);
            }
        }
        self.queue_control(wish.key);
    }

    // ---- credit that waits ---------------------------------------------------------------------------------------

    fn withhold(&mut self, key: Key, priority: Priority) {
        self.windows.tickets = self.windows.tickets.wrapping_add(1);
        self.windows.withheld.insert((Reverse(priority), self.windows.tickets), key);
    }

    /// The most urgent credit that waits for memory: how much, and its priority.
    pub(crate) fn withheld(&mut self) -> Option<(usize, Priority)> {
        while let Some(first) = self.windows.withheld.first_entry() {
            if let Some(stream) = self.store.get(*first.get()).filter(|stream| stream.asking) {
                return Some((stream.receive.window.owed() as usize, stream.priority));
            }
            first.remove();
        }
        None
    }

    /// Memory may be less scarce: the most urgent credit that waits is asked for again, and not all of it at once. A
    /// refusal would be the first of many.
    pub(crate) fn ask_again(&mut self) {
        for _ in 0..ASKED_AT_ONCE {
            let Some((_, key)) = self.windows.withheld.pop_first() else { return };
            self.windows.wishing.push_back(key);
        }
    }

    /// The priority of a stream has changed: credit that waits may not have to any more, or has another place in line.
    pub(super) fn place_again(&mut self, key: Key, priority: Priority) {
        if self.store.get(key).is_some_and(|stream| stream.asking) {
            let before = self.windows.withheld.len();
            self.windows.withheld.retain(|_, other| *other != key);
            if self.windows.withheld.len() < before {
                self.withhold(key, priority);
            }
            self.events.attention = true;
        }
    }

    // ---- larger and smaller --------------------------------------------------------------------------------------

    /// What a stream's window lacks of `bytes`, or of the largest that there may be; answered with [`Mux::widen`].
    pub(crate) fn shortfall(&self, key: Key, bytes: u32) -> Option<Growth> {
        let stream = self.store.get(key).filter(|stream| self.lifecycle_is_open() && is_reading(stream))?;
        let wanted = bytes.min(self.config.max_stream_window());
        let bytes = wanted.checked_sub(stream.receive.window.size()).filter(|bytes| *bytes > 0)?;
        Some(Growth { key, bytes, priority: stream.priority })
    }

    /// Makes a window larger by what was granted; `None`, and it keeps its size.
    pub(crate) fn widen(&mut self, key: Key, granted: Option<Reservation>) {
        match granted {
            Some(granted) => self.enlarge(key, granted),
            None => count(&mut self.ledger.refusals.windows),
        }
        self.queue_control(key);
    }

    /// Makes a window larger, if it may still be so large.
    fn enlarge(&mut self, key: Key, mut granted: Reservation) {
        let (max, lives) = (self.config.max_stream_window(), self.lifecycle_is_open());
        let bytes = u32::try_from(granted.bytes()).unwrap_or(u32::MAX);
        if let Some(stream) = self.store.get_mut(key).filter(|stream| lives && is_reading(stream))
            && let Some(own) = &mut stream.reservation
            && stream.receive.window.size().checked_add(bytes).is_some_and(|size| size <= max)
        {
            stream.receive.window.grow(bytes);
            if self.config.charging() == Charging::Promised {
                granted.move_to(own, usize::MAX);
                self.ledger.reserved(stream.priority, bytes as usize);
            }
            self.largest_window = self.largest_window.max(stream.receive.window.size());
        }
        self.events.released.push(granted);
    }

    /// Makes a window smaller by what the peer does not know of, and gives its memory back (Y-MEM-12).
    fn shrink(&mut self, key: Key) {
        let (floor, charging) = (self.floor(), self.config.charging());
        let Some(stream) = self.store.get_mut(key) else { return };
        let bytes = stream.receive.window.shrink(floor) as usize;
        if bytes > 0
            && charging == Charging::Promised
            && let Some(own) = &mut stream.reservation
        {
            self.events.released.push(own.split(bytes));
            self.ledger.released(stream.priority, bytes);
        }
    }

    /// Windows become no smaller than this.
    fn floor(&self) -> u32 {
        self.config.initial_stream_window()
    }

    // ---- windows that have grown ---------------------------------------------------------------------------------

    /// Bytes were read on a stream: if its window has grown it is looked at from now on.
    pub(super) fn watch(&mut self, key: Key, now: Instant) {
        let floor = self.floor();
        if let Some(stream) = self.store.get(key).filter(|stream| stream.receive.window.size() > floor) {
            let received = stream.received.data_bytes();
            self.windows.grown.entry(key).or_insert(Usage { since: now, received });
            if self.windows.look_at.is_none() {
                self.windows.look_at = now.checked_add(WINDOW_LOOK);
                self.events.attention = true;
            }
        }
    }

    pub(super) const fn next_look(&self) -> Option<Instant> {
        self.windows.look_at
    }

    /// Looks at the windows that have grown. One that was not half used for a while becomes smaller at once; for the
    /// others the memory manager is asked, the least urgent first.
    pub(super) fn look_at_windows(&mut self, now: Instant) {
        if self.windows.look_at.is_none_or(|at| now < at) {
            return;
        }
        let mut asked = Vec::new();
        for (key, usage) in std::mem::take(&mut self.windows.grown) {
            let floor = self.floor();
            let grown = |stream: &&Stream| is_reading(stream) && stream.receive.window.size() > floor;
            let Some(stream) = self.store.get(key).filter(grown) else { continue };
            let received = stream.received.data_bytes();
            let half_used = received.saturating_sub(usage.received) >= u64::from(stream.receive.window.size() / 2);
            let quiet = now.saturating_duration_since(usage.since) >= WINDOW_QUIET;
            if quiet && !half_used {
                // It is watched again when something is read.
                self.shrink(key);
                continue;
            }
            let usage = if half_used { Usage { since: now, received } } else { usage };
            self.windows.grown.insert(key, usage);
            if !stream.asking && stream.receive.window.owed() > 0 {
                asked.push((stream.priority, key));
            }
        }
        if self.config.charging() == Charging::Promised {
            asked.sort_unstable();
            for (_, key) in asked {
                self.store.get_mut(key).into_iter().for_each(|stream| stream.asking = true);
                self.windows.wishing.push_back(key);
            }
        }
        let watches = !self.windows.grown.is_empty();
        self.windows.look_at = if watches { now.checked_add(WINDOW_LOOK) } else { None };
    }

    pub(super) fn forget_windows(&mut self) {
        self.windows = Windows::default();
    }
}

fn is_reading(stream: &Stream) -> bool {
    stream.receive.state == ReceiveState::Open
}
