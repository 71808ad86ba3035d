//! The echo server of `examples/echo.rs`, as a process: with clients that behave, and with others.

use crate::support::node::Node;
use crate::support::peer::{Peer, data, fin, go_away, pong, update};
use crate::support::{quiet, run, run_threaded};
use futures::{AsyncReadExt, AsyncWriteExt, future};
use sluicegate::Stream;
use sluicegate::wire::{Flags, Header};
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

const WINDOW: usize = 256 * 1024;
const FIN: Flags = Flags::FIN;
const SYN: Flags = Flags::SYN;

/// The example, built with the tests: beside the directory that this test runs from.
fn echo() -> Command {
    let test = std::env::current_exe().expect("the test is a file");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps");
    let program: PathBuf = [profile.as_os_str(), "examples".as_ref(), "echo".as_ref()].iter().collect();
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{program:?} is missing: `cargo test` or `cargo build --example echo` builds it");
    let mut command = Command::new(program);
    command.env_remove("RUST_LOG");
    command
}

/// A running server; it does not outlive the test.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut command = echo();
        command.args(["--listen", "127.0.0.1:0"]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").expect("the address first");
        let address = address.parse().expect("an address");
        Self { child, stdout, address }
    }

    async fn connect(&self) -> Compat<TcpStream> {
        let socket = TcpStream::connect(self.address).await.expect("the server lives");
        socket.set_nodelay(true).expect("a socket");
        socket.compat()
    }

    async fn peer(&self) -> Peer<Compat<TcpStream>> {
        Peer::new(self.connect().await)
    }

    async fn node(&self) -> Node<Compat<TcpStream>> {
        Node::client(self.connect().await, quiet().build().expect("valid"))
    }

    /// A new client is served as if nothing had happened.
    async fn serves(&self) {
        let mut peer = self.peer().await;
        peer.send(update(1, SYN, 0)).await;
        expect_ack(&mut peer, 1).await;
        expect_echo(&mut peer, 1, b"still there").await;
    }

    /// The server is alive, has said nothing more, and dies when it is told to.
    fn stop(mut self) {
        assert_eq!(self.child.try_wait().expect("a child"), None, "the server ended");
        self.child.kill().expect("it dies");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn expect_ack(peer: &mut Peer<Compat<TcpStream>>, stream: u32) {
    peer.expect(update(stream, Flags::ACK, 0)).await;
}

/// The stream is reset instead of acknowledged.
async fn expect_refusal(peer: &mut Peer<Compat<TcpStream>>, stream: u32) {
    peer.expect(update(stream, Flags::RST, 0)).await;
}

/// Sends a few bytes on an open stream, and has them back before the stream goes on.
async fn expect_echo(peer: &mut Peer<Compat<TcpStream>>, stream: u32, bytes: &[u8]) {
    peer.send_data(stream, Flags::NONE, bytes).await;
    peer.expect_data(stream, bytes).await;
}

/// Finishes a stream on which all has been echoed.
async fn finish(peer: &mut Peer<Compat<TcpStream>>, stream: u32) {
    peer.send(update(stream, FIN, 0)).await;
    peer.expect(fin(stream)).await;
}

/// Bytes that tell where they come from.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed) as u8).collect()
}

/// Writes and reads at once until both ends have finished.
async fn talk(stream: &mut Stream, question: &[u8]) -> io::Result<Vec<u8>> {
    let (mut read, mut write) = stream.split();
    let ask = async {
        write.write_all(question).await?;
        write.close().await
    };
    let mut answer = Vec::new();
    future::try_join(ask, read.read_to_end(&mut answer)).await?;
    Ok(answer)
}

#[test]
fn a_hand_driven_client_is_echoed_at_once_until_its_fin() {
    let server = Server::start(&[]);
    run(async {
        let mut peer = server.peer().await;
        peer.send(update(1, SYN, 0)).await;
        expect_ack(&mut peer, 1).await;
        expect_echo(&mut peer, 1, b"h").await;
        expect_echo(&mut peer, 1, b"ello").await;
        // Data and FIN in one frame.
        peer.send_data(1, FIN, b"bye").await;
        peer.expect_data(1, b"bye").await;
        peer.expect(fin(1)).await;
        // A stream that says nothing at all, opened and finished in one frame.
        peer.send(update(3, SYN | FIN, 0)).await;
        expect_ack(&mut peer, 3).await;
        peer.expect(fin(3)).await;
        peer.expect_silence().await;
        peer.send(go_away(0)).await;
        peer.expect_end(0).await;
    });
    server.stop();
}

