//! One direction of a link: the socket buffers of both ends, and the path between them.

use crate::chance::Chance;
use crate::world::World;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// What a direction is like.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// One way.
    pub latency: Duration,
    /// Bytes a second.
    pub rate: u64,
    /// Bytes that leave together.
    pub packet: usize,
    /// Bytes that were written and have not arrived.
    pub send_room: usize,
    /// Bytes that have arrived, or are on their way, and were not read.
    pub receive_room: usize,
}

impl Path {
    /// How long a byte waits behind full buffers.
    pub fn queue_time(&self) -> Duration {
        Duration::from_secs_f64((self.send_room + self.receive_room) as f64 / self.speed() as f64) + self.latency
    }

    /// Bytes a second, as far as the buffers let it.
    pub fn speed(&self) -> u64 {
        let room = self.send_room.min(self.receive_room) as f64;
        self.rate.min((room / self.latency.as_secs_f64().max(1e-9)) as u64)
    }

    /// How many bytes it is reasonable to send through it in a run.
    pub fn volume(&self) -> u64 {
        (self.speed() * 10).min(self.send_room as u64 * 500).min(3_000_000)
    }

    pub fn draw(slowest: u64, chance: &mut Chance) -> Self {
        let rates = [4_000, 100_000, 1_000_000, 10_000_000, 10_000_000, 1_000_000_000, 1_000_000_000];
        let rate = chance.pick(&rates).max(slowest);
        let mut path = Self {
            latency: Duration::from_micros(chance.pick(&[0, 50, 50, 1_000, 10_000, 80_000])),
            rate,
            packet: chance.pick(&[1_400, 16_384, 65_536]),
            send_room: chance.pick(&[1, 300, 4_096, 16_384, 65_536, 262_144, 4_000_000]).min(8 * rate as usize),
            receive_room: chance.pick(&[300, 4_096, 65_536, 262_144]),
        };
        if slowest > 0 {
            (path.packet, path.send_room) = (path.packet.max(16_384), path.send_room.max(16_384));
            path.receive_room = path.receive_room.max(65_536);
        }
        while path.speed() < slowest.max(4_000) {
            (path.send_room, path.receive_room) = (path.send_room * 4, path.receive_room * 4);
        }
        path
    }
}

/// Bytes on their way. Whoever changes something calls [`Wire::nudge`].
pub struct Wire {
    pub path: Path,
    /// In the send buffer of the socket.
    outbox: VecDeque<u8>,
    /// On the path, with the time of arrival. An empty one is the end.
    flying: VecDeque<(Duration, Vec<u8>)>,
    in_flight: usize,
    /// In the receive buffer.
    inbox: VecDeque<u8>,
    busy_until: Duration,
    /// Nothing leaves and nothing arrives until then.
    pub blocked_until: Duration,
    /// The writer has shut it, or is gone.
    ending: bool,
    end_left: bool,
    ended: bool,
    reader_gone: bool,
    /// Everything fails with this from here on.
    broken: Option<io::ErrorKind>,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
    carrier: Option<Waker>,
}

impl Wire {
    pub fn new(path: Path) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            path,
            outbox: VecDeque::new(),
            flying: VecDeque::new(),
            in_flight: 0,
            inbox: VecDeque::new(),
            busy_until: Duration::ZERO,
            blocked_until: Duration::ZERO,
            ending: false,
            end_left: false,
            ended: false,
            reader_gone: false,
            broken: None,
            reader: None,
            writer: None,
            carrier: None,
        }))
    }

    pub fn broken(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Bytes that the socket takes: none while it is nearly full, as a real one is not writable then.
    pub fn room(&self) -> usize {
        let room = self.path.send_room.saturating_sub(self.outbox.len() + self.in_flight);
        if room >= self.path.send_room.div_ceil(3) { room } else { 0 }
    }

    /// Whether all that was written has left the send buffer.
    pub fn has_left(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.in_flight == 0 && self.inbox.is_empty()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.outbox.extend(bytes);
        self.nudge();
    }

    pub fn unread(&self) -> usize {
        self.inbox.len()
    }

    /// Moves bytes to `to`, which is no longer than what is there.
    pub fn read(&mut self, to: &mut [u8]) {
        let bytes = self.inbox.drain(..to.len());
        for (to, byte) in to.iter_mut().zip(bytes) {
            *to = byte;
        }
        self.nudge();
    }

    /// Whether the end has arrived, and everything before it was read.
    pub fn is_over(&self) -> bool {
        self.ended && self.inbox.is_empty()
    }

    /// Whether the end has arrived, whatever is before it.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    pub fn end(&mut self) {
        self.ending = true;
        self.nudge();
    }

    pub fn leave_reader(&mut self) {
        self.reader_gone = true;
        self.inbox.clear();
        self.nudge();
    }

    pub fn has_reader(&self) -> bool {
        !self.reader_gone
    }

    /// Loses what is on its way; with a kind, everything fails from here on, else nothing arrives any more.
    pub fn cut(&mut self, kind: Option<io::ErrorKind>) {
        self.outbox.clear();
        self.flying.clear();
        (self.in_flight, self.broken, self.blocked_until) = (0, kind, Duration::MAX);
        self.wake_ends();
        self.nudge();
    }

    pub fn nudge(&mut self) {
        self.carrier.take().into_iter().for_each(Waker::wake);
    }

    fn wake_ends(&mut self) {
        let ends = [self.reader.take(), self.writer.take()];
        ends.into_iter().flatten().for_each(Waker::wake);
    }

    /// Does what is due, and says when there is more to do.
    fn carry(&mut self, now: Duration) -> Option<Duration> {
        if now < self.blocked_until {
            return Some(self.blocked_until).filter(|until| *until < Duration::MAX);
        }
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.flying.pop_front().expect("there is one");
            self.in_flight -= bytes.len();
            self.ended |= bytes.is_empty();
            if self.has_reader() {
                self.inbox.extend(bytes);
            }
            self.wake_ends();
        }
        let mut held = false;
        while !self.outbox.is_empty() && self.busy_until <= now {
            let room = self.path.receive_room.saturating_sub(self.in_flight + self.inbox.len());
            let len = self.path.packet.min(self.outbox.len()).min(room);
            held = len == 0;
            if held {
                break;
            }
            let bytes: Vec<u8> = self.outbox.drain(..len).collect();
            self.busy_until = now + Duration::from_nanos(len as u64 * 1_000_000_000 / self.path.rate);
            self.in_flight += len;
            self.launch(bytes);
        }
        if self.ending && self.outbox.is_empty() && !self.end_left {
            self.end_left = true;
            self.launch(Vec::new());
        }
        let arrival = self.flying.front().map(|(at, _)| *at);
        let departure = Some(self.busy_until).filter(|_| !self.outbox.is_empty() && !held);
        arrival.into_iter().chain(departure).min()
    }

    fn launch(&mut self, bytes: Vec<u8>) {
        let before = self.flying.back().map_or(Duration::ZERO, |(at, _)| *at);
        self.flying.push_back(((self.busy_until + self.path.latency).max(before), bytes));
        if self.outbox.is_empty() {
            self.writer.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// The task that moves the bytes.
pub async fn carry(world: World, wire: Rc<RefCell<Wire>>) {
    let mut alarm = None;
    poll_fn(|cx| {
        loop {
            let next = {
                let mut wire = wire.borrow_mut();
                wire.carrier = Some(cx.waker().clone());
                wire.carry(world.now())
            };
            alarm = next.map(|at| world.timers().sleep_until(at));
            if !alarm.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(cx).is_ready()) {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}
