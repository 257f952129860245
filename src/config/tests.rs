//! Whole configurations: what is filled in, and what is refused.

use std::path::Path;

use super::*;

const ROOT: [(&str, &str); 2] = [("HOLDFAST_ROOT_ACCESS_KEY", "root"), ("HOLDFAST_ROOT_SECRET_KEY", "correct-horse")];
const THREE: &str = "n1=n1.hf:9003,n2=n2.hf:9003,n3=n3.hf:9003";
const LOCAL: &str = "n1=127.0.0.1:7001,n2=127.0.0.1:7002,n3=127.0.0.1:7003";

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn files(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match path.to_str() {
        Some("/run/secret") => Ok(Some(b"a-secret-from-a-file\n".to_vec())),
        Some("/run/short") => Ok(Some(b"short".to_vec())),
        Some("/etc/holdfast.toml") => Ok(Some(b"shards = 9".to_vec())),
        Some("/run/denied") => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(None),
    }
}

fn configure(role: Role, flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = if role.has_gateway() { [&ROOT, variables].concat() } else { variables.to_vec() };
    let layer = settings(owned(flags), owned(&variables), &files)?;
    Config::new(role, &layer, &files)
}

fn refusal(role: Role, flags: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    let refusal = configure(role, flags, variables).unwrap_err().to_string();
    assert!(!refusal.contains('\n'), "one line: {refusal}");
    refusal
}

#[test]
fn a_server_on_loopback_needs_only_its_name_and_peers() {
    let config = configure(Role::Server, &[("name", "n2"), ("peers", LOCAL)], &[]).unwrap();
    assert_eq!(config.peer_listen, "127.0.0.1:7002");
    assert_eq!(config.peer_address, "127.0.0.1:7002");
    assert_eq!(config.s3_listen, "0.0.0.0:9000");
    assert_eq!((config.shards, config.replicas), (4, 3));
    assert_eq!(config.cluster_secret.reveal(), "");
}

#[test]
fn a_server_without_peers_is_a_cluster_of_one() {
    let config = configure(Role::Server, &[], &[]).unwrap();
    assert_eq!(config.name, "n1");
    assert_eq!(config.peers, [Peer { name: "n1".to_owned(), address: "127.0.0.1:9003".to_owned() }]);
    let config = configure(Role::Replica, &[("peer-listen", "127.0.0.1:7009")], &[]).unwrap();
    assert_eq!(config.peer_address, "127.0.0.1:7009");
}

#[test]
fn an_address_that_others_can_reach_needs_a_secret() {
    let flags = [("name", "n1"), ("peers", THREE)];
    assert!(refusal(Role::Server, &flags, &[]).contains("HOLDFAST_CLUSTER_SECRET"));
    assert!(refusal(Role::Gateway, &flags[1..], &[]).contains("n1.hf:9003"));
    let local = [("name", "n1"), ("peers", LOCAL), ("peer-listen", "0.0.0.0:7001")];
    assert!(refusal(Role::Replica, &local, &[]).contains("0.0.0.0:7001"));
    let local = [("name", "n1"), ("peers", LOCAL), ("peer-address", "10.0.0.1:7001")];
    assert!(refusal(Role::Replica, &local, &[]).contains("10.0.0.1:7001"));

    let config = configure(Role::Server, &flags, &[("HOLDFAST_CLUSTER_SECRET", "sixteen-letters!")]).unwrap();
    assert_eq!(config.peer_listen, "0.0.0.0:9003");
    assert_eq!(config.peer_address, "n1.hf:9003");
    let config = configure(Role::Server, &flags, &[("HOLDFAST_CLUSTER_SECRET_FILE", "/run/secret")]).unwrap();
    assert_eq!(config.cluster_secret.reveal(), "a-secret-from-a-file", "without the line's end");
    let flags = [&flags[..], &[("cluster-secret-file", "/run/secret")]].concat();
    configure(Role::Replica, &flags, &[]).unwrap();
    let over = configure(Role::Replica, &flags, &[("HOLDFAST_CLUSTER_SECRET", "from-the-environment")]).unwrap();
    assert_eq!(over.cluster_secret.reveal(), "a-secret-from-a-file", "a flag wins over the environment");
}

#[test]
fn secrets_are_checked_where_they_are_read() {
    let with = |variable, value| refusal(Role::Replica, &[], &[(variable, value)]);
    assert!(with("HOLDFAST_CLUSTER_SECRET", "short").contains("HOLDFAST_CLUSTER_SECRET: must have 16"));
    assert!(with("HOLDFAST_CLUSTER_SECRET_FILE", "/run/short").contains("HOLDFAST_CLUSTER_SECRET_FILE: must have 16"));
    assert!(with("HOLDFAST_CLUSTER_SECRET_FILE", "/none").contains("/none"));
    assert!(with("HOLDFAST_CLUSTER_SECRET_FILE", "/run/denied").contains("/run/denied"));
    assert!(!with("HOLDFAST_ADMIN_TOKEN", "hunter2").contains("hunter2"), "never printed");
}

