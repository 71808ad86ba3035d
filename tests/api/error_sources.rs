//! What is behind an error is found by following its sources: the transport's own error, and the code with which a stream was
//! reset that a connection runs over.

use crate::support::{pipe, quiet, run};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use sluicegate::memory::Refused;
use sluicegate::{
    Config, Connection, ConnectionError, Mode, OpenError, PingError, Session, Side, StreamError, Violation,
};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// An error and its sources, as everybody walks along them.
fn walk<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    walk(error).find_map(|error| error.downcast_ref())
}

/// An error of a transport's own.
#[derive(Debug)]
struct Burnt;

impl fmt::Display for Burnt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wire has burnt")
    }
}

impl Error for Burnt {}

/// A transport that takes everything and fails when it is read.
struct Fails(fn() -> io::Error);

impl AsyncRead for Fails {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(self.0()))
    }
}

impl AsyncWrite for Fails {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Every error that a user gets of a connection whose transport fails.
fn errors_of(fails: fn() -> io::Error) -> Vec<Box<dyn Error>> {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut connection = Connection::new(Fails(fails), quiet().build().expect("valid"), Mode::Client);
    let mut stream = poll_fn(|cx| connection.poll_outbound(cx)).now_or_never().expect("at once").expect("opens");
    let ended = poll_fn(|cx| connection.poll(cx)).now_or_never().expect("at once").expect_err("it fails");
    let read = stream.read(&mut [0; 8]).now_or_never().expect("at once").expect_err("lost");
    let written = stream.write(b"x").now_or_never().expect("at once").expect_err("lost");
    let flushed = stream.flush().now_or_never().expect("at once").expect_err("lost");
    let Poll::Ready(Err(opening)) = connection.poll_outbound(cx) else { panic!("it opens") };
    let Poll::Ready(Err(accepting)) = connection.poll_inbound(cx) else { panic!("it accepts") };
    let Some(Err(ping)) = connection.ping().now_or_never() else { panic!("it is answered") };
    let converted = [io::Error::from(ended.clone()), opening.clone().into(), ping.clone().into()];
    let own: [Box<dyn Error>; 4] = [Box::new(ended), Box::new(opening), Box::new(accepting), Box::new(ping)];
    let streams = [read, written, flushed].into_iter().chain(converted);
    own.into_iter().chain(streams.map(|error| Box::new(error) as Box<dyn Error>)).collect()
}

#[test]
fn the_error_of_the_transport_is_found_behind_every_error() {
    for error in errors_of(|| io::Error::from_raw_os_error(104)) {
        // An `io::Error` is not found behind itself.
        let behind = error.source().expect("there is something behind it");
        let found = find::<io::Error>(behind).and_then(io::Error::raw_os_error);
        assert_eq!(found, Some(104), "{error:?}");
    }
    // One that carries an error of its own, as every `io::Error` carries it.
    for error in errors_of(|| io::Error::other(Burnt)) {
        let behind = error.source().expect("there is something behind it");
        let found = find::<io::Error>(behind).and_then(io::Error::get_ref);
        assert!(found.is_some_and(|carried| carried.is::<Burnt>()), "{error:?}");
    }
}

#[test]
fn the_reason_of_the_connection_is_found_behind_every_error() {
    for error in errors_of(|| ErrorKind::TimedOut.into()) {
        // `io::Error::source` leaves out what it carries.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let first = carried.map_or(&*error, |carried| carried as &(dyn Error + 'static));
        let reason = find::<ConnectionError>(first).expect("it says why");
        assert!(matches!(reason, ConnectionError::Io(error) if error.kind() == ErrorKind::TimedOut), "{reason:?}");
        assert_eq!(io::Error::from(reason.clone()).kind(), ErrorKind::TimedOut);
    }
    // So the plain loop finds it behind those of streams, too.
    let lost = io::Error::from(StreamError::Connection(ConnectionError::UnexpectedEof));
    assert!(matches!(find(&lost), Some(ConnectionError::UnexpectedEof)));
    assert!(find::<io::Error>(lost.source().expect("the reason")).is_none(), "an end of file has nothing behind it");
    let broken = OpenError::Connection(Violation::Version(9).into());
    assert_eq!(find(&broken), Some(&Violation::Version(9)));
    assert_eq!(find(&OpenError::Refused(Refused::new(7))), Some(&Refused::new(7)));
}

#[test]
fn the_code_of_the_stream_that_a_connection_runs_over_is_found() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (near, driving_near) = Session::new(near, quiet().build().expect("valid"), Mode::Client);
        let (far, driving_far) = Session::new(far, quiet().build().expect("valid"), Mode::Server);
        let drivers = [tokio::spawn(driving_near), tokio::spawn(driving_far)];
        let mut outer = near.open().await.expect("opens");
        outer.flush().await.expect("it is announced");
        let mut circuit = far.accept().await.expect("a stream");
        // A connection inside the stream.
        let (inner, driving_inner) = Session::new(outer, quiet().build().expect("valid"), Mode::Client);
        let driving_inner = tokio::spawn(driving_inner);
        let mut stream = inner.open().await.expect("opens");
        stream.write_all(b"hello").await.expect("room");
        stream.flush().await.expect("flushed");
        let mut arrived = [0; 12];
        circuit.read_exact(&mut arrived).await.expect("the inner connection speaks");
        circuit.reset(42);
        let read = stream.read(&mut [0; 8]).await.expect_err("the circuit is gone");
        let ended = inner.closed().await;
        let opening = inner.open().await.expect_err("over");
        let ping = inner.ping().await.expect_err("over");
        assert_eq!(read.kind(), ErrorKind::ConnectionReset);
        let all: [&(dyn Error + 'static); 4] = [&read, &ended, &opening, &ping];
        for error in all {
            let reset = find::<StreamError>(error.source().expect("a reason"));
            assert!(matches!(reset, Some(StreamError::Reset { by: Side::Remote, code: 42 })), "{error:?}");
        }
        assert!(driving_inner.await.expect("no panic").is_err());
        drop((near, far, circuit));
        for driver in drivers {
            driver.await.expect("no panic").expect("the outer connection is well");
        }
    });
}

