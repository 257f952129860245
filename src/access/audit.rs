//! The audit log: one line of JSON for every administrative change and every refusal. Into the file that `audit-log` names,
//! otherwise into the process's own log under the target `holdfast_audit`.

use std::path::Path;
use std::sync::Arc;

use holdfast_gateway::audit::{AuditSink, Record};
use holdfast_replica::file::{File, Files, Open};
use parking_lot::Mutex;

/// Where records go. Cheap to clone.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Appender>>);

struct Appender {
    file: Arc<dyn File>,
    /// Where the next line begins.
    end: Mutex<u64>,
}

impl Log {
    /// Appends to the file at `path`, which is made if it is not there.
    pub fn open(files: &dyn Files, path: &Path) -> std::io::Result<Self> {
        let file = match files.open(path, Open::Write) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => files.open(path, Open::Create)?,
            opened => opened?,
        };
        let end = Mutex::new(file.len()?);
        Ok(Self(Some(Arc::new(Appender { file, end }))))
    }
}

impl AuditSink for Log {
    /// A line is a few hundred bytes into the page cache: the caller does not wait for a disk.
    fn record(&self, record: &Record<'_>) {
        let mut line = serde_json::to_vec(record).expect("records are always serializable");
        line.push(b'\n');
        let Some(appender) = &self.0 else {
            tracing::info!(target: "holdfast_audit", record = %String::from_utf8_lossy(&line).trim_end(), "audit");
            return;
        };
        let mut end = appender.end.lock();
        match appender.file.write_all_at(&line, *end) {
            Ok(()) => *end += line.len() as u64,
            Err(error) => {
                let lost = String::from_utf8_lossy(&line);
                tracing::error!(target: "holdfast_audit", %error, record = lost.trim_end(), "the audit log cannot be written");
            }
        }
    }
}
