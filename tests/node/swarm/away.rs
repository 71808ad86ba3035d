//! A peer that says that it takes no more streams, and goes on with those that are open.

use super::host::{ECHO, Host, Muxer, Notice, Pings};
use super::{ours, reason, reserved_falls_to};
use crate::support::pattern::exchange;
use crate::support::run_threaded;
use futures::future::{Either, join, poll_fn, select};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::{identity, noise, tcp};
use sluicegate::{Config, Connection, ConnectionError, MemoryLimit, Side, Stream};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LEN: usize = 600 << 10;

#[test]
fn y_away_1_live_streams_survive_go_away_0() {
    run_threaded(async {
        let budget = Arc::new(MemoryLimit::new(64 << 20));
        let mut host = Host::new(ours(&budget), Pings::Off).await;
        let (_, mut connection, stream) = gone_away(&mut host).await;
        // It is the last stream: when it has ended, the host closes in good order.
        let ((), ended) = join(exchange(stream, (1, LEN), (1, LEN)), poll_fn(|cx| connection.poll(cx))).await;
        ended.expect("closed in good order");
        let reason = reason(host.closed().await);
        assert!(matches!(reason, ConnectionError::Closed { by: Side::Remote }), "{reason:?}");
        host.stop().await;
        reserved_falls_to(&budget, 0).await;
    });
}

#[test]
fn y_away_5_an_open_in_vain_ends_the_connection() {
    const DRAIN: Duration = Duration::from_millis(300);
    run_threaded(async {
        let config = Config::builder().drain_timeout(Some(DRAIN)).build().expect("valid");
        let mut host = Host::new(Muxer::Ours(config), Pings::Off).await;
        // The stream lives for as long as this end wants.
        let (keys, mut connection, _stream) = gone_away(&mut host).await;
        let begun = Instant::now();
        let mut control = host.control.clone();
        let opening = control.open_stream(keys.public().to_peer_id(), ECHO);
        let (opened, _) = join(opening, poll_fn(|cx| connection.poll(cx))).await;
        let waited = begun.elapsed();
        assert!(opened.is_err() && waited >= DRAIN, "{waited:?}");
        // It keeps the echo of the host waiting for streams.
        drop(control);
        // A swarm gives up after ten seconds, and would have the same connection again.
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        let reason = reason(host.closed().await);
        assert!(matches!(reason, ConnectionError::Closed { by: Side::Remote }), "{reason:?}");
        host.stop().await;
    });
}

/// The dialler of a connection with a stream for an echo, which has then told the host that it takes no more streams.
async fn gone_away(
    host: &mut Host,
) -> (identity::Keypair, Connection<impl AsyncRead + AsyncWrite + Unpin + use<>>, Stream) {
    // A swarm has no way to send a go-away alone: this end is a transport and a muxer without one.
    let keys = identity::Keypair::generate_ed25519();
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&keys).expect("valid"))
        .multiplex(Config::default());
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
    let dial = transport.dial(host.address.clone(), options).expect("an address");
    let (peer, mut connection) = dial.await.expect("connects");
    assert_eq!(peer, host.id);
    assert!(matches!(host.notice().await, Notice::Connected(_)));
    let mut stream = poll_fn(|cx| connection.poll_outbound(cx)).await.expect("opens");
    driven(&mut connection, negotiate(&mut stream)).await;
    connection.go_away();
    let ping = connection.ping();
    driven(&mut connection, ping).await.expect("what was said before the ping has been heard");
    (keys, connection, stream)
}

/// What `future` gives while the connection is driven, which must outlive it.
async fn driven<T: AsyncRead + AsyncWrite + Unpin, R>(
    connection: &mut Connection<T>,
    future: impl Future<Output = R>,
) -> R {
    match select(pin!(future), poll_fn(|cx| connection.poll(cx))).await {
        Either::Left((result, _)) => result,
        Either::Right((ended, _)) => panic!("the connection ends: {ended:?}"),
    }
}

/// Agrees on the echo, as multistream-select does: every line has its length before it, and is repeated by the listener.
async fn negotiate(stream: &mut Stream) {
    let mut lines = Vec::new();
    for protocol in ["/multistream/1.0.0", ECHO.as_ref()] {
        lines.push(u8::try_from(protocol.len() + 1).expect("short"));
        lines.extend_from_slice(protocol.as_bytes());
        lines.push(b'\n');
    }
    stream.write_all(&lines).await.expect("open");
    let mut answer = vec![0; lines.len()];
    stream.read_exact(&mut answer).await.expect("open");
    assert_eq!(answer, lines);
}
