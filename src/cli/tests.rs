use super::*;
use crate::admin::fault::{FaultKind, FaultRequest};
use crate::backup::Choose;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::parse(line.split(' ').map(OsString::from))
}

fn flags(pairs: &[(&str, &str)]) -> Flags {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_command_is_well_formed() {
    command().debug_assert();
}

#[test]
fn every_command_is_parsed() {
    let dev = Cli::Run { role: Role::Dev, nodes: 1, flags: flags(&[("data", "/d"), ("s3-listen", "127.0.0.1:1")]) };
    assert_eq!(parse("holdfast dev --data /d --listen 127.0.0.1:1 --nodes 1").unwrap(), dev);
    let server = Cli::Run { role: Role::Server, nodes: 0, flags: flags(&[("name", "n1"), ("shards", "2")]) };
    assert_eq!(parse("holdfast server --name n1 --shards 2").unwrap(), server);
    let status = Cli::Cluster { action: ClusterAction::Status, json: true, flags: flags(&[("admin", "http://h:1")]) };
    assert_eq!(parse("holdfast cluster status -o json --admin http://h:1").unwrap(), status);
    let action = ClusterAction::Drain { node: "n4".to_owned(), cancel: false, wait: true };
    assert_eq!(parse("holdfast cluster drain n4").unwrap(), Cli::Cluster { action, json: false, flags: flags(&[]) });
    let action = ClusterAction::Drained { node: None, wait: true, linger: 0 };
    assert_eq!(
        parse("holdfast cluster drained --wait").unwrap(),
        Cli::Cluster { action, json: false, flags: flags(&[]) }
    );
    let action = ClusterAction::Fit { count: 3, remove: true };
    assert_eq!(
        parse("holdfast cluster fit 3 --remove").unwrap(),
        Cli::Cluster { action, json: false, flags: flags(&[]) }
    );
    let action = ClusterAction::TransferLeader { group: 3, node: "n2".to_owned() };
    assert_eq!(
        parse("holdfast cluster transfer-leader 3 n2").unwrap(),
        Cli::Cluster { action, json: false, flags: flags(&[]) }
    );
    let faulty = |node: Option<&str>, fault| {
        let action = ClusterAction::Fault(FaultRequest { node: node.map(str::to_owned), fault });
        Cli::Cluster { action, json: false, flags: flags(&[]) }
    };
    assert_eq!(parse("holdfast fault crash n2").unwrap(), faulty(Some("n2"), FaultKind::Crash {}));
    assert_eq!(parse("holdfast fault status").unwrap(), faulty(None, FaultKind::Status {}));
    let from = vec!["n1".to_owned(), "n3".to_owned()];
    assert_eq!(
        parse("holdfast fault partition n2 --from n1,n3").unwrap(),
        faulty(Some("n2"), FaultKind::Partition { from })
    );
    assert_eq!(parse("holdfast fault slow-disk n2 --ms 9").unwrap(), faulty(Some("n2"), FaultKind::SlowDisk { ms: 9 }));
    let begin = ClusterAction::Scrub { start: true, wait: true };
    assert_eq!(
        parse("holdfast scrub start --wait").unwrap(),
        Cli::Cluster { action: begin, json: false, flags: flags(&[]) }
    );
    let check = Cli::Verify { json: true, flags: flags(&[("data", "/d")]) };
    assert_eq!(parse("holdfast verify --data /d -o json").unwrap(), check);
    let enabled = Cli::Run { role: Role::Server, nodes: 0, flags: flags(&[("enable-faults", "true")]) };
    assert_eq!(parse("holdfast server --enable-faults").unwrap(), enabled);
    let check = Cli::CheckConfig { role: Role::Gateway, flags: flags(&[("cluster-secret-file", "/s")]) };
    assert_eq!(parse("holdfast config check --role gateway --cluster-secret-file /s").unwrap(), check);
    assert_eq!(parse("holdfast config keys").unwrap(), Cli::ConfigKeys);
    let from = Place { url: "s3://b/p".to_owned(), endpoint: Some("http://s3:1".to_owned()) };
    let action = BackupAction::Restore { from, name: None };
    assert_eq!(
        parse("holdfast backup restore s3://b/p --endpoint http://s3:1 --data /d").unwrap(),
        Cli::Backup { action, json: false, flags: flags(&[("data", "/d")]) }
    );
    let place = Place { url: "/b".to_owned(), endpoint: None };
    let action = BackupAction::Remove(place.clone(), Choose::AllBut(3));
    let prune = Cli::Backup { action, json: false, flags: flags(&[]) };
    assert_eq!(parse("holdfast backup prune /b --keep 3").unwrap(), prune);
    assert!(parse("holdfast backup prune /b").is_err() && parse("holdfast backup prune /b --keep 0").is_err());
    let action = BackupAction::Remove(place, Choose::Named(vec!["x".to_owned(), "y".to_owned()]));
    let remove = Cli::Backup { action, json: true, flags: flags(&[]) };
    assert_eq!(parse("holdfast backup remove /b x y -o json").unwrap(), remove);
    let asked = ImportArguments {
        from: "http://minio:9000".to_owned(),
        to: "http://127.0.0.1:9000".to_owned(),
        buckets: vec!["a".to_owned(), "b".to_owned()],
        prefix: "p/".to_owned(),
        jobs: 4,
        overwrite: false,
        dry_run: true,
    };
    let import = Cli::Import { asked, json: true, flags: flags(&[("root-secret-key-file", "/s")]) };
    let line =
        "holdfast import a b --from http://minio:9000 --prefix p/ --jobs 4 --dry-run --root-secret-key-file /s -o json";
    assert_eq!(parse(line).unwrap(), import);
    assert!(parse("holdfast import a").is_err());
    let trace = Cli::Trace { query: "operation=GetObject&failed=true".to_owned(), json: true, flags: flags(&[]) };
    assert_eq!(parse("holdfast trace --operation GetObject --failed -o json").unwrap(), trace);
    let show = Cli::ShowConfig { role: Role::Server, json: false, flags: flags(&[("shards", "2")]) };
    assert_eq!(parse("holdfast config show --redact --shards 2").unwrap(), show);
    let doctor = Cli::Doctor { role: Role::Gateway, json: false, flags: flags(&[]) };
    assert_eq!(parse("holdfast doctor --role gateway").unwrap(), doctor);
    assert_eq!(parse("holdfast completions fish").unwrap(), Cli::Completions(Shell::Fish));
    assert_eq!(parse("holdfast man /m").unwrap(), Cli::Man("/m".into()));
    let flags = flags(&[("ops-listen", "127.0.0.1:1")]);
    let live = Cli::Health { question: health::Question::Live, flags };
    assert_eq!(parse("holdfast health --live --ops-listen 127.0.0.1:1").unwrap(), live);
    let subjects = vec!["n1".to_owned(), "n2=a,b".to_owned()];
    let init = Action::Init { dir: "d".into(), subjects, days: 7 };
    assert_eq!(parse("holdfast certs init d --name n1 --name n2=a,b --days 7").unwrap(), Cli::Certs(init));
}

#[test]
fn flags_of_other_commands_and_secrets_are_refused() {
    for line in [
        "holdfast gateway --data /d",
        "holdfast replica --s3-listen 127.0.0.1:1",
        "holdfast server --cluster-secret open",
        "holdfast dev --nodes 0",
        "holdfast dev --nodes 8",
        "holdfast cluster transfer-leader one n2",
        "holdfast serve",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}
