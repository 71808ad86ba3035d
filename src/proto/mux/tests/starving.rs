//! No writer starves beside busier ones, whatever their buckets are (Y-MEM-6, Y-PRIO-3).
//!
//! All writers wait for the transport. A writer acts only when the core wakes it.

use super::Bench;
use crate::config::Config;
use crate::memory::{MemoryLimit, MemoryManager, Reservation};
use crate::priority::Priority;
use crate::proto::limits::STARVATION_BYTES;
use crate::proto::{Batch, FlushError, Key, WriteError};
use crate::wire::{Flags, Header};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// The writes of one writer, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// As much as there is room for.
    Bulk,
    /// A message of so many bytes, and the next one when that has left.
    Messages(usize),
}

#[derive(Debug)]
struct Writer {
    key: Key,
    work: Work,
    /// What is left of the message to be written.
    left: usize,
    /// Messages that have left, or bytes that were taken.
    done: u64,
    /// What had left of the connection when it last got anything done.
    since: u64,
}

/// Writers on a connection whose transport takes a batch at a time.
struct Crowd {
    bench: Bench,
    writers: Vec<Writer>,
    /// Where the send buffers get more memory.
    memory: Arc<dyn MemoryManager>,
    /// Bytes of bodies that have left.
    sent: u64,
}

impl Crowd {
    /// Send buffers that may grow by so many bytes.
    fn new(growth: usize) -> Self {
        let bench = Bench::with(1 << 30, Config::builder());
        Self { bench, writers: Vec::new(), memory: Arc::new(MemoryLimit::new(growth)), sent: 0 }
    }

    fn join(&mut self, number: usize, priority: Priority, work: Work) {
        for _ in 0..number {
            let (key, id) = self.bench.stream(priority);
            self.bench.receive(Header::WindowUpdate { id, flags: Flags::NONE, value: 1 << 31 });
            self.bench.settle();
            self.writers.push(Writer { key, work, left: 0, done: 0, since: self.sent });
        }
    }

    /// Lets everybody write until so many bytes have left.
    fn run(&mut self, bytes: u64) {
        (0..self.writers.len()).for_each(|which| self.act(which));
        let until = self.sent + bytes;
        while self.sent < until {
            self.step();
        }
    }

    fn step(&mut self) {
        let (mut batch, mut pieces) = (Batch::default(), VecDeque::<Bytes>::new());
        let budget = self.bench.mux.batch_budget();
        assert!(self.bench.mux.poll_transmit(&mut batch, budget, self.bench.now), "everybody sleeps");
        let data = batch.take(&mut pieces);
        self.bench.mux.handle_written(data, pieces.drain(..), self.bench.now);
        self.bench.mux.handle_flushed(self.bench.mux.last_encoded(), self.bench.now);
        self.sent += data as u64;
        self.wake();
    }

    /// Wakes whom it concerns.
    fn wake(&mut self) {
        for (key, _) in std::mem::take(&mut self.bench.mux.events_mut().ready) {
            let which = self.writers.iter().position(|writer| writer.key == key);
            which.into_iter().for_each(|which| self.act(which));
        }
        self.bench.settle();
    }

    /// The writer has its turn, until it has to wait.
    fn act(&mut self, which: usize) {
        let (key, work, now) = (self.writers[which].key, self.writers[which].work, self.bench.now);
        loop {
            let writer = &mut self.writers[which];
            let wants = match work {
                Work::Bulk => 64 * 1024,
                Work::Messages(len) if writer.done == 0 && writer.since == 0 && writer.left == 0 => len,
                Work::Messages(len) => match (writer.left, self.bench.mux.flush(key)) {
                    (left @ 1.., _) => left,
                    (0, Ok(())) => {
                        (writer.done, writer.since) = (writer.done + 1, self.sent);
                        len
                    }
                    (0, Err(FlushError::Blocked)) => return,
                    (0, Err(FlushError::Failed(error))) => panic!("{error}"),
                },
            };
            match self.bench.mux.write(key, &vec![0; wants], now) {
                Ok(written) => {
                    let writer = &mut self.writers[which];
                    match work {
                        Work::Bulk => (writer.done, writer.since) = (writer.done + written as u64, self.sent),
                        Work::Messages(_) => (writer.left, writer.since) = (wants - written, self.sent.max(1)),
                    }
                }
                Err(WriteError::Blocked { growth }) => {
                    self.writers[which].left = if work == Work::Bulk { 0 } else { wants };
                    let priority = self.bench.mux.priority(key).expect("lives");
                    let Some(bytes) = growth else { return };
                    match Reservation::new(&self.memory, bytes, priority) {
                        Ok(granted) => self.bench.mux.grow_pool(granted),
                        Err(_) => return self.bench.mux.room_refused(key, priority, self.bench.now),
                    }
                }
                Err(WriteError::Failed(error)) => panic!("{error}"),
            }
        }
    }

    /// How often everybody got something done.
    fn done(&self) -> Vec<u64> {
        self.writers.iter().map(|writer| writer.done).collect()
    }
}

/// Where the buffers do not grow, where they do as far as they may, and where only the urgent get any.
const GROWTHS: [usize; 3] = [0, 1 << 30, 100 * 1024];

