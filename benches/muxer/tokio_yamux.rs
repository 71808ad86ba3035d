//! The crate `tokio-yamux`.

#[path = "../../tests/interop/in_process/tokio_yamux/stream.rs"]
mod stream;

use self::stream::Stream;
use super::{Driver, End, Mode, Muxer, Needs};
use futures::StreamExt;
use futures::channel::mpsc;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_yamux::session::SessionType;
use tokio_yamux::{Config, Control, Session, StreamHandle};

pub struct TokioYamux;

pub struct Theirs {
    control: Control,
    accepted: Mutex<mpsc::UnboundedReceiver<StreamHandle>>,
    _driver: Driver,
}

impl Muxer for TokioYamux {
    type End = Theirs;

    fn end(socket: TcpStream, mode: Mode, needs: Needs) -> Theirs {
        let mode = match mode {
            Mode::Client => SessionType::Client,
            Mode::Server => SessionType::Server,
        };
        Theirs::new(socket, mode, needs)
    }
}

impl Theirs {
    fn new(socket: TcpStream, mode: SessionType, needs: Needs) -> Self {
        let mut config = Config::default();
        config.max_stream_count = config.max_stream_count.max(needs.streams);
        let mut session = Session::new(socket, config, mode);
        let control = session.control();
        let (streams, accepted) = mpsc::unbounded();
        let driver = Driver::spawn(async move {
            while let Some(Ok(stream)) = session.next().await {
                let _ = streams.unbounded_send(stream);
            }
        });
        Self { control, accepted: Mutex::new(accepted), _driver: driver }
    }
}

impl End for Theirs {
    type Stream = Stream;

    async fn open(&self) -> Stream {
        Stream(self.control.clone().open_stream().await.expect("opens").compat())
    }

    async fn accept(&self) -> Stream {
        Stream(self.accepted.lock().await.next().await.expect("the driver runs").compat())
    }
}
