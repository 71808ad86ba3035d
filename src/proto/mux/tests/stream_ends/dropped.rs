//! A stream that is dropped after it was finished: what was written goes out, and a peer that goes on is answered.

use super::*;

#[test]
fn y_drop_1_what_was_written_goes_out_and_then_a_fin() {
    holds(&[
        ("dropped", &[(Near(Write(10)), "n data 10"), (Near(Drop(DONE)), "n fin")], ["10 end", "open"]),
        (
            "dropped while the transport takes nothing",
            &[(Stall, ""), (Near(Write(10)), ""), (Near(Drop(DONE)), ""), (Flow, "n data 10, n fin")],
            ["10 end", "open"],
        ),
        (
            "dropped after it was closed",
            &[(Near(Write(10)), "n data 10"), (Near(Close), "n fin"), (Near(Drop(Leave::Closed)), "")],
            ["10 end", "open"],
        ),
        (
            "dropped after the close was begun",
            &[
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Close), ""),
                (Near(Drop(Leave::Closed)), ""),
                (Flow, "n data 10, n fin"),
            ],
            ["10 end", "open"],
        ),
        (
            "closed, with bytes unread that are nobody's then",
            &[(Far(Write(100)), "f data 100"), (Near(Close), "n fin"), (Near(Drop(Leave::Closed)), "")],
            ["0 end", "open"],
        ),
        (
            "both ends at once",
            &[
                (Near(Write(1)), "n data 1"),
                (Far(Write(1)), "f data 1"),
                (Near(Read), ""),
                (Far(Read), ""),
                (Stall, ""),
                (Near(Drop(DONE)), ""),
                (Far(Close), "f fin"),
                (Flow, "n fin"),
            ],
            ["0 end", "closed"],
        ),
        (
            "the peer had finished",
            &[
                (Far(Write(5)), "f data 5"),
                (Far(Close), "f fin"),
                (Near(Read), ""),
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
            ],
            ["10 end", "closed"],
        ),
    ]);
}

#[test]
fn y_drop_2_data_for_a_finished_and_dropped_stream_is_discarded() {
    holds(&[
        (
            "while the peer has credit",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(5_000)), "f data 5000"),
                (Wait(100_000), ""),
                (Far(Write(5_000)), "f data 5000"),
            ],
            ["10 end", "open"],
        ),
        (
            "until it finishes",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(5_000)), "f data 5000"),
                (Far(Close), "f fin"),
                (Wait(100_000), ""),
            ],
            ["10 end", "closed"],
        ),
        (
            "or resets",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Reset(7)), "f rst 7"),
                (Wait(100_000), ""),
            ],
            ["0 reset local 7", "reset local 7"],
        ),
        (
            "read no more, then closed, and the stream is held",
            &[
                (Near(CloseRead), ""),
                (Near(Close), "n fin"),
                (Far(Write(5_000)), "f data 5000"),
                (Wait(100_000), ""),
                (Near(Drop(Leave::Closed)), ""),
            ],
            ["0 end", "open"],
        ),
    ]);
}

#[test]
fn y_drop_3_a_peer_without_credit_is_told_once_in_time() {
    holds(&[
        (
            "after the drop",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE - EXACT), ""),
                (Wait(2 * EXACT), "n rst 0"),
                (Wait(100_000), ""),
            ],
            ["10 end", "reset 0"],
        ),
        (
            "before it",
            &[
                (Near(Write(10)), "n data 10"),
                (Far(UseUp), "f data 262144"),
                (Near(Close), "n fin"),
                (Wait(100_000), ""),
                (Near(Drop(Leave::Closed)), ""),
                (Wait(GRACE - EXACT), ""),
                (Wait(2 * EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
        (
            "but for less than a frame is worth",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(256_000)), "f data 256000"),
                (Wait(GRACE + EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
        (
            "not if it finishes before",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE - EXACT), ""),
                (Far(Close), "f fin"),
                (Wait(100_000), ""),
            ],
            ["10 end", "closed"],
        ),
        (
            "read no more, closed and held",
            &[
                (Near(CloseRead), ""),
                (Near(Close), "n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE + EXACT), "n rst 0"),
                (Near(Drop(Leave::Closed)), ""),
            ],
            ["0 end", "reset 0"],
        ),
    ]);
}

/// Lazy negotiation: the dialler writes, closes and drops, and the listener's answer is late. A thousand times of a thousand
/// the listener can still write.
#[test]
fn y_drop_2_an_answer_to_one_who_has_left_costs_nothing() {
    for n in 0..1_000 {
        let mut duo = Duo::new(true);
        duo.act(Near(Write(1 + n)));
        duo.act(Near(Close));
        duo.act(Near(Drop(Leave::Closed)));
        duo.act(Far(Write(30)));
        let key = duo.keys[1];
        assert_eq!(Duo::outcome(&mut duo.far, key), [format!("{} end", 1 + n), "open".to_owned()]);
    }
}

#[test]
fn y_drop_3_a_driver_that_sleeps_learns_of_the_time() {
    for drops in [true, false] {
        let mut bench = Bench::with(1 << 30, few_pings());
        let (key, id) = bench.stream(Priority::MEDIUM);
        bench.receive_data(id, INITIAL_WINDOW as usize);
        assert!(bench.mux.finish(key, bench.now).is_err());
        bench.send();
        assert!(bench.mux.finish(key, bench.now).is_ok());
        // The connection is idle, and only a distant measurement would wake it.
        bench.wait(Duration::from_secs(5));
        let before = bench.mux.poll_timeout().expect("measures");
        let events = bench.mux.events_mut();
        (events.attention, events.outlook) = (false, false);
        if drops {
            bench.leave(key, Leave::Closed);
        } else {
            bench.mux.stop(key, 0, bench.now);
        }
        assert!(bench.mux.events_mut().outlook, "{drops}");
        assert!(bench.mux.poll_timeout().expect("a peer is told") < before);
    }
}
