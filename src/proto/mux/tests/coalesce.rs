//! Coalescing: when a batch is put off for what other tasks are about to add to it, and how large it may become.

use super::Bench;
use crate::config::Config;
use crate::priority::Priority;
use crate::proto::limits::{BATCH_BYTES, LEVEL_BATCH_BYTES};
use crate::proto::{Chunks, Key, Taken};
use crate::wire::{Flags, Header, StreamId};

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
fn a_batch_waits_for_answers_where_others_have_something_new() {
    let mut bench = Bench::new();
    let [first, second, third] = woken(&mut bench, Priority::MEDIUM);
    assert_eq!(bench.mux.coalesces(), None, "there is nothing to send");
    for (key, waiting) in [(first, 10), (second, 20)] {
        assert_eq!(bench.read(key), 1);
        write(&mut bench, key, 10);
        assert_eq!(bench.mux.coalesces(), Some(waiting));
    }
    // Encoded frames do not clear the readers that have not looked yet.
    bench.send();
    assert_eq!(bench.mux.coalesces(), None, "there is nothing to send");
    write(&mut bench, first, 10);
    assert_eq!(bench.mux.coalesces(), Some(10));
    assert_eq!(bench.read(third), 1);
    write(&mut bench, third, 10);
    assert_eq!(bench.mux.coalesces(), None, "all have looked");
}

#[test]
fn nobody_waits_for_who_has_looked_or_is_gone() {
    let mut bench = Bench::new();
    let [writer, reader, stopped, reset, gone] = woken(&mut bench, Priority::MEDIUM);
    write(&mut bench, writer, 10);
    for key in [writer, reader] {
        assert_eq!(bench.mux.coalesces(), Some(10));
        assert_eq!(bench.read(key), 1);
    }
    assert_eq!(bench.mux.coalesces(), Some(10));
    bench.mux.stop(stopped, 0, bench.now);
    assert_eq!(bench.mux.coalesces(), Some(10));
    bench.mux.reset(reset, 1, bench.now);
    assert_eq!(bench.mux.coalesces(), Some(10));
    bench.release(gone);
    assert_eq!(bench.mux.coalesces(), None);
    // Bytes for a released stream make no reader pending, nor does the end of a stream.
    let [gone, writer] = [gone, writer].map(|key| bench.mux.stream_id(key).and_then(StreamId::new).expect("open"));
    bench.receive_data(gone, 1);
    assert_eq!(bench.mux.coalesces(), None);
    bench.receive(Header::Data { id: writer, flags: Flags::FIN, len: 0 });
    assert_eq!(bench.mux.coalesces(), None);
}

#[test]
fn streams_read_in_chunks_or_in_part_are_not_waited_for() {
    for len in [1, 100_000] {
        let mut bench = Bench::new();
        let (writer, _) = bench.stream(Priority::MEDIUM);
        let [reader] = woken(&mut bench, Priority::MEDIUM);
        let id = bench.mux.stream_id(reader).and_then(StreamId::new).expect("open");
        bench.receive_data(id, len);
        write(&mut bench, writer, 10);
        assert_eq!(bench.mux.coalesces(), Some(10));
        assert!(matches!(bench.mux.read(reader, &mut Chunks::default()), Ok(Taken::Bytes { .. })));
        assert_eq!(bench.mux.coalesces(), None);
    }
}

#[test]
fn a_reader_waited_for_in_vain_keeps_few_batches() {
    let mut bench = Bench::new();
    let (writer, _) = bench.stream(Priority::MEDIUM);
    let streams: [Key; 4] = woken(&mut bench, Priority::MEDIUM);
    write(&mut bench, writer, 10);
    for _ in 0..3 {
        assert_eq!(bench.mux.coalesces(), Some(10));
        bench.mux.coalesced_in_vain();
    }
    assert_eq!(bench.mux.coalesces(), None, "4, 2, 1 and none");
    // More for them is no news as long as they have not looked.
    let ids = streams.map(|key| bench.mux.stream_id(key).and_then(StreamId::new).expect("open"));
    ids.into_iter().for_each(|id| bench.receive_data(id, 1));
    assert_eq!(bench.mux.coalesces(), None);
    // One that has looked since is waited for again.
    assert_eq!(bench.read(streams[0]), 2);
    bench.receive_data(ids[0], 1);
    assert_eq!(bench.mux.coalesces(), Some(10));
}

#[test]
fn one_reader_alone_keeps_no_batch() {
    let mut bench = Bench::new();
    let [key] = woken(&mut bench, Priority::MEDIUM);
    assert_eq!(bench.read(key), 1);
    write(&mut bench, key, 10);
    assert_eq!(bench.mux.coalesces(), None);
}

#[test]
fn urgent_large_and_last_frames_wait_for_nobody() {
    let mut bench = Bench::new();
    let [usual, _] = woken(&mut bench, Priority::MEDIUM);
    let (urgent, _) = bench.stream(Priority::HIGH);
    let [_, _] = woken(&mut bench, Priority::MEDIUM);
    write(&mut bench, usual, 10);
    assert_eq!(bench.mux.coalesces(), Some(10));
    write(&mut bench, urgent, 10);
    assert_eq!(bench.mux.coalesces(), None);

    // Where that is what all streams are, it is not urgent.
    let mut bench = Bench::with(1 << 30, Config::builder().default_priority(Priority::HIGH));
    let [key, _] = woken(&mut bench, Priority::HIGH);
    write(&mut bench, key, 10);
    assert_eq!(bench.mux.coalesces(), Some(10));
    bench.mux.close(0);
    assert_eq!(bench.mux.coalesces(), None);

    let mut bench = Bench::with(1 << 30, Config::builder().default_priority(Priority::ALWAYS));
    let [one, other, _] = woken(&mut bench, Priority::ALWAYS);
    write(&mut bench, one, BATCH_BYTES / 2);
    assert_eq!(bench.mux.coalesces(), Some(BATCH_BYTES / 2));
    write(&mut bench, other, BATCH_BYTES / 4);
    assert!(bench.mux.coalesces().is_some());
    write(&mut bench, other, BATCH_BYTES / 4);
    assert_eq!(bench.mux.coalesces(), None);
}

#[test]
fn batches_are_smaller_while_streams_differ_in_priority() {
    let mut bench = Bench::new();
    assert_eq!(bench.mux.batch_budget(), LEVEL_BATCH_BYTES);
    let (one, _) = bench.stream(Priority::MEDIUM);
    let (other, _) = bench.stream(Priority::MEDIUM);
    assert_eq!(bench.mux.batch_budget(), LEVEL_BATCH_BYTES);
    bench.mux.choose_priority(one, Priority::LOW, bench.now);
    assert_eq!(bench.mux.batch_budget(), BATCH_BYTES);
    bench.mux.choose_priority(other, Priority::LOW, bench.now);
    assert_eq!(bench.mux.batch_budget(), LEVEL_BATCH_BYTES);
}
