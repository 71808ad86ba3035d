//! The crate `yamux`.

use super::{Driver, End, Mode, Muxer, Needs};
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use std::future::poll_fn;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use yamux::{Config, Connection, Stream};

type Socket = libp2p::tcp::tokio::TcpStream;

pub struct RustYamux;

const DEFAULT_STREAMS: usize = 512;
const MOST_WITHIN_LIMIT: usize = 4096;

pub struct Theirs {
    opens: mpsc::UnboundedSender<oneshot::Sender<Stream>>,
    accepted: Mutex<mpsc::UnboundedReceiver<Stream>>,
    _driver: Driver,
}

impl Muxer for RustYamux {
    type End = Theirs;

    fn end(socket: TcpStream, mode: Mode, needs: Needs) -> Theirs {
        let mode = match mode {
            Mode::Client => yamux::Mode::Client,
            Mode::Server => yamux::Mode::Server,
        };
        Theirs::new(socket, mode, needs)
    }
}

impl Theirs {
    fn new(socket: TcpStream, mode: yamux::Mode, Needs { streams, .. }: Needs) -> Self {
        let mut config = Config::default();
        // Each stream that there may be takes 256 KiB of what all windows together may grow to, which is 1 GiB by
        // default: more streams than that only without this limit, and no more than are needed.
        if streams > MOST_WITHIN_LIMIT {
            config.set_max_connection_receive_window(None);
        }
        if streams > DEFAULT_STREAMS {
            config.set_max_num_streams(streams);
        }
        let connection = Connection::new(libp2p::tcp::tokio::TcpStream(socket), config, mode);
        let ((opens, opening), (streams, accepted)) = (mpsc::unbounded(), mpsc::unbounded());
        let driver = Driver::spawn(drive(connection, opening, streams));
        Self { opens, accepted: Mutex::new(accepted), _driver: driver }
    }
}

async fn drive(
    mut connection: Connection<Socket>,
    mut opening: mpsc::UnboundedReceiver<oneshot::Sender<Stream>>,
    accepted: mpsc::UnboundedSender<Stream>,
) {
    let mut asked = None;
    poll_fn(|cx| {
        loop {
            if asked.is_none()
                && let Poll::Ready(open) = opening.poll_next_unpin(cx)
            {
                asked = open;
            }
            if asked.is_some()
                && let Poll::Ready(stream) = connection.poll_new_outbound(cx)
            {
                let _ = asked.take().map(|open| open.send(stream.expect("opens")));
                continue;
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => drop(accepted.unbounded_send(stream)),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

impl End for Theirs {
    type Stream = Stream;

    async fn open(&self) -> Stream {
        let (open, opened) = oneshot::channel();
        self.opens.unbounded_send(open).expect("the driver runs");
        opened.await.expect("the driver runs")
    }

    async fn accept(&self) -> Stream {
        self.accepted.lock().await.next().await.expect("the driver runs")
    }
}
