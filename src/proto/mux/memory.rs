//! Verbs of [`Mux`] for the size of receive windows, and for credit that waits for memory.
//!
//! The memory manager is user code. So a [`WindowRequest`] is put to it with no lock held, and its [`WindowDecision`]
//! is applied under the lock again. `flow::requests` owns the requests, `flow::window` decides how large a window
//! should be.

use super::{Lifecycle, Mux};
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::flow::grown::GrownWindows;
use crate::proto::flow::requests::{CreditQueue, CreditState, Growth, WindowDecision, WindowRequest};
use crate::proto::key::Key;
use crate::proto::limits::{ASKED_AT_ONCE, CREDIT_LEAST, NEAR_ROUND_TRIP, NEAR_WINDOW};
use crate::proto::stream::{ActiveState, ReceiveState, Stream};
use crate::stats::{add, count};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use web_time::Instant;

impl Mux {
    /// Requests a window: a stream's credit is due, or its window is to be reviewed. The decision comes before the next
    /// batch, so that credit and growth leave as one window update.
    pub(super) fn request_window(&mut self, key: Key) {
        let (max, floor, as_used) = (self.config.max_stream_window(), self.floor(), self.charge_policy().is_as_used());
        let asks = match self.lifecycle {
            Lifecycle::Open => true,
            // No window grows any more.
            Lifecycle::Closing { .. } => as_used,
            Lifecycle::Closed(_) => false,
        };
        let Some(stream) = self.store.get(key).filter(|stream| asks && is_reading(stream)) else { return };
        let (size, spent) = (stream.receive.window.size(), stream.receive.window.is_spent());
        let matters = size < max || size > floor || as_used;
        match stream.active().credit_state {
            CreditState::Settled if matters && (spent || stream.owes_credit()) => self.queue_window_request(key),
            // Its turn in the queue may never come: its peer has no credit, and the application has nothing to read.
            CreditState::Waiting(_) if stream.is_credit_starved() => {
                if let Some(mut view) = self.view(key) {
                    view.leave_credit_queue();
                }
                self.queue_window_request(key);
            }
            CreditState::Settled | CreditState::Requested | CreditState::Waiting(_) => {}
        }
    }

    pub(super) fn queue_window_request(&mut self, key: Key) {
        if let Some(active) = self.store.activate(key) {
            active.credit_state = CreditState::Requested;
            self.window_requests.push_back(key);
            self.events.attention = true;
        }
    }

    /// Whether [`Mux::next_window_request`] may return a request.
    pub(crate) fn has_window_requests(&self) -> bool {
        !self.window_requests.is_empty()
    }

    /// The round trip that windows are sized for, and their largest size (Y-FLOW-9).
    ///
    /// Credit takes as long as the link and the tasks of both ends together. On a short link that is mostly the time
    /// until the tasks get a turn. Where the larger window would delay a more urgent stream, the window is no larger
    /// than the link needs.
    fn reach(&self) -> (Option<Duration>, u32) {
        let max = self.config.max_stream_window();
        if self.pinger.rtt.short_round_trip().is_some() && self.levels.is_level() {
            (Some(NEAR_ROUND_TRIP), max.min(NEAR_WINDOW.max(self.config.initial_stream_window())))
        } else {
            (self.pinger.rtt.round_trip(), max)
        }
    }

    /// The next request to the memory manager, to be answered with [`Mux::apply_decision`].
    pub(crate) fn next_window_request(&mut self, now: Instant) -> Option<WindowRequest> {
        let ((rtt, max), floor) = (self.reach(), self.floor());
        let charge = self.charge_policy();
        while let Some(key) = self.window_requests.pop_front() {
            let queued = |stream: &&mut Stream| stream.active().credit_state == CreditState::Requested;
            let Some(stream) = self.store.get_mut(key).filter(queued) else { continue };
            let (priority, is_credit_starved) = (stream.priority, stream.is_credit_starved());
            let window = &mut stream.receive.window;
            let (due, spent, grown) = (window.is_due(), window.is_spent(), window.size() > floor);
            let growth = if due || spent { window.growth(rtt, max, now).unwrap_or(0) } else { 0 };
            if let Some(waited) = window.take_wait() {
                self.pinger.doubt(waited, now);
            }
            // A spent window is not due. It is only a reason to grow.
            let idle = spent && !due && growth == 0;
            if !idle && (growth > 0 || grown || charge.is_as_used()) {
                let credit = window.owed().min(window.size() / 2);
                let least = if is_credit_starved { credit.min(CREDIT_LEAST) } else { 0 };
                return Some(WindowRequest { key, priority, charge, growth, credit, grown, least });
            }
            self.asked(key);
            self.sync_queues(key);
        }
        None
    }

