//! What a Redis may do to the index: be away, hang, be full, forget, come back older, be written to by others.

use std::path::Path;

use super::*;
use crate::file::{RealFiles, SimulatedFiles};

#[path = "../../../../../tests/src/redis.rs"]
mod server;

pub use server::RedisServer;

/// Deadlines that tests can wait out.
const PATIENCE: Patience = Patience {
    attempt: Duration::from_millis(300),
    turn_away: Duration::from_millis(200),
    give_up: Duration::from_secs(10),
};

/// The engine of a directory, in a life of its own.
pub fn open(server: &RedisServer, data: &Path, life: u64) -> Result<Redis, EngineError> {
    open_with(server.url(), data, life, PATIENCE)
}

fn open_with(url: String, data: &Path, life: u64, patience: Patience) -> Result<Redis, EngineError> {
    open_on(Arc::new(RealFiles), url, data, life, patience)
}

fn open_on(
    files: Arc<dyn Files>,
    url: String,
    data: &Path,
    life: u64,
    patience: Patience,
) -> Result<Redis, EngineError> {
    let owner = u128::from(xxh3_64(data.as_os_str().as_encoded_bytes()));
    let options = RedisOptions { url, node: "n1".to_owned(), data: data.to_owned(), life, owner, patience };
    Redis::open(options, files)
}

fn put(key: &str, value: &str) -> Mutation {
    Mutation::Put(Space::Records, key.as_bytes().to_vec(), Bytes::copy_from_slice(value.as_bytes()))
}

fn get(view: &dyn View, key: &str) -> Option<String> {
    view.get(Space::Records, key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn keys(view: &dyn View) -> Vec<String> {
    let rows = view.range(Space::Records, b"", b"");
    rows.map(|row| String::from_utf8(row.unwrap().0.to_vec()).unwrap()).collect()
}

const SET: &[u8] = b"holdfast:{n1}:index";

/// Waits for something that happens on the engine's own thread.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not happen within ten seconds");
}

/// Two synced rows, and one that only Redis has.
fn three_rows(engine: &Redis) {
    engine.write(vec![put("a", "1")], Durability::Buffered).unwrap();
    engine.write(vec![put("b", "1")], Durability::Synced).unwrap();
    engine.write(vec![put("c", "1")], Durability::Buffered).unwrap();
}

#[test]
fn a_next_life_finds_the_rows_again_or_those_of_the_dump_after_a_flush() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    three_rows(&open(&server, data.path(), 1).unwrap());
    let engine = open(&server, data.path(), 2).unwrap();
    assert_eq!(keys(&engine), ["a", "b", "c"]);
    drop(engine);
    server.command(&[b"FLUSHALL"]);
    assert_eq!(keys(&open(&server, data.path(), 3).unwrap()), ["a", "b"], "what was synced");
}

#[test]
fn a_dump_holds_all_of_one_moment_while_writers_go_on() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    let pair = |number: u32| {
        let value = Bytes::copy_from_slice(&number.to_be_bytes());
        let far = Mutation::Put(Space::Bodies, b"z".to_vec(), value.clone());
        vec![Mutation::Put(Space::Records, b"a".to_vec(), value), far]
    };
    let filling = (0..2000).map(|number| put(&format!("filling {number}"), "x")).collect();
    engine.write(filling, Durability::Buffered).unwrap();
    engine.write(pair(0), Durability::Buffered).unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 1..400 {
                engine.write(pair(number), Durability::Buffered).unwrap();
            }
        });
        while !writing.is_finished() {
            engine.write(Vec::new(), Durability::Synced).unwrap();
            let dumped = crate::index::engine::Memory::new();
            let rows = dump::load(&RealFiles, &dump_path(data.path()), &dumped).unwrap();
            assert_eq!(rows, 2002);
            let (first, last) = (dumped.get(Space::Records, b"a"), dumped.get(Space::Bodies, b"z"));
            assert_eq!(first.unwrap(), last.unwrap());
        }
    });
}