#[test]
fn y_mem_6_messages_of_a_lower_bucket_leave_beside_higher_writers() {
    let rows = [
        (Priority::LOW, 4, Priority::MEDIUM),
        (Priority::MEDIUM, 8, Priority::HIGH),
        (Priority::LOW, 3, Priority::ALWAYS),
    ];
    for (growth, (low, busy, high)) in GROWTHS.into_iter().flat_map(|growth| rows.map(|row| (growth, row))) {
        let mut crowd = Crowd::new(growth);
        crowd.join(busy, high, Work::Bulk);
        crowd.join(1, low, Work::Messages(100));
        crowd.run(64 * MIB);
        let messages = *crowd.done().last().expect("one");
        // One for each 256 KiB of the others, and the batch that it leaves in.
        let least = 64 * MIB / (u64::from(STARVATION_BYTES) + 2 * 64 * 1024);
        assert!(messages >= least, "{messages} of {least} beside {busy} of {high:?}, growth {growth}");
    }
}

#[test]
fn y_mem_6_bulk_of_a_lower_bucket_leaves_beside_higher_writers() {
    for growth in GROWTHS {
        let mut crowd = Crowd::new(growth);
        crowd.join(4, Priority::HIGH, Work::Bulk);
        crowd.join(1, Priority::MEDIUM, Work::Bulk);
        crowd.join(1, Priority::LOW, Work::Bulk);
        crowd.run(64 * MIB);
        let done = crowd.done();
        // 2 KiB at least for each 256 KiB of the others.
        assert!(done[4..].iter().all(|bytes| *bytes >= 64 * MIB / 128 / 2), "{done:?}, growth {growth}");
    }
}

#[test]
fn y_mem_6_messages_leave_beside_many_busy_streams_of_their_bucket() {
    for (growth, busy) in GROWTHS.into_iter().flat_map(|growth| [4, 20, 200].map(|busy| (growth, busy))) {
        let mut crowd = Crowd::new(growth);
        crowd.join(busy, Priority::MEDIUM, Work::Bulk);
        crowd.join(1, Priority::MEDIUM, Work::Messages(100));
        crowd.run(64 * MIB);
        let done = crowd.done();
        let (messages, bytes) = (done[busy], done[..busy].iter().min().expect("some"));
        assert!(
            messages >= 64 * MIB / (20 * 1024) / (busy as u64 + 4) / 4,
            "{messages} messages beside {busy}, growth {growth}"
        );
        assert!(*bytes >= MIB / 4 / busy as u64, "{bytes} bytes beside {busy}, growth {growth}");
    }
}

/// One in a crowd of its own bucket, which is in the shadow of a higher one.
#[test]
fn y_mem_6_many_streams_of_a_lower_bucket_have_their_turns() {
    for (growth, work) in
        GROWTHS.into_iter().flat_map(|growth| [Work::Bulk, Work::Messages(100)].map(|work| (growth, work)))
    {
        const MANY: usize = 50;
        let mut crowd = Crowd::new(growth);
        crowd.join(8, Priority::HIGH, Work::Bulk);
        crowd.join(MANY, Priority::MEDIUM, work);
        crowd.join(1, Priority::MEDIUM, Work::Messages(100));
        crowd.run(8 * u64::from(STARVATION_BYTES) * MANY as u64);
        let done = crowd.done();
        assert!(done[8..].iter().all(|done| *done >= 1), "{work:?}, growth {growth}: {done:?}");
    }
}

/// Random crowds, in which priorities change and streams come and go: no writer waits for longer than it takes to serve
/// all of them.
#[test]
fn y_mem_6_no_writer_waits_for_ever_whatever_the_others_do() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let level = |rng: &mut StdRng| Priority::new(rng.random());
        let mut crowd = Crowd::new(GROWTHS[rng.random_range(0..GROWTHS.len())]);
        for _ in 0..rng.random_range(2..12) {
            let work = if rng.random() { Work::Bulk } else { Work::Messages(rng.random_range(1..40_000)) };
            let priority = level(&mut rng);
            crowd.join(1, priority, work);
        }
        let bulk = level(&mut rng);
        crowd.join(1, bulk, Work::Bulk);
        crowd.run(1);
        let all = 4 * u64::from(STARVATION_BYTES) * (crowd.writers.len() as u64 + 4) * 2;
        while crowd.sent < 40 * MIB {
            crowd.step();
            let which = rng.random_range(0..crowd.writers.len());
            match rng.random_range(0..200) {
                0 => {
                    let priority = level(&mut rng);
                    crowd.bench.mux.choose_priority(crowd.writers[which].key, priority, crowd.bench.now);
                    crowd.wake();
                }
                1 => {
                    let (priority, Writer { work, key, .. }) = (level(&mut rng), crowd.writers.swap_remove(which));
                    crowd.bench.mux.reset(key, 0, crowd.bench.now);
                    crowd.wake();
                    crowd.bench.release(key);
                    crowd.join(1, priority, work);
                    // To open one, the bench has let events go.
                    (0..crowd.writers.len()).for_each(|which| crowd.act(which));
                }
                _ => {}
            }
            for writer in &crowd.writers {
                assert!(crowd.sent - writer.since <= all, "seed {seed}: {writer:?} of {}", crowd.writers.len());
            }
        }
    }
}
