//! A link in memory: bytes leave it at a rate, and wait in a short queue before that.
//!
//! Not a socket, whose kernel buffers take several MiB in: what is in there, no muxer can overtake.

use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_timer::Delay;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// Bytes that arrive at once, as in a packet.
pub(crate) const PACKET: usize = 1500;

/// What a link is like, each way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// Bytes that wait in front of it at most.
    pub(crate) queue: usize,
}

impl Settings {
    /// How long it takes this many bytes to leave.
    pub(crate) fn time(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate as f64)
    }

    /// How many bytes leave in this time.
    fn bytes(&self, time: Duration) -> usize {
        (time.as_secs_f64() * self.rate as f64) as usize
    }
}

/// Two ends of a new link.
pub(crate) fn new(settings: Settings) -> (End, End) {
    let [one, other] = [(); 2].map(|()| Arc::new(Wire::new(settings)));
    (End::new(one.clone(), other.clone()), End::new(other, one))
}

/// One direction.
#[derive(Debug)]
struct Wire {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What has been sent and not read, with the time at which it arrives.
    packets: VecDeque<(Instant, VecDeque<u8>)>,
    /// When all of it will have left. What has not left by now is in the queue.
    busy_until: Instant,
    is_closed: bool,
    /// Whoever waits for a packet that has not been sent.
    reader: Option<Waker>,
}

impl Wire {
    fn new(settings: Settings) -> Self {
        let state = State { packets: VecDeque::new(), busy_until: Instant::now(), is_closed: false, reader: None };
        Self { settings, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is room for; or says when to come again: as a socket does, when half the queue is free.
    fn send(&self, bytes: &[u8], now: Instant) -> Result<usize, Instant> {
        let (mut state, settings) = (self.state(), self.settings);
        if state.is_closed {
            // Nobody reads any more.
            return Ok(bytes.len());
        }
        let room = settings.queue.saturating_sub(settings.bytes(state.busy_until.saturating_duration_since(now)));
        if room < PACKET.min(bytes.len()) {
            return Err(state.busy_until - settings.time(settings.queue / 2));
        }
        let taken = &bytes[..room.min(bytes.len())];
        for packet in taken.chunks(PACKET) {
            let left = state.busy_until.max(now) + settings.time(packet.len());
            state.busy_until = left;
            state.packets.push_back((left, packet.to_vec().into()));
        }
        state.reader.take().into_iter().for_each(Waker::wake);
        Ok(taken.len())
    }

    /// Hands out what has arrived. If nothing has: when something will, or `None` if nothing is on its way.
    fn receive(&self, buffer: &mut [u8], now: Instant, cx: &Context<'_>) -> Result<usize, Option<Instant>> {
        let mut state = self.state();
        let mut read = 0;
        while read < buffer.len()
            && let Some((arrives, packet)) = state.packets.front_mut()
            && *arrives <= now
        {
            read += io::Read::read(packet, &mut buffer[read..]).unwrap_or(0);
            if packet.is_empty() {
                state.packets.pop_front();
            }
        }
        match (read, state.packets.front()) {
            (0, Some((arrives, _))) => Err(Some(*arrives)),
            (0, None) if !state.is_closed => {
                state.reader = Some(cx.waker().clone());
                Err(None)
            }
            // Also the end, which is where nothing more comes.
            _ => Ok(read),
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.reader.take().into_iter().for_each(Waker::wake);
    }
}

/// One end of a link: a transport.
#[derive(Debug)]
pub(crate) struct End {
    outgoing: Arc<Wire>,
    incoming: Arc<Wire>,
    room: Alarm,
    arrival: Alarm,
}

impl End {
    fn new(outgoing: Arc<Wire>, incoming: Arc<Wire>) -> Self {
        Self { outgoing, incoming, room: Alarm::new(), arrival: Alarm::new() }
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.incoming.receive(buffer, Instant::now(), cx) {
                Ok(read) => return Poll::Ready(Ok(read)),
                Err(Some(at)) => ready!(self.arrival.poll(at, cx)),
                Err(None) => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.outgoing.send(bytes, Instant::now()) {
                Ok(taken) => return Poll::Ready(Ok(taken)),
                Err(at) => ready!(self.room.poll(at, cx)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.close();
        self.incoming.close();
    }
}

/// A timer for one thing to wait for. Tokio's are only as precise as a millisecond.
#[derive(Debug)]
struct Alarm {
    delay: Delay,
    set_to: Option<Instant>,
}

impl Alarm {
    fn new() -> Self {
        Self { delay: Delay::new(Duration::ZERO), set_to: None }
    }

    /// Ready when that time has come.
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.set_to != Some(at) {
            self.delay.reset(at.saturating_duration_since(Instant::now()));
            self.set_to = Some(at);
        }
        ready!(self.delay.poll_unpin(cx));
        self.set_to = None;
        Poll::Ready(())
    }
}
