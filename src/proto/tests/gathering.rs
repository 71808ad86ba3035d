//! When a batch is put off for what others are about to add to it, and how large it may become.

use super::Bench;
use crate::config::Config;
use crate::priority::Priority;
use crate::proto::Key;
use crate::proto::limits::{BATCH_BYTES, LEVEL_BATCH_BYTES};

/// Streams of `priority` whose readers wait, and are woken by a byte for each.
fn woken<const N: usize>(bench: &mut Bench, priority: Priority) -> [Key; N] {
    let streams = [(); N].map(|()| bench.stream(priority));
    for (key, id) in streams {
        assert_eq!(bench.read(key), 0);
        bench.receive_data(id, 1);
    }
    streams.map(|(key, _)| key)
}

fn write(bench: &mut Bench, key: Key, len: usize) {
    assert_eq!(bench.mux.write(key, &vec![7; len], bench.now).expect("room"), len);
}

#[test]
fn a_batch_waits_for_answers_where_several_readers_were_woken() {
    let mut bench = Bench::new();
    let [first, second] = woken(&mut bench, Priority::MEDIUM);
    assert_eq!(bench.mux.gathers(), None, "there is nothing to send");
    write(&mut bench, first, 10);
    assert_eq!(bench.mux.gathers(), Some(10));
    write(&mut bench, second, 20);
    assert_eq!(bench.mux.gathers(), Some(30));
    bench.send();
    write(&mut bench, first, 10);
    assert_eq!(bench.mux.gathers(), None, "nobody has been woken since");
}

#[test]
fn one_reader_alone_keeps_no_batch() {
    let mut bench = Bench::new();
    let [key] = woken(&mut bench, Priority::MEDIUM);
    write(&mut bench, key, 10);
    assert_eq!(bench.mux.gathers(), None);
}

#[test]
fn what_is_urgent_and_what_is_enough_and_what_is_the_last_waits_for_nobody() {
    let mut bench = Bench::new();
    let [usual, _] = woken(&mut bench, Priority::MEDIUM);
    let (urgent, _) = bench.stream(Priority::HIGH);
    let [_, _] = woken(&mut bench, Priority::MEDIUM);
    write(&mut bench, usual, 10);
    assert_eq!(bench.mux.gathers(), Some(10));
    write(&mut bench, urgent, 10);
    assert_eq!(bench.mux.gathers(), None);

    // Where that is what all streams are, it is not urgent.
    let mut bench = Bench::with(1 << 30, Config::builder().default_priority(Priority::HIGH));
    let [key, _] = woken(&mut bench, Priority::HIGH);
    write(&mut bench, key, 10);
    assert_eq!(bench.mux.gathers(), Some(10));
    bench.mux.close(0);
    assert_eq!(bench.mux.gathers(), None);

    let mut bench = Bench::with(1 << 30, Config::builder().default_priority(Priority::ALWAYS));
    let [one, other] = woken(&mut bench, Priority::ALWAYS);
    write(&mut bench, one, BATCH_BYTES / 2);
    assert_eq!(bench.mux.gathers(), Some(BATCH_BYTES / 2));
    write(&mut bench, other, BATCH_BYTES / 4);
    assert!(bench.mux.gathers().is_some());
    write(&mut bench, other, BATCH_BYTES / 4);
    assert_eq!(bench.mux.gathers(), None);
}

#[test]
fn batches_are_smaller_while_streams_differ_in_priority() {
    let mut bench = Bench::new();
    assert_eq!(bench.mux.batch_budget(), LEVEL_BATCH_BYTES);
    let (one, _) = bench.stream(Priority::MEDIUM);
    let (other, _) = bench.stream(Priority::MEDIUM);
    assert_eq!(bench.mux.batch_budget(), LEVEL_BATCH_BYTES);
    bench.mux.choose_priority(one, Priority::LOW);
    assert_eq!(bench.mux.batch_budget(), BATCH_BYTES);
    bench.mux.choose_priority(other, Priority::LOW);
    assert_eq!(bench.mux.batch_budget(), LEVEL_BATCH_BYTES);
}
