//! What is decided in which situation, and that connections are neither lost nor made.

use super::*;

const LOOK: Duration = Duration::from_millis(100);
const LOOKS_A_SECOND: usize = 10;

/// Workers that ran for these shares of the time and waited for a core for those, with so many connections.
fn seen(workers: &[(f64, f64, usize)], idle: f64) -> Seen {
    let load = |&(ran, waited, connections): &_| Load { ran, waited, connections };
    Seen { took: LOOK, workers: workers.iter().map(load).collect(), idle, idle_error: 0.02 }
}

fn give(from: usize, to: usize, count: usize) -> Give {
    Give { from, to, count }
}

fn using(used: usize, most: usize) -> Spread {
    Spread { used, ..Spread::new(most) }
}

/// What is seen next when connections have gone where they were sent.
fn after(mut seen: Seen, gives: &[Give]) -> Seen {
    for give in gives {
        seen.workers[give.from].connections -= give.count;
        seen.workers[give.to].connections += give.count;
    }
    seen
}

/// Looks so often at the same until the number of workers changes; after how many looks that was, and what was given then.
fn until_changed(mut spread: Spread, seen: &Seen, looks: usize) -> (Spread, usize, Vec<Give>) {
    for look in 1..=looks {
        let (next, gives) = spread.decide(seen);
        if next.used != spread.used {
            return (next, look, gives);
        }
        spread = next;
    }
    (spread, looks + 1, Vec::new())
}

/// One full worker beside idle cores is what keeps a node slow that could be faster: at the first look it gives half away.
#[test]
fn a_full_worker_beside_an_idle_core_gives_half_away() {
    let (spread, gives) = Spread::new(2).decide(&seen(&[(0.97, 0.01, 50), (0.0, 0.0, 0)], 1.0));
    assert_eq!((spread.used, gives), (2, vec![give(0, 1, 25)]));
}

/// A worker that takes turns with its clients on one core, while another core has nothing to do, is full although it does not run all the time.
/// How much of a core is idle is known only after some looks.
#[test]
fn a_worker_that_waits_for_a_core_beside_an_idle_one_is_full() {
    let full = seen(&[(0.66, 0.34, 100), (0.0, 0.0, 0)], 0.33);
    let (spread, looks, gives) = until_changed(Spread::new(2), &full, LOOKS_A_SECOND);
    assert_eq!((spread.used, looks, gives), (2, 3, vec![give(0, 1, 50)]));
}

/// Where the load itself takes the other cores, another worker only takes turns with it.
#[test]
fn without_an_idle_core_nobody_is_added() {
    for idle in [0.0, 0.1, 0.2, 0.24] {
        let full = seen(&[(0.98, 0.02, 50), (0.0, 0.0, 0)], idle);
        let (spread, ..) = until_changed(Spread::new(2), &full, 10 * LOOKS_A_SECOND);
        assert_eq!(spread.used, 1, "{idle} cores idle");
    }
}

/// One look may show a fifth of two cores more idle than there was: that alone is no reason.
#[test]
fn what_may_be_an_error_is_not_idle() {
    let mut spread = Spread::new(2);
    for look in 0..10 * LOOKS_A_SECOND {
        let idle = if look % 2 == 0 { 0.4 } else { 0.0 };
        (spread, _) = spread.decide(&seen(&[(0.98, 0.02, 50), (0.0, 0.0, 0)], idle));
        assert_eq!(spread.used, 1, "look {look}");
    }
}

/// One that has time left is not helped by another one: both would sleep and wake more often.
#[test]
fn a_worker_that_is_not_full_keeps_its_connections() {
    let busy = seen(&[(0.84, 0.04, 50), (0.0, 0.0, 0)], 7.0);
    assert_eq!(until_changed(Spread::new(8), &busy, 10 * LOOKS_A_SECOND).0.used, 1);
}

/// A large machine must not take one second for each worker that is added: three looks to eight of them, and no more than there are cores to give.
#[test]
fn the_number_doubles() {
    let mut now = seen(&[(0.0, 0.0, 0); 8], 7.0);
    now.workers[0] = Load { ran: 1.0, waited: 0.0, connections: 800 };
    let mut spread = Spread::new(8);
    for (used, idle) in [(2, 7.0), (4, 6.0), (8, 4.0)] {
        now.idle = idle;
        let gives;
        (spread, gives) = spread.decide(&now);
        assert_eq!(spread.used, used);
        now = after(now, &gives);
        now.workers[..used].iter_mut().for_each(|load| load.ran = 1.0);
    }
    assert!(now.workers.iter().all(|load| load.connections == 100));
    now.idle = 1.4;
    assert_eq!(using(4, 8).decide(&now).0.used, 5);
}

/// No more workers than the process has cores, and none without a connection.
#[test]
fn no_worker_is_added_that_would_have_nothing_to_do() {
    let (spread, gives) = Spread::new(2).decide(&seen(&[(1.0, 0.0, 1), (0.0, 0.0, 0)], 1.0));
    assert_eq!((spread.used, gives), (1, vec![]));
    let (spread, gives) = Spread::new(1).decide(&seen(&[(1.0, 0.0, 9), (0.0, 0.0, 0)], 1.0));
    assert_eq!((spread.used, gives), (1, vec![]));
}

