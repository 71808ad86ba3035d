//! A read against the driver: bytes are seen as they arrive, and the credit for them leaves though nothing else does.

use futures::AsyncReadExt;
use shuttle::future::spawn;
use sluicegate::wire::Flags;
use sluicegate::{MemoryLimit, Mode, ReceiveCharge};
use sluicegate_schedules::{Node, WINDOW, explore, settings};
use std::sync::Arc;

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

/// What was read is still asked for when another connection gives back the memory that was lacking.
#[test]
fn credit_that_waits_leaves_when_memory_is_released() {
    explore(|| async {
        // A stream of the default priority may fill 239 KiB of it: what is held and half a window are more.
        let budget = Arc::new(MemoryLimit::new(400 * 1024));
        let settings = settings().receive_charge(ReceiveCharge::Buffered);
        let session = || Node::sharing(budget.clone(), Mode::Server, 2 * WINDOW, settings.clone());
        let ((holding, mut near), (waiting, mut far)) = (session(), session());
        near.send_update(1, Flags::SYN, 0).await;
        near.send_data(1, Flags::NONE, &[1; WINDOW / 2]).await;
        let held = holding.session.accept().await.expect("it has been opened");
        near.settle().await;
        far.send_update(1, Flags::SYN, 0).await;
        let mut stream = waiting.session.accept().await.expect("it has been opened");
        // With the acknowledgement leaves what is owed by then.
        far.hear(|peer| peer.of(1).flags.contains(Flags::ACK)).await;
        let reader = spawn(async move {
            stream.read_exact(&mut vec![0; WINDOW / 2]).await.expect("it arrives");
            stream
        });
        let dropper = spawn(async move { drop(held) });
        far.send_data(1, Flags::NONE, &[1; WINDOW / 2]).await;
        far.hear(|peer| peer.of(1).credit as usize == WINDOW / 2).await;
        dropper.await.expect("no panic");
        drop(reader.await.expect("no panic"));
        // Nothing is held for a stream whose end has left.
        far.hear(|peer| peer.of(1).flags.contains(Flags::FIN)).await;
        Node::end_all([holding, waiting]).await;
    });
}
