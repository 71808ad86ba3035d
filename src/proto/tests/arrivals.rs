//! Memory that is charged as it is used (Y-MEM-9 to Y-MEM-11).

use super::Bench;
use crate::config::{Charging, Config};
use crate::error::StreamError;
use crate::priority::Priority;
use crate::proto::limits::{INITIAL_WINDOW, STREAM_BOOKS};
use crate::proto::{ReadError, Taken};
use crate::wire::{Flags, Header, StreamId};
use std::collections::VecDeque;

const KIB: usize = 1024;
const WINDOW: usize = INITIAL_WINDOW as usize;

fn bench(limit: usize) -> Bench {
    Bench::with(limit, Config::builder().charging(Charging::Used).refusal_code(77))
}

fn update(id: StreamId, flags: Flags, value: u32) -> Header {
    Header::WindowUpdate { id, flags, value }
}

#[test]
fn a_stream_costs_itself_and_what_is_unread() {
    let mut bench = bench(1 << 20);
    let (key, id) = bench.stream(Priority::MEDIUM);
    assert_eq!(bench.limit.reserved(), STREAM_BOOKS);
    bench.receive_data(id, 1);
    // The first chunk is the smallest there is.
    assert_eq!(bench.mux.stream_stats(key, bench.now).expect("it lives").reserved, STREAM_BOOKS + 512);
    assert_eq!(bench.limit.reserved(), STREAM_BOOKS + 512);
    bench.receive_data(id, 100 * KIB);
    let reserved = bench.mux.stream_stats(key, bench.now).expect("it lives").reserved;
    assert!((100 * KIB..=110 * KIB).contains(&(reserved - STREAM_BOOKS)), "{reserved}");
    bench.read(key);
    assert_eq!((bench.limit.reserved(), bench.mux.stats(bench.now).reserved.medium), (STREAM_BOOKS, STREAM_BOOKS));
    bench.release(key);
    bench.send();
    bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 });
    bench.settle();
    assert_eq!(bench.limit.reserved(), 0);
}

#[test]
fn credit_waits_for_memory_the_lowest_bucket_first() {
    // Of a MiB, LOW may fill 408 KiB, MEDIUM 612 and HIGH 816.
    let mut bench = bench(1 << 20);
    let [hog, second, low, medium, high] =
        [Priority::MEDIUM, Priority::MEDIUM, Priority::LOW, Priority::MEDIUM, Priority::HIGH]
            .map(|priority| bench.stream(priority));
    bench.receive_data(hog.1, WINDOW);
    bench.receive_data(second.1, WINDOW / 2);
    // With the streams it is 389 KiB: 128 more are too many for LOW, and not for MEDIUM.
    let consumed = |bench: &mut Bench| {
        for (key, id) in [low, medium, high] {
            bench.receive_data(id, WINDOW / 2);
            bench.read(key);
        }
        bench.ask();
        bench.send()
    };
    let half = INITIAL_WINDOW / 2;
    assert_eq!(consumed(&mut bench), [update(medium.1, Flags::NONE, half), update(high.1, Flags::NONE, half)]);
    let (bytes, priority) = bench.mux.withheld().expect("LOW waits");
    assert_eq!((bytes, priority), (WINDOW / 2, Priority::LOW));
    assert_eq!(bench.mux.stats(bench.now).refusals.credit, 1);
    // Another one makes it 646.
    let other = bench.stream(Priority::ALWAYS);
    bench.receive_data(other.1, WINDOW);
    assert_eq!(consumed(&mut bench), [update(high.1, Flags::NONE, half)]);
    assert_eq!(bench.mux.withheld(), Some((WINDOW / 2, Priority::MEDIUM)));
    // Asking again is in vain for as long as nothing is read.
    bench.mux.ask_again();
    bench.ask();
    assert_eq!(bench.send(), []);
    assert_eq!(bench.read(other.0), WINDOW);
    bench.mux.ask_again();
    bench.ask();
    let sent = bench.send();
    assert_eq!(sent, [update(other.1, Flags::NONE, INITIAL_WINDOW), update(medium.1, Flags::NONE, half)]);
    assert_eq!(bench.read(hog.0), WINDOW);
    bench.mux.ask_again();
    bench.ask();
    let sent = bench.send();
    assert_eq!(sent, [update(hog.1, Flags::NONE, INITIAL_WINDOW), update(low.1, Flags::NONE, INITIAL_WINDOW)]);
    assert_eq!(bench.mux.withheld(), None);
}

