//! Streams that nothing can arrive on any more keep reserved what is unread, and all figures say so at every moment
//! (Y-MEM-13).

use crate::support::line::Line;
use crate::support::peer::{data, go_away, update};
use crate::support::quiet;
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sluicegate::stats::NodeStats;
use sluicegate::wire::Flags;
use sluicegate::{MemoryLimit, Priority, ReceiveCharge, Stream};
use std::sync::Arc;
use std::task::{Context, Waker};

/// What a stream takes itself while it is on the wire.
const BOOKS: usize = 1024;
/// The largest block that holds what is unread. The first may be read in part, and of what the handle has taken and of what it
/// has not the last may have room.
const BLOCK: usize = 8 * 1024;
/// What a handle takes at once.
const TAKEN: usize = 64 * 1024;
const WINDOW: usize = 256 * 1024;

/// A stream, and what the peer has done with it.
struct Held {
    stream: Stream,
    /// Bytes that it may still send without credit.
    credit: usize,
    finished: bool,
    reset: bool,
    /// Bytes that were read since nothing can arrive.
    late: usize,
}

struct Bench {
    line: Option<Line>,
    held: Vec<Held>,
    stats: NodeStats,
    budget: Arc<MemoryLimit>,
    chance: StdRng,
    lost: bool,
}

impl Bench {
    fn new(seed: u64, charging: ReceiveCharge) -> Self {
        let (stats, budget) = (NodeStats::default(), Arc::new(MemoryLimit::new(1 << 30)));
        let settings =
            quiet().receive_charge(charging).stats(stats.clone()).memory(budget.clone()).max_send_buffer(65_536);
        let mut line = Line::new(settings);
        let streams: [Stream; 3] = line.open(Priority::MEDIUM, 0);
        let held = streams.map(|stream| Held { stream, credit: WINDOW, finished: false, reset: false, late: 0 }).into();
        Self { line: Some(line), held, stats, budget, chance: StdRng::seed_from_u64(seed), lost: false }
    }

    fn below(&mut self, n: usize) -> usize {
        self.chance.random_range(0..n)
    }

    /// Lets the connection do what it can, also if that is to end.
    fn poll(&mut self) {
        let Some(line) = &mut self.line else { return };
        for _ in 0..4 {
            let polled = line.connection.poll(&mut Context::from_waker(Waker::noop()));
            self.lost |= polled.is_ready() || line.connection.is_closed();
        }
        if !self.lost {
            line.drain();
        }
    }

    /// The peer does something with a stream, if it still can.
    fn peer(&mut self, index: usize) {
        let (what, len) = (self.below(10), 1 + self.below([3, 700, 20_000][index % 3]));
        let Held { stream, credit, finished, reset, .. } = &mut self.held[index];
        let Some(line) = self.line.as_mut().filter(|_| !*finished && !*reset && !self.lost) else { return };
        let id = stream.id();
        match what {
            0 => {
                line.feed(update(id, Flags::RST, 7), &[]);
                *reset = true;
            }
            1 => {
                line.feed(data(id, Flags::FIN, 0), &[]);
                *finished = true;
            }
            _ => {
                let len = len.min(*credit);
                line.feed(data(id, Flags::NONE, len as u32), &vec![7; len]);
                *credit -= len;
            }
        }
    }

    /// The application reads, in one of the ways there are.
    fn read(&mut self, index: usize) {
        let (how, len) = (self.below(4), [1, 1, 10, 300, 5_000, 100_000][self.below(6)]);
        let Held { stream, finished, reset, late, .. } = &mut self.held[index];
        let (over, before) = (self.lost || *finished || *reset, stream.stats().unread);
        match how {
            0 => drop(stream.read_bytes().now_or_never()),
            1 => {
                let there = stream.fill_buf().now_or_never().and_then(Result::ok).map_or(0, <[u8]>::len);
                stream.consume_unpin(there.min(len));
            }
            _ => drop(stream.read(&mut vec![0; len]).now_or_never()),
        }
        if over {
            *late += before.saturating_sub(stream.stats().unread) as usize;
        }
    }

    fn step(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let index = self.below(self.held.len());
        match self.below(60) {
            0 => drop(self.held.swap_remove(index)),
            1 => self.held[index].stream.close_read(),
            2 => drop(self.held[index].stream.close().now_or_never()),
            3 => self.held[index].stream.reset(3),
            4 if self.below(3) == 0 => self.lose(),
            5..=25 => self.peer(index),
            _ => self.read(index),
        }
        self.poll();
        self.check();
    }

