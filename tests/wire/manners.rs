//! What must never be sent, because it kills or wedges one implementation or another: everything that two busy
//! connections put on the wire is looked at.

use crate::support::clock::{paused, run_paused};
use crate::support::node::Node;
use crate::support::stage::{WINDOW, assert_same, pattern};
use crate::support::{Pipe, pipe, quiet};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future};
use sluicegate::wire::HEADER_LEN;
use sluicegate::{Config, ConnectionError, Stream};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

const STREAMS: u32 = 60;
const REFUSAL: u32 = 0x1002;

const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;

/// Keeps a copy of everything that is written.
struct Tap(Pipe, Arc<Mutex<Vec<u8>>>);

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, buf))?;
        self.1.lock().expect("no panic").extend_from_slice(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

// ---- the scenario -----------------------------------------------------------------------------------------------------

/// Uses a stream in one of the ways that applications do. The other end may reset it at any time.
async fn ask(node: &Node<Tap>, n: u32) {
    let mut stream = node.open().await.expect("opens");
    let body = pattern(1 + n as usize * 997);
    let _ = match n % 8 {
        0 => Ok(()),
        1 => stream.flush().await,
        2 => stream.close().await,
        3 => stream.write_all(&body).await,
        4 => {
            stream.reset(n);
            Ok(())
        }
        5 => {
            let written = stream.write_all(&body).await;
            stream.reset(n);
            written
        }
        6 => {
            stream.close_read();
            stream.write_all(&body).await
        }
        _ => exchange(&mut stream, 3 * WINDOW).await,
    };
}

async fn exchange(stream: &mut Stream, len: usize) -> io::Result<()> {
    let sent = pattern(len);
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&sent).await?;
        writer.close().await?;
        writer.close().await
    };
    let mut received = Vec::new();
    future::try_join(write, reader.read_to_end(&mut received)).await?;
    assert!(received == sent);
    Ok(())
}

/// Answers streams until the connection ends.
async fn answer(node: &Node<Tap>) {
    while let Ok(mut stream) = node.accept().await {
        tokio::spawn(async move {
            let _ = match stream.id() / 2 % 7 {
                0 => Ok(()),
                1 => {
                    stream.reset(stream.id());
                    Ok(())
                }
                2 => stream.close().await,
                _ => echo(&mut stream).await,
            };
        });
    }
}

async fn echo(stream: &mut Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    futures::io::copy(&mut reader, &mut writer).await?;
    writer.close().await
}

async fn busy(node: &Node<Tap>) {
    let asking = future::join_all((0..STREAMS).map(|n| ask(node, n)));
    let pinging = async {
        for _ in 0..20 {
            node.ping().await.expect("answered");
        }
    };
    future::join(asking, pinging).await;
}

// ---- the audit ----------------------------------------------------------------------------------------------------------

/// What one end has said on one stream.
#[derive(Default)]
struct Said {
    syn: bool,
    ack: bool,
    fin: bool,
    rst: bool,
    data: u64,
    credit: u64,
}

struct Audit {
    streams: HashMap<u32, Said>,
    pings: Vec<u32>,
    pongs: Vec<u32>,
    go_aways: usize,
    frames: usize,
}

/// Looks at every frame of one end, which opens ids of `parity`.
fn audit(mut bytes: &[u8], parity: u32, max_message_size: u32) -> Audit {
    let mut audit = Audit { streams: HashMap::new(), pings: vec![], pongs: vec![], go_aways: 0, frames: 0 };
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = *header;
        let (flags, id) = (u16::from_be_bytes([f0, f1]), u32::from_be_bytes([i0, i1, i2, i3]));
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        assert_eq!(version, 0);
        assert_eq!(audit.go_aways, 0, "{header:?} after the go-away");
        audit.frames += 1;
        bytes = rest;
        match kind {
            0 => {
                audit.on_data(id, flags, len, parity, max_message_size);
                bytes = &rest[len as usize..];
            }
            1 => audit.on_update(id, flags, len, parity),
            2 => match (id, flags) {
                (0, SYN) => audit.pings.push(len),
                (0, ACK) => audit.pongs.push(len),
                _ => panic!("ping {header:?}"),
            },
            3 => {
                assert_eq!((id, flags, len), (0, 0, 0), "go-away {header:?}");
                audit.go_aways += 1;
            }
            _ => panic!("type of {header:?}"),
        }
    }
    assert!(bytes.is_empty(), "{} bytes of a frame", bytes.len());
    audit
}