#[test]
fn a_more_urgent_priority_ends_the_wait() {
    let mut bench = bench(1 << 20);
    let (hog, low) = (bench.stream(Priority::MEDIUM), bench.stream(Priority::LOW));
    bench.receive_data(hog.1, WINDOW);
    let second = bench.stream(Priority::MEDIUM);
    bench.receive_data(second.1, WINDOW / 2);
    bench.receive_data(low.1, WINDOW / 2);
    bench.read(low.0);
    bench.ask();
    assert_eq!(bench.send(), []);
    bench.mux.events_mut().attention = false;
    bench.mux.choose_priority(low.0, Priority::MEDIUM);
    assert!(bench.mux.events_mut().attention, "the driver looks again");
    bench.mux.ask_again();
    bench.ask();
    assert_eq!(bench.send(), [update(low.1, Flags::NONE, INITIAL_WINDOW / 2)]);
}

#[test]
fn what_arrives_without_memory_ends_its_stream_and_no_other() {
    let mut bench = bench(300 * KIB);
    let (first, second) = (bench.stream(Priority::LOW), bench.stream(Priority::ALWAYS));
    bench.receive_data(first.1, 200 * KIB);
    bench.receive_data(second.1, 50 * KIB);
    bench.receive_data(second.1, 50 * KIB);
    assert_eq!(bench.send(), [update(second.1, Flags::RST, 77)]);
    assert!(bench.limit.reserved() <= 300 * KIB);
    assert_eq!(bench.mux.stats(bench.now).resets.overrun, 1);
    // What had arrived is still there, and is reserved until it is read; then comes the reason.
    let stats = bench.mux.stream_stats(second.0, bench.now).expect("it is held");
    assert_eq!(stats.unread as usize, 50 * KIB);
    assert!(stats.reserved >= 50 * KIB);
    let mut chunks = VecDeque::new();
    assert!(matches!(bench.mux.read(second.0, &mut chunks), Ok(Taken::Bytes { .. })));
    assert_eq!(chunks.iter().map(|chunk| chunk.len()).sum::<usize>(), 50 * KIB);
    bench.mux.consume(second.0, 50 * KIB as u32, bench.now);
    let error = bench.mux.read(second.0, &mut chunks).expect_err("nothing is left");
    assert!(matches!(error, ReadError::Failed(StreamError::Overrun)), "{error:?}");
    assert!(matches!(bench.mux.flush(second.0), Err(crate::proto::FlushError::Failed(StreamError::Overrun))));
    // The peer cannot know yet; the other stream does not notice.
    bench.receive(Header::Data { id: second.1, flags: Flags::NONE, len: 0 });
    assert_eq!(bench.read(first.0), 200 * KIB);
    assert!(bench.mux.closed().is_none());
    bench.release(second.0);
    assert_eq!(bench.limit.reserved(), STREAM_BOOKS);
}

#[test]
fn a_body_goes_on_arriving_after_its_stream_has_ended() {
    let mut bench = bench(100 * KIB);
    let (key, id) = bench.stream(Priority::MEDIUM);
    bench.receive(Header::Data { id, flags: Flags::FIN, len: 200 * KIB as u32 });
    for _ in 0..20 {
        bench.receive_body(10 * KIB);
    }
    assert_eq!(bench.send(), [update(id, Flags::RST, 77)]);
    let read = bench.read(key);
    assert!((50 * KIB..100 * KIB).contains(&read) && read.is_multiple_of(10 * KIB), "{read}");
    bench.release(key);
    assert_eq!(bench.mux.num_streams(), 0);
}

#[test]
fn windows_that_are_expected_or_not_used_change_no_reservation() {
    let mut bench = bench(1 << 20);
    let (key, id) = bench.stream(Priority::MEDIUM);
    let growth = bench.mux.shortfall(key, 2 * INITIAL_WINDOW).expect("it is smaller");
    let granted = crate::memory::Reservation::new(&bench.manager, growth.bytes as usize, Priority::ALWAYS);
    bench.mux.widen(key, granted.ok());
    bench.settle();
    assert_eq!(bench.limit.reserved(), STREAM_BOOKS);
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, INITIAL_WINDOW)]);
    bench.receive_data(id, WINDOW / 2);
    bench.read(key);
    bench.wait(std::time::Duration::from_secs(20));
    let stats = bench.mux.stream_stats(key, bench.now).expect("it lives");
    assert_eq!((stats.receive_window as usize, stats.reserved), (WINDOW / 2 * 3, STREAM_BOOKS));
}
