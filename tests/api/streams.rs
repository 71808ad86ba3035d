//! Streams as their users see them: what is written arrives, halves close one by one, resets say who and why.

use crate::support::node::Node;
use crate::support::outcome::{reset, stream_error};
use crate::support::pair::*;
use crate::support::peer::{Peer, data, update};
use crate::support::{pipe, quiet, run, run_threaded, tcp};
use futures::future::{join_all, try_join_all};
use futures::{AsyncReadExt, AsyncWriteExt};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use sluicegate::wire::Flags;
use sluicegate::{Config, Priority, Side, StreamError};
use std::io;
use std::time::Duration;

#[test]
fn y_fin_5_small_writes_arrive_and_both_ends_forget_the_stream() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut near, mut far) = stream(&client, &server).await;
        let send = async {
            for i in 0..1000u32 {
                near.write_all(&i.to_be_bytes()).await.unwrap();
                near.flush().await.unwrap();
            }
            assert_eq!(client.num_streams().await, 1);
            near.close().await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        };
        let receive = async {
            let mut word = [0; 4];
            for i in 0..1000u32 {
                far.read_exact(&mut word).await.unwrap();
                assert_eq!(u32::from_be_bytes(word), i);
            }
            assert_eq!(far.read(&mut word).await.unwrap(), 0);
            assert_eq!(server.num_streams().await, 1);
            far.close().await.unwrap();
        };
        futures::join!(send, receive);
        assert_eq!((client.num_streams().await, server.num_streams().await), (0, 0));
    });
}

// Large transfers; many streams at once over small transports; exactly a window; both directions over a transport that
// holds next to nothing. Round trips are below.
#[test]
fn transfers_of_all_shapes_arrive_whole() {
    let rows = [
        // (streams, bytes each, capacity of the transport)
        (1, 4 << 20, 64 << 10),
        (16, 128 << 10, 64 << 10),
        (512, 2 << 10, 4096),
        (50, 1000, 100),
        (1, WINDOW, 4096),
        (1, 1 << 20, 1024),
        (3, 1, 1),
        (2, 0, 1),
    ];
    for (streams, len, capacity) in rows {
        run(async {
            let config = || quiet().accept_backlog(1024).build().unwrap();
            let (client, server) = pair(config(), config(), capacity);
            let serve = async {
                let accepted = (0..streams).map(|_| async { echo(server.accept().await.unwrap()).await });
                try_join_all(accepted).await.unwrap()
            };
            let ask = join_all((0..streams).map(|i| {
                let client = &client;
                async move {
                    let sent = pattern(i, len);
                    let received = exchange(client.open().await.unwrap(), &sent).await.unwrap();
                    assert!(sent == received, "stream {i} of {streams} x {len} bytes over {capacity}");
                }
            }));
            let (echoed, _) = futures::join!(serve, ask);
            assert_eq!(echoed, vec![len as u64; streams]);
        });
    }
}

// Nobody's task waiting for another's.
#[test]
fn fifty_streams_take_turns_a_hundred_times_on_two_threads() {
    run_threaded(async {
        let (near, far) = tcp().await;
        let (client, server) = (Node::client(near, default()), Node::server(far, default()));
        let serve = async {
            for _ in 0..50 {
                tokio::spawn(echo(server.accept().await.unwrap()));
            }
        };
        let ask = join_all((0..50u32).map(|i| {
            let client = &client;
            async move {
                let mut stream = client.open().await.unwrap();
                for round in 0..100u32 {
                    let (question, mut answer) = ((i * 100 + round).to_be_bytes(), [0; 4]);
                    stream.write_all(&question).await.unwrap();
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(answer, question);
                }
                stream.close().await.unwrap();
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
        }));
        futures::join!(serve, ask);
    });
}

#[derive(Clone, Debug)]
struct Settings {
    window: u32,
    frame: u32,
    send_buffer: usize,
    read_buffer: usize,
}

impl Arbitrary for Settings {
    fn arbitrary(g: &mut Gen) -> Self {
        Self {
            window: (256 << 10) + u32::arbitrary(g) % (1 << 20),
            frame: 1024 + u32::arbitrary(g) % 64_000,
            send_buffer: 65_536 + usize::arbitrary(g) % (1 << 20),
            read_buffer: 4096 + usize::arbitrary(g) % 60_000,
        }
    }
}

impl Settings {
    fn build(&self) -> Config {
        let windows = quiet().max_stream_window(2 << 20).initial_stream_window(self.window);
        windows
            .max_message_size(self.frame)
            .max_send_buffer(self.send_buffer)
            .read_buffer_size(self.read_buffer)
            .build()
            .unwrap()
    }
}

// Any settings at either end, any messages; the windows above the default are announced, never assumed.
#[test]
fn any_two_configurations_understand_each_other() {
    fn echoed(client: Settings, server: Settings, sizes: Vec<u32>, capacity: u16) -> bool {
        run(async {
            let (client, server) = pair(client.build(), server.build(), 4096 + capacity as usize);
            let sizes: Vec<_> = sizes.into_iter().take(4).map(|size| size as usize % 400_000).collect();
            let serve = async {
                let streams = sizes.iter().map(|_| async { echo(server.accept().await.unwrap()).await });
                try_join_all(streams).await.unwrap().len()
            };
            let ask = try_join_all(sizes.iter().enumerate().map(|(i, size)| {
                let client = &client;
                async move {
                    let sent = pattern(i, *size);
                    exchange(client.open().await.unwrap(), &sent).await.map(|received| received == sent)
                }
            }));
            let (served, whole) = futures::join!(serve, ask);
            let count = served == sizes.len() && whole.unwrap().into_iter().all(|whole| whole);
            let closed = client.close().await.is_ok() && server.ended().await.is_ok();
            count && closed
        })
    }
    let mut check = QuickCheck::new().tests(12);
    check.quickcheck(echoed as fn(Settings, Settings, Vec<u32>, u16) -> bool);
}

#[test]
fn after_close_read_reading_fails_though_data_waits() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut near, mut far) = stream(&client, &server).await;
        far.write_all(b"unread").await.unwrap();
        far.flush().await.unwrap();
        settle(&client, &server).await;
        near.close_read();
        for _ in 0..2 {
            let error = near.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotConnected);
            assert!(matches!(stream_error(&error), StreamError::ReadClosed));
        }
        // The other half is not touched, and the peer never waits for credit.
        near.write_all(b"still").await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut [0; 5]).await.unwrap();
        far.write_all(&vec![0; 3 * WINDOW]).await.unwrap();
    });
}

