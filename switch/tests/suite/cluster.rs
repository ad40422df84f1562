//! Switches wired together in the plainest way: a queue of records, no batches, nothing lost.

use std::collections::VecDeque;

use mvpnet_switch::{Config, Delivery, Ingress, Instant, PortId, Rank, Switch, Verdict, World};

/// The switches of all ranks of a world.
pub struct Cluster {
    pub world: World,
    pub switches: Vec<Switch>,
}

/// What became of a frame.
pub struct Outcome {
    /// What the sender's own switch decided.
    pub verdict: Verdict,
    /// The guests that got a copy, ascending, each as often as it got one.
    pub receivers: Vec<Rank>,
}

impl Cluster {
    pub fn new(world: World, configure: impl Fn(&mut Config)) -> Cluster {
        let switches = world.ranks().map(|me| {
            let mut config = Config::new(me, world);
            configure(&mut config);
            Switch::new(config)
        });
        Cluster { world, switches: switches.collect() }
    }

    /// Lets a guest send a frame, and carries all its copies to where they end.
    pub fn send(&mut self, now: Instant, from: Rank, frame: &[u8]) -> Outcome {
        let mut receivers = Vec::new();
        let mut in_flight = VecDeque::new();
        let verdict = self.step(now, from, Ingress::Guest, frame, &mut receivers, &mut in_flight);
        let mut hops = 0;
        while let Some((to, ingress)) = in_flight.pop_front() {
            hops += 1;
            assert!(hops < self.world.size(), "the frame runs in circles");
            let _ = self.step(now, to, ingress, frame, &mut receivers, &mut in_flight);
        }
        receivers.sort();
        Outcome { verdict, receivers }
    }

    fn step(
        &mut self,
        now: Instant,
        at: Rank,
        ingress: Ingress,
        frame: &[u8],
        receivers: &mut Vec<Rank>,
        in_flight: &mut VecDeque<(Rank, Ingress)>,
    ) -> Verdict {
        let switch = &mut self.switches[at.index() as usize];
        let verdict = switch.decide(now, ingress, frame, frame.len());
        let mut send = |port, delivery, origin| {
            switch.sent(port, frame.len());
            match port {
                PortId::Guest => receivers.push(at),
                PortId::Peer(to) => in_flight.push_back((to, Ingress::Peer { origin, delivery })),
                PortId::Tunnel(vni) => panic!("a cluster has no VNI {vni}"),
            }
        };
        match verdict {
            Verdict::Forward(port) => send(port, Delivery::Unicast, at),
            Verdict::Flood(flood) => {
                if flood.to_guest {
                    send(PortId::Guest, Delivery::Flood, flood.root);
                }
                for child in flood.children() {
                    send(PortId::Peer(child), Delivery::Flood, flood.root);
                }
            }
            Verdict::Reply(_) => {
                let len = switch.reply().len();
                switch.sent(PortId::Guest, len);
            }
            Verdict::Control(_) | Verdict::Drop(_) => {}
        }
        verdict
    }

    /// Every book balances, nothing is pending, and what some ranks sent, others received.
    pub fn check_books(&self) {
        for switch in &self.switches {
            assert_eq!(switch.counters().check_settled(), Ok(()), "rank {}", switch.config().me);
        }
        let total = |of: fn(&Switch) -> u64| self.switches.iter().map(of).sum::<u64>();
        assert_eq!(
            total(|switch| switch.counters().peers.sent.frames),
            total(|switch| switch.counters().peers.received.frames),
        );
        assert_eq!(
            total(|switch| switch.counters().peers.sent.bytes),
            total(|switch| switch.counters().peers.received.bytes),
        );
    }
}