#[test]
fn there_are_no_default_credentials() {
    let layer = settings([], [], &files).unwrap();
    for role in [Role::Server, Role::Gateway] {
        let layer =
            layer::merge([layer.clone(), layer::flags(owned(&[("peers", "n1=127.0.0.1:1"), ("name", "n1")])).unwrap()]);
        let refusal = Config::new(role, &layer, &files).unwrap_err().to_string();
        assert!(refusal.contains("HOLDFAST_ROOT_ACCESS_KEY"), "{refusal}");
    }
    assert_eq!(Config::new(Role::Dev, &layer, &files).unwrap().root, None, "dev makes its own");
    assert_eq!(Config::new(Role::Replica, &layer, &files).unwrap().root, None, "a replica speaks no S3");
    let half = settings([], owned(&ROOT[..1]), &files).unwrap();
    assert!(Config::new(Role::Dev, &half, &files).unwrap_err().to_string().contains("HOLDFAST_ROOT_SECRET_KEY"));
}

#[test]
fn an_admin_api_that_others_can_reach_needs_a_token() {
    let open = [("admin-listen", "0.0.0.0:9001")];
    assert!(refusal(Role::Server, &open, &[]).contains("HOLDFAST_ADMIN_TOKEN"));
    configure(Role::Server, &open, &[("HOLDFAST_ADMIN_TOKEN", "sixteen-letters!")]).unwrap();
}

#[test]
fn dev_listens_on_loopback_unless_told() {
    let config = configure(Role::Dev, &[], &[]).unwrap();
    assert_eq!((config.s3_listen.as_str(), config.ops_listen.as_str()), ("127.0.0.1:9000", "127.0.0.1:9002"));
    let config = configure(Role::Dev, &[("ops-listen", "0.0.0.0:1234")], &[]).unwrap();
    assert_eq!(config.ops_listen, "0.0.0.0:1234");
}

#[test]
fn a_node_must_know_who_it_is() {
    assert!(refusal(Role::Server, &[("peers", LOCAL)], &[]).contains("--name"));
    assert!(refusal(Role::Server, &[("peers", LOCAL), ("name", "n4")], &[]).contains("--peer-address"));
    assert!(refusal(Role::Server, &[("name", "a b")], &[]).contains("\"a b\""));
    assert!(refusal(Role::Gateway, &[], &[]).contains("--peers"));
    let joining = [("peers", LOCAL), ("name", "n4"), ("peer-address", "127.0.0.1:7004")];
    let config = configure(Role::Server, &joining, &[]).unwrap();
    assert_eq!((config.peers.len(), config.peer_listen.as_str()), (3, "127.0.0.1:7004"));
}

#[test]
fn bad_values_are_named_with_their_key_and_bounds() {
    for (flag, value, told) in [
        ("shards", "0", "--shards: expected a whole number from 1 to 256, found \"0\""),
        ("shards", "many", "found \"many\""),
        ("peers", "n1", "--peers: expected NAME=HOST:PORT"),
        ("s3-listen", "9000", "--s3-listen: expected HOST:PORT, found \"9000\""),
        ("default-buckets", "ok-bucket,No", "--default-buckets: \"No\""),
        ("election-max-ms", "300", "election-min-ms"),
        ("config", "/none.toml", "/none.toml"),
    ] {
        let refusal = refusal(Role::Server, &[(flag, value)], &[]);
        assert!(refusal.contains(told), "{refusal}");
    }
    assert!(refusal(Role::Server, &[], &[("HOLDFAST_SHARDS", "x")]).starts_with("HOLDFAST_SHARDS:"));
}

#[test]
fn a_named_file_is_read() {
    let config = configure(Role::Server, &[("config", "/etc/holdfast.toml")], &[]).unwrap();
    assert_eq!(config.shards, 9);
    let config = configure(Role::Server, &[("shards", "5")], &[("HOLDFAST_CONFIG", "/etc/holdfast.toml")]).unwrap();
    assert_eq!(config.shards, 5);
}

#[test]
fn debug_output_shows_no_secret() {
    let variables = [("HOLDFAST_CLUSTER_SECRET", "sixteen-letters!"), ("HOLDFAST_ADMIN_TOKEN", "sixteen-letters!")];
    let shown = format!("{:?}", configure(Role::Server, &[], &variables).unwrap());
    assert!(!shown.contains("sixteen-letters!") && !shown.contains("correct-horse"), "{shown}");
}
