//! The figures of a node as Prometheus metrics. The only module that names `prometheus_client`.
//!
//! Owns their names, help and labels. Nothing is counted here: a scrape takes the total of [`NodeStats`] as it is.

use crate::stats::{ConnectionStats, NodeStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

impl NodeStats {
    /// Registers the figures with `registry`, added up over the connections, under names that begin with `sluicegate_`.
    /// The first column is what a text exposition shows.
    ///
    /// | metric | type | labels | what |
    /// | --- | --- | --- | --- |
    /// | `connections` | gauge | | connections that have not been dropped |
    /// | `streams` | gauge | `state`: `open`, `unaccepted`, `unacknowledged` | streams; the open ones include the others |
    /// | `streams_begun_total` | counter | `side`: `local`, `remote` | streams opened by this end, and accepted from the peer |
    /// | `frames_total` | counter | `direction`, `type` | frames |
    /// | `data_bytes_total` | counter | `direction` | bytes in the bodies of data frames |
    /// | `useless_frames_total` | counter | | frames of peers that changed nothing |
    /// | `largest_window_bytes` | gauge | | the largest receive window a stream has had |
    /// | `stalled_seconds_total` | counter | `cause`: `window`, `socket`, `memory` | time that writers have waited |
    /// | `transport_stalled_seconds_total` | counter | | time that transports took no bytes |
    /// | `rtt_longest_seconds` | gauge | | the longest last round trip of a connection |
    /// | `rtt_shortest_seconds` | gauge | | the shortest round trip of a connection |
    /// | `paced_bandwidth_bytes_per_second` | gauge | | the largest bandwidth of a path on which streams are paced |
    /// | `paced_in_flight_bytes` | gauge | | bytes on their way where streams are paced |
    /// | `held_seconds_total` | counter | | time that streams made way for more urgent ones |
    /// | `resets_total` | counter | `side`, `cause` | streams that ended with a reset |
    /// | `refusals_total` | counter | `what`, `cause` | what was asked for and not granted |
    /// | `reserved_bytes` | gauge | `bucket`: `low` to `always`, `send_buffers` | bytes reserved from the memory manager |
    ///
    /// ```
    /// use prometheus_client::{encoding::text::encode, registry::Registry};
    ///
    /// let (stats, mut registry) = (sluicegate::stats::NodeStats::default(), Registry::default());
    /// stats.register(&mut registry);
    /// let mut page = String::new();
    /// encode(&mut page, &registry)?;
    /// assert!(page.contains("sluicegate_connections 0"));
    /// # Ok::<_, std::fmt::Error>(())
    /// ```
    pub fn register(&self, registry: &mut Registry) {
        registry.sub_registry_with_prefix("sluicegate").register_collector(Box::new(Figures(self.clone())));
    }
}

#[derive(Debug)]
struct Figures(NodeStats);

/// Writes metrics down.
struct Page<'a>(DescriptorEncoder<'a>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (stats, mut page) = (self.0.total(), Page(encoder));
        page.gauge(("connections", "Connections that have not been dropped"), None, &self.0.num_connections())?;
        streams(&stats, &mut page)?;
        traffic(&stats, &mut page)?;
        times(&stats, &mut page)?;
        ends(&stats, &mut page)?;
        reserved(&stats, &mut page)
    }
}

fn streams(stats: &ConnectionStats, page: &mut Page<'_>) -> fmt::Result {
    let counts = &stats.streams;
    let states = [
        ([("state", "open")], counts.open),
        ([("state", "unaccepted")], counts.unaccepted),
        ([("state", "unacknowledged")], counts.unacknowledged),
    ];
    page.gauges(("streams", "Streams by their state; the open ones include the others"), None, &states)?;
    let begun = [([("side", "local")], counts.opened), ([("side", "remote")], counts.accepted)];
    page.counters(("streams_begun", "Streams opened by this end, and accepted from the peer"), None, &begun)
}

fn traffic(stats: &ConnectionStats, page: &mut Page<'_>) -> fmt::Result {
    let ways = [("inbound", &stats.received), ("outbound", &stats.sent)];
    let frames = ways.map(|(way, traffic)| {
        [
            ([("direction", way), ("type", "data")], traffic.data_frames),
            ([("direction", way), ("type", "window_update")], traffic.window_update_frames),
            ([("direction", way), ("type", "ping")], traffic.ping_frames),
            ([("direction", way), ("type", "go_away")], traffic.go_away_frames),
        ]
    });
    page.counters(("frames", "Frames by type"), None, frames.as_flattened())?;
    let bytes = ways.map(|(way, traffic)| ([("direction", way)], traffic.data_bytes));
    page.counters(("data", "Bytes in the bodies of data frames"), Some(Unit::Bytes), &bytes)?;
    let useless = ("useless_frames", "Frames of peers that changed nothing");
    page.counter(useless, None, &stats.useless_frames)?;
    let window = ("largest_window", "The largest receive window that a stream has had");
    page.gauge(window, Some(Unit::Bytes), &stats.largest_window)
}

