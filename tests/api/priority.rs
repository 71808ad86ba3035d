//! Priorities as their users see them: in which order the bytes leave, who may still write, and whose window grows.

use crate::support::line::{HEADER, Line, Sent, queue, write};
use crate::support::outcome::{WINDOW, fill, roomy};
use crate::support::peer::{data, go_away, ping, pong, update};
use crate::support::quiet;
use futures::{AsyncReadExt, FutureExt};
use sluicegate::memory::Reservation;
use sluicegate::wire::{Flags, Header};
use sluicegate::{ConfigBuilder, MemoryLimit, MemoryManager, Priority, Stream};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is cut at once, but for the last frame, where streams of several priorities are open.
const BATCH: usize = 32 * 1024;
/// What higher buckets may send while a lower one waits.
const GUARD: usize = 256 * 1024;
const FRAME: usize = 16 * 1024;

/// The order alone: the other end is played by hand and answers no marker. Pacing has tests of its own (Y-PRIO-5).
fn unpaced() -> ConfigBuilder {
    roomy().pacing(false)
}

/// Frames of one batch, all of them with a body of `frame` bytes.
fn batch(frame: usize) -> usize {
    BATCH.div_ceil(frame + HEADER)
}

/// Whose data the frames hold, in their order.
fn owners(frames: &[Sent]) -> Vec<u32> {
    frames.iter().filter_map(Sent::data).map(|(id, _)| id).collect()
}

#[test]
fn y_prio_2_an_urgent_message_waits_for_one_batch_only() {
    for frame in [1024, FRAME, 10_000, 4 * FRAME] {
        let whole = batch(frame) * (frame + HEADER);
        for stall in [0, 1, HEADER, 5_000, whole - 1, whole, whole + 1, 5 * whole + 300] {
            let mut line = Line::new(unpaced().max_message_size(frame as u32));
            let mut low = line.open::<6>(Priority::LOW, 0);
            let [mut high] = line.open(Priority::HIGH, 0);
            let queued: usize = low.iter_mut().map(fill).sum();
            assert_eq!(queued, 6 * WINDOW as usize);
            let start = line.sent();
            line.give(stall);
            let blocked = line.sent();
            assert_eq!(blocked, start + stall);
            assert_eq!(write(&mut high, b"urgent"), 6);
            line.drain();

            let sent = line.frames(start);
            let place = sent.iter().position(|sent| sent.data() == Some((high.id(), 6))).expect("it has left");
            let ahead = sent[place].at - blocked;
            assert_eq!(ahead, whole - stall % whole, "frames of {frame}, stalled at {stall}");
            assert!(ahead <= BATCH - 1 + HEADER + frame);
            // All the rest is behind it.
            let behind: usize = sent[place + 1..].iter().filter_map(Sent::data).map(|(_, len)| len).sum();
            let before: usize = sent[..place].iter().filter_map(Sent::data).map(|(_, len)| len).sum();
            assert_eq!(before + behind, queued);
            assert_eq!(before, (stall / whole + 1) * batch(frame) * frame);
        }
    }
}

#[test]
fn y_prio_1_a_new_priority_holds_from_the_next_frame_on() {
    for priority in [Priority::HIGH, Priority::LOW] {
        let mut line = Line::new(unpaced());
        let mut streams = line.open::<3>(Priority::MEDIUM, 0);
        for stream in &mut streams {
            queue(stream, 8 * FRAME);
        }
        let start = line.sent();
        line.give(1);
        streams[1].set_priority(priority);
        assert_eq!(streams[1].priority(), priority);
        line.drain();

        // One batch was cut before; the other two streams go on where they were.
        let (changed, others) = ([3].repeat(7), [5, 1].repeat(7)[..13].to_vec());
        let rest = if priority == Priority::HIGH { [changed, others] } else { [others, changed] };
        assert_eq!(owners(&line.frames(start)), [vec![1, 3, 5, 1], rest.concat()].concat());
    }
}

