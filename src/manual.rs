//! Manual pages, one for each command, made of what `--help` says.

use std::io;
use std::path::Path;

use clap::Command;
use holdfast_replica::file::{self, Files};

/// Writes `holdfast.1`, `holdfast-dev.1` and so on into `dir`; how many.
pub fn write(files: &dyn Files, dir: &Path) -> io::Result<usize> {
    files.create_dir_all(dir)?;
    let mut command = crate::cli::command();
    command.build();
    let mut count = 0;
    pages(&command, "holdfast", &mut |name, page| {
        count += 1;
        file::replace(files, &dir.join(format!("{name}.1")), page)
    })?;
    Ok(count)
}

fn pages(command: &Command, name: &str, write: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    write(name, &page)?;
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    inner.into_iter().try_for_each(|inner| pages(inner, &format!("{name}-{}", inner.get_name()), write))
}

#[cfg(test)]
mod tests {
    use holdfast_replica::file::RealFiles;

    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let count = write(&RealFiles, dir.path()).unwrap();
        assert!(count > 10, "{count}");
        let page = file::read(&RealFiles, &dir.path().join("holdfast-cluster-status.1")).unwrap().unwrap();
        assert!(String::from_utf8(page).unwrap().contains("HOLDFAST_ADMIN"), "the flags stand in it");
    }
}