#[test]
fn this_crate_as_client_gets_every_byte_back() {
    let server = Server::start(&[]);
    run_threaded(async {
        let node = server.node().await;
        for len in [0, 1, WINDOW, WINDOW + 1, 5 << 20] {
            let question = pattern(len, len);
            let mut stream = node.open().await.expect("opens");
            let answer = talk(&mut stream, &question).await.expect("echoed");
            assert!(answer == question, "{len} bytes, {} came back", answer.len());
        }
        node.close().await.expect("in good order");
    });
    server.stop();
}

#[test]
fn a_hundred_streams_at_once_do_not_mix() {
    let server = Server::start(&[]);
    run_threaded(async {
        let node = server.node().await;
        let mut tasks = Vec::new();
        for seed in 0..100 {
            let mut stream = node.open().await.expect("opens");
            tasks.push(tokio::spawn(async move {
                let question = pattern(seed, 40_000 + seed);
                (talk(&mut stream, &question).await.expect("echoed") == question, seed)
            }));
        }
        for task in tasks {
            let (same, seed) = task.await.expect("no panic");
            assert!(same, "stream {seed}");
        }
        node.close().await.expect("in good order");
    });
    server.stop();
}

#[test]
fn a_reset_ends_one_stream_and_no_other() {
    let server = Server::start(&[]);
    run(async {
        let mut peer = server.peer().await;
        for stream in [1, 3] {
            peer.send(update(stream, SYN, 0)).await;
            expect_ack(&mut peer, stream).await;
            expect_echo(&mut peer, stream, b"one").await;
        }
        peer.send(update(1, Flags::RST, 7)).await;
        peer.expect_silence().await;
        expect_echo(&mut peer, 3, b"two").await;
        finish(&mut peer, 3).await;
        // In the middle of a body that the server has not seen the end of.
        peer.send(update(5, SYN, 0)).await;
        peer.feed(data(5, Flags::NONE, 4)).await;
        peer.send_raw(b"ha").await;
        expect_ack(&mut peer, 5).await;
        peer.expect_data(5, b"ha").await;
        peer.send_raw(b"lf").await;
        peer.expect_data(5, b"lf").await;
        peer.send(update(5, Flags::RST, 0)).await;
        peer.expect_silence().await;
    });
    run(server.serves());
    server.stop();
}

