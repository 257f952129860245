//! What a Redis is like, for whoever looks before using it.

use std::time::Duration;

use redis::{Client, Connection, RedisResult, cmd};
use tokio::time::Instant;

use super::link::{Link, Patience, waiting};
use super::{BadUrl, place_of};
use crate::index::engine::EngineError;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where, without a password.
    pub place: String,
    /// Its version.
    pub version: String,
    /// Bytes of memory in use.
    pub used: u64,
    /// Bytes that it may use; 0: all there are.
    pub limit: u64,
    /// What it does when there is no more: only `noeviction` is right.
    pub policy: String,
    /// What a question takes.
    pub question: Duration,
}

/// Asks the Redis at `url`, for a few seconds at most.
pub fn look(url: &str) -> Result<Found, EngineError> {
    let client = Client::open(url).map_err(|_| EngineError(Box::new(BadUrl)))?;
    let patience = Patience { give_up: Duration::from_secs(3), ..Patience::default() };
    let link = Link::new(client, place_of(url), patience);
    waiting(|| {
        let mut slot = None;
        let info = link.insist(&mut slot, &mut |connection: &mut Connection| -> RedisResult<String> {
            cmd("INFO").query(connection)
        })?;
        let began = Instant::now();
        link.insist(&mut slot, &mut |connection: &mut Connection| -> RedisResult<()> {
            cmd("EVAL").arg("return redis.status_reply('OK')").arg(0).query(connection)
        })?;
        let question = began.elapsed();
        let field = |name: &str| {
            let lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
        };
        Ok(Found {
            place: link.place().to_owned(),
            version: field("redis_version"),
            used: field("used_memory").parse().unwrap_or_default(),
            limit: field("maxmemory").parse().unwrap_or_default(),
            policy: field("maxmemory_policy"),
            question,
        })
    })
}
