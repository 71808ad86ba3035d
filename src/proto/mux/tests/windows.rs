//! Windows that shrink (Y-MEM-12).

use super::Bench;
use crate::config::{Config, ReceiveCharge};
use crate::priority::Priority;
use crate::proto::key::Key;
use crate::proto::limits::{INITIAL_WINDOW, WINDOW_QUIET};
use crate::wire::{Flags, Header, StreamId};
use std::time::Duration;

const KIB: usize = 1024;
const WINDOW: usize = INITIAL_WINDOW as usize;
const MIB: usize = 4 * WINDOW;
const SECOND: Duration = Duration::from_secs(1);

/// Window updates that give credit, with what they give.
pub(super) fn credit(sent: &[Header]) -> Vec<(u32, u32)> {
    let given = |header: &Header| match header {
        Header::WindowUpdate { id, flags: Flags::NONE, value } => Some((id.value(), *value)),
        _ => None,
    };
    sent.iter().filter_map(given).collect()
}

impl Bench {
    /// A stream whose peer has been granted a window of `size` bytes.
    fn wide(&mut self, priority: Priority, size: usize) -> (Key, StreamId) {
        let (key, id) = self.stream(Priority::ALWAYS);
        let growth = self.mux.shortfall(key, size as u32).expect("it is smaller");
        self.mux.widen(growth, growth.put_to(&self.manager));
        self.mux.choose_priority(key, priority, self.now);
        assert_eq!(credit(&self.send()), [(id.value(), (size - WINDOW) as u32)]);
        (key, id)
    }

    fn window(&mut self, key: Key) -> usize {
        self.mux.stream_stats(key, self.now).expect("it lives").receive_window as usize
    }
}

#[test]
fn a_window_that_is_not_half_used_for_a_while_becomes_smaller() {
    let mut bench = Bench::new();
    let (key, id) = bench.wide(Priority::MEDIUM, MIB);
    bench.receive_data(id, 300 * KIB);
    assert_eq!(bench.read(key), 300 * KIB);
    bench.wait(WINDOW_QUIET - SECOND);
    assert_eq!((bench.window(key), bench.limit.reserved()), (MIB, MIB));
    bench.wait(SECOND);
    assert_eq!((bench.window(key), bench.limit.reserved()), (724 * KIB, 724 * KIB));
    assert_eq!(credit(&bench.send()), []);
    // What the peer was granted stays granted, and that is all there is to look at.
    let stats = bench.mux.stream_stats(key, bench.now).expect("it lives");
    assert_eq!(stats.largest_receive_window as usize, MIB);
    assert!(bench.mux.grown.poll_timeout().is_none());
    // The peer uses it, and gets back half of the smaller one when that is due, no sooner.
    bench.receive_data(id, 361 * KIB);
    bench.read(key);
    assert_eq!(credit(&bench.send()), []);
    bench.receive_data(id, KIB);
    bench.read(key);
    bench.ask();
    assert_eq!(credit(&bench.send()), [(id.value(), 362 * KIB as u32)]);
    // Little by little it comes down to the first window, and stays there.
    for _ in 0..20 {
        bench.receive_data(id, 100 * KIB);
        bench.read(key);
        bench.ask();
        bench.send();
        bench.wait(WINDOW_QUIET + SECOND);
    }
    assert_eq!((bench.window(key), bench.limit.reserved()), (WINDOW, WINDOW));
}

#[test]
fn a_window_of_which_half_is_used_keeps_its_size() {
    let mut bench = Bench::new();
    let (key, id) = bench.wide(Priority::LOW, MIB);
    for round in 0..20 {
        bench.receive_data(id, MIB / 2);
        assert_eq!(bench.read(key), MIB / 2);
        bench.ask();
        assert_eq!(credit(&bench.send()), [(id.value(), (MIB / 2) as u32)], "round {round}");
        bench.wait(WINDOW_QUIET - SECOND);
        assert_eq!((bench.window(key), bench.limit.reserved()), (MIB, MIB));
    }
}

#[test]
fn where_memory_is_scarce_credit_that_is_due_is_not_given_again() {
    // LOW may fill 404 KiB of it.
    let mut bench = Bench::with(MIB, Config::builder());
    let (key, id) = bench.wide(Priority::LOW, 2 * WINDOW);
    assert_eq!(bench.limit.reserved(), 2 * WINDOW);
    bench.receive_data(id, WINDOW);
    bench.read(key);
    bench.ask();
    assert_eq!(credit(&bench.send()), []);
    assert_eq!((bench.window(key), bench.limit.reserved()), (WINDOW, WINDOW));
    // From there on it is as if it had never grown, however scarce memory is.
    let (other, _) = bench.wide(Priority::ALWAYS, 3 * WINDOW);
    assert_eq!(bench.limit.reserved(), MIB);
    for _ in 0..3 {
        bench.receive_data(id, WINDOW / 2);
        bench.read(key);
        bench.ask();
        assert_eq!(credit(&bench.send()), [(id.value(), INITIAL_WINDOW / 2)]);
    }
    assert_eq!(bench.window(other), 3 * WINDOW);
}