#[test]
fn y_prio_2_equal_streams_take_turns_a_frame_each() {
    let mut line = Line::new(roomy());
    let mut streams = line.open::<5>(Priority::MEDIUM, 0);
    let lens = [10 * FRAME, 1, 3 * FRAME + 1, 5 * FRAME - 1, 12 * FRAME];
    let mut waiting = VecDeque::new();
    for (stream, len) in streams.iter_mut().zip(lens) {
        queue(stream, len);
        waiting.push_back((stream.id(), len));
    }
    let start = line.sent();
    line.drain();

    let mut expected = Vec::new();
    while let Some((id, left)) = waiting.pop_front() {
        let len = left.min(FRAME);
        expected.push((id, len));
        if left > len {
            waiting.push_back((id, left - len));
        }
    }
    let sent: Vec<_> = line.frames(start).iter().filter_map(Sent::data).collect();
    assert_eq!(sent, expected);
}

#[test]
fn y_prio_3_a_lower_stream_is_never_starved() {
    const LOW: Priority = Priority::LOW;
    let levels: [&[Priority]; 4] = [
        &[LOW, Priority::HIGH],
        &[LOW, Priority::MEDIUM],
        &[Priority::HIGH, Priority::ALWAYS],
        &[LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS],
    ];
    for levels in levels {
        for frame in [1024, 10_000, FRAME, 4 * FRAME] {
            let mut line = Line::new(unpaced().max_send_buffer(32 << 20).max_message_size(frame as u32));
            let mut streams: Vec<Vec<Stream>> =
                levels.iter().map(|level| line.open::<6>(*level, 0).into_iter().collect()).collect();
            let mut left: Vec<usize> = streams.iter_mut().map(|level| level.iter_mut().map(fill).sum()).collect();
            assert_eq!(left, vec![6 * WINDOW as usize; levels.len()]);
            let start = line.sent();
            line.drain();

            // Bytes of higher levels since the last frame of each.
            let mut waited = vec![0; levels.len()];
            let mut guarded = vec![0; levels.len()];
            for (id, len) in line.frames(start).iter().filter_map(Sent::data) {
                let level = streams.iter().position(|level| level.iter().any(|stream| stream.id() == id));
                let level = level.expect("one of them");
                if left[level + 1..].iter().any(|left| *left > 0) {
                    assert!(waited[level] >= GUARD, "{levels:?} {frame}: a turn after {}", waited[level]);
                    guarded[level] += 1;
                }
                left[level] -= len;
                waited[level] = 0;
                for lower in (0..level).filter(|lower| left[*lower] > 0) {
                    waited[lower] += len;
                    assert!(waited[lower] <= GUARD + frame, "{levels:?} {frame}: none after {}", waited[lower]);
                }
            }
            assert_eq!(left, vec![0; levels.len()]);
            let (top, lower) = guarded.split_last().expect("levels");
            assert_eq!(*top, 0);
            assert!(lower.iter().all(|guarded| *guarded >= 4), "{levels:?} {frame}: {guarded:?}");
        }
    }
}

/// What a stream of its own comes to owe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owed {
    Reset,
    Ack,
    Credit,
}

const ORDERS: [[Owed; 3]; 4] = [
    [Owed::Reset, Owed::Ack, Owed::Credit],
    [Owed::Ack, Owed::Credit, Owed::Reset],
    [Owed::Credit, Owed::Ack, Owed::Reset],
    [Owed::Credit, Owed::Reset, Owed::Ack],
];

