//! Streams of which only the peer's half is open: the credit that it still gets, and how many of them are remembered.

use super::*;
use crate::proto::limits::{HALF_OPEN, HALF_OPEN_CREDIT};

#[test]
fn y_flow_10_credit_is_given_while_this_end_still_writes() {
    holds(&[
        (
            "read no more",
            &[
                (Near(CloseRead), ""),
                (Far(Write(200_000)), "f data 131072, n credit 131072, f data 68928"),
                (Near(Close), "n fin"),
                (Far(Write(100)), "f data 100"),
                (Wait(100_000), ""),
                (Near(Drop(Leave::Closed)), ""),
            ],
            ["0 end", "open"],
        ),
        (
            "dropped, and data and FIN wait for the transport",
            &[
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Far(Write(200_000)), "f data 200000"),
                (Flow, "n credit 200000, n data 10, n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE + EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
    ]);
}

#[test]
fn y_drop_4_beyond_the_bound_no_peer_waits_for_ever() {
    let mut bench = Bench::with(1 << 30, few_pings());
    let mut ids = Vec::new();
    for _ in 0..HALF_OPEN + 1 {
        let (key, id) = bench.stream(Priority::MEDIUM);
        assert_eq!(bench.mux.write(key, b"?", bench.now).expect("room"), 1);
        bench.release(key);
        ids.push(id);
        if ids.len() <= HALF_OPEN {
            assert_eq!(bench.send().len(), 2);
        }
    }
    assert_eq!(bench.send().len(), 2, "nobody who has credit is told");
    // One of those that were forgotten writes, and then knows; another one finishes.
    let data = Header::Data { id: ids[0], flags: Flags::NONE, len: 5 };
    for expected in [&[Header::WindowUpdate { id: ids[0], flags: Flags::RST, value: 0 }][..], &[]] {
        bench.receive(data);
        bench.receive_body(5);
        assert_eq!(bench.send(), expected);
    }
    bench.receive(Header::Data { id: ids[1], flags: Flags::FIN, len: 5 });
    bench.receive_body(5);
    assert_eq!(bench.send(), []);
    // An idle connection forgets no half-open stream either.
    bench.wait(Duration::from_secs(100));
    assert_eq!(bench.mux.half_open.len(), HALF_OPEN + 1 - HALF_OPEN / 8);
    let last = ids[HALF_OPEN];
    bench.receive_data(last, (INITIAL_WINDOW - HALF_OPEN_CREDIT) as usize);
    bench.receive_data(last, 1);
    bench.wait(HALF_OPEN_GRACE + Duration::from_millis(EXACT));
    assert_eq!(bench.send(), [Header::WindowUpdate { id: last, flags: Flags::RST, value: 0 }]);
    assert!(bench.mux.closed().is_none());
}

#[test]
fn y_mem_13_what_is_still_to_come_is_not_unread_once_nobody_reads() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.send();
    bench.receive(Header::Data { id, flags: Flags::NONE, len: 100 });
    bench.receive_body(10);
    bench.mux.stop(key, 0, bench.now);
    assert_eq!(bench.mux.stream_stats(key, bench.now).expect("held").unread, 0);
}
