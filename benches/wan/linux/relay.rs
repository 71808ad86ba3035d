//! The link between two TUN devices: packets leave at a rate, behind a drop-tail queue, arrive late, and some are lost.
//!
//! A direction is a thread. A packet is given its time of arrival when it is taken from the device that it comes from, so that
//! rate and queue are exact however late the thread runs; how late packets leave is counted.

use super::path::Link;
use super::priority;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tun_rs::SyncDevice;

pub const MTU: u16 = 1500;

/// Packets that are taken before those that are due leave.
const BATCH: usize = 64;

/// How long a thread waits before it looks whether it shall end.
const WAIT: Duration = Duration::from_millis(50);

/// Packets that leave later than this are counted: it is little beside every round trip here.
const LATE: Duration = Duration::from_millis(1);

/// On a link that carries several packets in this time, packets are looked for so often.
const TICK: Duration = Duration::from_micros(150);

/// Both directions.
pub struct Relay {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub passed: u64,
    /// Of these, so many left more than [`LATE`] after their time.
    pub late: u64,
    /// For which the queue had no room.
    pub dropped: u64,
    pub lost: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.late += other.late;
        self.dropped += other.dropped;
        self.lost += other.lost;
    }
}

impl Relay {
    pub fn start(near: SyncDevice, far: SyncDevice, link: Link, seed: u64) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let (near, far) = (Arc::new(near), Arc::new(far));
        let threads = [(&near, &far, seed), (&far, &near, !seed)].map(|(from, to, seed)| {
            let direction = Direction {
                from: from.clone(),
                to: to.clone(),
                link,
                random: StdRng::seed_from_u64(seed),
                sent: Instant::now(),
                under_way: VecDeque::new(),
                spare: Vec::new(),
                tally: Tally::default(),
            };
            let ended = ended.clone();
            thread::Builder::new().name("relay".into()).spawn(move || direction.run(&ended))
        });
        Ok(Self { ended, threads: threads.into_iter().collect::<io::Result<_>>()? })
    }

    /// Ends it; both directions together.
    pub fn end(mut self) -> Tally {
        self.ended.store(true, Relaxed);
        let mut tally = Tally::default();
        self.threads.drain(..).for_each(|thread| tally.add(thread.join().expect("the relay runs")));
        tally
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

struct Packet {
    at: Instant,
    bytes: Box<[u8]>,
    length: usize,
}

struct Direction {
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    link: Link,
    random: StdRng,
    /// When the last byte that was taken has been put on the line.
    sent: Instant,
    under_way: VecDeque<Packet>,
    spare: Vec<Box<[u8]>>,
    tally: Tally,
}

impl Direction {
    fn run(mut self, ended: &AtomicBool) -> Tally {
        // A late relay is another path than the one that was asked for.
        priority::real_time(2);
        while !ended.load(Relaxed) {
            let more = self.take();
            self.give();
            if !more {
                self.wait();
            }
        }
        self.tally
    }

    /// Takes a batch; whether there may be more.
    fn take(&mut self) -> bool {
        for _ in 0..BATCH {
            let mut bytes = self.spare.pop().unwrap_or_else(|| vec![0; MTU.into()].into());
            match self.from.recv(&mut bytes) {
                Ok(length) => self.arrived(bytes, length),
                Err(_) => {
                    self.spare.push(bytes);
                    return false;
                }
            }
        }
        true
    }

    fn arrived(&mut self, bytes: Box<[u8]>, length: usize) {
        let now = Instant::now();
        let waits = self.sent.saturating_duration_since(now);
        if self.link.loss > 0.0 && self.random.random_bool(self.link.loss) {
            self.tally.lost += 1;
            self.spare.push(bytes);
        } else if self.link.bytes_in(waits) + length as f64 > self.link.queue as f64 {
            self.tally.dropped += 1;
            self.spare.push(bytes);
        } else {
            self.sent = self.sent.max(now) + self.link.time_of(length);
            self.under_way.push_back(Packet { at: self.sent + self.link.round_trip / 2, bytes, length });
        }
    }

    /// Passes on what is due.
    fn give(&mut self) {
        let now = Instant::now();
        while self.under_way.front().is_some_and(|packet| packet.at <= now) {
            let Some(packet) = self.under_way.pop_front() else { return };
            // A device that is being removed takes nothing.
            let _ = self.to.send(&packet.bytes[..packet.length]);
            self.tally.passed += 1;
            self.tally.late += u64::from(now.duration_since(packet.at) > LATE);
            self.spare.push(packet.bytes);
        }
    }

    /// Until a packet comes or is due.
    fn wait(&self) {
        // A wake-up for each packet would take a core on a fast link.
        if !self.under_way.is_empty() && self.link.time_of(MTU.into()) < TICK {
            return thread::sleep(TICK);
        }
        let due = self.under_way.front().map(|packet| packet.at.saturating_duration_since(Instant::now()));
        let Ok(timeout) = Timespec::try_from(due.unwrap_or(WAIT).min(WAIT)) else { return };
        let _ = poll(&mut [PollFd::new(&*self.from, PollFlags::IN)], Some(&timeout));
    }
}
