//! The index as a whole, on both engines.

use holdfast_wire::object::{NewBody, Source};
use holdfast_wire::request::ListFrom;

use super::command::Command;
use super::engine::Memory;
use super::*;

mod cost;
mod durability;
mod formats;
mod golden;
mod hostile;
mod lifecycle;
mod listing;
mod locks;
mod model;
mod objects;
mod quotas;
mod root;
mod support;
mod undelete;
mod versions;
mod writes;

use support::*;

#[test]
fn a_put_can_be_read() {
    let index = shard(Arc::new(Memory::new()));
    let mut log = Log::default();
    log.apply(&index, 5, Command::InstallBucket(bucket(1)));
    log.apply(&index, 7, put("a", inline("hello")));
    let object = index.object(BucketId(1), &key("a")).unwrap().unwrap();
    assert_eq!(object.summary.size, 5);
    assert_eq!(object.summary.modified_ms, 7);
    assert_eq!(index.usage(BucketId(1)), Usage { objects: 1, bytes: 5, ..Usage::default() });
    assert_eq!(bytes_of(&index, &object), "hello");
}
