//! Owns how large receive windows are: which grows, and which becomes smaller again.
//!
//! The memory manager decides, and it is not ours: a [`Wish`] is put to it with no lock held, and the [`Answer`] brought
//! back. What a window is worth is arithmetic and stands in `flow`; credit that has to wait is `withheld`'s.

use super::{Lifecycle, Mux};
use crate::config::Charging;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::flow::grown::GrownWindows;
use crate::proto::flow::requests::{Answer, Asking, CreditQueue, Growth, Wish};
use crate::proto::key::Key;
use crate::proto::limits::{ASKED_AT_ONCE, CREDIT_LEAST, NEAR_ROUND_TRIP, NEAR_WINDOW};
use crate::proto::stream::{Motion, ReceiveState, Stream};
use crate::stats::{add, count};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use web_time::Instant;

impl Mux {
    /// A stream's credit is due, or its window is to be looked at: the memory manager is asked first. The answer comes
    /// before the next batch, so that credit and growth leave as one update.
    pub(super) fn wish(&mut self, key: Key) {
        let (max, floor, charging) = (self.config.max_stream_window(), self.floor(), self.config.charging());
        let asks = match self.lifecycle {
            Lifecycle::Open => true,
            // Nothing grows any more.
            Lifecycle::Closing { .. } => charging == Charging::Used,
            Lifecycle::Closed(_) => false,
        };
        let Some(stream) = self.store.get(key).filter(|stream| asks && is_reading(stream)) else { return };
        let (size, spent) = (stream.receive.window.size(), stream.receive.window.is_spent());
        let matters = size < max || size > floor || charging == Charging::Used;
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
            self.wishing.push_back(key);
            self.events.attention = true;
        }
    }

    /// Whether [`Mux::next_wish`] has anything to say.
    pub(crate) fn has_wishes(&self) -> bool {
        !self.wishing.is_empty()
    }

    /// The round trip that windows are sized for, and how large they may be (Y-FLOW-9).
    ///
    /// Credit takes as long as the link and the two ends together: on a short link that is the time until their tasks get a
    /// turn. Where that would keep somebody more urgent waiting, the window is no larger than the link needs.
    fn reach(&self) -> (Option<Duration>, u32) {
        let max = self.config.max_stream_window();
        if self.liveness.rtt.short_round_trip().is_some() && self.ledger.is_level() {
            (Some(NEAR_ROUND_TRIP), max.min(NEAR_WINDOW.max(self.config.initial_stream_window())))
        } else {
            (self.liveness.rtt.round_trip(), max)
        }
    }

    /// The next question to the memory manager; answered with [`Mux::answer`].
    pub(crate) fn next_wish(&mut self, now: Instant) -> Option<Wish> {
        let ((rtt, max), floor) = (self.reach(), self.floor());
        let charging = self.config.charging();
        while let Some(key) = self.wishing.pop_front() {
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
            if !idle && (growth > 0 || grown || charging == Charging::Used) {
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
                if self.config.charging() == Charging::Used {
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

    /// The stream waits in line from now on.
    fn withhold(&mut self, key: Key) {
        count(&mut self.ledger.refusals.credit);
        self.stand_in_line(key);
    }

    fn stand_in_line(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        let priority = if stream.stands_still() { Priority::ALWAYS } else { stream.priority };
        let place = self.withheld.push(key, priority);
        if let Some(motion) = self.store.motion(key) {
            motion.asking = Asking::Withheld(place);
        }
    }

    /// What the first in line waits for: how much, and at which priority.
    pub(crate) fn withheld(&self) -> Option<(usize, Priority)> {
        let (priority, key) = self.withheld.first()?;
        let stream = self.store.get(key)?;
        let window = &stream.receive.window;
        let most = if stream.stands_still() { CREDIT_LEAST } else { u32::MAX };
        Some((window.owed().min(window.size() / 2).min(most) as usize, priority))
    }

    /// Memory may be less scarce: the most urgent credit that waits is asked for again, and not all of it at once. A
    /// refusal would be the first of many.
    pub(crate) fn ask_again(&mut self) {
        for _ in 0..ASKED_AT_ONCE {
            let Some(key) = self.withheld.pop() else { return };
            self.queue_wish(key);
        }
    }

    /// Credit that waits does so no more: it is asked for in another way, or nobody needs it.
    pub(super) fn stop_asking(&mut self, key: Key) {
        let Some(motion) = self.store.get_mut(key).and_then(|stream| stream.motion.as_mut()) else { return };
        motion.trickle = 0;
        if let Asking::Withheld(place) = std::mem::replace(&mut motion.asking, Asking::No) {
            self.withheld.remove(place);
        }
        self.store.still(key);
    }

    /// The priority of a stream has changed: credit that waits may not have to any more, or has another place in line.
    pub(super) fn move_in_line(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        if let Asking::Withheld(place) = stream.motion().asking {
            self.withheld.remove(place);
            self.stand_in_line(key);
            (self.events.attention, self.events.outlook) = (true, true);
        }
    }

    // ---- larger and smaller --------------------------------------------------------------------------------------

    /// What a stream's window lacks of `bytes`, or of the largest that there may be; answered with [`Mux::widen`].
    pub(crate) fn shortfall(&self, key: Key, bytes: u32) -> Option<Growth> {
        let stream = self.store.get(key).filter(|stream| self.lifecycle_is_open() && is_reading(stream))?;
        let wanted = bytes.min(self.config.max_stream_window());
        let bytes = wanted.checked_sub(stream.receive.window.size()).filter(|bytes| *bytes > 0)?;
        Some(Growth { key, priority: stream.priority, charging: self.config.charging(), bytes })
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
        let (floor, over) = (self.floor(), matches!(self.lifecycle, Lifecycle::Closed(_)));
        let grown = |stream: &&Stream| !over && is_reading(stream) && stream.receive.window.size() > floor;
        if let Some(stream) = self.store.get(key).filter(grown) {
            let received = stream.received.data_bytes();
            if self.grown.watch(key, received, now) {
                (self.events.attention, self.events.outlook) = (true, true);
            }
        }
    }

    /// Looks at the windows that have grown. One that was not half used for a while becomes smaller at once; for the
    /// others the memory manager is asked, the least urgent first.
    pub(super) fn look_at_windows(&mut self, now: Instant) {
        let Some(grown) = self.grown.take_due(now) else { return };
        let (floor, mut asked, mut watched) = (self.floor(), Vec::new(), BTreeMap::new());
        for (key, usage) in grown {
            let grown = |stream: &&Stream| is_reading(stream) && stream.receive.window.size() > floor;
            let Some(stream) = self.store.get(key).filter(grown) else { continue };
            let size = stream.receive.window.size();
            let Some(usage) = usage.review(size, stream.received.data_bytes(), now) else {
                // It is watched again when something is read.
                self.shrink(key);
                continue;
            };
            watched.insert(key, usage);
            if stream.motion().asking == Asking::No && stream.receive.window.owed() > 0 {
                asked.push((stream.priority, key));
            }
        }
        if self.config.charging() == Charging::Promised {
            asked.sort_unstable();
            asked.into_iter().for_each(|(_, key)| self.queue_wish(key));
        }
        self.grown.put_back(watched, now);
    }

    /// Gives back what holds nothing.
    pub(super) fn rest_windows(&mut self) {
        if self.wishing.is_empty() {
            self.wishing = VecDeque::new();
        }
        self.withheld.release_if_idle();
    }

    pub(super) fn forget_windows(&mut self) {
        self.wishing = VecDeque::new();
        (self.grown, self.withheld) = (GrownWindows::default(), CreditQueue::default());
    }
}

fn is_reading(stream: &Stream) -> bool {
    stream.receive.state == ReceiveState::Open
}
