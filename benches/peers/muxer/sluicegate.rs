//! This crate.

use super::{Driver, End, Muxer, Needs};
use sluicegate::{Config, Mode, Priority, Session, Stream};
use tokio::net::TcpStream;

pub struct Sluicegate;

pub struct Ours {
    session: Session,
    _driver: Driver,
}

impl Muxer for Sluicegate {
    type End = Ours;

    fn pair(client: TcpStream, server: TcpStream, needs: Needs) -> (Ours, Ours) {
        (Ours::new(client, Mode::Client, needs), Ours::new(server, Mode::Server, needs))
    }
}

impl Ours {
    fn new(socket: TcpStream, mode: Mode, needs: Needs) -> Self {
        let mut config = Config::builder();
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

    fn grow_receive_window(stream: &Stream, bytes: usize) {
        stream.grow_receive_window(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}
