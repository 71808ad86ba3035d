//! `Peer`: the other end of a transport, driven by hand. It follows no rule by itself, but answers pings.

use crate::link::Link;
use asynchronous_codec::Framed;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use sluicegate::wire::{Codec, Flags, Frame, Header, PingKind, StreamId};
use std::collections::BTreeMap;

pub struct Peer {
    framed: Framed<Link, Codec>,
    /// What was heard of each stream.
    pub streams: BTreeMap<u32, Heard>,
    /// The codes of go-aways.
    pub away: Vec<u32>,
    /// The nonces of pongs.
    pub pongs: Vec<u32>,
    pub end: End,
}

/// What was heard of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub bytes: Vec<u8>,
    /// Every flag that was set on any frame.
    pub flags: Flags,
    /// Bytes that may be sent beyond the first window.
    pub credit: u32,
}

/// Of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    NotYet,
    Heard,
}

impl Peer {
    pub fn new(link: Link) -> Self {
        let framed = Framed::new(link, Codec::default());
        Self { framed, streams: BTreeMap::new(), away: Vec::new(), pongs: Vec::new(), end: End::NotYet }
    }

    /// What was heard of a stream so far.
    pub fn of(&self, id: u32) -> Heard {
        self.streams.get(&id).cloned().unwrap_or_default()
    }

    /// Listens until that is enough.
    pub async fn hear(&mut self, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            assert_eq!(self.end, End::NotYet, "{:?}, {:?}: and nothing more will come", self.streams, self.away);
            match self.framed.next().await {
                Some(Ok(Frame::Header(header))) => self.note(header).await,
                Some(Ok(Frame::Body(_))) => panic!("a body without a header"),
                Some(Err(error)) => panic!("{error}"),
                None => self.end = End::Heard,
            }
        }
    }

    async fn note(&mut self, header: Header) {
        match header {
            Header::Data { id, flags, len } => {
                let mut body = Vec::new();
                while body.len() < len as usize && self.end == End::NotYet {
                    match self.framed.next().await {
                        Some(Ok(Frame::Body(piece))) => body.extend_from_slice(&piece),
                        Some(other) => panic!("{other:?} inside a body"),
                        None => self.end = End::Heard,
                    }
                }
                let heard = self.streams.entry(id.value()).or_default();
                heard.flags = heard.flags | flags;
                heard.bytes.extend(body);
            }
            Header::WindowUpdate { id, flags, value } => {
                let heard = self.streams.entry(id.value()).or_default();
                heard.flags = heard.flags | flags;
                heard.credit += value;
            }
            Header::Ping { kind: PingKind::Request, nonce } => {
                self.send(Header::Ping { kind: PingKind::Response, nonce }).await;
            }
            Header::Ping { kind: PingKind::Response, nonce } => self.pongs.push(nonce),
            Header::Ping { kind: PingKind::Unflagged, .. } => panic!("a ping that is neither request nor response"),
            Header::GoAway { code } => self.away.push(code),
        }
    }

    pub async fn send(&mut self, header: Header) {
        self.framed.send(Frame::Header(header)).await.expect("the transport takes it");
    }

    pub async fn send_update(&mut self, id: u32, flags: Flags, value: u32) {
        self.send(Header::WindowUpdate { id: stream(id), flags, value }).await;
    }

    pub async fn send_data(&mut self, id: u32, flags: Flags, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("short");
        self.framed
            .feed(Frame::Header(Header::Data { id: stream(id), flags, len }))
            .await
            .expect("the transport takes it");
        self.framed.send(Frame::Body(Bytes::copy_from_slice(body))).await.expect("the transport takes it");
    }

    /// Waits until the other end has done all that was caused so far.
    pub async fn settle(&mut self) {
        let nonce = u32::try_from(self.pongs.len()).expect("few");
        self.send(Header::Ping { kind: PingKind::Request, nonce }).await;
        self.hear(|peer| peer.pongs.contains(&nonce)).await;
    }

    /// Ends this side of the transport.
    pub async fn shut(&mut self) {
        self.framed.close().await.expect("the transport shuts");
    }
}

fn stream(id: u32) -> StreamId {
    StreamId::new(id).expect("not zero")
}