#[test]
fn a_view_shows_whole_batches_while_others_are_written() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    let pair = |number: u32| vec![put("a", &number.to_string()), put("z", &number.to_string())];
    engine.write(pair(0), Durability::Buffered).unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 1..1500 {
                let mut batch = pair(number);
                batch.push(put(&format!("m{number}"), "x"));
                engine.write(batch, Durability::Buffered).unwrap();
            }
        });
        let mut views = 0;
        while !writing.is_finished() {
            let view = engine.snapshot();
            let first = get(&*view, "a");
            assert_eq!(first, get(&*view, "z"));
            let rows: Vec<_> = view.range(Space::Records, b"", b"").map(Result::unwrap).collect();
            let value = Bytes::from(first.unwrap());
            assert_eq!((&rows[0].1, &rows[rows.len() - 1].1), (&value, &value));
            assert_eq!((rows.len() - 2).to_string().as_bytes(), &value[..], "one row per batch");
            views += 1;
        }
        assert!(views > 10, "{views} views");
    });
    assert_eq!(engine.stats().memory_bytes, 0, "nothing is kept for views that are closed");
}

/// What happens to a running engine's Redis, and what the engine says of it.
#[test]
fn a_redis_that_lost_something_while_it_was_used_is_believed_no_more() {
    type Harm = fn(&mut RedisServer, Vec<u8>);
    let harms: [(&str, Harm, &str); 6] = [
        ("flushed", |server, _| drop(server.command(&[b"FLUSHALL"])), "emptied"),
        ("evicted", |server, _| drop(server.command(&[b"DEL", SET])), "emptied"),
        (
            "killed, and back without its newest batch",
            |server, older| {
                server.kill();
                server.restart();
                // As an append-only file looks that was not synced before the power went.
                server.command(&[b"RESTORE", SET, b"0", &older, b"REPLACE"]);
            },
            "lost its newest batches (3 of 4 are there)",
        ),
        (
            "written to by a stranger",
            |server, _| drop(server.command(&[b"ZADD", SET, b"0", b"\x01foreign"])),
            "added or taken away by somebody else",
        ),
        (
            "robbed of a row",
            |server, _| {
                server.command(&[b"ZREMRANGEBYLEX", SET, b"[\x01a", b"(\x01b"]);
            },
            "added or taken away by somebody else",
        ),
        (
            "taken over by another data directory",
            |server, _| {
                let other = tempfile::tempdir().unwrap();
                drop(open(server, other.path(), 9).unwrap());
            },
            "another node writes into it",
        ),
    ];
    for (how, harm, expected) in harms {
        let (mut server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
        let engine = open(&server, data.path(), 1).unwrap();
        engine.write(vec![put("a", "1")], Durability::Buffered).unwrap();
        engine.write(vec![put("b", "1")], Durability::Synced).unwrap();
        let dumped = server.command(&[b"DUMP", SET]);
        let older = dumped.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        let older = older[..older.len() - 2].to_vec();
        engine.write(vec![put("c", "1")], Durability::Buffered).unwrap();
        harm(&mut server, older);

        let error = engine.write(vec![put("d", "1")], Durability::Buffered).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("filled in again at the next start"), "{how}: {error}");
        assert!(engine.snapshot().get(Space::Records, b"a").is_err(), "{how}: reads are refused");
        assert!(matches!(engine.trouble(), Some(Trouble::Lost(_))), "{how}");
        assert!(engine.write(Vec::new(), Durability::Synced).is_err(), "{how}: nothing of it is dumped");
        drop(engine);
        let again = open(&server, data.path(), 2).unwrap();
        // Nothing older than the dump, nothing foreign. The last row is the log's business.
        assert_eq!(keys(&again)[..2], ["a", "b"], "{how}");
        again.write(vec![put("d", "1")], Durability::Buffered).unwrap();
    }
}

#[test]
fn reads_alone_notice_a_flush_and_so_does_nobody_at_all() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    three_rows(&engine);
    let view = engine.snapshot();
    server.command(&[b"FLUSHALL"]);
    let error = view.get(Space::Records, b"a").unwrap_err().to_string();
    assert!(error.contains("emptied"), "never an absence that is none: {error}");
    drop((view, engine));

    let engine = open(&server, data.path(), 2).unwrap();
    server.command(&[b"FLUSHALL"]);
    until("a look at an idle Redis", || matches!(engine.trouble(), Some(Trouble::Lost(_))));
}

