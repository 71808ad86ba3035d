//! No muxer: the one stream is the socket.

use super::{End, Mode, Muxer, Needs};
use libp2p::tcp::tokio::TcpStream as Socket;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;

pub struct Tcp;

/// The socket, until it is asked for.
pub struct Bare(Mutex<Option<Socket>>);

impl Muxer for Tcp {
    type End = Bare;

    fn end(socket: TcpStream, _: Mode, _: Needs) -> Bare {
        Bare::new(socket)
    }
}

impl Bare {
    fn new(socket: TcpStream) -> Self {
        Self(Mutex::new(Some(libp2p::tcp::tokio::TcpStream(socket))))
    }

    fn take(&self) -> Option<Socket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl End for Bare {
    type Stream = Socket;

    async fn open(&self) -> Socket {
        self.take().expect("one stream a connection")
    }

    /// There is no second one.
    async fn accept(&self) -> Socket {
        match self.take() {
            Some(socket) => socket,
            None => std::future::pending().await,
        }
    }
}
