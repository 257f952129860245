//! What stands in Redis at a start: this data directory's rows, whole and as new as its dump; or something else, and then the
//! dump's rows take its place.

use redis::{Connection, RedisResult, cmd, pipe};

use super::layout::{self, Stamp};
use super::{COUNTED_WRONG, Members, PAGE, Shared, Writer};
use crate::index::engine::dump::{self, Head};
use crate::index::engine::{EngineError, Space};

impl Shared {
    /// Takes the rows over if they are what the stamp says, whole and not older than the dump; otherwise fills them in.
    pub(super) fn find_or_fill(&self, head: Head) -> Result<(), EngineError> {
        let mut writer = self.writer.lock();
        let found = self.found(&mut writer)?;
        match self.believe(&mut writer, head, &found)? {
            Ok(stamp) => writer.stamp = stamp,
            Err(reason) => {
                if reason != "it is empty" || head.number > 0 {
                    tracing::warn!(
                        redis = self.link.place(),
                        reason,
                        "the index in Redis is filled in from the dump and the log"
                    );
                }
                self.fill(&mut writer)?;
            }
        }
        // Whatever an earlier life may still have on its way to Redis finds another stamp from now on.
        let renewed = Stamp { writer: self.life, ..writer.stamp };
        self.batch(&mut writer, Vec::new(), renewed)?;
        self.undo.lock().arrive(writer.stamp.number, Vec::new());
        Ok(())
    }

    /// The stamps in the set and how many members there are.
    fn found(&self, writer: &mut Writer) -> Result<(Members, i64), EngineError> {
        let mut ask = |connection: &mut Connection| -> RedisResult<(Members, i64)> {
            let mut both = pipe();
            both.cmd("ZRANGEBYLEX").arg(&self.set).arg(layout::STAMP.0).arg(layout::STAMP.1).arg("LIMIT").arg(0).arg(2);
            both.cmd("ZCARD").arg(&self.set);
            both.query(connection)
        };
        Ok(self.link.insist(&mut writer.connection, &mut ask)?)
    }

    /// Whether what was found is this directory's index, whole; if not, why.
    fn believe(
        &self,
        writer: &mut Writer,
        head: Head,
        (stamps, members): &(Members, i64),
    ) -> Result<Result<Stamp, &'static str>, EngineError> {
        let stamp = match &stamps[..] {
            [one] => Stamp::decode(one),
            [] if *members == 0 => return Ok(Err("it is empty")),
            _ => None,
        };
        let Some(stamp) = stamp else { return Ok(Err("what is there is no index")) };
        if stamp.owner != head.owner {
            return Ok(Err("it is another data directory's"));
        }
        if stamp.writer == 0 {
            return Ok(Err("it was not filled in to its end"));
        }
        if stamp.number < head.number {
            return Ok(Err("it is older than the dump"));
        }
        let mut counted = Stamp { rows: 0, sum: 0, ..stamp };
        let mut low = vec![b'[', Space::Records as u8 + 1];
        loop {
            let mut ask = |connection: &mut Connection| -> RedisResult<Members> {
                let mut page = cmd("ZRANGEBYLEX");
                page.arg(&self.set).arg(&low[..]).arg(layout::EVERYTHING.1).arg("LIMIT").arg(0).arg(PAGE);
                page.query(connection)
            };
            let page = self.link.insist(&mut writer.connection, &mut ask)?;
            for member in &page {
                if layout::read(self.salt, member).is_err() {
                    return Ok(Err("a row is damaged or was not written by this node"));
                }
                counted.count(None, Some(member));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => low = [b"(", &last[..]].concat(),
                _ => break,
            }
        }
        Ok(if counted == stamp { Ok(stamp) } else { Err(COUNTED_WRONG) })
    }

    /// Fills the set in from the dump. Only the stamp of the writer's first own batch makes it whole.
    fn fill(&self, writer: &mut Writer) -> Result<(), EngineError> {
        let blank = writer.stamp;
        let mut ask = |connection: &mut Connection| -> RedisResult<()> {
            let mut anew = pipe();
            anew.atomic().cmd("DEL").arg(&self.set).ignore();
            anew.cmd("ZADD").arg(&self.set).arg(0).arg(blank.encode()).ignore();
            anew.query(connection)
        };
        self.link.insist(&mut writer.connection, &mut ask)?;
        let rows = dump::each(&*self.files, &self.path, &mut |batch| {
            let stamp = writer.stamp;
            self.batch(writer, batch, stamp)
        })?;
        tracing::info!(redis = self.link.place(), rows, "the index in Redis is filled in");
        Ok(())
    }
}