impl Audit {
    fn on_data(&mut self, id: u32, flags: u16, len: u32, parity: u32, max_message_size: u32) {
        let said = self.streams.entry(id).or_default();
        assert!(if id % 2 == parity { said.syn } else { said.ack }, "data before SYN or ACK on stream {id}");
        assert!(!said.fin && !said.rst, "data after the end of stream {id}");
        match flags {
            0 => assert!(len > 0 && len <= max_message_size, "{len} bytes in a frame of stream {id}"),
            FIN => assert!(len == 0 && !std::mem::replace(&mut said.fin, true), "FIN of stream {id}"),
            _ => panic!("flags {flags:#x} on data of stream {id}"),
        }
        said.data += u64::from(len);
    }

    fn on_update(&mut self, id: u32, flags: u16, value: u32, parity: u32) {
        let said = self.streams.entry(id).or_default();
        assert!(id != 0 && !said.rst, "an update after the reset of stream {id}");
        assert!(said.syn || id % 2 != parity || flags == SYN, "stream {id} does not begin with its SYN");
        match flags {
            0 => assert!(value > 0, "no credit for stream {id}"),
            SYN => assert!(id % 2 == parity && !std::mem::replace(&mut said.syn, true), "SYN of stream {id}"),
            ACK => assert!(id % 2 != parity && !std::mem::replace(&mut said.ack, true), "ACK of stream {id}"),
            RST => said.rst = true,
            _ => panic!("flags {flags:#x} on an update of stream {id}"),
        }
        match flags {
            RST => assert!(value <= 2 * STREAMS || value == REFUSAL, "code {value:#x} on stream {id}"),
            _ => said.credit += u64::from(value),
        }
    }

    /// Nothing was sent that the other end had not granted; every ping was answered once.
    fn check_against(&self, other: &Self) {
        for (id, said) in &self.streams {
            let granted = WINDOW as u64 + other.streams.get(id).map_or(0, |other| other.credit);
            assert!(said.data <= granted, "{} bytes on stream {id}, where {granted} were granted", said.data);
            assert!(granted <= u64::from(u32::MAX) && (said.syn || other.streams[id].syn), "stream {id}");
        }
        assert_eq!(self.pongs, other.pings, "one pong a ping, with its value and in order");
    }
}

fn play(capacity: usize, sizes: [u32; 2]) -> [Audit; 2] {
    run_paused(async {
        let (near, far) = pipe(capacity);
        let wires = [Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new()))];
        let settings = |size| paused(quiet()).max_message_size(size).refusal_code(REFUSAL);
        // The server takes in fewer streams than the client has under way.
        let server: Config = settings(sizes[1]).max_incoming_streams(8).build().expect("valid");
        let client: Config = settings(sizes[0]).build().expect("valid");
        let client = Node::client(Tap(near, wires[0].clone()), client);
        let server = Node::server(Tap(far, wires[1].clone()), server);
        let work = async {
            future::join(busy(&client), busy(&server)).await;
            client.call(|connection| connection.close_with(0)).await;
            server.call(|connection| connection.close_with(0)).await;
        };
        future::join3(work, answer(&client), answer(&server)).await;
        for node in [client, server] {
            assert_same(node.ended().await, Ok::<_, ConnectionError>(()));
        }
        let heard = |n: usize| wires[n].lock().expect("no panic").clone();
        [audit(&heard(0), 1, sizes[0]), audit(&heard(1), 0, sizes[1])]
    })
}

#[test]
fn nothing_that_harms_another_implementation_is_ever_sent() {
    for (capacity, sizes) in [(1 << 20, [16_384, 16_384]), (10_000, [1_024, 65_536]), (500, [4_096, 3_000])] {
        let [client, server] = play(capacity, sizes);
        client.check_against(&server);
        server.check_against(&client);
        // Who hears the other's first has no need to say it.
        assert!(client.go_aways + server.go_aways >= 1);
        // It was busy indeed.
        for end in [&client, &server] {
            assert!(end.frames > 300 && end.pings.len() >= 20, "{} frames", end.frames);
            for seen in [|said: &Said| said.fin, |said: &Said| said.rst, |said: &Said| said.data > 2 * WINDOW as u64] {
                assert!(end.streams.values().any(seen));
            }
        }
        assert!(server.streams.values().any(|said| said.rst && !said.ack), "nobody was refused");
    }
}
