//! A read against the driver: bytes are seen as they arrive, and the credit for them leaves though nothing else does.

use futures::AsyncReadExt;
use shuttle::future::spawn;
use sluicegate::Mode;
use sluicegate::wire::Flags;
use sluicegate_schedules::{Node, WINDOW, explore, settings};

#[test]
fn what_is_read_becomes_credit() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Server, 2 * WINDOW, settings());
        peer.send_update(1, Flags::SYN, 0).await;
        let mut stream = node.session.accept().await.expect("it has been opened");
        let reader = spawn(async move {
            stream.read_exact(&mut vec![0; WINDOW]).await.expect("it arrives");
            stream
        });
        peer.send_data(1, Flags::NONE, &[1; WINDOW]).await;
        peer.hear(|peer| peer.of(1).credit as usize > WINDOW / 2).await;
        drop(reader.await.expect("no panic"));
        node.end().await;
    });
}
