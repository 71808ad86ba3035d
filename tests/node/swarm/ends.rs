//! How streams end whose negotiation a swarm does: messages that are sent and left alone, and requests that nobody takes.

use super::host::{Host, Pings};
use super::{ours, reserved_falls_to};
use crate::support::run_threaded;
use crate::support::whole::Whole;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::upgrade::Version;
use libp2p::request_response::{self, Event, Message, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, tcp};
use sluicegate::{Config, MemoryLimit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const NOTE: StreamProtocol = StreamProtocol::new("/sluicegate/note/1");
const ASK: StreamProtocol = StreamProtocol::new("/sluicegate/ask/1");

/// The dialler writes, closes and drops; the listener's side of the negotiation comes behind that.
#[test]
fn y_drop_2_a_message_sent_with_its_proposal_arrives() {
    for version in [Version::V1Lazy, Version::V1] {
        run_threaded(async {
            let budget = Arc::new(MemoryLimit::new(64 << 20));
            let mut dialler = Host::negotiating(ours(&budget), Pings::Off, version).await;
            let mut listener = Host::negotiating(ours(&budget), Pings::Off, version).await;
            dialler.connect(&mut listener).await;
            let mut notes = listener.control.accept(NOTE).expect("the first to ask");
            let mut arrived = 0;
            for n in 0..100_u8 {
                let mut stream = dialler.control.open_stream(listener.id, NOTE).await.expect("opens");
                stream.write_all(&[n; 1_000]).await.expect("writes");
                stream.close().await.expect("closes");
                drop(stream);
                // One that is lost comes never.
                let next = tokio::time::timeout(Duration::from_secs(5), notes.next());
                if let Ok(Some((_, mut stream))) = next.await {
                    let mut note = Vec::new();
                    stream.read_to_end(&mut note).await.expect("to its end");
                    assert_eq!(note, [n; 1_000]);
                    arrived += 1;
                }
            }
            assert_eq!(arrived, 100);
            drop(notes);
            dialler.expect_connected();
            listener.expect_connected();
            tokio::join!(dialler.stop(), listener.stop());
            reserved_falls_to(&budget, 0).await;
        });
    }
}

/// A swarm that does nothing but ask, or answer up to so many requests at a time.
fn asks(places: usize, version: Version) -> Swarm<request_response::Behaviour<Whole>> {
    let settings = request_response::Config::default().with_max_concurrent_streams(places);
    let behaviour = || request_response::Behaviour::with_codec(Whole, [(ASK, ProtocolSupport::Full)], settings);
    let timeout = Duration::from_secs(600);
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, Config::default)
        .expect("valid")
        .with_behaviour(|_| behaviour())
        .expect("valid")
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(timeout).with_substream_upgrade_protocol_override(version)
        })
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("valid")).expect("listens");
    swarm
}

/// What became of so many requests to one who has ten places: answered, failed, and answered with nothing.
async fn ask(requests: usize, version: Version) -> [usize; 3] {
    let (mut asker, mut answerer) = (asks(100_000, version), asks(10, version));
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = answerer.select_next_some().await {
            break address;
        }
    };
    let peer = *answerer.local_peer_id();
    tokio::spawn(async move {
        // It takes its time, so that the places are taken.
        let mut channels = VecDeque::new();
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        loop {
            tokio::select! {
                event = answerer.select_next_some() => if let SwarmEvent::Behaviour(Event::Message {
                    message: Message::Request { mut request, channel, .. }, ..
                }) = event {
                    request.reverse();
                    channels.push_back((channel, request));
                },
                _ = tick.tick() => while let Some((channel, response)) = channels.pop_front() {
                    let _ = answerer.behaviour_mut().send_response(channel, response);
                },
            }
        }
    });
    asker.dial(address).expect("dials");
    while !matches!(asker.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    for n in 0..requests {
        asker.behaviour_mut().send_request(&peer, vec![n as u8; 100]);
    }
    let mut outcome = [0; 3];
    while outcome.iter().sum::<usize>() < requests {
        match asker.select_next_some().await {
            SwarmEvent::Behaviour(Event::Message { message: Message::Response { response, .. }, .. }) => {
                outcome[if response.is_empty() { 2 } else { 0 }] += 1;
            }
            SwarmEvent::Behaviour(Event::OutboundFailure { .. }) => outcome[1] += 1,
            _ => {}
        }
    }
    outcome
}

#[test]
fn y_drop_7_a_request_that_nobody_takes_is_no_empty_answer() {
    for version in [Version::V1, Version::V1Lazy] {
        run_threaded(async {
            let [answered, failed, empty] = ask(2_000, version).await;
            println!("{version:?}: {answered} answered, {failed} failed, {empty} with nothing");
            assert_eq!(empty, 0, "{version:?}: {answered} answered, {failed} failed");
            assert!(answered >= 10 && failed > 0, "{version:?}: {answered} answered, {failed} failed");
        });
    }
}

/// Whoever answers has taken all requests and answered none when it disconnects.
#[test]
fn y_drop_9_a_request_in_hand_at_a_disconnect_is_no_empty_answer() {
    const REQUESTS: usize = 50;
    run_threaded(async {
        let (mut asker, mut answerer) = (asks(1_000, Version::V1), asks(1_000, Version::V1));
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = answerer.select_next_some().await {
                break address;
            }
        };
        let (here, there) = (*asker.local_peer_id(), *answerer.local_peer_id());
        asker.add_peer_address(there, address);
        for n in 0..REQUESTS {
            asker.behaviour_mut().send_request(&there, vec![1; n + 1]);
        }
        let (mut taken, mut failed) = (Vec::new(), 0);
        while failed < REQUESTS {
            tokio::select! {
                event = answerer.select_next_some() => {
                    if let SwarmEvent::Behaviour(Event::Message { message: Message::Request { channel, .. }, .. }) = event {
                        taken.push(channel);
                        if taken.len() == REQUESTS {
                            answerer.disconnect_peer_id(here).expect("connected");
                        }
                    }
                }
                event = asker.select_next_some() => match event {
                    SwarmEvent::Behaviour(Event::Message { message: Message::Response { response, .. }, .. }) => {
                        panic!("{} bytes from nobody", response.len());
                    }
                    SwarmEvent::Behaviour(Event::OutboundFailure { .. }) => failed += 1,
                    _ => {}
                },
            }
        }
    });
}
