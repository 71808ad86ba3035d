//! libp2p's transport in memory, with which people test: it tells of no end while both of its sides exist.

use crate::support::clock::{now, paused, run_paused};
use crate::support::peer::{Peer, go_away, update};
use crate::support::{pipe, quiet, run_threaded};
use futures::future::{join, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerExt};
use libp2p::core::transport::{DialOpts, ListenerId, MemoryTransport, PortUse, Transport, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::{identity, noise};
use sluicegate::wire::Flags;
use sluicegate::{Config, Connection, ConnectionError, Mode, Side};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

fn transport() -> libp2p::core::transport::Boxed<(libp2p::PeerId, libp2p::core::muxing::StreamMuxerBox)> {
    let keys = identity::Keypair::generate_ed25519();
    let noise = noise::Config::new(&keys).expect("valid");
    MemoryTransport::default().upgrade(Version::V1).authenticate(noise).multiplex(Config::default()).boxed()
}

/// Whether or not a stream was used, and though the peer keeps its end of one, as those of pings are kept.
#[test]
fn y_close_13_y_close_14_an_orderly_close_is_quick_at_both_ends() {
    run_threaded(async {
        let mut listener = transport();
        listener.listen_on(ListenerId::next(), "/memory/0".parse().expect("valid")).expect("listens");
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = listener.next().await else { panic!("no address") };
        for (used, kept) in [(false, false), (true, false), (true, true)] {
            let mut keeps = None;
            let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
            let dialing = transport().dial(listen_addr.clone(), options).expect("an address");
            let accepting = async {
                let Some(TransportEvent::Incoming { upgrade, .. }) = listener.next().await else { panic!("nobody") };
                upgrade.await.expect("upgrades").1
            };
            let (dialled, mut there) = join(dialing, accepting).await;
            let mut here = dialled.expect("connects").1;
            if used {
                let mut stream = poll_fn(|cx| {
                    let _ = here.poll_unpin(cx);
                    here.poll_outbound_unpin(cx)
                })
                .await
                .expect("opens");
                let asking = async {
                    stream.write_all(b"hello").await.expect("writes");
                    stream.close().await.expect("closes");
                };
                let driven = poll_fn(|cx| here.poll_unpin(cx).map(drop));
                futures::future::select(Box::pin(asking), driven).await;
                drop(stream);
                let mut stream = poll_fn(|cx| {
                    let _ = there.poll_unpin(cx);
                    there.poll_inbound_unpin(cx)
                })
                .await
                .expect("accepts");
                let mut read = String::new();
                stream.read_to_string(&mut read).await.expect("it is there");
                assert_eq!(read, "hello");
                keeps = Some(stream).filter(|_| kept);
            }
            let begun = Instant::now();
            let leaving = async {
                here.close().await.expect("closes");
                begun.elapsed()
            };
            let staying = async {
                poll_fn(|cx| there.poll_unpin(cx)).await.expect_err("it ends");
                drop(there);
                begun.elapsed()
            };
            let (left, stayed) = join(leaving, staying).await;
            assert!(left.max(stayed) < Duration::from_millis(100), "{left:?} and {stayed:?}");
            drop(keeps);
        }
    });
}

/// A muxer whose connection has ended while so many streams waited, and how often it may be asked.
async fn ended_with(streams: u32) -> Connection<crate::support::Pipe> {
    let (near, far) = pipe(1 << 16);
    let mut connection = Connection::new(near, paused(quiet()).build().expect("valid"), Mode::Server);
    let mut peer = Peer::new(far);
    for n in 0..streams {
        peer.send(update(2 * n + 1, Flags::SYN | Flags::FIN, 0)).await;
    }
    peer.send(go_away(0)).await;
    peer.shut().await;
    poll_fn(|cx| Connection::poll(&mut connection, cx)).await.expect("in good order");
    connection
}

#[test]
fn y_close_10_the_end_is_told_behind_the_streams_that_came_before_it() {
    run_paused(async {
        let begun = now();
        let mut connection = ended_with(3).await;
        let (mut accepted, mut asked) = (0, 0);
        // As a swarm does it: the muxer first, and then its streams, a slow one at a time.
        let reason = loop {
            let polled = poll_fn(|cx| {
                asked += 1;
                if let Poll::Ready(end) = StreamMuxer::poll(Pin::new(&mut connection), cx) {
                    return Poll::Ready(Err(end.expect_err("the end")));
                }
                // Nor does an open that waits tell of it.
                assert!(StreamMuxer::poll_outbound(Pin::new(&mut connection), cx).is_pending());
                StreamMuxer::poll_inbound(Pin::new(&mut connection), cx).map_ok(drop)
            });
            match polled.await {
                Ok(()) => accepted += 1,
                Err(reason) => break reason,
            }
            tokio::time::sleep(Duration::from_millis(900)).await;
        };
        assert!(matches!(reason, ConnectionError::Closed { by: Side::Remote }), "{reason:?}");
        assert_eq!((accepted, asked), (3, 4));
        assert!(now() - begun < Duration::from_secs(3));
    });
}

#[test]
fn y_close_10_the_end_is_told_after_a_second_where_nobody_accepts() {
    run_paused(async {
        let mut connection = ended_with(3).await;
        let begun = now();
        for _ in 0..2 {
            let end = poll_fn(|cx| StreamMuxer::poll(Pin::new(&mut connection), cx)).await.expect_err("the end");
            assert!(matches!(end, ConnectionError::Closed { by: Side::Remote }), "{end:?}");
            let took = now() - begun;
            assert!(took >= Duration::from_secs(1) && took <= Duration::from_millis(1002), "{took:?}");
        }
    });
}
