//! Plain TCP where several streams are needed: each is a connection of its own.

use super::path::Path;
use crate::muxer::End;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

type Socket = libp2p::tcp::tokio::TcpStream;

/// Connects where another end would open a stream.
pub struct Connects {
    path: Arc<Path>,
    accepted: mpsc::UnboundedSender<Socket>,
}

pub struct Accepts(Mutex<mpsc::UnboundedReceiver<Socket>>);

/// The near end and the far one.
pub fn pair(path: Arc<Path>) -> (Connects, Accepts) {
    let (accepted, accepts) = mpsc::unbounded_channel();
    (Connects { path, accepted }, Accepts(Mutex::new(accepts)))
}

impl End for Connects {
    type Stream = Socket;

    async fn open(&self) -> Socket {
        let path = self.path.clone();
        let connected = tokio::task::spawn_blocking(move || path.connect()).await.expect("no panic");
        let (near, far) = connected.expect("connects");
        self.accepted.send(socket(far)).expect("the far end is there");
        socket(near)
    }

    async fn accept(&self) -> Socket {
        std::future::pending().await
    }
}

impl End for Accepts {
    type Stream = Socket;

    async fn open(&self) -> Socket {
        std::future::pending().await
    }

    async fn accept(&self) -> Socket {
        match self.0.lock().await.recv().await {
            Some(socket) => socket,
            None => std::future::pending().await,
        }
    }
}

fn socket(socket: std::net::TcpStream) -> Socket {
    libp2p::tcp::tokio::TcpStream(tokio_socket(socket))
}

/// For the runtime of the caller.
pub fn tokio_socket(socket: std::net::TcpStream) -> TcpStream {
    socket.set_nonblocking(true).expect("a socket");
    TcpStream::from_std(socket).expect("a socket")
}
