//! Memory that is charged as it is used (Y-MEM-9 to Y-MEM-11).

use super::Bench;
use crate::config::{Config, ReceiveCharge};
use crate::error::StreamError;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::limits::{CREDIT_LEAST, INITIAL_WINDOW, STREAM_STATE};
use crate::proto::{Chunks, ReadError, Taken};
use crate::wire::{Flags, Header, StreamId};

const KIB: usize = 1024;
const WINDOW: usize = INITIAL_WINDOW as usize;

fn bench(limit: usize) -> Bench {
    Bench::with(limit, Config::builder().receive_charge(ReceiveCharge::Buffered).refusal_code(77))
}

fn update(id: StreamId, flags: Flags, value: u32) -> Header {
    Header::WindowUpdate { id, flags, value }
}

#[test]
fn a_stream_costs_itself_and_what_is_unread() {
    let mut bench = bench(1 << 20);
    let (key, id) = bench.stream(Priority::MEDIUM);
    assert_eq!(bench.limit.reserved(), STREAM_STATE);
    bench.receive_data(id, 1);
    // The first chunk is the smallest there is.
    assert_eq!(bench.mux.stream_stats(key, bench.now).expect("it lives").reserved, STREAM_STATE + 512);
    assert_eq!(bench.limit.reserved(), STREAM_STATE + 512);
    bench.receive_data(id, 100 * KIB);
    let reserved = bench.mux.stream_stats(key, bench.now).expect("it lives").reserved;
    assert!((100 * KIB..=110 * KIB).contains(&(reserved - STREAM_STATE)), "{reserved}");
    bench.read(key);
    assert_eq!((bench.limit.reserved(), bench.mux.stats(bench.now).reserved.medium), (STREAM_STATE, STREAM_STATE));
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
    let (bytes, priority) = bench.mux.first_waiting_credit().expect("LOW waits");
    assert_eq!((bytes, priority), (WINDOW / 2, Priority::LOW));
    assert_eq!(bench.mux.stats(bench.now).refusals.credit, 1);
    // Another one makes it 646.
    let other = bench.stream(Priority::ALWAYS);
    bench.receive_data(other.1, WINDOW);
    // LOW is starved of credit now: it gets the minimum, whatever its share of the budget.
    assert_eq!(consumed(&mut bench), [update(low.1, Flags::NONE, CREDIT_LEAST), update(high.1, Flags::NONE, half)]);
    assert_eq!(bench.mux.first_waiting_credit(), Some((WINDOW / 2, Priority::MEDIUM)));
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
    assert_eq!(
        sent,
        [update(hog.1, Flags::NONE, INITIAL_WINDOW), update(low.1, Flags::NONE, INITIAL_WINDOW - CREDIT_LEAST)]
    );
    assert_eq!(bench.mux.first_waiting_credit(), None);
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
    bench.mux.choose_priority(low.0, Priority::MEDIUM, bench.now);
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
    assert_eq!(bench.mux.stats(bench.now).resets.out_of_memory, 1);
    // What had arrived is still there, and is reserved until it is read; then comes the reason.
    let stats = bench.mux.stream_stats(second.0, bench.now).expect("it is held");
    assert_eq!(stats.unread as usize, 50 * KIB);
    assert!(stats.reserved >= 50 * KIB);
    let mut chunks = Chunks::default();
    assert!(matches!(bench.mux.read(second.0, &mut chunks), Ok(Taken::Bytes { .. })));
    assert_eq!(chunks.clear(), 50 * KIB);
    bench.mux.consume(second.0, 50 * KIB as u32, bench.now);
    let error = bench.mux.read(second.0, &mut chunks).expect_err("nothing is left");
    assert!(matches!(error, ReadError::Failed(StreamError::OutOfMemory)), "{error:?}");
    assert!(matches!(bench.mux.flush(second.0), Err(crate::proto::FlushError::Failed(StreamError::OutOfMemory))));
    // The peer cannot know yet; the other stream does not notice.
    bench.receive(Header::Data { id: second.1, flags: Flags::NONE, len: 0 });
    assert_eq!(bench.read(first.0), 200 * KIB);
    assert!(bench.mux.closed().is_none());
    bench.release(second.0);
    assert_eq!(bench.limit.reserved(), STREAM_STATE);
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
    bench.mux.widen(growth, growth.put_to(&bench.manager));
    bench.settle();
    assert_eq!(bench.limit.reserved(), STREAM_STATE);
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, INITIAL_WINDOW)]);
    bench.receive_data(id, WINDOW / 2);
    bench.read(key);
    bench.wait(std::time::Duration::from_secs(20));
    let stats = bench.mux.stream_stats(key, bench.now).expect("it lives");
    assert_eq!((stats.receive_window as usize, stats.reserved), (WINDOW / 2 * 3, STREAM_STATE));
}

// Its share of the budget is less than half a window.
#[test]
fn a_stream_that_is_read_never_stands_still() {
    let mut bench = bench(200 * KIB);
    let (key, id) = bench.stream(Priority::LOW);
    let mut credit = INITIAL_WINDOW;
    for _ in 0..100 {
        for half in [credit / 2, credit - credit / 2] {
            bench.receive_data(id, half as usize);
            assert_eq!(bench.read(key), half as usize);
            bench.ask();
        }
        let sent = bench.send();
        assert!(matches!(sent[..], [Header::WindowUpdate { value: CREDIT_LEAST, .. }]), "{sent:?}");
        credit = CREDIT_LEAST;
    }
    // Its whole window is due, and waits for its share to be large enough.
    assert_eq!(bench.mux.first_waiting_credit(), Some((WINDOW / 2, Priority::LOW)));
    bench.mux.choose_priority(key, Priority::ALWAYS, bench.now);
    bench.mux.ask_again();
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, INITIAL_WINDOW - CREDIT_LEAST)]);
}