    /// Applies the memory manager's decision on a request. The credit owed then leaves as one window update.
    pub(crate) fn apply_decision(&mut self, request: WindowRequest, decision: WindowDecision) {
        let refused = request.growth > 0 && !matches!(decision, WindowDecision::Larger(_) | WindowDecision::Wider(_));
        add(&mut self.counters.refusals.windows, request.refusals(&decision));
        let queued = |stream: &&mut Stream| stream.active().credit_state == CreditState::Requested;
        let Some(stream) = self.store.get_mut(request.key).filter(queued) else {
            if let WindowDecision::Larger(granted) = decision {
                self.events.released.push(granted);
            }
            return;
        };
        let due = stream.receive.window.is_due();
        let active = self.asked(request.key);
        if refused && !due {
            // The request was for growth alone.
            return self.sync_queues(request.key);
        }
        if let Some(active) = active
            && !matches!(decision, WindowDecision::Denied)
        {
            active.minimum_credit = 0;
        }
        match decision {
            WindowDecision::Larger(granted) => self.enlarge(request.key, granted),
            WindowDecision::Wider(bytes) => {
                self.grow(request.key, bytes);
            }
            WindowDecision::AsItIs => {}
            WindowDecision::Smaller => {
                self.shrink(request.key);
                if self.charge_policy().is_as_used() {
                    // Even the smaller window may owe credit.
                    self.request_window(request.key);
                }
            }
            WindowDecision::Least(bytes) => {
                if let Some(active) = self.store.activate(request.key) {
                    active.minimum_credit = bytes;
                }
                self.wait_for_memory(request.key);
            }
            WindowDecision::Denied => {
                self.wait_for_memory(request.key);
                // The application may have read the last bytes while the manager was asked. Then the stream is starved
                // of credit.
                if request.least == 0 {
                    self.request_window(request.key);
                }
            }
        }
        self.sync_queues(request.key);
    }

    /// The request has been made.
    fn asked(&mut self, key: Key) -> Option<&mut ActiveState> {
        let active = self.store.get_mut(key)?.active.as_deref_mut()?;
        active.credit_state = CreditState::Settled;
        Some(active)
    }

    /// Queues the stream until memory is released.
    fn wait_for_memory(&mut self, key: Key) {
        count(&mut self.counters.refusals.credit);
        self.enqueue_credit(key);
    }

    fn enqueue_credit(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        let priority = if stream.is_credit_starved() { Priority::ALWAYS } else { stream.priority };
        let place = self.credit_queue.push(key, priority);
        if let Some(active) = self.store.activate(key) {
            active.credit_state = CreditState::Waiting(place);
        }
    }

    /// The first credit in the queue: how many bytes, and at which priority it waits.
    pub(crate) fn first_waiting_credit(&self) -> Option<(usize, Priority)> {
        let (priority, key) = self.credit_queue.first()?;
        let stream = self.store.get(key)?;
        let window = &stream.receive.window;
        let most = if stream.is_credit_starved() { CREDIT_LEAST } else { u32::MAX };
        Some((window.owed().min(window.size() / 2).min(most) as usize, priority))
    }

    /// Requests the most urgent waiting credit again, since memory may have been released. Only some of it: after one
    /// refusal more would follow.
    pub(crate) fn ask_again(&mut self) {
        for _ in 0..ASKED_AT_ONCE {
            let Some(key) = self.credit_queue.pop() else { return };
            self.queue_window_request(key);
        }
    }

    /// The priority of a stream has changed: its waiting credit gets another place in the queue, and may be granted
    /// now.
    pub(super) fn requeue_credit(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        if let CreditState::Waiting(place) = stream.active().credit_state {
            self.credit_queue.remove(place);
            self.enqueue_credit(key);
            (self.events.attention, self.events.outlook) = (true, true);
        }
    }

    // ---- larger and smaller --------------------------------------------------------------------------------------