/// Two workers that are half idle cost more than one that is not: the load that one carries gathers there. A load that pauses for a look does not.
#[test]
fn a_worker_is_given_up_when_it_was_not_needed_for_a_while() {
    let calm = seen(&[(0.42, 0.18, 25), (0.42, 0.16, 25)], 0.1);
    let full = seen(&[(0.5, 0.5, 25), (0.5, 0.5, 25)], 0.0);
    let (spread, looks, gives) = until_changed(using(2, 2), &calm, 5 * LOOKS_A_SECOND);
    assert_eq!((spread.used, looks, gives), (1, LOOKS_A_SECOND, vec![give(1, 0, 25)]));
    let mut spread = using(2, 2);
    for look in 0..10 * LOOKS_A_SECOND {
        (spread, _) = spread.decide(if look % 5 == 0 { &full } else { &calm });
        assert_eq!(spread.used, 2, "look {look}");
    }
}

/// Workers that other programs keep from running do little, but have much to do: with fewer of them the node would get even less of the machine.
#[test]
fn workers_that_wait_for_a_core_are_not_given_up() {
    let starved = seen(&[(0.2, 0.7, 10); 4], 0.0);
    assert_eq!(until_changed(using(4, 4), &starved, 10 * LOOKS_A_SECOND).0.used, 4);
}

/// A load that two workers do in the time of one, but that one cannot do: the number goes up and down, but each time later.
#[test]
fn what_proved_wrong_is_tried_later() {
    let calm = seen(&[(0.4, 0.1, 25), (0.4, 0.1, 25)], 0.6);
    let full = seen(&[(0.98, 0.02, 50), (0.0, 0.0, 0)], 1.0);
    let mut spread = using(2, 2);
    let mut times = Vec::new();
    for _ in 0..8 {
        let looks;
        (spread, looks, _) = until_changed(spread, &calm, 1000);
        assert_eq!(spread.used, 1);
        times.push(looks / LOOKS_A_SECOND);
        (spread, ..) = until_changed(spread, &full, 1000);
        assert_eq!(spread.used, 2);
    }
    assert_eq!(times, [1, 2, 4, 8, 16, 32, 64, 64]);
    // When the load is gone, there is nothing to be careful about.
    let (spread, looks, _) = until_changed(spread, &seen(&[(0.01, 0.0, 25); 2], 2.0), 1000);
    assert!(spread.used == 1 && looks <= 2 * LOOKS_A_SECOND);
}

/// The same load must not move connections for ever, and is not left to too few workers.
#[test]
fn the_same_load_comes_to_rest() {
    for load in (1..=80).map(|tenths| f64::from(tenths) / 10.0) {
        let mut now = seen(&[(0.0, 0.0, 0); 8], 0.0);
        now.workers[0].connections = 80;
        let (mut spread, mut changes) = (Spread::new(8), 0);
        for _ in 0..60 * LOOKS_A_SECOND {
            let used = spread.used;
            let ran = (load / used as f64).min(1.0);
            for (worker, one) in now.workers.iter_mut().enumerate() {
                one.ran = if worker < used { ran } else { 0.0 };
            }
            now.idle = 8.0 - ran * used as f64;
            let gives;
            (spread, gives) = spread.decide(&now);
            now = after(now, &gives);
            changes += usize::from(spread.used != used);
        }
        assert!(changes <= 5, "{changes} changes under a load of {load} workers");
        assert!(spread.used as f64 >= load.floor(), "{} workers under {load}", spread.used);
    }
}

/// A worker with the clients that ask most would stay full, while another one has nothing to do.
#[test]
fn a_worker_that_is_busier_gives_connections_to_another() {
    let uneven = seen(&[(1.0, 0.0, 20), (0.5, 0.0, 20)], 0.5);
    let spread = Spread { given: SETTLED, ..using(2, 2) };
    let (spread, gives) = spread.decide(&uneven);
    assert_eq!(gives, [give(0, 1, 5)]);
    // And then is given time to show.
    assert_eq!(spread.decide(&after(uneven, &gives)).1, []);
    // Its last connection stays: two workers would only exchange it.
    let alone = seen(&[(1.0, 0.0, 1), (0.1, 0.0, 30)], 0.9);
    assert_eq!(Spread { given: SETTLED, ..using(2, 2) }.decide(&alone).1, []);
}

/// A connection that was taken in by a worker that is not in use any more is served by it for ever, if nobody looks.
#[test]
fn who_went_astray_is_fetched() {
    let astray = seen(&[(0.1, 0.0, 5), (0.0, 0.0, 0), (0.0, 0.0, 2)], 2.0);
    let (spread, gives) = Spread::new(3).decide(&astray);
    assert_eq!((spread.used, gives), (1, vec![give(2, 0, 2)]));
}

/// Whatever there is: afterwards all are there, each of the used workers has its part, and nobody gives what it has not.
#[test]
fn levelling_loses_and_makes_none() {
    // A small generator: the same numbers each time.
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..2000 {
        let workers = 1 + next(9);
        let used = 1 + next(workers);
        let mut connections: Vec<_> = (0..workers).map(|_| next(40)).collect();
        let all: usize = connections.iter().sum();
        for Give { from, to, count } in level(connections.clone(), used) {
            assert!(count > 0 && from != to && count <= connections[from]);
            connections[from] -= count;
            connections[to] += count;
        }
        let (serve, rest) = connections.split_at(used);
        assert_eq!(connections.iter().sum::<usize>(), all);
        assert!(rest.iter().all(|count| *count == 0));
        assert!(serve.iter().max().unwrap() - serve.iter().min().unwrap() <= 1);
    }
}