/// In which order control of streams leaves that became owed behind busy streams in this `order`, after that of the
/// connection and before all data.
fn control_behind_data(order: [Owed; 3]) -> [Owed; 3] {
    let mut line = Line::new(unpaced());
    let mut busy = line.open::<2>(Priority::ALWAYS, 0);
    let [mut doomed] = line.open(Priority::LOW, 0);
    line.feed(update(2, Flags::SYN, 0), &[]);
    line.feed(update(4, Flags::SYN, 0), &[]);
    line.feed(data(2, Flags::NONE, 200_000), &[0; 200_000]);
    line.poll();
    let mut reading = line.accept();
    line.drain();
    busy.iter_mut().for_each(|stream| assert_eq!(fill(stream), WINDOW as usize));
    let start = line.sent();
    line.give(1);

    let mut accepted = None;
    for owed in order {
        match owed {
            Owed::Reset => doomed.reset(9),
            Owed::Ack => accepted = Some(line.accept()),
            Owed::Credit => {
                let read = reading.read_exact(&mut vec![0; 200_000]).now_or_never().map(|read| read.is_ok());
                assert_eq!(read, Some(true));
            }
        }
    }
    line.connection.go_away();
    for header in [ping(7), update(6, Flags::SYN, 0), ping(8)] {
        line.feed(header, &[]);
    }
    line.poll();
    line.drain();
    assert_eq!(accepted.map(|stream| stream.id()), Some(4));
    let sent = line.frames(start);
    let (cut, rest) = sent.split_at(batch(FRAME));
    assert_eq!(owners(cut), [1, 3]);
    let (control, rest) = rest.split_at(7);
    assert_eq!(owners(rest).len(), rest.len(), "control behind data");
    let [connection @ .., a, b, c] = control else { unreachable!("seven") };
    let connection: Vec<_> = connection.iter().map(|sent| sent.header).collect();
    assert_eq!(connection, [go_away(0), pong(7), pong(8), update(6, Flags::RST, 0)]);
    [a, b, c].map(|sent| match sent.header {
        Header::WindowUpdate { id, flags: Flags::NONE, value: 131_072..=200_000 } if id.value() == 2 => Owed::Credit,
        header if header == update(4, Flags::ACK, 0) => Owed::Ack,
        header if header == update(5, Flags::RST, 9) => Owed::Reset,
        other => panic!("{other:?} is not owed"),
    })
}

#[test]
fn y_prio_4_control_leaves_ahead_of_all_queued_data() {
    for order in ORDERS {
        let mut left = control_behind_data(order);
        left.sort();
        assert_eq!(left, [Owed::Reset, Owed::Ack, Owed::Credit]);
    }
}

/// Streams that take all that they can get, down to the last byte.
fn crowd(streams: &mut [Stream]) {
    for stream in streams.iter_mut() {
        fill(stream);
    }
    for stream in streams {
        while write(stream, &[0]) > 0 {}
    }
}

#[test]
fn y_mem_6_a_stalled_crowd_never_keeps_an_urgent_writer_waiting() {
    // The last row: the memory manager has nothing for send buffers.
    for (buffer, windows) in [(64 << 10, None), (256 << 10, None), (8 << 20, None), (8 << 20, Some(58))] {
        let mut config = quiet().max_send_buffer(buffer);
        if let Some(windows) = windows {
            config = config.memory(Arc::new(MemoryLimit::new(windows * WINDOW as usize)));
        }
        let mut line = Line::new(config);
        let levels = [Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS];
        let mut low = line.open::<50>(levels[0], 0);
        let mut urgent = levels.map(|level| line.open::<2>(level, 0));
        line.give(100);
        crowd(&mut low);
        for [first, second] in &mut urgent[1..] {
            // At once and whole, and that crowd does not keep the next level waiting either.
            assert_eq!(write(first, &[0; 4096]), 4096, "{buffer} {windows:?} {:?}", first.priority());
            crowd(std::slice::from_mut(first));
            assert!(write(second, b"short") == 5, "{buffer} {windows:?} {:?}", second.priority());
        }
    }
}

