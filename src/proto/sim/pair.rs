//! Owns [`Pair`]: two ends, two links and a clock.

use super::end::End;
use super::invariants::{check_credit, check_traffic};
use super::link::Link;
use super::oracle::Oracle;
use super::{Chance, Load, Reached, Weather};
use crate::error::{ConnectionError, Side};
use std::time::Duration;
use web_time::Instant;

#[derive(Debug)]
pub(super) struct Pair {
    ends: [End; 2],
    /// From each end to the other.
    links: [Link; 2],
    oracle: Oracle,
    weather: Weather,
    /// Until when the links have stood still last.
    still_until: Instant,
    outages: u64,
    now: Instant,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every stream is finished and read to its end.
    Drained,
    /// One end closes while streams are open.
    Closed,
    /// The link is lost.
    Cut,
    /// One end goes away, and everything that is open drains.
    GoneAway,
}

/// Steps after which a run that has not ended is stuck.
const STEPS: usize = 200_000;

impl Pair {
    pub(super) fn new(load: Load, chance: &mut Chance) -> Self {
        let now = Instant::now();
        let links = [Link::new(load, chance, now), Link::new(load, chance, now)];
        let weather = [Weather::Jumps, Weather::Outages, Weather::Bursts][chance.below(3)];
        let ends = [0, 1].map(|side| End::new(side, links[side].volume(), load, weather, chance, now));
        let oracle = Oracle::new(ends.each_ref().map(End::may_run_out_of_memory));
        Self { ends, links, oracle, weather, still_until: now, outages: 0, now }
    }

    pub(super) fn run(mut self, chance: &mut Chance, ending: Ending) -> Reached {
        for _ in 0..20 + chance.below(300) {
            for end in &mut self.ends {
                for _ in 0..chance.below(4) {
                    let now = end.clock(self.now, chance);
                    end.act(&mut self.oracle, chance, now);
                }
            }
            self.weather(chance);
            self.step(chance);
        }
        match ending {
            Ending::Drained => self.drain(chance),
            Ending::GoneAway => self.go_away(chance),
            Ending::Closed => self.close(chance),
            Ending::Cut => self.cut(chance),
        }
        for end in &mut self.ends {
            while !end.held.is_empty() {
                end.release(0, None, &mut self.oracle, self.now);
            }
            end.settle();
            end.check();
        }
        if !matches!(ending, Ending::Drained) {
            self.ends.iter().for_each(End::check_empty);
        }
        self.oracle.check_complete();
        let mut reached = Reached { outages: self.outages, ..Reached::default() };
        self.ends.iter_mut().for_each(|end| reached += end.reached());
        reached
    }

    /// Moves what can move, then the clock to the next thing that happens. Says whether anything did.
    fn step(&mut self, chance: &mut Chance) -> bool {
        let mut moved = false;
        for side in 0..2 {
            let end = &mut self.ends[side];
            let now = end.clock(self.now, chance);
            end.mux.handle_timeout(now);
            end.ask(now);
            let room = if chance.of(4) { chance.below(self.links[side].room() + 1) } else { self.links[side].room() };
            let sent = end.transmit(room, chance, now);
            moved |= !sent.is_empty();
            self.links[side].send(&sent, self.now);
        }
        for side in 0..2 {
            if self.ends[side].is_held_back {
                let now = self.ends[side].clock(self.now, chance);
                self.ends[side].apply(chance, now);
                moved |= !self.ends[side].is_held_back;
            }
            while !self.ends[side].is_held_back
                && let Some(bytes) = self.links[1 - side].receive(chance, self.now)
            {
                moved = true;
                let now = self.ends[side].clock(self.now, chance);
                self.ends[side].receive(&bytes, chance, now);
                if chance.of(3) {
                    break;
                }
            }
            self.ends[side].check();
        }
        if !moved {
            moved = self.pass_time();
        }
        moved
    }

    fn is_quiet(&self) -> bool {
        let done = |end: &End| end.unsent.is_empty() && !end.is_held_back;
        self.links.iter().all(Link::is_empty) && self.ends.iter().all(done)
    }

    /// What happens beside the application, now and then.
    fn weather(&mut self, chance: &mut Chance) {
        if self.weather == Weather::Jumps {
            self.ends.iter_mut().for_each(|end| end.may_jump(chance));
            return;
        }
        if self.weather == Weather::Bursts && chance.of(20) && self.links.iter().all(Link::is_wide) {
            self.ends[chance.below(2)].burst(chance);
        }
        if chance.of(40) {
            let latency = Duration::from_micros(chance.pick(&[0, 10, 1_000, 50_000]));
            self.links.iter_mut().for_each(|link| link.change_path(latency));
        }
        // A silence before it, or another outage before anything came, would add to it.
        let heard = self.ends.iter().all(|end| {
            let heard = end.mux.heard_at();
            heard >= self.still_until && self.now.saturating_duration_since(heard) < Duration::from_secs(5)
        });
        let enough = self.weather == Weather::Bursts && self.outages == 3;
        if heard && !enough && chance.of(20) {
            let seconds = match self.weather {
                Weather::Bursts => chance.pick(&[1, 3]),
                Weather::Jumps | Weather::Outages => chance.pick(&[1, 12, 30]),
            };
            self.still_until = self.now + Duration::from_secs(seconds);
            self.links.iter_mut().for_each(|link| link.stand_still(self.still_until));
            self.outages += 1;
        }
    }

