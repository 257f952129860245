//! One batch on its way: sent with the stamp that must be there and the one that is to follow, and what its answer means.

use std::collections::BTreeMap;

use redis::{Connection, RedisResult, Value, cmd};

use super::layout::{self, Stamp};
use super::undo::{Old, Place};
use super::{Shared, Writer, link};
use crate::index::engine::{EngineError, Mutation};

/// What the script answered.
enum Answer {
    /// The batch is written; what its rows were before.
    Written(Vec<Option<Vec<u8>>>),
    /// It is not, because the set is another: what is there instead of the one stamp, and how many members.
    Other(Vec<Vec<u8>>, i64),
}

impl Shared {
    /// Writes a batch; the new stamp has `renewed`'s writer.
    pub(super) fn batch(
        &self,
        writer: &mut Writer,
        mutations: Vec<Mutation>,
        renewed: Stamp,
    ) -> Result<(), EngineError> {
        // Of several changes of one row the last one counts.
        let mut changes: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
        for mutation in mutations {
            match mutation {
                Mutation::Put(space, key, value) => {
                    let member = layout::row(self.salt, space, &key, &value);
                    changes.insert((space, key.into()), member)
                }
                Mutation::Remove(space, key) => changes.insert((space, key.into()), Vec::new()),
            };
        }
        let before = writer.stamp;
        let next = Stamp { number: before.number + 1, ..renewed };
        let mut ask = |connection: &mut Connection| {
            self.run(connection, |call| {
                call.arg(1).arg(&self.set).arg(before.encode()).arg(before.rows).arg(before.sum).arg(next.head());
                for ((space, key), member) in &changes {
                    let (low, high) = layout::only(*space, key);
                    call.arg(low).arg(high).arg(&member[..]);
                }
            })
        };
        self.undo.lock().depart(changes.keys().cloned());
        let answer =
            self.link.insist(&mut writer.connection, &mut ask).map_err(|error| self.lose(error.to_string()))?;
        let (stamp, olds) = match answer {
            Answer::Written(olds) if olds.len() == changes.len() => self.written(next, before, &changes, olds)?,
            Answer::Written(_) => {
                return Err(self.lose("it answered with other rows than it was asked about".to_owned()));
            }
            Answer::Other(stamps, members) => {
                let stamp = stamps.first().and_then(|member| Stamp::decode(member)).filter(|_| stamps.len() == 1);
                match stamp {
                    // The batch was written, and the answer was lost with a connection.
                    Some(stamp)
                        if (stamp.owner, stamp.writer, stamp.number) == (next.owner, next.writer, next.number)
                            && members == stamp.rows as i64 + 1 =>
                    {
                        (stamp, changes.into_keys().map(|place| (place, Old::Unknown)).collect())
                    }
                    _ => return Err(self.lose(differs(&before, stamp, members))),
                }
            }
        };
        writer.stamp = stamp;
        self.undo.lock().arrive(stamp.number, olds);
        self.landed.notify_all();
        Ok(())
    }

    /// The stamp that the script has written, and what the rows were.
    fn written(
        &self,
        next: Stamp,
        before: Stamp,
        changes: &BTreeMap<Place, Vec<u8>>,
        olds: Vec<Option<Vec<u8>>>,
    ) -> Result<(Stamp, Vec<(Place, Old)>), EngineError> {
        let mut stamp = Stamp { rows: before.rows, sum: before.sum, ..next };
        let mut replaced = Vec::with_capacity(olds.len());
        for ((place, member), old) in changes.iter().zip(olds) {
            let new = (!member.is_empty()).then_some(&member[..]);
            let value = match &old {
                Some(old) => {
                    let (_, _, value) = layout::read(self.salt, old).map_err(|error| self.lose(error.to_string()))?;
                    Some(value)
                }
                None => None,
            };
            stamp.count(old.as_deref(), new);
            replaced.push((place.clone(), Old::Was(value)));
        }
        Ok((stamp, replaced))
    }

    /// Runs [`layout::WRITE`] with the arguments that `fill` adds.
    fn run(&self, connection: &mut Connection, fill: impl Fn(&mut redis::Cmd)) -> RedisResult<Answer> {
        let mut call = cmd("EVALSHA");
        call.arg(self.script.get_hash());
        fill(&mut call);
        let answer: Value = match call.query(connection) {
            Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                let mut call = cmd("EVAL");
                call.arg(layout::WRITE);
                fill(&mut call);
                call.query(connection)?
            }
            answer => answer?,
        };
        let Value::Array(items) = answer else { return Err(link::unexpected(&answer)) };
        let mut items = items.into_iter();
        match items.next() {
            Some(Value::Int(1)) => {
                let old = |value| match value {
                    Value::Nil => Ok(None),
                    Value::BulkString(bytes) => Ok(Some(bytes)),
                    other => Err(link::unexpected(&other)),
                };
                Ok(Answer::Written(items.map(old).collect::<RedisResult<_>>()?))
            }
            Some(Value::Int(0)) => {
                let (stamps, members) = (items.next().unwrap_or_default(), items.next().unwrap_or_default());
                Ok(Answer::Other(redis::from_redis_value(stamps)?, redis::from_redis_value(members)?))
            }
            other => Err(link::unexpected(&other.unwrap_or_default())),
        }
    }
}

/// What differs from the stamp that this process has left.
pub(super) fn differs(left: &Stamp, found: Option<Stamp>, members: i64) -> String {
    match found {
        None if members <= 0 => "it was emptied".to_owned(),
        None => "its stamp is gone".to_owned(),
        Some(found) if found.owner != left.owner => "another node writes into it".to_owned(),
        Some(found) if found.writer != left.writer => "another process of this node writes into it".to_owned(),
        Some(found) if found.number < left.number => {
            format!("it has lost its newest batches ({} of {} are there)", found.number, left.number)
        }
        Some(found) if found.number > left.number + 1 => "somebody else has written batches".to_owned(),
        Some(_) => "rows were added or taken away by somebody else".to_owned(),
    }
}