#[test]
fn what_breaks_the_protocol_ends_that_connection_only() {
    let frame = |version: u8, kind: u8, flags: u8, id: u32, len: u32| {
        let mut bytes = vec![version, kind, 0, flags];
        bytes.extend(id.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes
    };
    let rows = [
        ("garbage", pattern(0xA5, 100_000)),
        ("text", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec()),
        ("version 9", frame(9, 0, 1, 1, 0)),
        ("type 4", frame(0, 4, 0, 1, 0)),
        ("stream 0", frame(0, 1, 1, 0, 0)),
        ("an id of the server's", frame(0, 1, 1, 2, 0)),
        ("a stream opened twice", [frame(0, 1, 1, 1, 0), frame(0, 1, 1, 1, 0)].concat()),
        ("more data than credit", frame(0, 0, 1, 1, WINDOW as u32 + 1)),
        ("a length of 2^32 - 1", frame(0, 0, 1, 1, u32::MAX)),
        ("credit that overflows", [frame(0, 1, 1, 1, 0), frame(0, 1, 0, 1, u32::MAX)].concat()),
        ("pongs that nobody asked for", frame(0, 2, 2, 0, 9).repeat(12_000)),
    ];
    let server = Server::start(&[]);
    run(async {
        let mut bystander = server.peer().await;
        bystander.send(update(1, SYN, 0)).await;
        expect_ack(&mut bystander, 1).await;
        for (name, bytes) in rows {
            let io = server.connect().await;
            let (read, mut write) = tokio::io::split(io.into_inner());
            // The server may stop reading before all of it is sent.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &bytes).await;
            let mut peer = Peer::new(tokio::io::join(read, write).compat());
            peer.answers_pings = false;
            let mut last = None;
            while let Some((header, _)) = peer.next().await {
                last = Some(header);
            }
            assert_eq!(last, Some(Header::GoAway { code: 1 }), "{name}");
            expect_echo(&mut bystander, 1, name.as_bytes()).await;
        }
    });
    run(server.serves());
    server.stop();
}

#[test]
fn clients_that_stop_half_way_do_no_harm() {
    let server = Server::start(&[]);
    run(async {
        // Connected and silent; a part of a header; a part of a body; gone without a word; gone with a TCP reset.
        let silent = future::join_all((0..20).map(|_| server.connect())).await;
        let mut part = server.connect().await;
        part.write_all(&[0, 1, 0]).await.expect("sent");
        let mut waiting = server.peer().await;
        waiting.feed(update(1, SYN, 0)).await;
        waiting.send(data(1, Flags::NONE, 100_000)).await;
        expect_ack(&mut waiting, 1).await;
        for hard in [false, true] {
            let io = server.connect().await;
            if hard {
                io.get_ref().set_zero_linger().expect("a socket");
            }
            let mut peer = Peer::new(io);
            peer.feed(update(1, SYN, 0)).await;
            peer.send_data(1, Flags::NONE, b"left behind").await;
            expect_ack(&mut peer, 1).await;
        }
        server.serves().await;
        // Shut for writing while a stream is open: no end of file for the stream, and nothing more to wait for.
        let mut shut = server.peer().await;
        shut.send(update(1, SYN, 0)).await;
        expect_ack(&mut shut, 1).await;
        shut.shut().await;
        assert_eq!(shut.next().await, None);
        server.serves().await;
        drop((silent, part, waiting));
    });
    server.stop();
}

#[test]
fn max_incoming_streams_is_kept() {
    let server = Server::start(&["--max-incoming-streams", "2"]);
    run(async {
        let mut peer = server.peer().await;
        for stream in [1, 3] {
            peer.send(update(stream, SYN, 0)).await;
            expect_ack(&mut peer, stream).await;
        }
        peer.send(update(5, SYN, 0)).await;
        expect_refusal(&mut peer, 5).await;
        finish(&mut peer, 1).await;
        peer.send(update(7, SYN, 0)).await;
        expect_ack(&mut peer, 7).await;
        expect_echo(&mut peer, 3, b"as before").await;
        // It is a limit for each client.
        server.serves().await;
    });
    server.stop();
}

#[test]
fn memory_is_one_budget_over_all_connections() {
    let server = Server::start(&["--memory", "512KiB"]);
    run(async {
        let mut first = server.peer().await;
        let mut second = server.peer().await;
        for peer in [&mut first, &mut second] {
            peer.send(update(1, SYN, 0)).await;
            expect_ack(peer, 1).await;
        }
        for peer in [&mut first, &mut second] {
            peer.send(update(3, SYN, 0)).await;
            expect_refusal(peer, 3).await;
        }
        expect_echo(&mut first, 1, b"not touched").await;
        finish(&mut second, 1).await;
        // The memory comes back when the server has let go of the stream, which may be after its FIN.
        let mut stream = 5;
        loop {
            first.send(update(stream, SYN, 0)).await;
            match first.next_header().await {
                Header::WindowUpdate { flags: Flags::ACK, .. } => break,
                refused => assert_eq!(refused, update(stream, Flags::RST, 0)),
            }
            stream += 2;
        }
        expect_echo(&mut first, stream, b"room").await;
    });
    server.stop();
}

#[test]
fn max_stream_window_is_kept() {
    for (limit, largest) in [("256KiB", WINDOW..=WINDOW), ("1MiB", WINDOW + 1..=1 << 20)] {
        let server = Server::start(&["--max-stream-window", limit]);
        let window = run(largest_window(&server));
        assert!(largest.contains(&window), "{limit}: {window}");
        server.stop();
    }
}

/// The most credit that a client ever has. It is far away, as it answers the first ping late, and sends all it may.
async fn largest_window(server: &Server) -> usize {
    let mut peer = server.peer().await;
    peer.answers_pings = false;
    peer.send(update(1, SYN, 0)).await;
    let (mut credit, mut largest, mut echoed) = (WINDOW, WINDOW, 0);
    while echoed < 64 << 20 {
        if credit > 0 {
            let bytes = vec![7; credit.min(64 * 1024)];
            credit -= bytes.len();
            peer.send_data(1, Flags::NONE, &bytes).await;
        }
        match peer.next().await.expect("the server lives").0 {
            Header::Ping { nonce, .. } => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                peer.send(pong(nonce)).await;
            }
            Header::WindowUpdate { value, .. } => credit += value as usize,
            Header::Data { len, .. } => {
                echoed += len as usize;
                peer.send(update(1, Flags::NONE, len)).await;
            }
            other => panic!("{other:?}"),
        }
        largest = largest.max(credit);
    }
    largest
}

#[test]
fn options_that_make_no_sense_are_errors() {
    let rows = [
        ("--memory", "255KiB", "--memory must be at least 262144 bytes"),
        ("--memory", "1 parsec", "expected a number of bytes"),
        ("--memory", "20000000000GiB", "more than 2^64 bytes"),
        ("--max-incoming-streams", "0", "max_incoming_streams is 0"),
        ("--max-incoming-streams", "many", "invalid digit"),
        ("--max-stream-window", "1000", "max_stream_window is 1000, but must be"),
        ("--max-stream-window", "8GiB", "--max-stream-window is too large"),
        ("--listen", "nowhere", "cannot listen on nowhere"),
        ("--frobnicate", "1", "unexpected argument"),
    ];
    for (option, value, message) in rows {
        let output = echo().args([option, value]).output().expect("the example runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{option} {value}");
        assert!(stderr.starts_with("error: ") && stderr.contains(message), "{option} {value}: {stderr}");
    }
}
