//! The bytes that stay: every record and envelope keeps its layout, and comes back as it went.

use holdfast_wire::bucket::BucketState;
use holdfast_wire::heartbeat::NodeInfo;
use holdfast_wire::id::{Epoch, NodeId, RequestId, Seq, VersionId};
use holdfast_wire::identity::{AccessKey, User};
use holdfast_wire::lock::{LockMode, ObjectLock, Retention};
use holdfast_wire::object::{
    Attributes, Checksum, ChecksumAlgorithm, ChecksumKind, Detail, Headers, ObjectPart, Piece, Summary,
};
use holdfast_wire::placement::{GroupPlace, HashRange, Placement, ShardMap};
use holdfast_wire::request::{Refusal, WriteOutcome};
use holdfast_wire::usage::Share;
use proptest::prelude::*;

use super::support::*;
use super::*;
use crate::index::command::RootCommand;
use crate::index::record::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn object() -> Object {
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Sha256, kind: ChecksumKind::Composite, value: "v".into() };
    Object {
        summary: Summary {
            seq: Seq { group: GroupId(3), index: 300 },
            versioned: true,
            marker: false,
            size: 11,
            modified_ms: 1000,
            etag: "e".into(),
            checksum: Some((checksum.algorithm, checksum.kind)),
            storage_class: Some("S".into()),
            owner: "o".into(),
        },
        detail: Detail {
            headers: Headers { content_type: Some("t".into()), ..Headers::default() },
            metadata: vec![("m".into(), "n".into())],
            tags: vec![("a".into(), "b".into())],
            checksum: Some("v".into()),
            parts: vec![ObjectPart { number: 1, size: 11, checksum: Some(checksum), salt: None }],
            pieces: vec![
                Piece { source: Source::Blob(BlobId(0x80)), len: 10 },
                Piece { source: Source::Inline(300), len: 1 },
            ],
            lock: ObjectLock {
                retention: Some(Retention { mode: LockMode::Compliance, until_ms: 300 }),
                legal_hold: Some(true),
            },
            noncurrent_ms: Some(5),
            seal: None,
            acl: None,
        },
    }
}

fn identities() -> Identities {
    let set = |name: &str| [name.to_owned()].into();
    let user = User { enabled: true, policies: set("p") };
    let key = AccessKey { user: "u".to_owned(), sealed: vec![7], enabled: false, expires_ms: Some(5), created_ms: 300 };
    Identities {
        version: 9,
        users: [("u".to_owned(), user)].into(),
        policies: [("p".to_owned(), "{}".to_owned())].into(),
        keys: [("k".to_owned(), key)].into(),
        ..Identities::default()
    }
}