fn times(stats: &ConnectionStats, page: &mut Page<'_>) -> fmt::Result {
    let stalled =
        [("window", stats.stalled.window), ("socket", stats.stalled.socket), ("memory", stats.stalled.memory)];
    let stalled = stalled.map(|(cause, time)| ([("cause", cause)], time.as_secs_f64()));
    page.counters(
        ("stalled", "Time that writers have waited, by what they waited for"),
        Some(Unit::Seconds),
        &stalled,
    )?;
    let transport = stats.transport_stalled.as_secs_f64();
    page.counter(("transport_stalled", "Time that transports took no bytes"), Some(Unit::Seconds), &transport)?;
    let trips = [
        (("rtt_longest", "The longest of the connections' last round trips"), stats.rtt),
        (("rtt_shortest", "The shortest round trip of all connections"), stats.min_rtt),
    ];
    for (named, trip) in trips {
        // Before the first answer there is no such figure.
        if let Some(seconds) = trip.as_ref().map(Duration::as_secs_f64) {
            page.gauge(named, Some(Unit::Seconds), &seconds)?;
        }
    }
    if let Some(bandwidth) = stats.pacing.bandwidth {
        let unit = Some(Unit::Other("bytes_per_second".into()));
        page.gauge(
            ("paced_bandwidth", "The largest bandwidth of a path on which streams are paced"),
            unit,
            &bandwidth,
        )?;
    }
    let in_flight = ("paced_in_flight", "Bytes on their way where streams are paced");
    page.gauge(in_flight, Some(Unit::Bytes), &stats.pacing.in_flight)?;
    let held = ("held", "Time that streams made way for more urgent ones");
    page.counter(held, Some(Unit::Seconds), &stats.pacing.held.as_secs_f64())
}

fn ends(stats: &ConnectionStats, page: &mut Page<'_>) -> fmt::Result {
    let resets = [
        ([("side", "local"), ("cause", "application")], stats.resets.application),
        ([("side", "local"), ("cause", "dropped")], stats.resets.dropped),
        ([("side", "local"), ("cause", "after_fin")], stats.resets.after_fin),
        ([("side", "local"), ("cause", "out_of_memory")], stats.resets.out_of_memory),
        ([("side", "remote"), ("cause", "accepted")], stats.resets.remote),
        ([("side", "remote"), ("cause", "unaccepted")], stats.resets.remote_unaccepted),
    ];
    page.counters(("resets", "Streams that ended with a reset, by who sent it"), None, &resets)?;
    let refusals = &stats.refusals;
    let refusals = [
        ([("what", "incoming_stream"), ("cause", "memory")], refusals.incoming_by_memory),
        ([("what", "incoming_stream"), ("cause", "backlog")], refusals.incoming_by_backlog),
        ([("what", "incoming_stream"), ("cause", "limit")], refusals.incoming_by_limit),
        ([("what", "incoming_stream"), ("cause", "go_away")], refusals.incoming_by_go_away),
        ([("what", "open"), ("cause", "memory")], refusals.opens),
        ([("what", "window"), ("cause", "memory")], refusals.windows),
        ([("what", "credit"), ("cause", "memory")], refusals.credit),
        ([("what", "send_buffer"), ("cause", "memory")], refusals.send_buffers),
    ];
    page.counters(("refusals", "What was asked for and not granted"), None, &refusals)
}

fn reserved(stats: &ConnectionStats, page: &mut Page<'_>) -> fmt::Result {
    let reserved = &stats.reserved;
    let buckets = [
        ([("bucket", "low")], reserved.low),
        ([("bucket", "medium")], reserved.medium),
        ([("bucket", "high")], reserved.high),
        ([("bucket", "always")], reserved.always),
        ([("bucket", "send_buffers")], reserved.send_buffers),
    ];
    page.gauges(("reserved", "Bytes reserved from the memory manager"), Some(Unit::Bytes), &buckets)
}

