use super::*;
use crate::file::{read, replace};

fn content(files: &SimulatedFiles, path: &str) -> Option<Vec<u8>> {
    read(files, Path::new(path)).unwrap()
}

#[test]
fn only_the_synced_survives_a_power_cut() {
    let files = SimulatedFiles::new(1);
    files.create_dir_all(Path::new("/d")).unwrap();
    let file = files.open(Path::new("/d/a"), Open::Create).unwrap();
    file.write_all_at(b"durable", 0).unwrap();
    file.sync_data().unwrap();
    files.power_cut(Cut::Clean);
    assert_eq!(content(&files, "/d/a"), None, "the name was not synced");
    assert!(file.len().is_err(), "a handle of an earlier life");

    let file = files.open(Path::new("/d/a"), Open::Create).unwrap();
    file.write_all_at(b"durable", 0).unwrap();
    file.sync_data().unwrap();
    files.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"PENDING", 0).unwrap();
    file.set_len(100).unwrap();
    assert_eq!(file.len().unwrap(), 100);
    files.power_cut(Cut::Clean);
    assert_eq!(content(&files, "/d/a").unwrap(), b"durable");
}

#[test]
fn a_replaced_file_is_old_or_new_at_every_crash() {
    let path = Path::new("/d/a");
    for cut in [Cut::Clean, Cut::Torn] {
        for count in 0.. {
            let files = SimulatedFiles::new(count);
            files.create_dir_all(Path::new("/d")).unwrap();
            replace(&files, path, &[1; 2000]).unwrap();
            files.crash_after(count);
            let done = replace(&files, path, &[2; 3000]).is_ok();
            files.power_cut(cut);
            let found = read(&files, path).unwrap().unwrap();
            assert!(found == [2; 3000] || (!done && found == [1; 2000]), "crash after {count}");
            if done {
                break;
            }
        }
    }
}

#[test]
fn torn_writes_tear_at_sectors() {
    let mut partial = 0;
    for seed in 0..50 {
        let files = SimulatedFiles::new(seed);
        let file = files.open(Path::new("/a"), Open::Create).unwrap();
        file.write_all_at(&[1; 8 * SECTOR], 0).unwrap();
        file.sync_data().unwrap();
        files.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(&[2; 8 * SECTOR], 0).unwrap();
        files.power_cut(Cut::Torn);
        let found = content(&files, "/a").unwrap();
        let new = found.chunks(SECTOR).filter(|sector| **sector == [2; SECTOR]).count();
        let old = found.chunks(SECTOR).filter(|sector| **sector == [1; SECTOR]).count();
        assert_eq!(new + old, 8);
        partial += (new > 0 && old > 0) as u32;
    }
    assert!(partial > 10, "{partial}");
}

#[test]
fn faults_and_limits() {
    let files = SimulatedFiles::new(1);
    let path = Path::new("/a");
    let file = files.open(path, Open::Create).unwrap();
    files.set_capacity(100);
    assert_eq!(file.write_all_at(&[1; 101], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all_at(&[1; 60], 0).unwrap();
    file.write_all_at(&[1; 60], 40).unwrap();
    assert_eq!(files.space(path).unwrap(), Space { total: 100, free: 0 });
    files.fail_after(Fault::Sync, 1);
    file.sync_data().unwrap();
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    files.heal();
    files.fail_after(Fault::Read, 0);
    assert!(file.read_at(&mut [0; 1], 0).is_err());
    files.heal();
    files.crash_after(0);
    assert!(!files.has_crashed());
    assert!(file.set_len(1).is_err());
    assert!(files.has_crashed() && files.open(path, Open::Read).is_err());
}
