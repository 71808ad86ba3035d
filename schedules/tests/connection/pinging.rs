//! Pings against their pongs.

use shuttle::future::spawn;
use sluicegate::{Mode, Session};
use sluicegate_schedules::{End, Node, explore, pair, settings};

async fn ping(session: Session) {
    session.ping().await.expect("it is answered");
}

/// They share one ping, or come after one another.
#[test]
fn whoever_pings_is_told() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let answering = spawn(async move { peer.hear(|peer| peer.end == End::Heard).await });
        let pingers = [spawn(ping(node.session.clone())), spawn(ping(node.session.clone()))];
        for pinger in pingers {
            pinger.await.expect("no panic");
        }
        node.end().await;
        answering.await.expect("no panic");
    });
}

#[test]
fn pings_of_both_ends_meet() {
    explore(|| async {
        let (near, far) = pair(1024, &settings());
        let pingers = [spawn(ping(near.session.clone())), spawn(ping(far.session.clone()))];
        for pinger in pingers {
            pinger.await.expect("no panic");
        }
        near.end().await;
        far.end().await;
    });
}