impl Page<'_> {
    fn gauge(&mut self, (name, help): (&str, &str), unit: Option<Unit>, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(value)
    }

    fn counter(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        value: &impl EncodeCounterValue,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(value, None)
    }

    fn gauges<const N: usize, V: EncodeGaugeValue>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        values: &[([(&str, &str); N], V)],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        values.iter().try_for_each(|(labels, value)| metric.encode_family(labels)?.encode_gauge(value))
    }

    fn counters<const N: usize, V: EncodeCounterValue>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        values: &[([(&str, &str); N], V)],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        values.iter().try_for_each(|(labels, value)| {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Pacing, Refusals, ReservedBytes, Resets, Source, Stalled, StreamCounts, Traffic};
    use prometheus_client::encoding::text::encode;
    use std::sync::Arc;

    /// Each figure another number.
    struct Distinct;

    impl Source for Distinct {
        fn now(&self) -> web_time::Instant {
            web_time::Instant::now()
        }

        fn stats_at(&self, _: web_time::Instant) -> ConnectionStats {
            let traffic = |n| Traffic {
                data_frames: n,
                data_bytes: n + 1,
                window_update_frames: n + 2,
                ping_frames: n + 3,
                go_away_frames: n + 4,
            };
            let seconds = Duration::from_secs;
            ConnectionStats {
                streams: StreamCounts { open: 11, unaccepted: 12, unacknowledged: 13, opened: 14, accepted: 15 },
                sent: traffic(20),
                received: traffic(30),
                useless_frames: 39,
                largest_window: 40,
                stalled: Stalled { window: seconds(41), socket: seconds(42), memory: seconds(43) },
                transport_stalled: seconds(44),
                rtt: Some(seconds(45)),
                min_rtt: Some(seconds(46)),
                pacing: Pacing { bandwidth: Some(47), round_trip: None, in_flight: 48, held: seconds(49) },
                resets: Resets {
                    application: 51,
                    dropped: 52,
                    after_fin: 53,
                    out_of_memory: 56,
                    remote: 54,
                    remote_unaccepted: 55,
                },
                refusals: Refusals {
                    incoming_by_memory: 61,
                    incoming_by_backlog: 62,
                    incoming_by_limit: 63,
                    incoming_by_go_away: 64,
                    opens: 65,
                    windows: 66,
                    credit: 68,
                    send_buffers: 67,
                },
                reserved: ReservedBytes { low: 71, medium: 72, high: 73, always: 74, send_buffers: 75 },
            }
        }
    }

    #[test]
    fn every_figure_stands_where_it_belongs() {
        let (stats, mut registry, mut page) = (NodeStats::default(), Registry::default(), String::new());
        stats.enter(1, Arc::new(Distinct));
        stats.register(&mut registry);
        encode(&mut page, &registry).expect("can be written");
        let lines: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = "\
sluicegate_connections 1
sluicegate_streams{state=\"open\"} 11
sluicegate_streams{state=\"unaccepted\"} 12
sluicegate_streams{state=\"unacknowledged\"} 13
sluicegate_streams_begun_total{side=\"local\"} 14
sluicegate_streams_begun_total{side=\"remote\"} 15
sluicegate_frames_total{direction=\"inbound\",type=\"data\"} 30
sluicegate_frames_total{direction=\"inbound\",type=\"window_update\"} 32
sluicegate_frames_total{direction=\"inbound\",type=\"ping\"} 33
sluicegate_frames_total{direction=\"inbound\",type=\"go_away\"} 34
sluicegate_frames_total{direction=\"outbound\",type=\"data\"} 20
sluicegate_frames_total{direction=\"outbound\",type=\"window_update\"} 22
sluicegate_frames_total{direction=\"outbound\",type=\"ping\"} 23
sluicegate_frames_total{direction=\"outbound\",type=\"go_away\"} 24
sluicegate_data_bytes_total{direction=\"inbound\"} 31
sluicegate_data_bytes_total{direction=\"outbound\"} 21
sluicegate_useless_frames_total 39
sluicegate_largest_window_bytes 40
sluicegate_stalled_seconds_total{cause=\"window\"} 41.0
sluicegate_stalled_seconds_total{cause=\"socket\"} 42.0
sluicegate_stalled_seconds_total{cause=\"memory\"} 43.0
sluicegate_transport_stalled_seconds_total 44.0
sluicegate_rtt_longest_seconds 45.0
sluicegate_rtt_shortest_seconds 46.0
sluicegate_paced_bandwidth_bytes_per_second 47
sluicegate_paced_in_flight_bytes 48
sluicegate_held_seconds_total 49.0
sluicegate_resets_total{side=\"local\",cause=\"application\"} 51
sluicegate_resets_total{side=\"local\",cause=\"dropped\"} 52
sluicegate_resets_total{side=\"local\",cause=\"after_fin\"} 53
sluicegate_resets_total{side=\"local\",cause=\"out_of_memory\"} 56
sluicegate_resets_total{side=\"remote\",cause=\"accepted\"} 54
sluicegate_resets_total{side=\"remote\",cause=\"unaccepted\"} 55
sluicegate_refusals_total{what=\"incoming_stream\",cause=\"memory\"} 61
sluicegate_refusals_total{what=\"incoming_stream\",cause=\"backlog\"} 62
sluicegate_refusals_total{what=\"incoming_stream\",cause=\"limit\"} 63
sluicegate_refusals_total{what=\"incoming_stream\",cause=\"go_away\"} 64
sluicegate_refusals_total{what=\"open\",cause=\"memory\"} 65
sluicegate_refusals_total{what=\"window\",cause=\"memory\"} 66
sluicegate_refusals_total{what=\"credit\",cause=\"memory\"} 68
sluicegate_refusals_total{what=\"send_buffer\",cause=\"memory\"} 67
sluicegate_reserved_bytes{bucket=\"low\"} 71
sluicegate_reserved_bytes{bucket=\"medium\"} 72
sluicegate_reserved_bytes{bucket=\"high\"} 73
sluicegate_reserved_bytes{bucket=\"always\"} 74
sluicegate_reserved_bytes{bucket=\"send_buffers\"} 75";
        assert_eq!(lines.join("\n"), expected);
    }
}