#[test]
fn y_mem_12_the_lowest_bucket_gives_way_first() {
    // LOW may fill 816 KiB of it, MEDIUM 1,224 and HIGH 1,632.
    let mut bench = Bench::with(2 * MIB, Config::builder());
    let streams = [Priority::HIGH, Priority::LOW, Priority::MEDIUM].map(|priority| bench.wide(priority, 2 * WINDOW));
    for (key, id) in streams {
        bench.receive_data(id, 200 * KIB);
        assert_eq!(bench.read(key), 200 * KIB);
    }
    assert_eq!(bench.limit.reserved(), 6 * WINDOW);
    // Within a second: LOW brings it to 1,336, and MEDIUM to 1,136.
    bench.wait(SECOND);
    let windows = streams.map(|(key, _)| bench.window(key) / KIB);
    assert_eq!(windows, [512, 312, 312]);
    assert_eq!(bench.limit.reserved(), 1136 * KIB);
    // LOW goes on for as long as it is scarce for LOW, the others no more.
    bench.receive_data(streams[1].1, 100 * KIB);
    bench.read(streams[1].0);
    bench.wait(SECOND);
    assert_eq!(streams.map(|(key, _)| bench.window(key) / KIB), [512, 256, 312]);
    assert_eq!(credit(&bench.send()), []);
}

#[test]
fn a_stream_that_ends_is_not_looked_at_any_more() {
    for ends in [0, 1, 2] {
        let mut bench = Bench::new();
        let (key, id) = bench.wide(Priority::MEDIUM, MIB);
        bench.receive_data(id, 300 * KIB);
        bench.read(key);
        match ends {
            0 => bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 }),
            1 => bench.receive(Header::WindowUpdate { id, flags: Flags::RST, value: 0 }),
            _ => bench.release(key),
        }
        bench.wait(2 * WINDOW_QUIET);
        assert!(bench.mux.grown.poll_timeout().is_none());
        bench.release(key);
        bench.send();
        bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 });
        bench.settle();
        assert_eq!((bench.limit.reserved(), bench.mux.num_streams()), (0, 0), "{ends}");
    }
}

#[test]
fn a_refused_growth_is_tried_again_by_half() {
    for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
        // MEDIUM may fill 4.75 MiB of it.
        let mut bench = Bench::with(8 * MIB, Config::builder().receive_charge(charging));
        bench.mux.pinger.rtt.sample(bench.now, bench.now + Duration::from_millis(100));
        let (key, id) = bench.stream(Priority::MEDIUM);
        // 125 MB/s, so it should have 24 MiB, and 16 MiB is the most.
        for _ in 0..16 {
            bench.receive_data(id, WINDOW / 16);
            bench.read(key);
            bench.ask();
            bench.now += Duration::from_micros(131);
        }
        assert_eq!(bench.window(key), WINDOW + (16 * MIB - WINDOW) / 4, "{charging:?}");
        // All of it was refused, and half of it. Where what arrives is charged it was only looked whether there is room.
        let refused = if charging == ReceiveCharge::Window { 2 } else { 0 };
        assert_eq!(bench.mux.stats(bench.now).refusals.windows, refused);
        let given: u32 = credit(&bench.send()).iter().map(|(_, value)| value).sum();
        assert_eq!(given as usize, bench.window(key));
    }
}

#[test]
fn near_windows_serve_both_ends_unless_another_is_urgent() {
    // The first piece had arrived when the measuring began.
    for (other, size) in [(Priority::MEDIUM, 2 * WINDOW / 16 * 15), (Priority::HIGH, WINDOW)] {
        let mut bench = Bench::new();
        bench.mux.pinger.rtt.sample(bench.now, bench.now + Duration::from_micros(50));
        bench.stream(other);
        let (key, id) = bench.stream(Priority::MEDIUM);
        // 546 MB/s, of which 27 KB are under way at a time.
        for _ in 0..16 {
            bench.receive_data(id, WINDOW / 16);
            bench.read(key);
            bench.ask();
            bench.now += Duration::from_micros(30);
        }
        assert_eq!(bench.window(key), size, "beside {other:?}");
    }
}
