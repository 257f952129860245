//! Which form the data directory has: `format`, a number and a line's end, for people and programs alike. It goes up
//! with every change that an older version could not read; what is older is taken over, what is newer is left alone.

use std::io;
use std::path::{Path, PathBuf};

use crate::file::{self, Files};

/// The form that this software writes.
pub const FORMAT: u32 = 1;

/// Why a data directory is left alone; one line each.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Going back would lose what the newer version wrote.
    #[error(
        "data directory {}: a newer version of Holdfast wrote it (format {found}, this one knows {known}): run that \
         version again, there is no way back", path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// The newest that this software knows.
        known: u32,
    },
    /// The file says something else.
    #[error("data directory {}: the file `format` is damaged; to replace this node, empty its data directory and start it", .0.display())]
    Damaged(PathBuf),
    /// Reading or writing failed.
    #[error("data directory {}: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Makes sure that software which writes `known` may open `data`, and stamps it. Before anything else in it is opened.
pub fn check(files: &dyn Files, data: &Path, known: u32) -> Result<(), FormatError> {
    let failed = |error| FormatError::Io { path: data.to_owned(), error };
    let path = data.join("format");
    let stamp = || file::replace(files, &path, format!("{known}\n").as_bytes()).map_err(failed);
    if let Some(bytes) = file::read(files, &path).map_err(failed)? {
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse::<u32>().ok());
        return match number {
            None | Some(0) => Err(FormatError::Damaged(data.to_owned())),
            Some(found) if found > known => Err(FormatError::Newer { path: data.to_owned(), found, known }),
            Some(found) if found == known => Ok(()),
            Some(_) => stamp(),
        };
    }
    stamp()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it damages real files")]
mod tests {
    use super::*;
    use crate::file::RealFiles;

    #[test]
    fn a_directory_is_stamped_and_what_is_newer_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let check = || check(&RealFiles, dir.path(), 1);
        check().unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("format")).unwrap(), "1\n");
        check().unwrap();
        std::fs::write(dir.path().join("format"), "2\n").unwrap();
        let refusal = check().unwrap_err().to_string();
        assert!(refusal.contains("newer version") && refusal.contains("format 2, this one knows 1"), "{refusal}");
        for damaged in ["", "one", "0", "1 2", "-1"] {
            std::fs::write(dir.path().join("format"), damaged).unwrap();
            assert!(matches!(check(), Err(FormatError::Damaged(_))), "{damaged:?}");
        }
        std::fs::write(dir.path().join("format"), "1\n").unwrap();
        super::check(&RealFiles, dir.path(), 2).unwrap();
        assert!(matches!(check(), Err(FormatError::Newer { found: 2, known: 1, .. })), "there is no way back");
    }
}
