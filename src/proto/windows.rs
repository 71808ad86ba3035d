//! Owns how large receive windows are: which grows, and which becomes smaller again.
//!
//! The memory manager decides, and it is not ours: a [`Wish`] is put to it with no lock held, and the [`Answer`] brought
//! back. What a window is worth is arithmetic and stands in `flow`; credit that has to wait is `withheld`'s.

use super::limits::{
    CREDIT_LEAST, INITIAL_WINDOW, NEAR_ROUND_TRIP, NEAR_WINDOW, STREAM_BOOKS, WINDOW_LOOK, WINDOW_QUIET,
};
use super::mux::{Lifecycle, Mux};
use super::store::Key;
use super::stream::{Motion, ReceiveState, Stream};
use super::withheld::{Asking, Withheld};
use crate::config::{Config, ReceiveCharge};
use crate::memory::{MemoryManager, Reservation};
use crate::priority::Priority;
use crate::stats::{add, count};
use std::collections::{BTreeMap, VecDeque};
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;
use web_time::Instant;

/// The windows of a connection that are to be asked for, or looked at.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Streams whose credit is due, and whose windows may become larger or smaller with it.
    pub(super) wishing: VecDeque<Key>,
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
    key: Key,
    priority: Priority,
    charging: ReceiveCharge,
    /// Bytes by which it would be larger.
    growth: u32,
    /// Credit that is due at its present size: what counts of it, which is half of the window.
    credit: u32,
    /// Whether it is larger than it was at first.
    grown: bool,
    /// What is to be had at any priority, since the stream would stand still without it.
    least: u32,
}

/// What the memory manager says to that.
#[derive(Debug)]
pub(crate) enum Answer {
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
    key: Key,
    priority: Priority,
    charging: ReceiveCharge,
    bytes: u32,
}

impl Growth {
    /// Asks, as a [`Wish`] does: [`Answer::Larger`] or [`Answer::Wider`], or it stays as it is.
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> Answer {
        match self.charging {
            ReceiveCharge::Window => {
                Reservation::new(memory, self.bytes as usize, self.priority).map(Answer::Larger).ok()
            }
            ReceiveCharge::Buffered => {
                memory.has_room(self.bytes as usize, self.priority).then_some(Answer::Wider(self.bytes))
            }
        }
        .unwrap_or(Answer::AsItIs)
    }
}

/// Bytes that are reserved when a stream is opened or accepted (Y-MEM-1, Y-MEM-9).
pub(crate) fn first_reservation(config: &Config) -> usize {
    match config.receive_charge() {
        ReceiveCharge::Window => config.initial_stream_window() as usize,
        ReceiveCharge::Buffered => STREAM_BOOKS,
    }
}

impl Wish {
    /// Asks. Called by whoever holds no lock: the manager is not ours.
    pub(crate) fn put_to(self, memory: &Arc<dyn MemoryManager>) -> Answer {
        match self.charging {
            ReceiveCharge::Window => self.promised(memory),
            ReceiveCharge::Buffered => self.used(&**memory),
        }
    }