#[test]
fn records_are_these_bytes() {
    let seq = Seq { group: GroupId(3), index: 300 };
    let stored = WriteOutcome::Stored { seq, etag: "e".into(), modified_ms: 1000, checksum: None, version: None };
    let layout = Layout {
        version: 9,
        draining: Vec::new(),
        nodes: vec![NodeInfo { id: NodeId(1), name: "n".into(), address: "a".into(), version: "v".into() }],
        map: ShardMap {
            epoch: Epoch(2),
            groups: vec![GroupPlace {
                group: GroupId(1),
                range: Some(HashRange { first: 0, last: 255 }),
                epoch: Epoch(4),
                voters: vec![NodeId(1)],
            }],
        },
        copies: 3,
    };
    let root = Root {
        cluster: Some(ClusterId(5)),
        replicas: 3,
        next_node: NodeId(2),
        next_bucket: BucketId(7),
        layout: layout.clone(),
    };
    let position = Position { term: 2, node: NodeId(1), index: 300 };
    let finished = Finished {
        bucket: BucketId(1),
        key: key("k"),
        seq,
        etag: "e".into(),
        modified_ms: 1000,
        checksum: None,
        version: Some(VersionId::Of(seq)),
    };
    let part = Part {
        number: 300,
        seq,
        size: 4,
        modified_ms: 5,
        etag: "e".into(),
        checksum: None,
        pieces: vec![Piece { source: Source::Inline(300), len: 4 }],
        salt: None,
    };
    let upload = Upload {
        key: key("k"),
        id: UploadId(9),
        initiated_ms: 5,
        owner: "o".into(),
        attributes: Attributes::default(),
        checksum: Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)),
    };
    let envelope = |command| Envelope { request: Some(RequestId(6)), now_ms: 1000, command }.encode();
    let genesis = RootCommand::Genesis { cluster: ClusterId(5), layout, replicas: 3 };
    let mut frozen = bucket(1);
    (frozen.state, frozen.placement) = (BucketState::Deleting, Placement::WholeKey);
    let golden: [(&str, Bytes, &str); 17] = [
        ("Applied", encode(&Progress { position: Some(position), hash: 1 << 63 }), "01010201ac0280808080808080808001"),
        ("Membership", encode_opaque(b"\x07"), "0107"),
        ("Shard", encode(&Shard { range: HashRange { first: 1, last: 2 }, epoch: Epoch(3) }), "01010203"),
        ("Root", encode(&root), "010105030207090101016e01610176000201010100ff0104010103"),
        ("Bucket", encode(&frozen), "0101086275636b65742d31026d6501010201000000000000"),
        ("Usage", encode(&Usage { objects: 1, versions: 2, bytes: 300, uploads: 1, part_bytes: 5 }), "010102ac020105"),
        (
            "Allowance",
            encode(&Allowance { round: 7, share: Share { bytes: 300, objects: u64::MAX } }),
            "0107ac02ffffffffffffffffff01",
        ),
        ("Identities", encode(&identities()), "0109010175010101700000010170027b7d01016b01750107000105ac02"),
        (
            "Seen",
            encode(&Seen { request: RequestId(6), at_ms: 1000, outcome: Outcome::Written(stored) }),
            "0106e807010003ac020165e8070000",
        ),
        (
            "Object",
            encode_object(&object()),
            "0103ac0201000be8070165010401010153016f01017400000000000001016d016e010161016201017601010b010401017600020180010a00ac02010101ac02010101050000",
        ),
        ("Upload", encode(&upload), "01016b0905016f0000000000000000000000000000010200"),
        ("UploadPlace", encode(&UploadPlace { bucket: BucketId(1), key: key("k"), initiated_ms: 5 }), "0101016b05"),
        ("Part", encode(&part), "01ac0203ac0204050165000100ac020400"),
        ("Finished", encode(&finished), "0101016b03ac020165e80700010103ac02"),
        ("Blob", encode(&BlobRow { references: 1, len: 300, trashed_ms: Some(5) }), "0101ac020105"),
        (
            "put",
            envelope(put("k", inline("b"))),
            "010106e807000001016b00000000026d65000000000000000000000000000006657461672d3100000162",
        ),
        ("genesis", envelope(Command::Root(genesis)), "010106e807040005090101016e01610176000201010100ff010401010303"),
    ];
    for (name, bytes, expected) in golden {
        assert_eq!(hex(&bytes), expected, "{name}");
    }
}

#[test]
fn other_versions_and_trailing_bytes_are_refused() {
    let usage = encode(&Usage { objects: 1, versions: 0, bytes: 2, ..Usage::default() });
    assert!(decode::<Usage>(&usage).is_ok());
    assert!(decode::<Usage>(&[&usage[..], &[0]].concat()).is_err());
    assert!(decode::<Usage>(&usage[..2]).is_err());
    assert!(decode::<Usage>(&[&[2], &usage[1..]].concat()).is_err());
    assert!(decode::<Usage>(&[]).is_err());
    let bytes = encode_object(&object());
    assert!(decode_object(&[&bytes[..], &[0]].concat()).is_err());
    assert!(decode_object(&bytes[..bytes.len() - 1]).is_err());
    assert!(decode_opaque(&Bytes::new()).is_err());
}

