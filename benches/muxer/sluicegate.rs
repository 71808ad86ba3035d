//! This crate.

use super::{Driver, End, Muxer, Needs};
pub use sluicegate::Mode;
use sluicegate::{Config, ConfigBuilder, Priority, Session, Stream};
use tokio::net::TcpStream;

pub struct Sluicegate;

/// The same with pacing off.
pub struct Unpaced;

/// The setting that turns pacing off.
pub fn without_pacing(config: ConfigBuilder) -> ConfigBuilder {
    config.pacing(false)
}

pub struct Ours {
    session: Session,
    _driver: Driver,
}

impl Muxer for Sluicegate {
    type End = Ours;

    fn end(socket: TcpStream, mode: Mode, needs: Needs) -> Ours {
        Ours::new(socket, mode, needs, Config::builder())
    }
}

impl Muxer for Unpaced {
    type End = Ours;

    fn end(socket: TcpStream, mode: Mode, needs: Needs) -> Ours {
        Ours::new(socket, mode, needs, without_pacing(Config::builder()))
    }
}

impl Ours {
    fn new(socket: TcpStream, mode: Mode, needs: Needs, mut config: ConfigBuilder) -> Self {
        if needs.streams > Config::default().max_incoming_streams() {
            config = config.max_incoming_streams(needs.streams);
        }
        if let Some(window) = needs.window {
            config = config.max_stream_window(window);
        }
        let config = config.build().expect("valid");
        let socket = libp2p::tcp::tokio::TcpStream(socket);
        let (session, driver) = Session::new(socket, config, mode);
        let driver = Driver::spawn(async move { drop(driver.await) });
        Self { session, _driver: driver }
    }
}

impl End for Ours {
    type Stream = Stream;

    async fn open(&self) -> Stream {
        self.session.open().await.expect("opens")
    }

    async fn accept(&self) -> Stream {
        self.session.accept().await.expect("accepts")
    }

    fn hurry(stream: &Stream) {
        stream.set_priority(Priority::HIGH);
    }

    fn defer(stream: &Stream) {
        stream.set_priority(Priority::LOW);
    }

    fn grow_receive_window(stream: &Stream, bytes: usize) {
        stream.grow_receive_window(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}
