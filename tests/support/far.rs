//! A transport that is far away.

use super::{Pipe, Transport, pipe};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::time::Duration;

/// The near end of a path to `io`: bytes arrive `latency` after they were sent, however many they are.
pub fn far(io: impl Transport, latency: Duration) -> Pipe {
    let (near, here) = pipe(1 << 16);
    let ((here_in, here_out), (there_in, there_out)) = (here.split(), io.split());
    tokio::spawn(relay(here_in, there_out, latency));
    tokio::spawn(relay(there_in, here_out, latency));
    near
}

async fn relay<R, W>(mut from: R, mut to: W, latency: Duration)
where
    R: futures::AsyncRead + Unpin,
    W: futures::AsyncWrite + Unpin,
{
    let (arriving, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let read = async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let _ = arriving.send((tokio::time::Instant::now() + latency, buffer[..read].to_vec()));
        }
    };
    let write = async move {
        while let Some((at, bytes)) = arrived.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.close().await;
    };
    tokio::join!(read, write);
}