fn checksums() -> impl Strategy<Value = Option<Checksum>> {
    proptest::option::of((any::<bool>(), ".{0,8}").prop_map(|(whole, value)| Checksum {
        algorithm: if whole { ChecksumAlgorithm::Crc32c } else { ChecksumAlgorithm::Sha1 },
        kind: if whole { ChecksumKind::FullObject } else { ChecksumKind::Composite },
        value,
    }))
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let source =
        prop_oneof![any::<u64>().prop_map(Source::Inline), any::<u128>().prop_map(|id| Source::Blob(BlobId(id)))];
    proptest::collection::vec((source, any::<u64>()).prop_map(|(source, len)| Piece { source, len }), 0..4)
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec((".{0,8}", ".{0,8}"), 0..4)
}

fn objects() -> impl Strategy<Value = Object> {
    let summary = (any::<(u32, u64, u64, u64)>(), ".{0,8}", proptest::option::of(".{0,8}"), ".{0,8}");
    let parts = proptest::collection::vec((any::<u16>(), any::<u64>(), checksums()), 0..4);
    (summary, checksums(), pairs(), pairs(), parts, pieces()).prop_map(
        |(((group, index, size, modified_ms), etag, storage_class, owner), checksum, metadata, tags, parts, pieces)| {
            Object {
                summary: Summary {
                    seq: Seq { group: GroupId(group), index },
                    versioned: index % 2 == 0,
                    marker: false,
                    size,
                    modified_ms,
                    etag,
                    checksum: checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
                    storage_class: storage_class.clone(),
                    owner,
                },
                detail: Detail {
                    headers: Headers {
                        content_type: storage_class.clone(),
                        expires: storage_class,
                        ..Headers::default()
                    },
                    metadata,
                    tags,
                    checksum: checksum.map(|checksum| checksum.value),
                    parts: parts
                        .into_iter()
                        .map(|(number, size, checksum)| ObjectPart { number, size, checksum, salt: None })
                        .collect(),
                    pieces,
                    ..Detail::default()
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn objects_come_back_and_listings_read_their_first_part(object in objects()) {
        let bytes = encode_object(&object);
        prop_assert_eq!(&decode_summary(&bytes).unwrap(), &object.summary);
        prop_assert_eq!(decode_object(&bytes).unwrap(), object);
    }

    #[test]
    fn records_come_back(numbers in any::<(u64, u64, u64, u128)>(), trashed_ms in any::<Option<u64>>(), pieces in pieces(), checksum in checksums()) {
        let (a, b, c, id) = numbers;
        let blob = BlobRow { references: a, len: b, trashed_ms };
        prop_assert_eq!(decode::<BlobRow>(&encode(&blob)).unwrap(), blob);
        let usage = Usage { objects: a, versions: c, bytes: b, uploads: a, part_bytes: c };
        prop_assert_eq!(decode::<Usage>(&encode(&usage)).unwrap(), usage);
        let position = trashed_ms.map(|index| Position { term: a, node: NodeId(b), index });
        let progress = Progress { position, hash: c };
        prop_assert_eq!(decode::<Progress>(&encode(&progress)).unwrap(), progress);
        let shard = Shard { range: HashRange { first: a, last: b }, epoch: Epoch(c) };
        prop_assert_eq!(decode::<Shard>(&encode(&shard)).unwrap(), shard);
        let outcome = Outcome::Written(WriteOutcome::Refused(Refusal::PartTooSmall { number: 1, size: a }));
        let seen = Seen { request: RequestId(id), at_ms: a, outcome };
        prop_assert_eq!(decode::<Seen>(&encode(&seen)).unwrap(), seen);
        let seq = Seq { group: SHARD, index: a };
        let part = Part { number: 9, seq, size: b, modified_ms: c, etag: "e".into(), checksum: checksum.clone(), pieces, salt: None };
        prop_assert_eq!(decode::<Part>(&encode(&part)).unwrap(), part);
        let version = Some(VersionId::Null);
        let finished = Finished { bucket: BucketId(a), key: key("k"), seq, etag: "e".into(), modified_ms: c, checksum, version };
        prop_assert_eq!(decode::<Finished>(&encode(&finished)).unwrap(), finished);
        let envelope = Envelope { request: Some(RequestId(id)), now_ms: a, command: put("k", NewBody::Blob { id: BlobId(id), len: b }) };
        prop_assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
    }
}