    /// Lets the clock jump to what happens next, if that is soon.
    fn pass_time(&mut self) -> bool {
        let arrivals = self.links.iter().filter_map(Link::next_arrival);
        let timeouts = self.ends.iter().filter_map(End::next_timeout);
        let under_way = self.links.iter().any(|link| link.next_arrival().is_some());
        match arrivals.chain(timeouts).min() {
            Some(at) if under_way || at < self.now + Duration::from_secs(5) => {
                // What is due already was looked at by a clock that was behind.
                self.now = at.max(self.now + Duration::from_micros(1));
                true
            }
            _ => false,
        }
    }

    /// Every stream is finished and read to its end, while everything still moves.
    fn drain(&mut self, chance: &mut Chance) {
        for round in 0.. {
            assert!(round < STEPS, "no progress: {}", self.brief());
            self.wind_down(chance);
            let moved = self.step(chance);
            if !moved && self.is_quiet() && self.ends.iter().all(|end| end.held.is_empty()) {
                break;
            }
            if !moved && self.is_quiet() {
                check_credit(&self.ends[0], &self.ends[1]);
            }
        }
        self.ends.iter().for_each(End::check_empty);
        check_traffic(&self.ends[0], &self.ends[1]);
        self.ends.iter().for_each(|end| assert_eq!(end.mux.inspect().half_open.len(), 0, "both ends have ended all"));
    }

    /// Each end accepts what there is, and reads and finishes what it holds; streams that are done are dropped.
    fn wind_down(&mut self, chance: &mut Chance) {
        for end in &mut self.ends {
            end.accept();
            for index in (0..end.held.len()).rev() {
                let now = end.clock(self.now, chance);
                let read = end.read(index, &mut self.oracle, chance, now);
                let finished = match end.insists(index, &mut self.oracle) {
                    true => end.insist(index, &mut self.oracle, now),
                    false => end.finish(index, &mut self.oracle, now),
                };
                if read && finished {
                    end.release(index, None, &mut self.oracle, now);
                }
            }
            end.settle();
        }
    }

    fn go_away(&mut self, chance: &mut Chance) {
        self.ends.iter_mut().for_each(|end| end.may_end = true);
        let side = chance.below(2);
        self.ends[side].mux.go_away();
        for round in 0.. {
            assert!(round < STEPS, "no progress: {}", self.brief());
            self.wind_down(chance);
            let moved = self.step(chance);
            if !moved && self.is_quiet() {
                // A transport ends when its sender is done with it.
                let closed = self.ends.each_ref().map(|end| end.mux.closed().is_some());
                for side in (0..2).filter(|side| closed[1 - side]) {
                    let now = self.now;
                    self.ends[side].end(|mux| mux.handle_eof(false, now));
                }
                if self.ends.iter().all(|end| end.held.is_empty() && end.mux.waiting() == 0) {
                    break;
                }
            }
        }
        // The peer that was told closes once its last stream has ended.
        let told = self.ends[1 - side].mux.closed().cloned();
        assert!(matches!(told, Some(ConnectionError::Closed { by: Side::Remote })), "{told:?}");
    }

    /// One end closes: what it had written arrives, as far as the other end reads, then everything fails.
    fn close(&mut self, chance: &mut Chance) {
        self.ends.iter_mut().for_each(|end| end.may_end = true);
        let (side, code) = (chance.below(2), chance.pick(&[0, 42]) as u32);
        self.ends[side].mux.close(code);
        let mut steps = 0;
        while self.step(chance) || !self.is_quiet() || self.ends[side].mux.closed().is_none() {
            steps += 1;
            assert!(steps < STEPS, "no progress: {}", self.brief());
        }
        let (near, far) = (self.ends[side].mux.closed().cloned(), self.ends[1 - side].mux.closed().cloned());
        match code {
            0 => assert!(matches!(near, Some(ConnectionError::Closed { by: Side::Local })), "{near:?}"),
            _ => {
                assert!(matches!(near, Some(ConnectionError::GoAway { by: Side::Local, code: 42 })), "{near:?}");
                assert!(matches!(far, Some(ConnectionError::GoAway { by: Side::Remote, code: 42 })), "{far:?}");
            }
        }
        let now = self.now;
        self.ends[1 - side].end(|mux| mux.handle_eof(false, now));
        self.read_everything(chance);
        let read: Vec<_> = self.ends[1 - side].held.iter().map(|held| held.id).collect();
        self.oracle.check_delivered(1 - side, &read);
    }

    /// Where a run that does not end is stuck.
    fn brief(&self) -> String {
        let ends = self.ends.iter().zip(&self.links).map(|(end, link)| {
            let streams: Vec<_> =
                end.mux.inspect().store.keys().filter_map(|key| end.mux.inspect().store.get(key)).take(2).collect();
            format!(
                "{link:?} {streams:?} {:?} unsent {} held {}",
                end.mux.inspect().lifecycle,
                end.unsent.len(),
                end.held.len()
            )
        });
        ends.collect::<Vec<_>>().join("\n")
    }

    fn cut(&mut self, chance: &mut Chance) {
        for (end, link) in self.ends.iter_mut().zip(&mut self.links) {
            end.may_end = true;
            link.cut();
            end.end(|mux| mux.handle_eof(true, self.now));
            assert!(matches!(end.mux.closed(), Some(ConnectionError::UnexpectedEof | ConnectionError::Closed { .. })));
            end.settle();
            end.check();
        }
        self.read_everything(chance);
    }

    /// What has arrived can still be accepted and read, then comes the end.
    fn read_everything(&mut self, chance: &mut Chance) {
        for end in &mut self.ends {
            end.accept_all();
            for index in 0..end.held.len() {
                let mut reads = 0;
                while !end.read(index, &mut self.oracle, chance, self.now) {
                    reads += 1;
                    assert!(reads < 100_000, "a stream of an ended connection blocks");
                }
            }
            end.settle();
            end.check();
        }
    }
}
