//! Resets that do not come from the holder of the stream.

use super::*;

#[test]
fn y_rst_8_a_reset_from_elsewhere_does_what_one_here_does() {
    holds(&[
        (
            "open",
            &[(Far(Write(100)), "f data 100"), (Near(Afar(7)), "n rst 7"), (Near(Drop(DONE)), "")],
            ["0 reset 7", "reset 7"],
        ),
        (
            "half closed",
            &[(Near(Close), "n fin"), (Near(Afar(7)), "n rst 7"), (Near(Drop(Leave::Closed)), "")],
            ["0 end", "reset 7"],
        ),
        (
            "what waits is dropped",
            &[(Stall, ""), (Near(Write(10)), ""), (Near(Afar(7)), ""), (Flow, "n rst 7"), (Near(Drop(DONE)), "")],
            ["0 reset 7", "reset 7"],
        ),
    ]);
}

// What the application has taken and not looked at since is in memory: it stays reserved, and nothing else does.
#[test]
fn y_rst_8_what_was_taken_stays_reserved_until_it_is_given_up() {
    for settings in [Config::builder(), Config::builder().receive_charge(crate::config::ReceiveCharge::Buffered)] {
        let mut bench = Bench::with(1 << 30, settings);
        let (key, id) = bench.stream(Priority::MEDIUM);
        bench.receive_data(id, 200_000);
        let mut chunks = Chunks::default();
        assert!(bench.mux.read(key, &mut chunks).is_ok());
        let taken = chunks.clear();
        assert!((60_000..80_000).contains(&taken), "{taken}");
        assert!(bench.mux.reset_from_afar(key, 7, bench.now));
        for sent in [None, Some(bench.send())] {
            let reserved = bench.limit.reserved();
            assert!((taken..taken + (32 << 10)).contains(&reserved), "{reserved} for {taken}, sent {sent:?}");
        }
        // It is looked at, or dropped: both give up what there is.
        bench.mux.consume(key, taken as u32, bench.now);
        let read = bench.mux.read(key, &mut chunks);
        assert!(matches!(read, Err(ReadError::Failed(StreamError::Reset { by: Side::Local, code: 7 }))), "{read:?}");
        bench.settle();
        assert_eq!(bench.limit.reserved(), 0);
        bench.release(key);
        assert!(!bench.mux.reset_from_afar(key, 8, bench.now));
        assert_eq!(bench.mux.store.len(), 0);
    }
}

#[test]
fn y_rst_8_a_stream_that_was_dropped_is_left_alone() {
    let mut bench = Bench::with(1 << 30, few_pings());
    let (key, _) = bench.stream(Priority::MEDIUM);
    assert_eq!(bench.mux.write(key, b"all of it", bench.now).expect("room"), 9);
    bench.release(key);
    assert!(!bench.mux.reset_from_afar(key, 7, bench.now));
    assert_eq!(bench.send().len(), 2, "the data and the FIN");
}

#[test]
fn y_rst_8_a_reset_from_elsewhere_leaves_an_ended_stream_alone() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    bench.receive_data(id, 100);
    bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 });
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.send();
    assert!(!bench.mux.reset_from_afar(key, 7, bench.now));
    assert_eq!(bench.read(key), 100);
    assert!(matches!(bench.mux.read(key, &mut Chunks::default()), Ok(Taken::End)));
}
