//! Records that are moved out of a block that is being reclaimed.

use std::future::Future;

use cairn_engine::{device::sim::Rng, model::Ttl};

use crate::{
    common::{bin, key},
    world::{BLOCK, Held, World, config, replace, value},
};

/// Which moments of a reclaim were met.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moments {
    /// Records were moved and nothing was written since.
    moved: bool,
    /// Something was written since, and no block has become free.
    flushed: bool,
    /// A block has become free, and nothing was written since.
    freed: bool,
}

/// Power is lost at every moment of moving records: before the copies are flushed, before the block's header says that it is free, before it is
/// written anew. Records that were acknowledged long ago would be lost, though nobody has touched them.
#[test]
fn a_crash_at_every_moment_of_a_move() {
    // One stream, and three.
    for (blocks, keys, most) in [(12, 48, 60), (34, 200, 120)] {
        let mut world = World::new(config(), blocks, 1700);
        (0..keys).for_each(|n| world.put("s", n).unwrap());
        world.device().set_stepped(true);
        let mut rng = Rng::new(blocks);
        let mut moments = Moments::default();
        let (mut round, mut turns) = (1_000_000, 0);
        while world.stats().records_moved < most {
            round += 1;
            let n = rng.below(keys as usize) as u64;
            world.begin("s", n, Some(Held { round, void_ms: 0 }));
            let (key, bins) = (key("s", n), bin(value(round, 1700)));
            let namespace = std::sync::Arc::clone(&world.db.namespace);
            let policy = replace(Ttl::Never);
            let mut put = Box::pin(namespace.put(&key, &bins, &policy));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut before = world.stats();
            let mut writes = world.device().write_count();
            while put.as_mut().poll(&mut context).is_pending() {
                match turns % 2 {
                    0 => drop(world.db.namespace.drive()),
                    _ => drop(world.device().step()),
                }
                turns += 1;
                let (now, written) = (world.stats(), world.device().write_count());
                let moving = now.records_moved > before.records_moved;
                moments.moved |= moving && written == writes;
                moments.flushed |=
                    moving && written > writes && now.free_blocks == before.free_blocks;
                moments.freed |= now.free_blocks > before.free_blocks && written == writes;
                if moving || now.free_blocks > before.free_blocks {
                    world.check_crashes(rng.next_u64());
                }
                (before, writes) = (now, written);
            }
            drop(put);
            world.end("s", n, true);
        }
        let all = Moments { moved: true, flushed: true, freed: true };
        assert_eq!(moments, all, "{blocks} blocks: some moments were not met");
        world.device().set_stepped(false);
        world.settle();
        world.check();
        assert!(world.stats().capacity_bytes <= blocks * BLOCK);
    }
}