#[test]
fn an_older_entry_put_in_place_of_a_newer_one_is_found_at_the_next_start() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    engine.write(vec![put("a", "old")], Durability::Buffered).unwrap();
    let salt = engine.shared.salt;
    engine.write(vec![put("a", "new")], Durability::Synced).unwrap();
    drop(engine);
    let (old, new) = [b"old", b"new"].map(|value| layout::row(salt, Space::Records, b"a", value)).into();
    server.command(&[b"ZREM", SET, &new]);
    server.command(&[b"ZADD", SET, b"0", &old]);
    let engine = open(&server, data.path(), 2).unwrap();
    assert_eq!(get(&engine, "a").as_deref(), Some("new"), "filled in from the dump");
    // A damaged row, while it runs.
    let mut damaged = layout::row(salt, Space::Records, b"a", b"new");
    server.command(&[b"ZREM", SET, &damaged]);
    *damaged.last_mut().unwrap() ^= 1;
    server.command(&[b"ZADD", SET, b"0", &damaged]);
    let error = engine.get(Space::Records, b"a").unwrap_err().to_string();
    assert!(error.contains("damaged or was not written by this node"), "{error}");
}

#[test]
fn an_older_entry_never_gets_into_a_dump() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    engine.write(vec![put("a", "old"), put("b", "1")], Durability::Buffered).unwrap();
    engine.write(vec![put("a", "new")], Durability::Synced).unwrap();
    let (old, new) = [b"old", b"new"].map(|value| layout::row(engine.shared.salt, Space::Records, b"a", value)).into();
    server.command(&[b"ZREM", SET, &new]);
    server.command(&[b"ZADD", SET, b"0", &old]);
    engine.write(vec![put("c", "1")], Durability::Buffered).unwrap();
    let error = engine.write(Vec::new(), Durability::Synced).unwrap_err().to_string();
    assert!(error.contains("put in place of others"), "{error}");
    assert!(matches!(engine.trouble(), Some(Trouble::Lost(_))));
    drop(engine);
    let engine = open(&server, data.path(), 2).unwrap();
    assert_eq!(get(&engine, "a").as_deref(), Some("new"));
    assert_eq!(keys(&engine), ["a", "b"], "as of the last sync; the rest is the log's");
}

#[test]
fn a_silent_redis_turns_readers_away_makes_writers_wait_and_is_forgiven() {
    let (mut server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    three_rows(&engine);
    let view = engine.snapshot();
    for killed in [false, true] {
        if killed {
            server.kill()
        } else {
            server.pause()
        }
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| engine.write(vec![put("d", "1")], Durability::Buffered));
            until(
                "trouble",
                || matches!(engine.trouble(), Some(Trouble::Silent { since, .. }) if since > PATIENCE.turn_away),
            );
            let began = tokio::time::Instant::now();
            let error = view.get(Space::Records, b"a").unwrap_err().to_string();
            assert!(began.elapsed() < PATIENCE.attempt, "turned away at once");
            assert!(error.contains("does not answer in time") || error.contains("connection refused"), "{error}");
            assert!(!writing.is_finished());
            if killed {
                server.restart()
            } else {
                server.resume()
            }
            writing.join().unwrap().unwrap();
        });
        assert_eq!(engine.trouble(), None);
        assert_eq!(get(&*view, "a").as_deref(), Some("1"));
        assert_eq!(keys(&engine), ["a", "b", "c", "d"]);
    }
}

#[test]
fn a_full_redis_refuses_batches_whole_until_there_is_room() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    three_rows(&engine);
    server.command(&[b"CONFIG", b"SET", b"maxmemory", b"1mb"]);
    std::thread::scope(|scope| {
        // It begins with a replacement, which Redis would let pass, and the rest with it.
        let writing =
            scope.spawn(|| engine.write(vec![put("a", "2"), put("z", &"x".repeat(1 << 20))], Durability::Buffered));
        until(
            "trouble",
            || matches!(engine.trouble(), Some(Trouble::Silent { reason, .. }) if reason.contains("maxmemory")),
        );
        assert_eq!(get(&engine, "a").as_deref(), Some("1"));
        server.command(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
        writing.join().unwrap().unwrap();
    });
    assert_eq!(keys(&engine), ["a", "b", "c", "z"]);
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
}

