//! What must hold between two nodes. Each end asks the other.

use super::{Pair, Request, Scenario};
use crate::line::Answer;
use futures::future::{Either, join, select};
use libp2p::core::upgrade::Version;
use std::time::{Duration, Instant};

/// The window with which every stream starts.
const WINDOW: usize = 256 << 10;
/// More than any scenario needs.
const AMPLE: usize = 1 << 30;
/// How long messages may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
/// Streams for which there is memory, where there is not enough.
const ROOM: usize = 16;

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "identify",
        title: "identify",
        budget: AMPLE,
        negotiation: Version::V1,
        run: |pair| Box::pin(identify(pair)),
    },
    Scenario { name: "ping", title: "ping", budget: AMPLE, negotiation: Version::V1, run: |pair| Box::pin(ping(pair)) },
    Scenario {
        name: "echo",
        title: "echo of 16 MiB",
        budget: AMPLE,
        negotiation: Version::V1,
        run: |pair| Box::pin(echo(pair)),
    },
    Scenario {
        name: "many_streams",
        title: "100 streams at once",
        budget: AMPLE,
        negotiation: Version::V1,
        run: |pair| Box::pin(many(pair)),
    },
    Scenario {
        name: "refused_streams",
        title: "40 streams, memory for 16",
        budget: ROOM * WINDOW,
        negotiation: Version::V1,
        run: |pair| Box::pin(refused(pair)),
    },
    Scenario {
        name: "priorities",
        title: "priorities by protocol",
        budget: AMPLE,
        negotiation: Version::V1,
        run: |pair| Box::pin(priorities(pair)),
    },
    Scenario {
        name: "lazy_messages",
        title: "100 messages, each on a stream let go of before its protocol is confirmed",
        budget: AMPLE,
        negotiation: Version::V1Lazy,
        run: |pair| Box::pin(lazy_messages(pair)),
    },
];

async fn identify(pair: Pair) {
    for node in [&pair.ours, &pair.theirs] {
        let known = node.ask(Request::Identify).await.values();
        assert!(known.iter().any(|protocol| protocol == "/sluicegate/echo/1.0.0"), "{known:?}");
    }
    expect_connected(&pair).await;
}

async fn ping(pair: Pair) {
    for node in [&pair.ours, &pair.theirs] {
        for _ in 0..3 {
            node.ask(Request::Ping).await.ok();
        }
    }
    expect_connected(&pair).await;
}

async fn echo(pair: Pair) {
    let ask = |node, seed| {
        let Pair { ours, theirs, .. } = &pair;
        let node = if node == 0 { ours } else { theirs };
        node.ask(Request::Echo { seed, len: 16 << 20 })
    };
    ask(0, 1).await.ok();
    ask(1, 2).await.ok();
    let (ours, theirs) = join(ask(0, 3), ask(1, 4)).await;
    ours.ok();
    theirs.ok();
    expect_connected(&pair).await;
}

async fn many(pair: Pair) {
    const STREAMS: usize = 100;
    let ask = Request::Echoes { streams: STREAMS, len: 10_000 };
    let all = Answer::Ok(vec![STREAMS.to_string(), "0".into()]);
    assert_eq!(pair.ours.ask(ask).await, all);
    assert_eq!(pair.theirs.ask(ask).await, all);
    assert_eq!(join(pair.ours.ask(ask), pair.theirs.ask(ask)).await, (all.clone(), all));
    expect_connected(&pair).await;
}

/// They open more streams than we have memory for: some are reset, the others and the connection live.
async fn refused(pair: Pair) {
    const STREAMS: usize = 40;
    let streams = pair.theirs.ask(Request::Echoes { streams: STREAMS, len: 10_000 }).await.values();
    let counts: Vec<usize> = streams.iter().map(|count| count.parse().expect("a number")).collect();
    let [done, refused] = counts[..] else { panic!("{streams:?}") };
    assert_eq!(done + refused, STREAMS);
    assert!(refused > 0 && pair.resets_by_us() >= refused, "a stream that was refused was not reset");
    // Some of the memory is taken by the streams of identify and ping.
    assert!((ROOM / 2..=ROOM).contains(&done), "{done} streams where there is memory for {ROOM}");
    assert!(pair.budget.peak() <= pair.budget.limit());
    // There is memory again, both ways.
    pair.theirs.ask(Request::Echo { seed: 1, len: 1 << 20 }).await.ok();
    pair.ours.ask(Request::Echo { seed: 2, len: 1 << 20 }).await.ok();
    expect_connected(&pair).await;
}

/// Our end of an echo is less urgent, whoever opens the stream and however it is negotiated, and our pings are more.
async fn priorities(pair: Pair) {
    // Our own ping keeps its stream.
    pair.ours.ask(Request::Ping).await.ok();
    assert!(pair.stats.total().reserved.high >= WINDOW, "a ping is urgent: {:?}", pair.stats.total().reserved);
    for (node, seed) in [(&pair.ours, 1), (&pair.theirs, 2), (&pair.ours, 3), (&pair.theirs, 4)] {
        let seen = async {
            while pair.stats.total().reserved.low < WINDOW {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        match select(Box::pin(node.ask(Request::Echo { seed, len: 16 << 20 })), Box::pin(seen)).await {
            Either::Left((answer, _)) => panic!("{answer:?}, and the stream was never less urgent"),
            Either::Right(((), answer)) => answer.await.ok(),
        }
        while pair.stats.total().reserved.low > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    expect_connected(&pair).await;
}

/// Whoever sends does not wait for the answer of the negotiation, as far as its API allows that: it writes, closes and lets
/// go, first of one stream after another and then of as many at once.
async fn lazy_messages(pair: Pair) {
    const COUNT: usize = 50;
    const LEN: usize = 100;
    // Whoever knows what its peer speaks need not ask.
    join(pair.ours.ask(Request::Identify), pair.theirs.ask(Request::Identify)).await;
    for (from, to) in [(&pair.theirs, &pair.ours), (&pair.ours, &pair.theirs)] {
        for _ in 0..COUNT {
            from.ask(Request::Messages { count: 1, len: LEN }).await.ok();
        }
        from.ask(Request::Messages { count: COUNT, len: LEN }).await.ok();
        let start = Instant::now();
        loop {
            let received = to.ask(Request::Received { len: LEN }).await.values();
            if received == [(2 * COUNT).to_string(), "0".into()] {
                break;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "whole and broken messages that have arrived, of {}: {received:?}",
                2 * COUNT
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    expect_connected(&pair).await;
}

async fn expect_connected(pair: &Pair) {
    for node in [&pair.ours, &pair.theirs] {
        assert_eq!(node.ask(Request::Connections).await.values(), ["1"]);
    }
}
