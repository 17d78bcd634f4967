//! The mesh as a whole, in virtual time: it comes together from a few seeds, costs a bounded amount, and forgets nobody because
//! somebody else shouts (federation.md 2.7 to 2.10). `examples/mesh.rs` runs the same with a thousand nodes.

#[path = "mesh/liar.rs"]
mod liar;
#[path = "mesh/world.rs"]
mod world;

use world::{Setting, World};

/// Small, and bounded as tightly for its size as a thousand nodes are by the defaults.
const SMALL: Setting = Setting {
    honest: 24,
    hostile: 0,
    seeds: 2,
    most_zones: 6,
    most_passed_on: 8,
    most_known: 60,
};

#[test]
fn from_two_seeds_every_node_comes_to_know_every_other_at_a_bounded_cost() {
    let mut world = World::new(SMALL);
    let mut intervals = 0;
    loop {
        world.interval();
        intervals += 1;
        if world
            .sight()
            .known
            .iter()
            .all(|known| *known == SMALL.honest - 1)
        {
            break;
        }
        assert!(intervals < 60, "{:?}", world.sight());
    }
    assert!(world.sight().is_connected);
    let traffic = world.take_traffic(f64::from(intervals) / 12.0);
    // Two queries to each of six zones in at most 13.4 rounds an hour.
    assert!(traffic.queries_per_node <= 2.0 * 6.0 * 13.4, "{traffic:?}");
    // An answer holds 8 heartbeats of less than 300 octets, or one.
    let most = 6.0 * 13.4 * (9.0 * 300.0 + 4.0 * 80.0);
    assert!(traffic.octets_per_node <= most, "{traffic:?}");
    assert!(world.sight().passed_on.iter().all(|(_, all)| *all <= 8));
}

#[test]
fn a_hostile_fifth_pushes_nobody_out_whom_a_node_has_found_and_keeps_nobody_from_hearing_of_all() {
    let mut world = World::new(Setting {
        hostile: 6,
        ..SMALL
    });
    let mut before = world.acquaintances();
    for interval in 0..24 {
        world.interval();
        let after = world.acquaintances();
        for (known, now) in before.iter().zip(&after) {
            let lost: Vec<_> = known.difference(now).collect();
            assert!(lost.is_empty(), "in interval {interval}: {lost:?}");
        }
        before = after;
    }
    let sight = world.sight();
    assert!(
        sight.known.iter().all(|known| *known == SMALL.honest - 1),
        "{sight:?}"
    );
    // The flood is real: every memory is full.
    assert!(
        sight.rows.iter().all(|rows| *rows == SMALL.most_known),
        "{sight:?}"
    );
    let (honest, all) = sight
        .passed_on
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(honest * 2 > all, "{sight:?}");
}