    /// The connection ends.
    fn lose(&mut self) {
        match (self.below(2), &mut self.line) {
            (0, Some(line)) if !self.lost => line.feed(go_away(42), &[]),
            _ => self.line = None,
        }
        self.lost |= self.line.is_none();
    }

    fn check(&mut self) {
        let reserved = self.budget.reserved();
        assert_eq!(self.stats.total().reserved.total(), reserved, "the node's figures");
        if let Some(line) = &self.line {
            assert_eq!(line.connection.stats().reserved.total(), reserved, "the connection's figures");
        }
        let mut sum = 0;
        for Held { stream, finished, reset, late, .. } in &self.held {
            let stats = stream.stats();
            sum += stats.reserved;
            let over = self.lost || *reset;
            let (unread, books) = (stats.unread as usize, if over { 0 } else { BOOKS });
            if over || *finished {
                // A handle that had taken blocks before keeps those until it comes to the end of one.
                let taken = if *late < BLOCK { TAKEN } else { 0 };
                let blocks = if unread == 0 { 0 } else { unread + taken + 3 * BLOCK };
                assert!(stats.reserved <= books + blocks, "{} for {unread} unread, over {over}", stats.reserved);
                assert!(stats.reserved >= unread, "{} for {unread} unread", stats.reserved);
            }
        }
        assert!(sum <= reserved, "the streams' own figures are {sum} of {reserved}");
        assert!(!self.lost || sum == reserved, "the streams' own figures are {sum} of {reserved}");
    }
}

#[test]
fn y_mem_13_all_figures_agree_at_every_moment_of_streams_that_have_ended() {
    let mut outlived = 0;
    for seed in 0..300 {
        for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
            let mut bench = Bench::new(seed, charging);
            // Long runs have few streams left at their end.
            (0..200 >> (seed % 5)).for_each(|_| bench.step());
            bench.lose();
            bench.poll();
            bench.check();
            outlived += usize::from(bench.line.is_none() && bench.budget.reserved() > 0);
            // Whoever holds a dead stream reads it to its end, a byte at a time.
            bench.line = None;
            while let Some(mut held) = bench.held.pop() {
                let (mut last, mut read) = (usize::MAX, 0);
                while let Some(Ok(1)) = held.stream.read(&mut [0]).now_or_never() {
                    let stats = held.stream.stats();
                    let (unread, reserved) = (stats.unread as usize, stats.reserved);
                    let taken = if read < BLOCK { TAKEN } else { 0 };
                    let most = last.min(unread + taken + 3 * BLOCK);
                    assert!((unread..=most).contains(&reserved), "{stats:?}");
                    assert!(unread > 0 || reserved == 0, "{stats:?}");
                    (last, read) = (reserved, read + 1);
                }
                assert_eq!(held.stream.stats().reserved, 0);
            }
            assert_eq!((bench.budget.reserved(), bench.stats.total().reserved.total()), (0, 0));
        }
    }
    assert!(outlived > 0);
}

#[test]
fn y_mem_13_a_grown_window_is_released_with_its_connection() {
    for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
        let (stats, budget) = (NodeStats::default(), Arc::new(MemoryLimit::new(1 << 30)));
        let mut line = Line::new(quiet().receive_charge(charging).stats(stats.clone()).memory(budget.clone()));
        let [mut stream] = line.open(Priority::MEDIUM, 0);
        stream.grow_receive_window(16 << 20);
        line.feed(data(stream.id(), Flags::NONE, 2), b"ab");
        line.poll();
        assert_eq!(stream.read(&mut [0]).now_or_never().expect("at once").expect("lives"), 1);
        drop(line);
        let figures = |stream: &Stream| {
            let own = stream.stats();
            (own.unread, own.reserved, budget.reserved(), stats.total().reserved.total())
        };
        assert_eq!(figures(&stream), (1, 512, 512, 512));
        assert_eq!(stream.read(&mut [0]).now_or_never().expect("at once").expect("it came"), 1);
        assert_eq!(figures(&stream), (0, 0, 0, 0));
    }
}

#[test]
fn y_mem_13_a_stream_keeps_nothing_when_both_ends_have_finished_it() {
    let budget = Arc::new(MemoryLimit::new(1 << 30));
    let mut line = Line::new(quiet().memory(budget.clone()).max_send_buffer(65_536));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    line.feed(data(stream.id(), Flags::FIN, 0), &[]);
    line.poll();
    assert_eq!(budget.reserved(), BOOKS);
    assert!(stream.close().now_or_never().is_none());
    line.drain();
    assert_eq!(budget.reserved(), 0);
    stream.close().now_or_never().expect("at once").expect("closed");
}
