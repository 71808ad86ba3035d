//! Streams under tokio's traits, through tokio's own helpers.

mod support;

use sluicegate::{Mode, Session, Stream};
use std::io;
use support::node::Node;
use support::{pattern, pipe, quiet, run};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// More than a window.
const LEN: usize = 1 << 20;

async fn stream_pair() -> ([Node<support::Pipe>; 2], [Stream; 2]) {
    let config = || quiet().build().expect("valid");
    let (near, far) = pipe(1 << 16);
    let nodes = [Node::client(near, config()), Node::server(far, config())];
    let mut near = nodes[0].open().await.expect("opens");
    AsyncWriteExt::flush(&mut near).await.expect("announces itself");
    let far = nodes[1].accept().await.expect("is accepted");
    (nodes, [near, far])
}

fn bytes() -> Vec<u8> {
    (0..LEN).step_by(pattern::CHUNK).flat_map(|at| &pattern::at(7, at)[..pattern::CHUNK]).copied().collect()
}

#[test]
fn everything_that_is_copied_arrives_and_comes_back() {
    run(async {
        let (_nodes, [near, mut far]) = stream_pair().await;
        let sent = bytes();
        let (mut reader, mut writer) = tokio::io::split(near);
        let echo = async {
            let (mut reader, mut writer) = tokio::io::split(&mut far);
            assert_eq!(tokio::io::copy(&mut reader, &mut writer).await.expect("copies"), LEN as u64);
            writer.shutdown().await.expect("shuts down");
        };
        let write = async {
            writer.write_all(&sent).await.expect("credit comes back");
            writer.shutdown().await.expect("shuts down");
            writer.shutdown().await.expect("shutting down again is fine");
        };
        let mut received = Vec::new();
        let ((), (), read) = tokio::join!(echo, write, reader.read_to_end(&mut received));
        assert_eq!(read.expect("to the end"), LEN);
        assert!(received == sent);
        let error = writer.write(b"more").await.expect_err("the half is finished");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_session_runs_over_a_tokio_socket() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let config = || quiet().build().expect("valid");
        let (client, driver) = Session::over_tokio(near.expect("connects"), config(), Mode::Client);
        let driven = tokio::spawn(driver);
        let (server, driver) = Session::over_tokio(far.expect("accepts").0, config(), Mode::Server);
        tokio::spawn(driver);
        let answer = async {
            let mut stream = server.accept().await.expect("a stream");
            let mut question = String::new();
            stream.read_to_string(&mut question).await.expect("text");
            stream.write_all(question.to_uppercase().as_bytes()).await.expect("credit");
            stream.shutdown().await.expect("shuts down");
        };
        let ask = async {
            let mut stream = client.open().await.expect("opens");
            stream.write_all(b"hello").await.expect("credit");
            stream.shutdown().await.expect("shuts down");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("text");
            answer
        };
        assert_eq!(tokio::join!(ask, answer).0, "HELLO");
        client.close().await.expect("closes");
        driven.await.expect("no panic").expect("closed in good order");
    });
}

#[test]
fn a_read_fills_what_room_there_is_and_keeps_the_rest() {
    run(async {
        let (_nodes, [mut near, mut far]) = stream_pair().await;
        near.write_all(b"one\ntwo\nthree").await.expect("credit");
        near.shutdown().await.expect("shuts down");
        assert_eq!(AsyncReadExt::read(&mut far, &mut []).await.expect("nothing is asked for"), 0);
        let mut first = [0; 3];
        far.read_exact(&mut first).await.expect("data");
        assert_eq!(&first, b"one");
        let mut line = String::new();
        for expected in ["\n", "two\n", "three", ""] {
            line.clear();
            far.read_line(&mut line).await.expect("text");
            assert_eq!(line, expected);
        }
    });
}

#[test]
fn a_reset_is_an_error_and_never_the_end() {
    run(async {
        let (_nodes, [mut near, mut far]) = stream_pair().await;
        near.write_all(b"cut").await.expect("credit");
        AsyncWriteExt::flush(&mut near).await.expect("flushes");
        near.reset(7);
        let mut received = Vec::new();
        let error = far.read_to_end(&mut received).await.expect_err("reset");
        assert_eq!((error.kind(), received.as_slice()), (io::ErrorKind::ConnectionReset, &b"cut"[..]));
    });
}

/// A server that answers before it has read all, closes and drops; beside it a proxy that copies both ways from a socket.
#[test]
fn y_drop_3_an_early_answer_passes_a_proxy_that_copies_both_ways() {
    const CLIENTS: usize = 100;
    const UPLOAD: usize = 1 << 20;
    support::run_threaded(async {
        let sockets = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
            (near.expect("connects"), far.expect("accepts").0)
        };
        let config = || quiet().build().expect("valid");
        let (near, far) = sockets().await;
        let (client, driver) = Session::over_tokio(near, config(), Mode::Client);
        tokio::spawn(driver);
        let (server, driver) = Session::over_tokio(far, config(), Mode::Server);
        tokio::spawn(driver);
        tokio::spawn(async move {
            while let Ok(mut stream) = server.accept().await {
                tokio::spawn(async move {
                    stream.read_exact(&mut [0; 1024]).await?;
                    stream.write_all(&[7; 100]).await?;
                    stream.shutdown().await
                });
            }
        });
        let mut whole = 0;
        for _ in 0..CLIENTS {
            let (mut user, mut proxied) = sockets().await;
            let mut stream = client.open().await.expect("opens");
            let proxy = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut proxied, &mut stream).await });
            let (mut reader, mut writer) = user.split();
            let mut answer = Vec::new();
            let upload = async { writer.write_all(&[1; UPLOAD]).await };
            tokio::select! {
                _ = reader.read_to_end(&mut answer) => {}
                () = async { let _ = upload.await; std::future::pending().await } => {}
            }
            whole += usize::from(answer == [7; 100]);
            proxy.abort();
        }
        assert_eq!(whole, CLIENTS);
    });
}