    /// How often the memory manager has said no to a larger window before it gave this answer.
    fn refusals(self, answer: &Answer) -> u64 {
        let refused = match answer {
            Answer::Larger(granted) => self.growths().take_while(|bytes| *bytes as usize > granted.bytes()).count(),
            Answer::Wider(_) => 0,
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
    fn promised(self, memory: &Arc<dyn MemoryManager>) -> Answer {
        let granted = self.growths().find_map(|bytes| Reservation::new(memory, bytes as usize, self.priority).ok());
        match granted {
            Some(granted) => Answer::Larger(granted),
            None if !memory.has_room(0, self.priority) => Answer::Smaller,
            None => Answer::AsItIs,
        }
    }

    /// Y-MEM-10: whether there is room is all that is asked; it is reserved when it is used.
    fn used(self, memory: &dyn MemoryManager) -> Answer {
        let room = |bytes: u32, priority| memory.has_room(bytes as usize, priority);
        let granted = self.growths().find(|bytes| room(self.credit.saturating_add(*bytes), self.priority));
        if let Some(bytes) = granted {
            Answer::Wider(bytes)
        } else if room(self.credit, self.priority) {
            Answer::AsItIs
        } else if self.grown {
            Answer::Smaller
        } else if self.least > 0 && room(self.least, Priority::ALWAYS) {
            Answer::Least(self.least)
        } else {
            Answer::Withheld
        }
    }
}

impl Mux {
    /// A stream's credit is due, or its window is to be looked at: the memory manager is asked first. The answer comes
    /// before the next batch, so that credit and growth leave as one update.
    pub(super) fn wish(&mut self, key: Key) {
        let (max, floor, charging) = (self.config.max_stream_window(), self.floor(), self.config.receive_charge());
        let asks = match self.lifecycle {
            Lifecycle::Open => true,
            // Nothing grows any more.
            Lifecycle::Closing { .. } => charging == ReceiveCharge::Buffered,
            Lifecycle::Closed(_) => false,
        };
        let Some(stream) = self.store.get(key).filter(|stream| asks && is_reading(stream)) else { return };
        let (size, spent) = (stream.receive.window.size(), stream.receive.window.is_spent());
        let matters = size < max || size > floor || charging == ReceiveCharge::Buffered;
        match stream.motion().asking {
            Asking::No if matters && (spent || stream.owes_credit()) => self.queue_wish(key),
            // What it waits for may never come: its peer can send nothing, and there is nothing left to read.
            Asking::Withheld(_) if stream.stands_still() => {
                self.stop_asking(key);
                self.queue_wish(key);
            }
            Asking::No | Asking::Queued | Asking::Withheld(_) => {}
        }
    }

    pub(super) fn queue_wish(&mut self, key: Key) {
        if let Some(motion) = self.store.motion(key) {
            motion.asking = Asking::Queued;
            self.windows.wishing.push_back(key);
            self.events.attention = true;
        }
    }

    /// Whether [`Mux::next_wish`] has anything to say.
    pub(crate) fn has_wishes(&self) -> bool {
        !self.windows.wishing.is_empty()
    }

    /// The round trip that windows are sized for, and how large they may be (Y-FLOW-9).
    ///
    /// Credit takes as long as the link and the two ends together: on a short link that is the time until their tasks get a
    /// turn. Where that would keep somebody more urgent waiting, the window is no larger than the link needs.
    fn reach(&self) -> (Option<Duration>, u32) {
        let max = self.config.max_stream_window();
        if self.near().is_some() && self.ledger.is_level() {
            (Some(NEAR_ROUND_TRIP), max.min(NEAR_WINDOW.max(self.config.initial_stream_window())))
        } else {
            (self.liveness.rtt.round_trip(), max)
        }
    }

    /// The next question to the memory manager; answered with [`Mux::answer`].
    pub(crate) fn next_wish(&mut self, now: Instant) -> Option<Wish> {
        let ((rtt, max), floor) = (self.reach(), self.floor());
        let charging = self.config.receive_charge();
        while let Some(key) = self.windows.wishing.pop_front() {
            let queued = |stream: &&mut Stream| stream.motion().asking == Asking::Queued;
            let Some(stream) = self.store.get_mut(key).filter(queued) else { continue };
            let (priority, stands_still) = (stream.priority, stream.stands_still());
            let window = &mut stream.receive.window;
            let (due, spent, grown) = (window.is_due(), window.is_spent(), window.size() > floor);
            let growth = if due || spent { window.growth(rtt, max, now).unwrap_or(0) } else { 0 };
            if let Some(waited) = window.take_wait() {
                self.liveness.doubt(waited, now);
            }
            // What is spent is not due: it is no more than a reason to grow.
            let idle = spent && !due && growth == 0;
            if !idle && (growth > 0 || grown || charging == ReceiveCharge::Buffered) {
                let credit = window.owed().min(window.size() / 2);
                let least = if stands_still { credit.min(CREDIT_LEAST) } else { 0 };
                return Some(Wish { key, priority, charging, growth, credit, grown, least });
            }
            self.asked(key);
            self.queue_control(key);
        }
        None
    }

    /// What the memory manager has said to a wish. What is owed then leaves as one window update.
    pub(crate) fn answer(&mut self, wish: Wish, answer: Answer) {
        let refused = wish.growth > 0 && !matches!(answer, Answer::Larger(_) | Answer::Wider(_));
        add(&mut self.ledger.refusals.windows, wish.refusals(&answer));
        let queued = |stream: &&mut Stream| stream.motion().asking == Asking::Queued;
        let Some(stream) = self.store.get_mut(wish.key).filter(queued) else {
            if let Answer::Larger(granted) = answer {
                self.events.released.push(granted);
            }
            return;
        };
        let due = stream.receive.window.is_due();
        let motion = self.asked(wish.key);
        if refused && !due {
            // Nothing else was to be decided.
            return self.queue_control(wish.key);
        }
        if let Some(motion) = motion
            && !matches!(answer, Answer::Withheld)
        {
            motion.trickle = 0;
        }
        match answer {
            Answer::Larger(granted) => self.enlarge(wish.key, granted),
            Answer::Wider(bytes) => {
                self.grow(wish.key, bytes);
            }
            Answer::AsItIs => {}
            Answer::Smaller => {
                self.shrink(wish.key);
                if self.config.receive_charge() == ReceiveCharge::Buffered {
                    // As small as it is now it may still be owed some.
                    self.wish(wish.key);
                }
            }
            Answer::Least(bytes) => {
                if let Some(motion) = self.store.motion(wish.key) {
                    motion.trickle = bytes;
                }
                self.withhold(wish.key);
            }
            Answer::Withheld => {
                self.withhold(wish.key);
                // While it was asked the last of it may have been read, and then it stands still.
                if wish.least == 0 {
                    self.wish(wish.key);
                }
            }
        }
        self.queue_control(wish.key);
        self.store.still(wish.key);
    }

    /// The memory manager has been asked.
    fn asked(&mut self, key: Key) -> Option<&mut Motion> {
        let motion = self.store.get_mut(key)?.motion.as_deref_mut()?;
        motion.asking = Asking::No;
        Some(motion)
    }

    // ---- larger and smaller --------------------------------------------------------------------------------------

    /// What a stream's window lacks of `bytes`, or of the largest that there may be; answered with [`Mux::widen`].
    pub(crate) fn shortfall(&self, key: Key, bytes: u32) -> Option<Growth> {
        let stream = self.store.get(key).filter(|stream| self.lifecycle_is_open() && is_reading(stream))?;
        let wanted = bytes.min(self.config.max_stream_window());
        let bytes = wanted.checked_sub(stream.receive.window.size()).filter(|bytes| *bytes > 0)?;
        Some(Growth { key, priority: stream.priority, charging: self.config.receive_charge(), bytes })
    }

    /// What the memory manager has said to an application's wish.
    pub(crate) fn widen(&mut self, growth: Growth, answer: Answer) {
        match answer {
            Answer::Larger(granted) => self.enlarge(growth.key, granted),
            Answer::Wider(bytes) => {
                self.grow(growth.key, bytes);
            }
            Answer::AsItIs | Answer::Smaller | Answer::Least(_) | Answer::Withheld => {
                count(&mut self.ledger.refusals.windows);
            }
        }
        self.queue_control(growth.key);
    }

    /// Makes a window larger by what was reserved for it, if it may still be so large.
    fn enlarge(&mut self, key: Key, mut granted: Reservation) {
        let bytes = u32::try_from(granted.bytes()).unwrap_or(u32::MAX);
        if self.grow(key, bytes)
            && let Some(stream) = self.store.get_mut(key)
            && let Some(own) = &mut stream.reservation
        {
            granted.move_to(own, usize::MAX);
            self.ledger.reserved(stream.priority, bytes as usize);
        }
        self.events.released.push(granted);
    }

    /// Makes a window larger, if it may still be so large; says whether it is.
    fn grow(&mut self, key: Key, bytes: u32) -> bool {
        let (max, lives) = (self.config.max_stream_window(), self.lifecycle_is_open());
        let grows = |stream: &&mut Stream| lives && is_reading(stream) && stream.reservation.is_some();
        let Some(stream) = self.store.get_mut(key).filter(grows) else { return false };
        let fits = stream.receive.window.size().checked_add(bytes).is_some_and(|size| size <= max);
        if fits {
            stream.receive.window.grow(bytes);
            self.largest_window = self.largest_window.max(stream.receive.window.size());
        }
        fits
    }

    /// Makes a window smaller by what the peer does not know of, and gives its memory back (Y-MEM-12).
    fn shrink(&mut self, key: Key) {
        let (floor, charging) = (self.floor(), self.config.receive_charge());
        let Some(stream) = self.store.get_mut(key) else { return };
        let bytes = stream.receive.window.shrink(floor) as usize;
        if bytes > 0
            && charging == ReceiveCharge::Window
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
        let (floor, over) = (self.floor(), matches!(self.lifecycle, Lifecycle::Closed(_)));
        let grown = |stream: &&Stream| !over && is_reading(stream) && stream.receive.window.size() > floor;
        if let Some(stream) = self.store.get(key).filter(grown) {
            let received = stream.received.data_bytes();
            self.windows.grown.entry(key).or_insert(Usage { since: now, received });
            if self.windows.look_at.is_none() {
                self.windows.look_at = now.checked_add(WINDOW_LOOK);
                (self.events.attention, self.events.outlook) = (true, true);
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
            if stream.motion().asking == Asking::No && stream.receive.window.owed() > 0 {
                asked.push((stream.priority, key));
            }
        }
        if self.config.receive_charge() == ReceiveCharge::Window {
            asked.sort_unstable();
            asked.into_iter().for_each(|(_, key)| self.queue_wish(key));
        }
        let watches = !self.windows.grown.is_empty();
        self.windows.look_at = if watches { now.checked_add(WINDOW_LOOK) } else { None };
    }

    /// Gives back what holds nothing.
    pub(super) fn rest_windows(&mut self) {
        if self.windows.wishing.is_empty() {
            self.windows.wishing = VecDeque::new();
        }
        if self.windows.grown.is_empty() {
            self.windows.grown = BTreeMap::new();
        }
        self.withheld.rest();
    }

    pub(super) fn forget_windows(&mut self) {
        (self.windows, self.withheld) = (Windows::default(), Withheld::default());
    }
}

fn is_reading(stream: &Stream) -> bool {
    stream.receive.state == ReceiveState::Open
}
