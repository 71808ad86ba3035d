//! The code of `docs/from-libp2p-yamux.md`: what it tells users to write is here, so that it compiles.

#![cfg(feature = "libp2p")]
#![allow(dead_code, unused_qualifications, reason = "that it compiles is the test, as users write it")]

use futures::future::poll_fn;
use futures::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, TryFutureExt};
use sluicegate::wire::{self, StreamId};
use sluicegate::{
    Config, ConfigBuilder, ConfigError, Connection, ConnectionError, Mode, OpenError, Session, Side, Stream,
    StreamError, Violation,
};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

const PAGE: &str = "docs/from-libp2p-yamux.md";

/// The tables whose columns "here" are code: how they begin, and which column that is.
const TABLES: &[(&str, usize)] = &[
    ("| there | here |", 1),
    ("| yamux 0.14 | default | here |", 2),
    ("| there | default | here |", 2),
    ("| `yamux::Connection` | here |", 1),
    ("| `yamux::Stream` | here |", 1),
];

// ---- the lines to change ---------------------------------------------------------------------------------------------

fn with_a_budget() -> Result<(), Box<dyn Error>> {
    use libp2p::{SwarmBuilder, noise, tcp};
    use std::sync::Arc;

    // One budget, shared by every connection of the node.
    let budget = Arc::new(sluicegate::MemoryLimit::new(64 << 20));
    let muxer = sluicegate::Config::builder().memory(budget.clone()).build()?;
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, move || muxer.clone())?
        .with_behaviour(|_| libp2p::ping::Behaviour::default())?
        .build();
    drop(swarm);
    Ok(())
}

fn by_hand() -> Result<(), Box<dyn Error>> {
    use libp2p::Transport;

    let key = libp2p::identity::Keypair::generate_ed25519();
    let transport = libp2p::tcp::tokio::Transport::default()
        .upgrade(libp2p::core::upgrade::Version::V1)
        .authenticate(libp2p::noise::Config::new(&key)?)
        .multiplex(sluicegate::Config::default())
        .boxed();
    drop(transport);
    Ok(())
}

fn a_setting() -> Result<(), ConfigError> {
    let muxer = sluicegate::Config::builder().max_incoming_streams(2_000).build()?;
    drop(muxer);
    Ok(())
}

fn spawn<F: Future>(_: F) {}

async fn serve(stream: Stream) {
    drop(stream);
}

async fn without_libp2p<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> ConnectionError {
    let (session, driver) = sluicegate::Session::new(io, sluicegate::Config::default(), sluicegate::Mode::Server);
    spawn(driver);
    while let Ok(stream) = session.accept().await {
        spawn(serve(stream));
    }
    session.closed().await
}

type Io = crate::support::Pipe;

async fn ask(connection: &mut sluicegate::Connection<Io>) -> Result<(), sluicegate::ConnectionError> {
    let mut stream = poll_fn(|cx| connection.poll_outbound(cx)).await?;
    stream.write_all(b"hello").await?;
    Ok(())
}

fn drive<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<T>,
    serve: impl Fn(Stream),
    cx: &mut Context<'_>,
) -> Poll<Result<(), ConnectionError>> {
    loop {
        if let Poll::Ready(ended) = connection.poll(cx) {
            return Poll::Ready(ended);
        }
        match connection.poll_inbound(cx) {
            Poll::Ready(stream) => serve(stream?),
            Poll::Pending => return Poll::Pending,
        }
    }
}

async fn the_error_of_the_upgrade<C>(config: Config, io: C) -> Result<Connection<C>, io::Error>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    use libp2p::core::upgrade::InboundConnectionUpgrade;

    let upgrade = config.upgrade_inbound(io, "/yamux/1.0.0");
    let muxer = upgrade.map_err(|never: Infallible| match never {});
    muxer.await
}

// ---- the rows of the tables ------------------------------------------------------------------------------------------

fn settings(memory: Arc<dyn sluicegate::MemoryManager>) -> Result<Config, ConfigError> {
    let builder: ConfigBuilder = Config::builder();
    let config: Result<Config, ConfigError> = builder
        .memory(memory)
        .max_incoming_streams(1000)
        .initial_stream_window(256 << 10)
        .max_stream_window(16 << 20)
        .max_message_size(16 << 10)
        .accept_backlog(256)
        .measure_rtt_interval(Duration::from_secs(30))
        .build();
    config
}

fn the_first_window() -> u32 {
    Config::default().initial_stream_window()
}

fn calls<T: AsyncRead + AsyncWrite + Unpin>(io: T, other: T, config: Config, mode: Mode, cx: &mut Context<'_>) {
    let (_session, _driver) = Session::new(other, config.clone(), mode);
    let mut connection: Connection<T> = Connection::new(io, config, mode);
    let _: Poll<Result<Stream, OpenError>> = connection.poll_outbound(cx);
    let _: Poll<Result<Stream, ConnectionError>> = connection.poll_inbound(cx);
    let _: Poll<Result<(), ConnectionError>> = connection.poll(cx);
    let _: Poll<Result<(), ConnectionError>> = connection.poll_close(cx);
    let code = 7;
    connection.close_with(code);
    connection.go_away();
    let ping: sluicegate::Ping = connection.ping();
    drop(ping);
    let _ = (connection.rtt(), connection.num_streams(), connection.stats());
    let _ = (connection.is_closed(), connection.closed(), connection.id(), connection.get_ref());
    println!("{connection}");
}

