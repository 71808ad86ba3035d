//! A path: two namespaces, a link between them, and the settings of TCP on both sides.

use super::namespace::Namespace;
use super::relay::{MTU, Relay, Tally};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tun_rs::{DeviceBuilder, SyncDevice};

pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);
const PREFIX: u8 = 24;
const NETWORK: &str = "10.66.0.0/24";
const DEVICE: &str = "wan0";

/// Packets that a device holds until the relay takes them. By default 500, which are 6 ms at 1 Gbit/s: fewer than arrive while the
/// relay waits for a core.
const DEVICE_QUEUE: u32 = 10_000;

/// What a link is like, the same both ways.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub bits_per_second: u64,
    pub round_trip: Duration,
    /// In bytes of packets.
    pub queue: usize,
    /// The share of packets that are lost.
    pub loss: f64,
}

impl Link {
    pub fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_second as f64)
    }

    pub fn bytes_in(&self, time: Duration) -> f64 {
        time.as_secs_f64() * self.bits_per_second as f64 / 8.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    Cubic,
    Bbr,
}

impl Congestion {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }

    /// Whether the kernel has it.
    pub fn is_available(self) -> bool {
        let available = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
        available.split_whitespace().any(|name| name == self.name())
    }
}

/// How far the kernel lets the buffers of a socket grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// The defaults of a kernel of 2025, whatever those of this one are.
    Default,
    /// Up to 64 MiB, so that they limit nothing.
    Wide,
}

impl Buffers {
    /// `tcp_rmem` and `tcp_wmem`.
    const fn sizes(self) -> (&'static str, &'static str) {
        match self {
            Self::Default => ("4096 131072 33554432", "4096 16384 4194304"),
            Self::Wide => ("4096 131072 67108864", "4096 16384 67108864"),
        }
    }
}

pub struct Path {
    pub near: Namespace,
    pub far: Namespace,
    relay: Relay,
}

impl Path {
    pub fn new(link: Link, congestion: Congestion, buffers: Buffers, seed: u64) -> io::Result<Self> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        for namespace in [&near, &far] {
            let (receive, send) = buffers.sizes();
            namespace.set("ipv4/tcp_rmem", receive)?;
            namespace.set("ipv4/tcp_wmem", send)?;
            // It would announce itself over the link. A kernel may be built without it.
            let _ = namespace.set("ipv6/conf/default/disable_ipv6", "1");
        }
        let (near_device, far_device) = (device(&near, NEAR)?, device(&far, FAR)?);
        for namespace in [&near, &far] {
            namespace.inside(|| control(congestion))?;
        }
        let relay = Relay::start(near_device, far_device, link, seed)?;
        Ok(Self { near, far, relay })
    }

    /// A connection across it, with `TCP_NODELAY`: the near end, which connects, and the far one.
    pub fn connect(&self) -> io::Result<(TcpStream, TcpStream)> {
        let listener = self.far.inside(|| TcpListener::bind((FAR, 0)))?;
        let address = listener.local_addr()?;
        let near = self.near.inside(|| TcpStream::connect(address))?;
        let far = listener.accept()?.0;
        for socket in [&near, &far] {
            socket.set_nodelay(true)?;
        }
        Ok((near, far))
    }

    /// Ends it; says what became of all packets.
    pub fn end(self) -> Tally {
        self.relay.end()
    }
}

/// Sets it at the route: as the default of a namespace it may be only one that the kernel gives to everybody.
fn control(congestion: Congestion) -> io::Result<()> {
    let route = ["route", "replace", NETWORK, "dev", DEVICE, "congctl", congestion.name()];
    let done = Command::new("ip").args(route).stdin(Stdio::null()).output();
    let done = done.map_err(|error| io::Error::other(format!("ip, of iproute2: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip: {}", String::from_utf8_lossy(&done.stderr).trim())))
}

fn device(namespace: &Namespace, address: Ipv4Addr) -> io::Result<SyncDevice> {
    namespace.inside(|| {
        let device = DeviceBuilder::new().name(DEVICE).ipv4(address, PREFIX, None).mtu(MTU).with(|device| {
            device.tx_queue_len(DEVICE_QUEUE);
        });
        let device = device.build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    })
}
