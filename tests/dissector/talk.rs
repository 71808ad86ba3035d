//! Two sessions that say something of everything, their taps, and the bytes that crossed.

use crate::capture::Way;
use crate::support::outcome::reset;
use crate::support::pattern::{exchange, expect_end, receive, send};
use crate::support::{Pipe, pipe, quiet, run};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use sluicegate::wire::Direction;
use sluicegate::{ConnectionError, Mode, OpenError, Session, Side, Stream};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// What two sessions said.
#[derive(Default)]
pub struct Talk {
    /// The bytes, in the order in which they were written to the transport.
    pub bytes: Vec<(Way, Vec<u8>)>,
    /// The headers that the tap of the sending end was handed, each way.
    pub sent: [Vec<[u8; 12]>; 2],
    /// The same at the receiving end.
    received: [Vec<[u8; 12]>; 2],
}

type Record = Arc<Mutex<Talk>>;

impl Talk {
    /// Lets two sessions talk, with up to `bulk` bytes at once.
    pub fn held(bulk: usize) -> Self {
        let record = Record::default();
        run(talk(&record, bulk));
        let talk = std::mem::take(&mut *record.lock().unwrap());
        assert_eq!(talk.sent, talk.received, "the taps of the two ends do not agree");
        talk
    }

    /// The bodies in the bytes that went one way. The rest of the bytes must be the headers that the taps were handed.
    pub fn bodies(&self, way: Way) -> Vec<u8> {
        let bytes: Vec<u8> =
            self.bytes.iter().filter(|(went, _)| *went == way).flat_map(|(_, bytes)| bytes).copied().collect();
        let (mut rest, mut bodies) = (&bytes[..], Vec::new());
        for header in &self.sent[way as usize] {
            let (on_the_wire, after) = rest.split_at(header.len());
            assert_eq!(on_the_wire, header, "{way:?}: another header than the tap was handed");
            let len = if header[1] == 0 { u32::from_be_bytes(*header.last_chunk().expect("twelve bytes")) } else { 0 };
            let (body, after) = after.split_at(len as usize);
            bodies.extend(body);
            rest = after;
        }
        assert_eq!(rest.len(), 0, "{way:?}: bytes of which the tap was handed no header");
        bodies
    }
}

/// Something of everything that yamux can say.
async fn talk(record: &Record, bulk: usize) {
    let (near, far) = pipe(1 << 16);
    let client = start(record, near, Mode::Client);
    let server = start(record, far, Mode::Server);
    client.ping().await.expect("an answer");
    server.ping().await.expect("an answer");

    for len in [0, 1, 5, 1000, bulk] {
        exchange_both_ways(&client, &server, len, len / 2).await;
        exchange_both_ways(&server, &client, len / 3, len).await;
    }
    half_close(&client, &server, bulk).await;
    resets(&client, &server).await;
    resets(&server, &client).await;

    // As long as a stream is open, the connection is not over.
    let _streams = open(&client, &server).await;
    server.go_away();
    // The answer comes after what was said before it.
    client.ping().await.expect("an answer");
    assert!(matches!(client.open().await, Err(OpenError::RemoteGoAway)));
    let (closed, told) = futures::join!(client.close_with(77), server.closed());
    assert!(matches!(closed, Err(ConnectionError::GoAway { by: Side::Local, code: 77 })), "{closed:?}");
    assert!(matches!(told, ConnectionError::GoAway { by: Side::Remote, code: 77 }), "{told:?}");
}

/// A session with a tap, on a transport whose written bytes are kept.
fn start(record: &Record, io: Pipe, mode: Mode) -> Session {
    let (outbound, inbound) = match mode {
        Mode::Client => (Way::ToServer, Way::ToClient),
        Mode::Server => (Way::ToClient, Way::ToServer),
    };
    let tapped = record.clone();
    let config = quiet().max_message_size(64 << 10).tap(move |event| {
        let mut talk = tapped.lock().unwrap();
        match event.direction {
            Direction::Outbound => talk.sent[outbound as usize].push(event.header),
            Direction::Inbound => talk.received[inbound as usize].push(event.header),
        }
    });
    let io = Recorded { io, way: outbound, record: record.clone() };
    let (session, driver) = Session::new(io, config.build().expect("valid"), mode);
    tokio::spawn(driver);
    session
}

/// Data each way on one stream, and an end of it each way.
async fn exchange_both_ways(from: &Session, to: &Session, out: usize, back: usize) {
    let opener = async { exchange(from.open().await.expect("opens"), (1, out), (2, back)).await };
    let acceptor = async { exchange(to.accept().await.expect("accepts"), (2, back), (1, out)).await };
    futures::join!(opener, acceptor);
}

/// One end has nothing to say, and the other goes on.
async fn half_close(from: &Session, to: &Session, bulk: usize) {
    let (mut here, mut there) = open(from, to).await;
    here.close().await.expect("closes");
    expect_end(&mut there).await;
    futures::join!(
        async {
            send(&mut there, 3, 0, bulk).await.expect("the stream takes it");
            there.close().await.expect("closes");
        },
        async {
            receive(&mut here, 3, 0, bulk).await;
            expect_end(&mut here).await;
        }
    );
}

/// A stream that is reset by the end that opened it, and one by the other.
async fn resets(from: &Session, to: &Session) {
    let (mut here, mut there) = open(from, to).await;
    here.reset(41);
    assert_eq!(reset(&there.read_to_end(&mut Vec::new()).await.expect_err("reset")), (Side::Remote, 41));
    let (mut here, mut there) = open(from, to).await;
    there.reset(u32::MAX);
    assert_eq!(reset(&here.read(&mut [0]).await.expect_err("reset")), (Side::Remote, u32::MAX));
}

/// Bytes that announce a stream.
const GREETING: usize = 10;

/// The two ends of a new stream.
async fn open(from: &Session, to: &Session) -> (Stream, Stream) {
    let here = async {
        let mut stream = from.open().await.expect("opens");
        send(&mut stream, 4, 0, GREETING).await.expect("the stream takes it");
        stream
    };
    let there = async {
        let mut stream = to.accept().await.expect("accepts");
        receive(&mut stream, 4, 0, GREETING).await;
        stream
    };
    futures::join!(here, there)
}

/// A transport that keeps what is written to it.
struct Recorded {
    io: Pipe,
    way: Way,
    record: Record,
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.record.lock().unwrap().bytes.push((self.way, bytes[..written].to_vec()));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