    /// The growth that a stream's window needs for `bytes`, or for the largest size allowed. The decision goes to
    /// [`Mux::widen`].
    pub(crate) fn shortfall(&self, key: Key, bytes: u32) -> Option<Growth> {
        let stream = self.store.get(key).filter(|stream| self.lifecycle_is_open() && is_reading(stream))?;
        let wanted = bytes.min(self.config.max_stream_window());
        let bytes = wanted.checked_sub(stream.receive.window.size()).filter(|bytes| *bytes > 0)?;
        Some(Growth { key, priority: stream.priority, charge: self.charge_policy(), bytes })
    }

    /// Applies the memory manager's decision on an application's request.
    pub(crate) fn widen(&mut self, growth: Growth, decision: WindowDecision) {
        match decision {
            WindowDecision::Larger(granted) => self.enlarge(growth.key, granted),
            WindowDecision::Wider(bytes) => {
                self.grow(growth.key, bytes);
            }
            WindowDecision::AsItIs | WindowDecision::Smaller | WindowDecision::Least(_) | WindowDecision::Denied => {
                count(&mut self.counters.refusals.windows);
            }
        }
        self.sync_queues(growth.key);
    }

    /// Grows a window by the bytes of a reservation, unless the window may not be so large any more.
    fn enlarge(&mut self, key: Key, mut granted: Reservation) {
        let bytes = u32::try_from(granted.bytes()).unwrap_or(u32::MAX);
        if self.grow(key, bytes)
            && let Some(stream) = self.store.get_mut(key)
            && let Some(own) = &mut stream.reservation
        {
            granted.move_to(own, usize::MAX);
            self.levels.reserve(stream.priority, bytes as usize);
        }
        self.events.released.push(granted);
    }

    /// Grows a window, unless it may not be so large any more; returns whether it did.
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

    /// Shrinks a window by credit that was not granted, and gives its memory back (Y-MEM-12).
    fn shrink(&mut self, key: Key) {
        let (floor, charge) = (self.floor(), self.charge_policy());
        let Some(stream) = self.store.get_mut(key) else { return };
        let bytes = charge.given_up(stream.receive.window.shrink(floor));
        if bytes > 0
            && let Some(own) = &mut stream.reservation
        {
            self.events.released.push(own.split(bytes));
            self.levels.release(stream.priority, bytes);
        }
    }

    /// The least size of windows.
    fn floor(&self) -> u32 {
        self.config.initial_stream_window()
    }

    // ---- windows that have grown ---------------------------------------------------------------------------------

    /// Bytes were read on a stream: watches its window, if it has grown.
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

    /// Reviews the windows that have grown. A window that was not half used for a while shrinks at once. For the others
    /// the memory manager is asked, the least urgent first.
    pub(super) fn look_at_windows(&mut self, now: Instant) {
        let Some(grown) = self.grown.take_due(now) else { return };
        let (floor, mut asked, mut watched) = (self.floor(), Vec::new(), BTreeMap::new());
        for (key, usage) in grown {
            let grown = |stream: &&Stream| is_reading(stream) && stream.receive.window.size() > floor;
            let Some(stream) = self.store.get(key).filter(grown) else { continue };
            let size = stream.receive.window.size();
            let Some(usage) = usage.review(size, stream.received.data_bytes(), now) else {
                // It is watched again with the next read.
                self.shrink(key);
                self.sync_queues(key);
                continue;
            };
            watched.insert(key, usage);
            if stream.active().credit_state == CreditState::Settled && stream.receive.window.owed() > 0 {
                asked.push((stream.priority, key));
            }
        }
        if !self.charge_policy().is_as_used() {
            asked.sort_unstable();
            asked.into_iter().for_each(|(_, key)| self.queue_window_request(key));
        }
        self.grown.put_back(watched, now);
    }

    /// Frees the storage of empty queues.
    pub(super) fn release_idle_windows(&mut self) {
        if self.window_requests.is_empty() {
            self.window_requests = VecDeque::new();
        }
        self.credit_queue.release_if_idle();
    }

    pub(super) fn forget_windows(&mut self) {
        self.window_requests = VecDeque::new();
        (self.grown, self.credit_queue) = (GrownWindows::default(), CreditQueue::default());
    }
}

fn is_reading(stream: &Stream) -> bool {
    stream.receive.state == ReceiveState::Open
}