#[test]
fn a_window_that_has_grown_becomes_smaller_before_its_credit_waits() {
    // MEDIUM may fill 1,836 KiB of it.
    let mut bench = bench(3 << 20);
    let (key, id) = bench.stream(Priority::MEDIUM);
    let growth = bench.mux.shortfall(key, 2 << 20).expect("it is smaller");
    bench.mux.widen(growth, growth.put_to(&bench.manager));
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, (2 << 20) - INITIAL_WINDOW)]);
    for _ in 0..4 {
        let hog = bench.stream(Priority::MEDIUM);
        bench.receive_data(hog.1, WINDOW);
    }
    for _ in 0..8 {
        bench.receive_data(id, 128 * KIB);
        bench.read(key);
        bench.ask();
    }
    // There is no room for what is due.
    assert_eq!(bench.send(), []);
    let size = |bench: &mut Bench| bench.mux.stream_stats(key, bench.now).expect("it lives").receive_window as usize;
    // Each eighth that is due makes it smaller by as much.
    assert_eq!((size(&mut bench), bench.mux.first_waiting_credit()), (9 * 128 * KIB, None));
}

#[test]
fn whoever_has_ended_stands_in_line_no_more() {
    for ends in 0..5 {
        let mut bench = bench(200 * KIB);
        let (key, id) = bench.stream(Priority::LOW);
        bench.receive_data(id, WINDOW / 2);
        bench.read(key);
        bench.ask();
        assert!(bench.mux.first_waiting_credit().is_some());
        match ends {
            0 => bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 }),
            1 => bench.receive(update(id, Flags::RST, 1)),
            2 => bench.mux.reset(key, 1, bench.now),
            3 => bench.mux.stop(key, 0, bench.now),
            _ => bench.release(key),
        }
        assert_eq!((bench.mux.first_waiting_credit(), bench.mux.credit_queue.len()), (None, 0), "{ends}");
    }
}

/// A stream that is starved of credit, and gets none: there is no memory even for the minimum.
fn standing_still(bench: &mut Bench) -> (crate::proto::Key, StreamId) {
    let (key, id) = bench.stream(Priority::LOW);
    for _ in 0..2 {
        bench.receive_data(id, WINDOW / 2);
        bench.read(key);
        // Not asked yet.
    }
    (key, id)
}

#[test]
fn whoever_stands_still_waits_for_the_least_before_all_others() {
    let mut bench = bench(1 << 20);
    let (key, id) = standing_still(&mut bench);
    let others: Vec<_> = (0..40).map(|_| bench.stream(Priority::HIGH)).collect();
    for (key, id) in &others {
        bench.receive_data(*id, WINDOW / 2);
        bench.read(*key);
    }
    // Others hold all that there is.
    let free = bench.limit.limit() - bench.limit.reserved();
    let mut all = Reservation::new(&bench.manager, free, Priority::ALWAYS).expect("room");
    bench.ask();
    assert_eq!(bench.send(), []);
    assert_eq!(
        (bench.mux.credit_queue.len(), bench.mux.first_waiting_credit()),
        (41, Some((16 * KIB, Priority::ALWAYS)))
    );
    // There is room for the least, and not for anything at HIGH: however often that is refused, the other goes on.
    drop(all.split(16 * KIB));
    bench.mux.ask_again();
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, CREDIT_LEAST)]);
    assert_eq!(bench.mux.first_waiting_credit(), Some((WINDOW / 2, Priority::HIGH)));
    bench.receive_data(id, CREDIT_LEAST as usize);
    bench.read(key);
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, CREDIT_LEAST)]);
}

#[test]
fn what_is_read_while_the_manager_is_asked_is_not_missed() {
    let mut bench = bench(200 * KIB);
    let (key, id) = bench.stream(Priority::LOW);
    bench.receive_data(id, WINDOW / 2);
    bench.read(key);
    bench.receive_data(id, WINDOW / 2);
    let request = bench.mux.next_window_request(bench.now).expect("credit is due");
    let decision = request.put_to(&bench.manager);
    assert!(matches!(decision, crate::proto::WindowDecision::Denied), "{decision:?}");
    bench.read(key);
    bench.mux.apply_decision(request, decision);
    bench.ask();
    assert_eq!(bench.send(), [update(id, Flags::NONE, CREDIT_LEAST)]);
}

#[test]
fn the_least_is_given_once_however_often_it_is_asked_for() {
    let mut bench = bench(200 * KIB);
    let (key, id) = standing_still(&mut bench);
    for _ in 0..3 {
        bench.ask();
        bench.mux.ask_again();
    }
    bench.mux.choose_priority(key, Priority::ALWAYS, bench.now);
    bench.mux.ask_again();
    bench.ask();
    // It was not encoded yet, and is part of the whole.
    assert_eq!(bench.send(), [update(id, Flags::NONE, INITIAL_WINDOW)]);
    assert_eq!(bench.send(), []);
}