#[test]
fn y_fin_1_a_closed_write_half_leaves_the_read_half_alone() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut near, mut far) = stream(&client, &server).await;
        near.write_all(b"a").await.unwrap();
        near.close().await.unwrap();
        let mut byte = [0];
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!((byte, far.read(&mut [0]).await.unwrap()), (*b"a", 0));
        for _ in 0..2 {
            let error = near.write(b"more").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert!(matches!(stream_error(&error), StreamError::WriteClosed));
            near.close().await.unwrap();
        }
        deliver(&mut far, &mut near, &pattern(0, 3 * WINDOW)).await;
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    });
}

// The peer's FIN does not stop it from giving credit.
#[test]
fn y_flow_7_after_the_peers_fin_sixteen_windows_still_go_out() {
    run(async {
        let (client, server) = pair(default(), default(), 64 << 10);
        let (mut near, mut far) = stream(&client, &server).await;
        far.close().await.unwrap();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        deliver(&mut near, &mut far, &pattern(5, 16 * WINDOW)).await;
    });
}

#[test]
fn y_flow_7_a_stream_that_is_only_written_uses_its_credit() {
    run(async {
        let (near, far) = pipe(4 << 20);
        let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
        let mut stream = client.open().await.unwrap();
        let sent = pattern(0, 8 * WINDOW);
        let receive = async {
            peer.expect(update(1, Flags::SYN, 0)).await;
            let (mut received, mut credit) = (Vec::new(), WINDOW);
            while received.len() < 8 * WINDOW {
                let (_, body) = peer.next().await.unwrap();
                received.extend(body);
                if received.len() == credit {
                    peer.send(update(1, Flags::NONE, WINDOW as u32)).await;
                    credit += WINDOW;
                }
                assert!(received.len() <= credit, "{} of {credit}", received.len());
            }
            received
        };
        let (written, received) = futures::join!(stream.write_all(&sent), receive);
        written.unwrap();
        assert!(received == sent);
    });
}

// Short reads across frames, and empty frames are skipped: no read of zero bytes but at the end.
#[test]
fn reads_shorter_than_frames_and_frames_shorter_than_reads() {
    run(async {
        let (near, far) = pipe(4 << 20);
        let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
        let mut stream = client.open().await.unwrap();
        stream.flush().await.unwrap();
        peer.expect(update(1, Flags::SYN, 0)).await;
        for body in [&b"abcd"[..], b"", b"e", b"", b"fghij"] {
            peer.send_data(1, Flags::NONE, body).await;
        }
        peer.send(data(1, Flags::FIN, 0)).await;
        let (mut read, mut buf) = (Vec::new(), [0; 3]);
        loop {
            match stream.read(&mut buf).await.unwrap() {
                0 => break,
                len => read.extend_from_slice(&buf[..len]),
            }
        }
        assert_eq!(read, b"abcdefghij");
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
    });
}

