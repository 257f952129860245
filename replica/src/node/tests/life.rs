//! An engine as one life of a process holds it: what is left of a process after its death can no longer touch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::index::engine::{Durability, Engine, EngineError, EngineStats, Memory, Mutation, Row, Space, View};

/// One life's hold on an engine.
pub struct Life {
    engine: Arc<Memory>,
    over: Arc<AtomicBool>,
}

impl Life {
    /// A hold that ends when `over` is set.
    pub fn new(engine: Arc<Memory>, over: Arc<AtomicBool>) -> Self {
        Self { engine, over }
    }

    fn check(&self) -> Result<(), EngineError> {
        match self.over.load(Ordering::Relaxed) {
            true => Err(EngineError("the process is dead".into())),
            false => Ok(()),
        }
    }
}

impl View for Life {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.check()?;
        self.engine.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        match self.check() {
            Ok(()) => self.engine.range(space, from, to),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Engine for Life {
    fn write(&self, batch: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        self.check()?;
        self.engine.write(batch, durability)
    }

    fn snapshot(&self) -> Box<dyn View> {
        self.engine.snapshot()
    }

    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        self.check()?;
        self.engine.clear(prefix)
    }

    fn stats(&self) -> EngineStats {
        self.engine.stats()
    }

    fn stored(&self) -> Vec<crate::index::engine::Stored> {
        self.engine.stored()
    }
}
