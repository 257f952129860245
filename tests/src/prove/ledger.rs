//! What was run already, kept beside the programs: a long gate that is ended goes on where it was, as long as it runs the
//! very same simulator.
//!
//! ```text
//! one JSON object a line: {"program": digest, "what": "seeds/8/kill/3", "result": …}
//! ```

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::HarnessError;

/// Results by what was run.
pub struct Ledger {
    path: PathBuf,
    program: String,
    known: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    program: String,
    what: String,
    result: Value,
}

impl Ledger {
    /// Of this simulator, at `path`. What others left there is passed over, and so is a line that was cut off.
    pub fn open(path: &Path, simulator: &Path) -> Result<Self, HarnessError> {
        let file = |path: &Path| {
            let path = path.display().to_string();
            move |source| HarnessError::File { path, source }
        };
        let program = hex::encode(&Sha256::digest(std::fs::read(simulator).map_err(file(simulator))?)[..8]);
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(file(path))?,
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let known = lines.filter(|line| line.program == program).map(|line| (line.what, line.result)).collect();
        Ok(Self { path: path.to_owned(), program, known })
    }

    /// The result, if there is one.
    pub fn result<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        self.known.get(what).and_then(|result| serde_json::from_value(result.clone()).ok())
    }

    /// Writes one down.
    pub fn keep<T: Serialize>(&mut self, what: String, result: &T) -> Result<(), HarnessError> {
        let file = |source| HarnessError::File { path: self.path.display().to_string(), source };
        let result = serde_json::to_value(result).expect("results are always serializable");
        let line = Line { program: self.program.clone(), what, result };
        let text = serde_json::to_string(&line).expect("lines are always serializable") + "\n";
        let mut opened = OpenOptions::new().create(true).append(true).open(&self.path).map_err(file)?;
        opened.write_all(text.as_bytes()).map_err(file)?;
        self.known.insert(line.what, line.result);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_it_was_with_the_same_program_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, program) = (dir.path().join("ledger"), dir.path().join("sim"));
        std::fs::write(&program, "one").unwrap();
        let mut ledger = Ledger::open(&path, &program).unwrap();
        assert_eq!(ledger.result::<u64>("a"), None);
        ledger.keep("a".to_owned(), &7u64).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"program\":\"cut o").unwrap();
        assert_eq!(Ledger::open(&path, &program).unwrap().result::<u64>("a"), Some(7));
        std::fs::write(&program, "two").unwrap();
        assert_eq!(Ledger::open(&path, &program).unwrap().result::<u64>("a"), None, "another simulator");
    }
}
