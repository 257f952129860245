//! Which engine a node's index is in, and its way from one to the other.
//!
//! The embedded one is a tree in the data directory; with a Redis there is a dump instead (`index.dump`), from which, and
//! the log, the rows can be had at any time. Whoever finds the other's files makes its own from them first and removes
//! them last, so that an interruption repeats the move and loses nothing.

use std::sync::Arc;

use holdfast_replica::file::Files;
use holdfast_replica::index::engine::dump::{self, Head};
use holdfast_replica::index::engine::{
    Durability, Engine, EngineError, Lsm, LsmOptions, Patience, Redis, RedisOptions, dump_path,
};
use holdfast_replica::node::NodeConfig;
use holdfast_wire::seam::Random;

use crate::config::Secret;

/// The index is in another engine than the configuration says.
#[derive(Debug, thiserror::Error)]
#[error("the index of this node is in {is}: set `index` as the node has it")]
struct Elsewhere {
    is: &'static str,
}

/// Opens the index of `node` in the Redis `url`, or in its data directory, and moves it there if it is elsewhere.
pub fn open(
    url: Option<&Secret>,
    cache_bytes: u64,
    node: &NodeConfig,
    random: &dyn Random,
    files: &Arc<dyn Files>,
) -> Result<Arc<dyn Engine>, EngineError> {
    let (tree, dump) = (node.data.join("index"), dump_path(&node.data));
    let dumped = dump::head(&**files, &dump)?.is_some();
    let embedded = || Lsm::open(&tree, LsmOptions { cache_bytes, ..LsmOptions::default() });
    let Some(url) = url else {
        let engine = embedded()?;
        if dumped {
            engine.clear(b"")?;
            let rows = dump::load(&**files, &dump, &engine)?;
            engine.write(Vec::new(), Durability::Synced)?;
            files.remove_file(&dump)?;
            files.sync_dir(&node.data)?;
            tracing::info!(name = node.name, rows, "the index has moved from Redis into the data directory");
        }
        return Ok(Arc::new(engine));
    };
    if Lsm::exists(&tree) {
        if !dumped {
            let head = Head { owner: random.next_u128(), number: 1 };
            dump::write(&**files, &dump, head, &*embedded()?.snapshot(), &|| Ok(()))?;
            tracing::info!(name = node.name, "the index moves from the data directory into Redis");
        }
        Lsm::remove(&tree)?;
        files.sync_dir(&node.data)?;
    }
    let options = RedisOptions {
        url: url.reveal().to_owned(),
        node: node.name.clone(),
        data: node.data.clone(),
        life: random.next_u64(),
        owner: random.next_u128(),
        patience: Patience::default(),
    };
    Ok(Arc::new(Redis::open(options, files.clone())?))
}

/// Opens the index where it is; an error if that is not where the configuration says.
pub fn open_as_it_is(
    url: Option<&Secret>,
    cache_bytes: u64,
    node: &NodeConfig,
    random: &dyn Random,
    files: &Arc<dyn Files>,
) -> Result<Arc<dyn Engine>, EngineError> {
    let dumped = dump::head(&**files, &dump_path(&node.data))?.is_some();
    match (url, dumped) {
        (None, true) => Err(EngineError(Box::new(Elsewhere { is: "a Redis" }))),
        (Some(_), false) => Err(EngineError(Box::new(Elsewhere { is: "its data directory" }))),
        _ => open(url, cache_bytes, node, random, files),
    }
}
