//! A stream whose id was another stream's before owes nothing of that one.

use super::*;

// A new stream of the same id is not taken for the old one.
#[test]
fn y_open_5_a_reused_id_is_not_reset_for_the_old_stream() {
    let mut bench = Bench::of(Mode::Server, 1 << 30, few_pings());
    bench.send();
    let open = |bench: &mut Bench| {
        let syn = Header::WindowUpdate { id: id(1), flags: Flags::SYN, value: 0 };
        assert_eq!(bench.mux.handle_frame(Frame::Header(syn), bench.now), Admission::Reserve);
        let granted = bench.reserve();
        bench.mux.admit(Some(granted), bench.now);
        bench.mux.accept().expect("opened")
    };
    let key = open(&mut bench);
    assert_eq!(bench.mux.write(key, b"!", bench.now).expect("room"), 1);
    bench.release(key);
    bench.send();
    bench.receive_data(id(1), INITIAL_WINDOW as usize);
    bench.wait(HALF_OPEN_GRACE * 2);
    // The reset is owed when the peer opens the id again.
    let again = open(&mut bench);
    assert_eq!(bench.send(), [Header::WindowUpdate { id: id(1), flags: Flags::ACK, value: 0 }]);
    bench.wait(HALF_OPEN_GRACE * 2);
    assert_eq!((bench.send(), bench.mux.is_linked(again)), (vec![], true));
}

#[test]
fn y_open_5_a_reused_id_owes_nothing_of_a_refusal() {
    let mut bench = Bench::with(1 << 30, few_pings().accept_backlog(1));
    bench.send();
    let syn = |bench: &mut Bench, id: u32| {
        let header = Header::WindowUpdate { id: super::id(id), flags: Flags::SYN, value: 0 };
        if bench.mux.handle_frame(Frame::Header(header), bench.now) == Admission::Reserve {
            let granted = bench.reserve();
            bench.mux.admit(Some(granted), bench.now);
        }
    };
    syn(&mut bench, 2);
    // The transport takes nothing: the reset is owed.
    syn(&mut bench, 4);
    bench.receive(Header::WindowUpdate { id: id(4), flags: Flags::RST, value: 0 });
    let first = bench.mux.accept().expect("it waits");
    syn(&mut bench, 4);
    let second = bench.mux.accept().expect("there is room again");
    let resets = |sent: Vec<Header>| {
        sent.iter().filter(|header| matches!(header, Header::WindowUpdate { flags: Flags::RST, .. })).count()
    };
    assert_eq!(resets(bench.send()), 0);
    assert!(bench.mux.write(second, b"alive", bench.now).is_ok() && bench.mux.write(first, b"too", bench.now).is_ok());
}

#[test]
fn y_open_5_a_refused_stream_has_credit_of_its_own() {
    let mut bench = Bench::with(1 << 30, few_pings().accept_backlog(1));
    bench.send();
    let syn = |bench: &mut Bench, stream: u32| {
        let header = Header::WindowUpdate { id: id(stream), flags: Flags::SYN, value: 0 };
        if bench.mux.handle_frame(Frame::Header(header), bench.now) == Admission::Reserve {
            let granted = bench.reserve();
            bench.mux.admit(Some(granted), bench.now);
        }
    };
    syn(&mut bench, 2);
    let key = bench.mux.accept().expect("it waits");
    bench.send();
    bench.receive_data(id(2), INITIAL_WINDOW as usize - 5_000);
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.send();
    bench.leave(key, Leave::Closed);
    // Another one fills the backlog.
    syn(&mut bench, 4);
    syn(&mut bench, 2);
    bench.receive_data(id(2), 6_000);
    assert!(bench.mux.closed().is_none(), "{:?}", bench.mux.closed());
}
