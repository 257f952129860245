//! Connections to Redis: every call has a deadline, a connection that failed is not used again, and how long Redis has
//! been silent is known at any moment.

use std::fmt;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use redis::{Client, Connection, ErrorKind, RedisError, RedisResult, Value};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use crate::index::engine::EngineError;

/// Readers' connections at most.
const CONNECTIONS: usize = 16;
/// Pause before a writer tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// One attempt, connecting or waiting for an answer.
    pub attempt: Duration,
    /// Readers are turned away at once when Redis has been silent for so long.
    pub turn_away: Duration,
    /// A writer tries again and again for so long; then the node cannot go on.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(1),
            turn_away: Duration::from_millis(400),
            give_up: Duration::from_secs(30),
        }
    }
}

/// Why a call got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Not now.
    #[error("Redis at {place} {reason}")]
    Silent {
        /// Where, without a password.
        place: String,
        /// What it did instead.
        reason: String,
    },
    /// Trying again is of no use: what it lacks has to be changed.
    #[error("Redis at {place} refuses: {reason}")]
    Refused {
        /// Where.
        place: String,
        /// In its words.
        reason: String,
    },
}

impl From<NoAnswer> for EngineError {
    fn from(error: NoAnswer) -> Self {
        Self(Box::new(error))
    }
}

/// The way to Redis.
pub struct Link {
    client: Client,
    place: String,
    patience: Patience,
    idle: Mutex<Idle>,
    returned: Condvar,
    /// Since when there is no answer, and why.
    silent: Mutex<Option<(Instant, String)>>,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    lent: usize,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Runs work that waits for Redis without holding up the tasks that share this thread.
pub fn waiting<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Link {
    /// A way that nobody has gone yet. `place` is what errors call it.
    pub fn new(client: Client, place: String, patience: Patience) -> Self {
        Self { client, place, patience, idle: Mutex::default(), returned: Condvar::new(), silent: Mutex::default() }
    }

    /// Where, without a password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Since when it has been silent and why, if it is.
    pub fn silent(&self) -> Option<(Duration, String)> {
        self.silent.lock().as_ref().map(|(since, reason)| (since.elapsed(), reason.clone()))
    }

    /// Takes note of how an attempt that began then went.
    fn note<T>(&self, began: Instant, result: &RedisResult<T>) {
        let mut silent = self.silent.lock();
        match result {
            Ok(_) => *silent = None,
            Err(error) => {
                let reason = describe(error);
                match &mut *silent {
                    Some((_, last)) => *last = reason,
                    None => {
                        tracing::warn!(redis = self.place, reason, "Redis does not answer: this node steps aside");
                        *silent = Some((began, reason));
                    }
                }
            }
        }
    }

    fn no_answer(&self, error: &RedisError) -> NoAnswer {
        let (place, reason) = (self.place.clone(), describe(error));
        if is_refusal(error) { NoAnswer::Refused { place, reason } } else { NoAnswer::Silent { place, reason } }
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(self.patience.attempt)?;
        connection.set_read_timeout(Some(self.patience.attempt))?;
        connection.set_write_timeout(Some(self.patience.attempt))?;
        Ok(connection)
    }

    /// One attempt on `slot`'s connection, or on a new one. A connection that failed is dropped: an answer that comes
    /// late must not be taken for the next one.
    pub fn attempt<T>(
        &self,
        slot: &mut Option<Connection>,
        ask: &mut dyn FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, NoAnswer> {
        let began = Instant::now();
        let result = match slot.take() {
            Some(connection) => Ok(connection),
            None => self.connect(),
        };
        let result = result.and_then(|mut connection| {
            let answer = ask(&mut connection);
            // An error that Redis itself has answered leaves the connection in step.
            if answer.as_ref().map_or_else(|error| said(error).is_some(), |_| true) {
                *slot = Some(connection);
            }
            answer
        });
        self.note(began, &result);
        result.map_err(|error| self.no_answer(&error))
    }

    /// Tries again until there is an answer, for as long as patience goes.
    pub fn insist<T>(
        &self,
        slot: &mut Option<Connection>,
        ask: &mut dyn FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, NoAnswer> {
        let began = Instant::now();
        loop {
            match self.attempt(slot, ask) {
                Err(NoAnswer::Silent { .. }) if began.elapsed() < self.patience.give_up => std::thread::sleep(AGAIN),
                result => return result,
            }
        }
    }

    /// A reader's question, on a connection that it shares with nobody meanwhile. With `insist` it is asked again and
    /// again, without it readers are turned away while Redis is silent.
    pub fn ask<T>(&self, insist: bool, ask: &mut dyn FnMut(&mut Connection) -> RedisResult<T>) -> Result<T, NoAnswer> {
        if !insist
            && let Some((since, reason)) = self.silent()
            && since >= self.patience.turn_away
        {
            return Err(NoAnswer::Silent { place: self.place.clone(), reason });
        }
        let mut slot = self.borrow(insist)?;
        let kept = slot.is_some();
        let result = if insist {
            self.insist(&mut slot, ask)
        } else {
            match self.attempt(&mut slot, ask) {
                // It may have ended long ago, with Redis itself.
                Err(NoAnswer::Silent { .. }) if kept && slot.is_none() => self.attempt(&mut slot, ask),
                result => result,
            }
        };
        let mut idle = self.idle.lock();
        idle.lent -= 1;
        idle.connections.extend(slot);
        drop(idle);
        self.returned.notify_one();
        result
    }

    /// An idle connection, or the right to make one.
    fn borrow(&self, insist: bool) -> Result<Option<Connection>, NoAnswer> {
        let within = if insist { self.patience.give_up } else { self.patience.attempt };
        let began = Instant::now();
        let mut idle = self.idle.lock();
        while idle.lent >= CONNECTIONS {
            if began.elapsed() >= within {
                let reason = "has not answered the questions before this one".to_owned();
                return Err(NoAnswer::Silent { place: self.place.clone(), reason });
            }
            self.returned.wait_for(&mut idle, Duration::from_millis(20));
        }
        idle.lent += 1;
        Ok(idle.connections.pop())
    }
}

/// An answer of another form than the question allows.
pub fn unexpected(answer: &Value) -> RedisError {
    let kind = match answer {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list",
        _ => "something else",
    };
    (ErrorKind::UnexpectedReturnType, "an answer of an unexpected form", kind.to_owned()).into()
}

/// Code and detail of an error that Redis itself has answered, the first of a pipeline's.
fn said(error: &RedisError) -> Option<(String, String)> {
    let errors = error.clone().into_server_errors()?;
    let (_, first) = errors.first()?;
    Some((first.code().to_owned(), first.details().unwrap_or_default().to_owned()))
}

fn describe(error: &RedisError) -> String {
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    if error.is_connection_refusal() {
        return "cannot be reached: connection refused".to_owned();
    }
    let said = said(error);
    match said.as_ref().map(|(code, _)| &code[..]) {
        Some("OOM") => "has no memory left (maxmemory)".to_owned(),
        Some("LOADING") => "is still loading its data".to_owned(),
        Some("MISCONF") => "cannot write its own files (MISCONF)".to_owned(),
        Some(code) => format!("answers {code} {}", said.as_ref().map_or("", |(_, detail)| detail)),
        None => format!("cannot be used: {error}"),
    }
}

/// Whether it will say the same tomorrow.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
        || said(error).is_some_and(|(code, _)| matches!(&code[..], "NOAUTH" | "WRONGPASS" | "NOPERM"))
}