#[test]
fn a_full_disk_is_waited_out_by_a_dump() {
    let (server, files, data) = (RedisServer::start(), Arc::new(SimulatedFiles::new(1)), Path::new("/data"));
    files.create_dir_all(data).unwrap();
    let engine = open_on(files.clone(), server.url(), data, 1, PATIENCE).unwrap();
    engine.write(vec![put("a", &"x".repeat(100_000))], Durability::Buffered).unwrap();
    files.set_capacity(10_000);
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| engine.write(Vec::new(), Durability::Synced));
        std::thread::sleep(3 * FULL);
        assert!(!syncing.is_finished());
        engine.write(vec![put("b", "1")], Durability::Buffered).unwrap();
        files.set_capacity(1 << 30);
        syncing.join().unwrap().unwrap();
    });
    let dumped = crate::index::engine::Memory::new();
    assert!(dump::load(&*files, &dump_path(data), &dumped).unwrap() >= 1);
    assert_eq!(get(&dumped, "a").unwrap().len(), 100_000);
}

#[test]
fn patience_ends_and_the_error_says_why() {
    let (mut server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let patience = Patience { give_up: Duration::from_millis(500), ..PATIENCE };
    let engine = open_with(server.url(), data.path(), 1, patience).unwrap();
    server.kill();
    let error = engine.write(vec![put("a", "1")], Durability::Buffered).unwrap_err().to_string();
    assert!(error.contains("connection refused") && error.contains(&server.url()), "{error}");
    assert!(matches!(engine.trouble(), Some(Trouble::Lost(_))));
    let error = open_with(server.url(), data.path(), 2, patience).err().unwrap().to_string();
    assert!(error.contains("connection refused"), "{error}");
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let (server, data) = (RedisServer::start_with(&["--requirepass", "sesame-sesame"]), tempfile::tempdir().unwrap());
    let with = |secret: &str| server.url().replace("redis://", &format!("redis://:{secret}@"));
    for url in [server.url(), with("wrong")] {
        let began = tokio::time::Instant::now();
        let error = open_with(url, data.path(), 1, PATIENCE).err().unwrap().to_string();
        assert!(error.contains("refuses") && !error.contains("wrong@"), "{error}");
        assert!(began.elapsed() < PATIENCE.give_up, "waiting would not help");
    }
    let engine = open_with(with("sesame-sesame"), data.path(), 1, PATIENCE).unwrap();
    three_rows(&engine);
    let options = RedisOptions {
        url: with("sesame-sesame"),
        node: "n1".to_owned(),
        data: data.path().to_owned(),
        life: 1,
        owner: 1,
        patience: PATIENCE,
    };
    let shown = format!("{options:?} {:?} {}", engine.shared.link, engine.shared.link.place());
    assert!(!shown.contains("sesame") && shown.contains("127.0.0.1"), "{shown}");
    for bad in ["", "embedded", "http://a:1", "redis://", "redis://host:port"] {
        assert_eq!(check_url(bad), Err(BadUrl), "{bad}");
    }
    for good in ["redis://a", "redis://:pw@a:1/3", "rediss://user:pw@a.b:6380"] {
        assert_eq!(check_url(good), Ok(()), "{good}");
    }
}

#[test]
fn a_look_tells_what_would_evict() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let found = look(&server.url()).unwrap();
    assert_eq!((found.limit, &found.policy[..]), (100 << 20, "allkeys-lru"));
    assert!(!found.version.is_empty() && found.used > 0 && found.question > Duration::ZERO, "{found:?}");
}

#[test]
fn an_answer_that_was_lost_is_found_out_about() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let engine = open(&server, data.path(), 1).unwrap();
    three_rows(&engine);
    let view = engine.snapshot();
    // The batch reaches a Redis that is paused, which writes it when it goes on: the answer comes on a dead connection.
    server.pause();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| engine.write(vec![put("a", "2")], Durability::Buffered));
        until("trouble", || engine.trouble().is_some());
        server.resume();
        writing.join().unwrap().unwrap();
    });
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
    // Either the batch was written by the second attempt, and the old value is known, or by the first, and it is not.
    match view.get(Space::Records, b"a") {
        Ok(value) => assert_eq!(value.as_deref(), Some(&b"1"[..])),
        Err(error) => assert!(error.0.is::<ViewGone>(), "{error}"),
    }
    assert_eq!(get(&*view, "b").as_deref(), Some("1"));
}