async fn of_a_session(session: Session) -> Result<(), ConnectionError> {
    let _: Stream = session.open().await?;
    let _: Stream = session.accept().await?;
    Ok(())
}

async fn of_a_stream(mut stream: Stream, cx: &mut Context<'_>) -> io::Result<()> {
    fn is_io<S: AsyncRead + AsyncBufRead + AsyncWrite + Display>(_: &S) {}
    is_io(&stream);
    let _: Poll<io::Result<Option<bytes::Bytes>>> = stream.poll_read_bytes(cx);
    let _: Option<bytes::Bytes> = stream.read_bytes().await?;
    let id: u32 = stream.id();
    let _: Option<StreamId> = wire::StreamId::new(id);
    let _: u64 = stream.connection_id();
    stream.set_priority(stream.priority());
    stream.set_deadline(None);
    stream.set_read_deadline(None);
    stream.set_write_deadline(None);
    let _ = (stream.deadlines(), stream.resetter(), stream.stats());
    stream.grow_receive_window(1 << 20);
    stream.close_read();
    let code = 7;
    stream.reset_on_drop(code);
    stream.reset(code);
    Ok(())
}

fn is_error<E: Error + Clone>(error: &E) -> E {
    error.clone()
}

/// What there is of errors: a name for each.
fn name(error: &ConnectionError) -> &'static str {
    match is_error(error) {
        ConnectionError::Io(error) => {
            let error: Arc<io::Error> = error.clone();
            if error.source().is_some() { "a transport's error with a source" } else { "a transport's error" }
        }
        ConnectionError::UnexpectedEof => "the transport has ended too early",
        ConnectionError::Violation(Violation::Version(_) | Violation::FrameType(_)) => "not yamux",
        ConnectionError::Violation(Violation::WindowExceeded { .. } | Violation::CreditOverflow { .. }) => "too much",
        ConnectionError::Closed { by: Side::Local } => "closed here",
        ConnectionError::Closed { by: Side::Remote } => "closed there",
        ConnectionError::GoAway { by, code } => {
            if (by, code) == (Side::Remote, 1) {
                "we were wrong"
            } else {
                "a code"
            }
        }
        ConnectionError::Dropped => "dropped",
        _ => "another",
    }
}

fn opening(error: OpenError) -> Option<ConnectionError> {
    fn converts<E: From<OpenError>>(error: OpenError) -> E {
        error.into()
    }
    match error {
        OpenError::Closing | OpenError::RemoteGoAway => None,
        OpenError::Refused(_) | OpenError::StreamsExhausted => None,
        error => Some(converts(error)),
    }
}

fn inside(error: &io::Error) -> Option<&StreamError> {
    error.get_ref()?.downcast_ref()
}

// ---- that it is all here ---------------------------------------------------------------------------------------------

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("is there")
}

/// Lines that say something, without what indents them.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_lines_that_users_are_told_to_write_compile() {
    let (page, code) = (read(PAGE), read(file!()));
    let code = lines(&code);
    let blocks: Vec<_> = page.split("```diff\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 7, "{} blocks", blocks.len());
    for block in blocks {
        let new: String =
            block.lines().filter_map(|line| line.strip_prefix(['+', ' '])).map(|line| format!("{line}\n")).collect();
        let new = lines(&new);
        assert!(code.windows(new.len()).any(|window| window == new), "not in {}:\n{}", file!(), new.join("\n"));
    }
    assert_eq!(page.matches("```").count(), 2 * page.matches("```diff").count(), "code of another kind");
}

/// The words of the code between backticks.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|char: char| !char.is_alphanumeric() && char != '_')
        .filter(|word| word.starts_with(char::is_alphabetic))
        .collect()
}

#[test]
fn every_name_of_the_tables_compiles() {
    let (page, code) = (read(PAGE), read(file!()));
    let code = words(&code);
    let mut rows = 0;
    for (header, column) in TABLES {
        for table in page.split(header).skip(1) {
            for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
                let cell = row.trim_matches('|').split(" | ").nth(*column).unwrap_or_else(|| panic!("{row}"));
                // Those that end so are names of tests.
                for span in cell.split('`').skip(1).step_by(2).filter(|span| !span.ends_with('_')) {
                    let missing: Vec<_> = words(span).into_iter().filter(|word| !code.contains(word)).collect();
                    assert!(missing.is_empty(), "write what uses {missing:?} of `{span}` into {}", file!());
                }
                rows += 1;
            }
        }
    }
    assert!(rows >= 55, "{rows} rows");
}
