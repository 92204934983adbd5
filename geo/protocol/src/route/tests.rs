//! Stories of routes: shapes, loops, and sets that omit a hop.

use meridian_model::{LogId, Offset};

use super::*;

fn region(name: &str) -> Region {
    Region::parse(name).expect("a name")
}

fn regions<const N: usize>(names: [&str; N]) -> Vec<Region> {
    names.map(region).to_vec()
}

#[test]
fn in_a_full_mesh_everybody_ships_directly() {
    let all = regions(["a", "b", "c"]);
    let routes = Routes::full_mesh(&all).expect("valid");
    assert_eq!(routes.hops(&all[0], &all[2]), Vec::<&Region>::new());
    assert_eq!(routes.downstreams(&all[0], &all[0]).count(), 2);
    assert_eq!(routes.downstreams(&all[0], &all[1]).count(), 0);
}

#[test]
fn a_star_passes_its_centre_and_a_chain_its_links() {
    let (centre, around) = (region("m"), regions(["a", "b", "c"]));
    let star = Routes::star(&centre, &around).expect("valid");
    assert_eq!(star.hops(&around[0], &around[2]), [&centre]);
    assert_eq!(star.hops(&centre, &around[2]), Vec::<&Region>::new());

    let line = regions(["a", "b", "c", "d"]);
    let chain = Routes::chain(&line).expect("valid");
    assert_eq!(chain.hops(&line[0], &line[3]), [&line[2], &line[1]]);
    assert_eq!(chain.hops(&line[3], &line[0]), [&line[1], &line[2]]);
}

#[test]
fn an_aggregation_sends_nothing_back() {
    let (sources, sink) = (regions(["a", "b"]), region("z"));
    let routes = Routes::aggregation(&sources, &sink).expect("valid");
    assert_eq!(routes.upstream(&sources[0], &sink), Some(&sources[0]));
    assert_eq!(routes.upstream(&sink, &sources[0]), None);
    assert_eq!(routes.upstream(&sources[0], &sources[1]), None);
}

#[test]
fn two_upstreams_a_loop_a_break_and_a_leg_to_itself_are_refused() {
    let leg =
        |o: &str, d: &str, u: &str| Leg { origin: region(o), destination: region(d), upstream: region(u) };
    let two = Routes::new([leg("a", "b", "a"), leg("a", "c", "a"), leg("a", "b", "c")]);
    assert_eq!(two, Err(RouteError::TwoUpstreams { origin: region("a"), destination: region("b") }));
    let round = Routes::new([leg("a", "b", "c"), leg("a", "c", "b")]);
    assert!(matches!(round, Err(RouteError::Loop { .. })), "{round:?}");
    let broken = Routes::new([leg("a", "b", "c")]);
    assert_eq!(broken, Err(RouteError::Broken { origin: region("a"), upstream: region("c") }));
    assert_eq!(Routes::new([leg("a", "a", "b")]), Err(RouteError::ToItself(region("a"))));
    assert_eq!(Routes::new([leg("a", "b", "b")]), Err(RouteError::ToItself(region("b"))));
}

#[test]
fn a_set_that_omits_a_hop_is_refused_at_publish() {
    let line = regions(["a", "b", "c"]);
    let chain = Routes::chain(&line).expect("valid");
    let set = RegionSet::only([&line[0], &line[2]]);
    let refused = chain.check_set(&line[0], &set);
    assert_eq!(refused, Err(OmitsHop { destination: line[2].clone(), hop: line[1].clone() }));
    assert_eq!(chain.check_set(&line[1], &set), Ok(()));
    assert_eq!(chain.check_set(&line[0], &RegionSet::only(&line)), Ok(()));
    assert_eq!(chain.check_set(&line[0], &RegionSet::Everywhere), Ok(()));
}

#[test]
fn a_change_waits_for_its_barrier() {
    let mut change = RouteChange::new(LogId::from_u128(1), region("h"), RouteEpoch(2));
    assert_eq!(change.start(Offset(9)), Err(ChangeError::NoBarrier));
    change.ruled(Offset(5));
    change.ruled(Offset(3));
    let below = ChangeError::BelowBarrier { watermark: Offset(4), barrier: Offset(5) };
    assert_eq!(change.start(Offset(4)), Err(below));
    assert_eq!(change.may_relax(), Err(ChangeError::NotStarted));
    assert_eq!(change.start(Offset(5)), Ok(()));
    assert_eq!(change.may_relax(), Ok(()));
}