// Both halves of both ends, those that wait included, learn who did it and the code.
#[test]
fn y_rst_4_a_reset_says_who_and_the_code_on_every_half() {
    for code in [0, 42, 0x1002, u32::MAX] {
        run(async {
            let (client, server) = pair(default(), default(), 4096);
            let (mut near, mut far) = stream(&client, &server).await;
            // The reader of the far end waits already.
            let waiting = tokio::spawn(async move {
                let error = far.read(&mut [0; 16]).await.unwrap_err();
                (far, error)
            });
            settle(&client, &server).await;
            near.reset(code);
            near.reset(code.wrapping_add(1));
            let (mut far, error) = waiting.await.unwrap();
            assert_eq!(reset(&error), (Side::Remote, code));
            for (stream, by) in [(&mut near, Side::Local), (&mut far, Side::Remote)] {
                for _ in 0..2 {
                    assert_eq!(reset(&stream.read(&mut [0]).await.unwrap_err()), (by, code));
                    assert_eq!(reset(&stream.write(&[0]).await.unwrap_err()), (by, code));
                    assert_eq!(reset(&stream.flush().await.unwrap_err()), (by, code));
                    assert_eq!(reset(&stream.close().await.unwrap_err()), (by, code));
                }
            }
            settle(&client, &server).await;
            assert_eq!((client.num_streams().await, server.num_streams().await), (0, 0));
        });
    }
}

#[test]
fn y_rst_4_a_local_reset_wakes_the_reader_that_waits() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (near, mut far) = stream(&client, &server).await;
        let (mut reader, writer) = near.split();
        let waiting = tokio::spawn(async move {
            let error = reader.read(&mut [0]).await.unwrap_err();
            (reader, error)
        });
        settle(&client, &server).await;
        far.reset(9);
        let (reader, error) = waiting.await.unwrap();
        assert_eq!(reset(&error), (Side::Remote, 9));
        drop(reader.reunite(writer).unwrap());
    });
}

// What was written before the stream was dropped is not lost: a drop is a FIN here, no RST.
#[test]
fn y_drop_1_a_dropped_stream_is_read_to_its_end() {
    for len in [1, 3 * 1024, WINDOW] {
        run(async {
            let (client, server) = pair(default(), default(), 100);
            let (mut near, mut far) = stream(&client, &server).await;
            let sent = pattern(2, len);
            near.write_all(&sent).await.unwrap();
            drop(near);
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            assert!(received == sent, "{len}");
            drop(far);
            settle(&client, &server).await;
            assert_eq!((client.num_streams().await, server.num_streams().await), (0, 0));
        });
    }
}

// Nobody reads one stream, and everything else goes on.
#[test]
fn an_unread_stream_holds_up_no_other() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut full, _unread) = stream(&client, &server).await;
        full.write_all(&vec![1; WINDOW]).await.unwrap();
        full.flush().await.unwrap();
        assert!(futures::poll!(full.write(&[1])).is_pending());
        let (near, far) = stream(&client, &server).await;
        let sent = pattern(3, 4 * WINDOW);
        let (echoed, received) = futures::join!(echo(far), exchange(near, &sent));
        echoed.unwrap();
        assert!(received.unwrap() == sent);
        settle(&client, &server).await;
    });
}

#[test]
fn y_ping_1_pings_are_answered_both_ways_after_a_stuck_transport() {
    run(async {
        let (near, far) = pipe(4096);
        let (near, gate) = Gate::around(near);
        let (client, server) = (Node::client(near, default()), Node::server(far, default()));
        settle(&client, &server).await;
        gate.shut();
        let held = Duration::from_millis(10);
        let release = async {
            tokio::time::sleep(held).await;
            gate.open();
        };
        let (rtt, ()) = futures::join!(client.ping(), release);
        assert!(rtt.unwrap() > Duration::ZERO);
        assert!(server.ping().await.unwrap() > Duration::ZERO);
        assert!(client.call(|connection| connection.rtt()).await.unwrap() > Duration::ZERO);
    });
}

#[test]
fn y_ping_7_two_thousand_pings_at_once_are_all_answered() {
    run(async {
        let (client, server) = pair(default(), default(), 64);
        let pings = |node| join_all(std::iter::repeat_n(node, 1000).map(|node: &Node<_>| node.ping()));
        let (near, far) = futures::join!(pings(&client), pings(&server));
        assert_eq!(near.iter().chain(&far).filter(|ping| ping.is_ok()).count(), 2000);
    });
}

#[test]
fn priorities_are_kept_by_their_end() {
    run(async {
        let config = quiet().default_priority(Priority::LOW).build().unwrap();
        let (client, server) = pair(config, default(), 4096);
        let (near, far) = stream(&client, &server).await;
        assert_eq!((near.priority(), far.priority()), (Priority::LOW, Priority::MEDIUM));
        near.set_priority(Priority::new(7));
        settle(&client, &server).await;
        assert_eq!((near.priority(), far.priority()), (Priority::new(7), Priority::MEDIUM));
    });
}
