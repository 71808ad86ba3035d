//! A proxy between two ends, which stalls on command, as a path does that is down for a while.

use crate::support::{Io, Transport, tcp};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// Says whether bytes go on. What the ends send meanwhile is kept, by the proxy and by the system.
pub struct Proxy {
    goes_on: watch::Sender<bool>,
}

/// The near end of a proxy to `io`.
pub async fn between(io: impl Transport) -> (Io, Proxy) {
    let (near, here) = tcp().await;
    let (goes_on, going_on) = watch::channel(true);
    let ((here_in, here_out), (there_in, there_out)) = (here.split(), io.split());
    tokio::spawn(relay(here_in, there_out, going_on.clone()));
    tokio::spawn(relay(there_in, here_out, going_on));
    (Box::new(near), Proxy { goes_on })
}

impl Proxy {
    pub fn stand_still(&self) {
        self.goes_on.send_replace(false);
    }

    pub fn go_on(&self) {
        self.goes_on.send_replace(true);
    }
}

async fn relay<R, W>(mut from: R, mut to: W, mut going_on: watch::Receiver<bool>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if going_on.wait_for(|going_on| *going_on).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.close().await;
}
