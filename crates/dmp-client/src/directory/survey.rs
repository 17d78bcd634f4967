//! Many zones together: every node that any of them tells of, and who has heard of whom (federation.md 2.13).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use futures_util::StreamExt;
use futures_util::stream;

use super::{Beat, Unanswered, View, look};
use crate::limits::DIRECTORY_ZONES_IN_FLIGHT;
use crate::mesh::Reader;

/// A node, by its newest heartbeat.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it says.
    pub beat: Beat,
    /// The zones that told of it, in the order in which they were asked.
    pub via: Vec<Zone>,
}

/// The node of one zone has heard of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The operator who has heard.
    pub from: SigningPublicKey,
    /// Of whom.
    pub to: SigningPublicKey,
    /// The newest heartbeat that it passes on.
    pub last_seen: UnixTime,
}

/// What the zones say together.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The nodes, newest heartbeat first.
    pub nodes: Vec<Listed>,
    /// Who has heard of whom, by keys.
    pub edges: Vec<Edge>,
    /// What became of each zone: its newest own heartbeat, if it has one.
    pub zones: Vec<(Zone, Result<Option<Beat>, Unanswered>)>,
}

impl Survey {
    /// How many zones answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.zones
            .iter()
            .filter(|(_, answer)| answer.is_ok())
            .count()
    }
}

/// Asks each zone once, two queries each, some at a time.
pub async fn survey(reader: &dyn Reader, zones: &[Zone], now: UnixTime) -> Survey {
    let asked = stream::iter(zones).map(async |zone| (zone.clone(), look(reader, zone, now).await));
    let answers: Vec<_> = asked.buffered(DIRECTORY_ZONES_IN_FLIGHT).collect().await;
    let mut nodes: BTreeMap<(SigningPublicKey, String), Listed> = BTreeMap::new();
    let mut edges: BTreeMap<([u8; 32], [u8; 32]), Edge> = BTreeMap::new();
    let mut zones = Vec::new();
    for (zone, answer) in answers {
        if let Ok(view) = &answer {
            for beat in view.own.iter().chain(&view.seen) {
                list(&mut nodes, beat, &zone, now);
            }
            connect(&mut edges, view, now);
        }
        zones.push((zone, answer.map(|view| view.own.into_iter().next())));
    }
    let mut nodes: Vec<Listed> = nodes.into_values().collect();
    nodes.sort_by_key(|node| Reverse(node.beat.heard(now)));
    Survey {
        nodes,
        edges: edges.into_values().collect(),
        zones,
    }
}

fn list(
    nodes: &mut BTreeMap<(SigningPublicKey, String), Listed>,
    beat: &Beat,
    zone: &Zone,
    now: UnixTime,
) {
    let heartbeat = &beat.heartbeat;
    let key = (heartbeat.operator, heartbeat.endpoint.as_str().to_owned());
    let node = nodes.entry(key).or_insert_with(|| Listed {
        beat: beat.clone(),
        via: Vec::new(),
    });
    if beat.heard(now) > node.beat.heard(now) {
        node.beat = beat.clone();
    }
    if !node.via.contains(zone) {
        node.via.push(zone.clone());
    }
}

/// The zone's own node has heard of those that the zone passes on.
fn connect(edges: &mut BTreeMap<([u8; 32], [u8; 32]), Edge>, view: &View, now: UnixTime) {
    let Some(own) = view.own.first() else { return };
    let from = own.heartbeat.operator;
    for beat in &view.seen {
        let to = beat.heartbeat.operator;
        if to == from {
            continue;
        }
        let edge = edges.entry((*from.as_bytes(), *to.as_bytes()));
        let edge = edge.or_insert(Edge {
            from,
            to,
            last_seen: beat.heard(now),
        });
        edge.last_seen = edge.last_seen.max(beat.heard(now));
    }
}