#[test]
fn what_a_question_mark_makes_of_an_error() {
    async fn serve(session: &Session) -> Result<(), ConnectionError> {
        let mut stream = session.open().await?;
        stream.write_all(b"hello").await?;
        stream.close().await?;
        Ok(())
    }
    let (session, driver) = Session::new(pipe(4096).0, Config::default(), Mode::Client);
    drop(driver);
    let failed = serve(&session).now_or_never().expect("at once");
    assert!(matches!(failed, Err(ConnectionError::Dropped)), "{failed:?}");

    let same = |error: ConnectionError, expected: &str| assert_eq!(format!("{error:?}"), expected);
    // What carries a reason gives it back; all else is of the transport, as far as that can be told.
    let lost = || ConnectionError::GoAway { by: Side::Remote, code: 7 };
    same(io::Error::from(lost()).into(), "GoAway { by: Remote, code: 7 }");
    same(io::Error::from(StreamError::Connection(lost())).into(), "GoAway { by: Remote, code: 7 }");
    same(OpenError::Connection(lost()).into(), "GoAway { by: Remote, code: 7 }");
    same(io::Error::from(ErrorKind::BrokenPipe).into(), "Io(Kind(BrokenPipe))");
    same(OpenError::RemoteGoAway.into(), "Closed { by: Remote }");
    same(OpenError::Closing.into(), "Closed { by: Local }");
    for (error, kind) in [
        (OpenError::StreamsExhausted.into(), ErrorKind::AddrNotAvailable),
        (OpenError::Refused(Refused::new(7)).into(), ErrorKind::OutOfMemory),
        (ConnectionError::from(io::Error::from(StreamError::WriteClosed)), ErrorKind::BrokenPipe),
    ] {
        assert!(matches!(&error, ConnectionError::Io(cause) if cause.kind() == kind), "{error:?}");
        assert!(!error.is_clean());
        let found = (find::<OpenError>(&error).is_some(), find::<StreamError>(&error).is_some());
        assert_ne!(found.0, found.1, "{error:?}");
    }
    assert!(matches!(ConnectionError::from(io::Error::from(PingError::TimedOut)), ConnectionError::Io(_)));
    let cause = Arc::new(io::Error::from(ErrorKind::BrokenPipe));
    assert_eq!(ConnectionError::Io(cause).to_string(), "transport: broken pipe");
}
