//! A stream that is dropped before it was used up: with a body under way, unfinished, unused or with bytes unread.

use super::*;

#[test]
fn y_drop_5_the_rest_of_a_body_belongs_to_the_dropped_stream() {
    holds(&[
        (
            "there is credit left",
            &[
                (Near(Close), "n fin"),
                (Half, ""),
                (Far(Write(100)), "f data 100"),
                (Near(Drop(Leave::Closed)), ""),
                (Rest, ""),
                (Wait(100_000), ""),
                (Far(Write(100)), "f data 100"),
            ],
            ["0 end", "open"],
        ),
        (
            "it was the last credit: the time runs from its end",
            &[
                (Near(Close), "n fin"),
                (Far(Write(262_000)), "f data 262000"),
                (Half, ""),
                (Far(UseUp), "f data 144"),
                (Near(Drop(Leave::Closed)), ""),
                (Wait(100_000), ""),
                (Rest, ""),
                (Wait(GRACE - EXACT), ""),
                (Wait(2 * EXACT), "n rst 0"),
            ],
            ["0 end", "reset 0"],
        ),
        (
            "it comes after the drop",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(262_000)), "f data 262000"),
                (Wait(GRACE - EXACT), ""),
                (Half, ""),
                (Far(UseUp), "f data 144"),
                (Wait(100_000), ""),
                (Rest, ""),
                (Wait(GRACE + EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
    ]);
}

// hashicorp/yamux sends all it has credit for in one frame: its writer is blocked for ever where the rest of that is
// swallowed.
#[test]
fn y_drop_5_a_window_in_one_frame_is_answered_in_time() {
    for arrived in [0, 1, 1024, INITIAL_WINDOW - 1, INITIAL_WINDOW] {
        for fin in [false, true] {
            let mut bench = Bench::with(1 << 30, few_pings());
            let (key, id) = bench.stream(Priority::MEDIUM);
            let flags = if fin { Flags::FIN } else { Flags::NONE };
            bench.receive(Header::Data { id, flags, len: INITIAL_WINDOW });
            bench.receive_body(arrived as usize);
            bench.read(key);
            bench.ask();
            assert_eq!(bench.mux.write(key, &[7; 100], bench.now).expect("room"), 100);
            assert!(bench.mux.finish(key, bench.now).is_err());
            bench.send();
            bench.leave(key, Leave::Closed);
            bench.wait(Duration::from_secs(60));
            let told = [Header::WindowUpdate { id, flags: Flags::RST, value: 0 }];
            let rest = (INITIAL_WINDOW - arrived) as usize;
            if rest > 0 {
                assert_eq!(bench.send(), [], "{arrived}: its frame is under way");
                bench.receive_body(rest);
                bench.wait(HALF_OPEN_GRACE + Duration::from_millis(EXACT));
            }
            // Where most of it was read before the FIN there was credit for that.
            let none = fin || arrived >= INITIAL_WINDOW / 2;
            assert_eq!(bench.send(), if none { &[][..] } else { &told }, "{arrived} {fin}");
            assert_eq!((bench.mux.store.len(), bench.limit.reserved()), (0, 0));
        }
    }
}

#[test]
fn y_drop_6_what_was_cut_short_is_reset_at_once_with_its_code() {
    holds(&[
        (
            "nothing waits",
            &[(Near(Write(10)), "n data 10"), (Near(Drop(Leave::CutShort(7))), "n rst 7")],
            ["10 reset 7", "reset 7"],
        ),
        (
            "what waits is dropped",
            &[(Stall, ""), (Near(Write(10)), ""), (Near(Drop(Leave::CutShort(0))), ""), (Flow, "n rst 0")],
            ["0 reset 0", "reset 0"],
        ),
        (
            "the peer had finished",
            &[(Far(Close), "f fin"), (Near(Drop(Leave::CutShort(7))), "n rst 7")],
            ["0 reset 7", "closed"],
        ),
        (
            "a body is under way",
            &[(Half, ""), (Far(Write(100)), "f data 100"), (Near(Drop(Leave::CutShort(7))), "n rst 7"), (Rest, "")],
            ["0 reset 7", "reset 7"],
        ),
        (
            "it was closed: nothing is cut short",
            &[(Near(Close), "n fin"), (Near(Drop(Leave::CutShort(7))), "")],
            ["0 end", "open"],
        ),
        (
            "it was reset: once is enough",
            &[(Near(Reset(3)), "n rst 3"), (Near(Drop(Leave::CutShort(7))), "")],
            ["0 reset 3", "reset 3"],
        ),
        (
            "it was reset and that has not left",
            &[(Stall, ""), (Near(Reset(3)), ""), (Near(Drop(Leave::CutShort(7))), ""), (Flow, "n rst 3")],
            ["0 reset 3", "reset 3"],
        ),
    ]);
}

#[test]
fn y_drop_6_what_was_written_before_a_close_leaves_before_the_reset() {
    for closes in [true, false] {
        let mut bench = Bench::new();
        let (key, id) = bench.stream(Priority::MEDIUM);
        bench.send();
        assert_eq!(bench.mux.write(key, b"taken", bench.now).expect("room"), 5);
        if closes {
            bench.mux.close(0);
        }
        bench.leave(key, Leave::CutShort(7));
        let data = Header::Data { id, flags: Flags::NONE, len: 5 };
        let reset = |value| Header::WindowUpdate { id, flags: Flags::RST, value };
        let expected = if closes { vec![data, reset(0), Header::GoAway { code: 0 }] } else { vec![reset(7)] };
        assert_eq!(bench.send(), expected);
    }
}

#[test]
fn y_drop_7_what_was_not_used_is_reset() {
    holds(&[
        ("nothing came", &[(Near(Drop(Leave::Unused)), "n rst 0")], ["0 reset 0", "reset 0"]),
        (
            "a request came whole",
            &[(Far(Write(5)), "f data 5"), (Far(Close), "f fin"), (Near(Drop(Leave::Unused)), "n rst 0")],
            ["0 reset 0", "closed"],
        ),
        (
            "the bytes of its negotiation go out first",
            &[(Stall, ""), (Near(Write(30)), ""), (Near(Drop(Leave::Unused)), ""), (Flow, "n data 30, n rst 0")],
            ["30 reset 0", "reset 0"],
        ),
    ]);
}

#[test]
fn y_drop_8_unread_bytes_turn_the_fin_into_a_reset() {
    holds(&[
        (
            "behind what was written",
            &[
                (Far(Write(100)), "f data 100"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Flow, "n data 10, n rst 0"),
            ],
            ["10 reset 0", "reset 0"],
        ),
        (
            "at once where that has left",
            &[(Far(Write(100)), "f data 100"), (Near(Write(10)), "n data 10"), (Near(Drop(DONE)), "n rst 0")],
            ["10 reset 0", "reset 0"],
        ),
        (
            "though the peer has finished",
            &[
                (Far(Write(100)), "f data 100"),
                (Far(Close), "f fin"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Flow, "n data 10, n rst 0"),
            ],
            ["10 reset 0", "closed"],
        ),
        (
            "they are under way",
            &[
                (Near(Write(10)), "n data 10"),
                (Half, ""),
                (Far(Write(100)), "f data 100"),
                (Near(Read), ""),
                (Near(Drop(DONE)), "n rst 0"),
                (Rest, ""),
            ],
            ["10 reset 0", "reset 0"],
        ),
        (
            "what comes meanwhile is discarded, and there is no credit for it",
            &[
                (Far(Write(100)), "f data 100"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Far(UseUp), "f data 262044"),
                (Flow, "n data 10, n rst 0"),
            ],
            ["10 reset 0", "reset 0"],
        ),
        (
            "the peer resets it before: once is enough",
            &[
                (Far(Write(100)), "f data 100"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Far(Reset(5)), "f rst 5"),
                (Flow, ""),
            ],
            ["0 reset local 5", "reset local 5"],
        ),
        (
            "read and not reported is read",
            &[(Far(Write(100)), "f data 100"), (Near(Write(10)), "n data 10"), (Near(Drop(READ)), "n fin")],
            ["10 end", "open"],
        ),
        (
            "what is read no more is not left unread",
            &[
                (Far(Write(100)), "f data 100"),
                (Near(CloseRead), ""),
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
            ],
            ["10 end", "open"],
        ),
    ]);
}
