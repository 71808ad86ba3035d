//! The figures of a node as a Prometheus page.

mod support;

use futures::{AsyncReadExt, AsyncWriteExt};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use sluicegate::stats::NodeStats;
use sluicegate::{MemoryLimit, Priority};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::node::Node;
use support::pair::{settle, stream};
use support::{pipe, quiet, run};

const WINDOW: usize = 256 * 1024;

/// What a scrape gives: each value by its name and labels.
fn scrape(registry: &Registry) -> BTreeMap<String, f64> {
    let mut page = String::new();
    encode(&mut page, registry).expect("can be written");
    let values = page.lines().filter(|line| !line.starts_with('#'));
    values
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn a_page_has_every_figure_under_a_name_with_its_unit() {
    run(async {
        let (stats, mut registry) = (NodeStats::default(), Registry::default());
        stats.register(&mut registry);
        let before = scrape(&registry);
        assert_eq!(before["sluicegate_connections"], 0.0);
        let config = quiet().stats(stats.clone()).memory(Arc::new(MemoryLimit::new(3 * WINDOW))).build();
        let (near, far) = pipe(4096);
        let (near, far) =
            (Node::client(near, config.expect("valid")), Node::server(far, quiet().build().expect("valid")));
        settle(&near, &far).await;
        let (mut here, mut there) = stream(&near, &far).await;
        here.set_priority(Priority::LOW);
        here.write_all(b"bytes").await.expect("writes");
        here.flush().await.expect("flushes");
        there.read_exact(&mut [0; 5]).await.expect("reads");
        let (other, _kept) = stream(&near, &far).await;
        let (mut last, _kept) = stream(&near, &far).await;
        near.open().await.expect_err("no memory");
        last.reset(7);
        settle(&near, &far).await;
        let (total, after) = (stats.total(), scrape(&registry));
        let value = |name: &str| *after.get(&format!("sluicegate_{name}")).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(value("connections"), 1.0);
        assert_eq!(value("streams{state=\"open\"}"), 2.0);
        assert_eq!(value("streams_begun_total{side=\"local\"}"), 3.0);
        assert_eq!(value("data_bytes_total{direction=\"outbound\"}"), 5.0);
        assert_eq!(value("frames_total{direction=\"outbound\",type=\"data\"}"), total.sent.data_frames as f64);
        assert_eq!(value("frames_total{direction=\"inbound\",type=\"ping\"}"), total.received.ping_frames as f64);
        assert_eq!(value("largest_window_bytes"), WINDOW as f64);
        assert_eq!(value("stalled_seconds_total{cause=\"window\"}"), 0.0);
        assert_eq!(value("rtt_longest_seconds"), total.rtt.expect("measured").as_secs_f64());
        assert_eq!(value("rtt_shortest_seconds"), total.min_rtt.expect("measured").as_secs_f64());
        assert_eq!(value("resets_total{side=\"local\",cause=\"application\"}"), 1.0);
        assert_eq!(value("refusals_total{what=\"open\",cause=\"memory\"}"), 1.0);
        assert_eq!(value("reserved_bytes{bucket=\"low\"}"), WINDOW as f64);
        assert_eq!(value("reserved_bytes{bucket=\"medium\"}"), WINDOW as f64);
        // All that is there before a connection is there after it, and the round trips.
        assert!(before.keys().all(|name| after.contains_key(name)));
        assert_eq!(after.len(), before.len() + 2);
        drop(other);
    });
}