#[test]
fn y_mem_6_small_writes_beside_bulk_of_their_bucket_get_in() {
    const BULK: usize = 8;
    for buffer in [64 << 10, 256 << 10] {
        let mut line = Line::new(quiet().max_send_buffer(buffer));
        let mut bulk = line.open::<BULK>(Priority::MEDIUM, 1 << 30);
        let [mut small] = line.open(Priority::MEDIUM, 0);
        let (mut messages, mut outstanding) = (0, None);
        for _ in 0..400 {
            for stream in &mut bulk {
                fill(stream);
            }
            let from = *outstanding.get_or_insert_with(|| {
                assert_eq!(write(&mut small, &[1; 200]), 200, "message {messages}");
                line.sent()
            });
            line.give(FRAME);
            let sent = line.frames(from);
            if let Some(message) = sent.iter().find(|sent| sent.data() == Some((small.id(), 200))) {
                // The rest of a batch, and a turn of each other stream.
                assert!(message.at - from <= BATCH + (1 + BULK) * (HEADER + FRAME), "{}", message.at - from);
                (messages, outstanding) = (messages + 1, None);
            }
        }
        assert!(messages >= 30, "{messages}");
    }
}

// The windows of both streams are worth growing; there is memory for the more urgent one only.
#[test]
fn y_mem_2_only_higher_streams_grow_beyond_the_low_share() {
    const RTT: Duration = Duration::from_millis(50);
    let limit = Arc::new(MemoryLimit::new(4 << 20));
    let memory: Arc<dyn MemoryManager> = limit.clone();
    let mut line = Line::unanswered(quiet().memory(memory.clone()).max_stream_window(2 * WINDOW));
    std::thread::sleep(RTT);
    line.answer_ping();
    assert!(line.connection.rtt().is_some_and(|rtt| rtt >= RTT));
    let [low, high] = [Priority::LOW, Priority::HIGH].map(|priority| {
        let [stream] = line.open(priority, 0);
        stream
    });
    let share = (4 << 20) * 102 / 256;
    let ballast = Reservation::new(&memory, share - limit.reserved(), Priority::LOW).expect("exactly the share");

    let mut peers = [Fast::new(low), Fast::new(high)];
    let started = Instant::now();
    while peers[1].window() <= WINDOW {
        peers.iter_mut().for_each(|peer| peer.turn(&mut line));
        assert!(started.elapsed() < Duration::from_secs(30), "the window of the urgent stream does not grow");
    }
    // A round trip in which it has read as much.
    for _ in 0..20 {
        peers.iter_mut().for_each(|peer| peer.turn(&mut line));
    }
    assert!(peers[0].window() <= WINDOW);
    drop(ballast);
    while peers[0].window() <= WINDOW {
        peers.iter_mut().for_each(|peer| peer.turn(&mut line));
        assert!(started.elapsed() < Duration::from_secs(30), "a window does not grow though there is memory");
    }
}

/// A stream whose peer sends all that it may and whose reader takes all that it gets.
struct Fast {
    stream: Stream,
    credit: u32,
    read: u32,
    /// What was granted in all.
    granted: u32,
    seen: usize,
}

impl Fast {
    const fn new(stream: Stream) -> Self {
        Self { stream, credit: WINDOW, read: 0, granted: WINDOW, seen: 0 }
    }

    /// What the peer was granted beyond what was read: never more than the window.
    const fn window(&self) -> u32 {
        self.granted - self.read
    }

    fn turn(&mut self, line: &mut Line) {
        let len = self.credit.min(WINDOW);
        line.feed(data(self.stream.id(), Flags::NONE, len), &vec![0; len as usize]);
        line.poll();
        let read = self.stream.read_exact(&mut vec![0; len as usize]).now_or_never().map(|read| read.is_ok());
        assert_eq!(read, Some(true));
        (self.credit, self.read) = (self.credit - len, self.read + len);
        line.drain();
        let sent = line.frames(self.seen);
        self.seen = line.sent();
        for sent in sent {
            if let Header::WindowUpdate { id, flags: Flags::NONE, value } = sent.header
                && id.value() == self.stream.id()
            {
                (self.credit, self.granted) = (self.credit + value, self.granted + value);
            }
        }
    }
}
