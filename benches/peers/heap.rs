//! What is held for streams and connections on which nothing happens. One thread, whose allocations are counted.

use crate::muxer::{Muxer, Needs, pair, sockets};
use crate::streams::Held;
use allocation_counter::measure;
use futures::{AsyncReadExt, AsyncWriteExt};
use std::time::Duration;

/// How long an end has been quiet when it is looked at.
const QUIET: Duration = Duration::from_secs(3);

/// Bytes on the heap for each of `streams` that are open and idle, both ends together, beside the handles that the
/// application holds. A byte has crossed each way.
pub fn per_stream<M: Muxer>(streams: usize) -> f64 {
    let runtime = runtime();
    let (client, server) = runtime.block_on(pair::<M>(streams + 1));
    let mut held = Held::<M::End>::with_capacity(streams + 1);
    // What the first stream makes the connection allocate is not the second's.
    runtime.block_on(held.open(&client, &server, 1));
    let counted = measure(|| {
        runtime.block_on(async {
            held.open(&client, &server, streams).await;
            tokio::time::sleep(QUIET).await;
        });
    });
    counted.bytes_current as f64 / streams as f64
}

/// Bytes on the heap for one end of a connection that has no streams any more, its task included.
pub fn per_connection<M: Muxer>(bytes: usize) -> f64 {
    let runtime = runtime();
    let (near, far) = runtime.block_on(sockets());
    let mut ends = None;
    let counted = measure(|| {
        runtime.block_on(async {
            let (client, server) = M::pair(near, far, Needs::streams(1));
            let mut held = Held::<M::End>::with_capacity(1);
            held.open(&client, &server, 1).await;
            let (near, far) = (&mut held.near[0], &mut held.far[0]);
            let sending = async {
                near.write_all(&vec![1; bytes]).await.expect("writes");
                near.close().await.expect("closes");
            };
            let mut received = Vec::new();
            let receiving = async {
                far.read_to_end(&mut received).await.expect("reads");
                far.close().await.expect("closes");
            };
            tokio::join!(sending, receiving);
            assert_eq!(received.len(), bytes);
            assert_eq!(near.read(&mut [0]).await.expect("reads"), 0);
            drop((held, received));
            tokio::time::sleep(QUIET).await;
            ends = Some((client, server));
        });
    });
    counted.bytes_current as f64 / 2.0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
