//! Commands that do something and end: their settings, their work, what they print.

use std::process::ExitCode;
use std::sync::Arc;

use aws_sdk_s3::config::Credentials;
use futures::StreamExt;
use holdfast_replica::file::RealFiles;
use holdfast_replica::node::NodeConfig;
use holdfast_wire::seam::{Seams, TcpNet};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::admin::trace::Line;
use crate::backup::{self, Manifest, Restored, Store};
use crate::cli::{BackupAction, Flags, ImportArguments, Place};
use crate::client::{AdminClient, ClientError};
use crate::config::key::{KEYS, Role};
use crate::config::layer::Value;
use crate::config::{ClientConfig, Config, ImportConfig};
use crate::doctor::{self, Verdict};
use crate::import::{ANSWER_WITHIN, Import, Imported};
use crate::{AnyError, FAILED, MISUSED, complain, compose, sdk};

/// `holdfast backup …`
pub fn backup(action: BackupAction, json: bool, flags: Flags) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    let done: Result<(), (u8, AnyError)> = runtime.block_on(async {
        let misused = |error: AnyError| (MISUSED, error);
        let failed = |error: backup::BackupError| (FAILED, AnyError::from(error));
        match action {
            BackupAction::Create(place) => {
                let settings = crate::settings(flags).map_err(misused)?;
                let config = ClientConfig::new(&settings, &crate::read).map_err(|error| misused(error.into()))?;
                let client = AdminClient::new(Arc::new(TcpNet), config, &crate::sources())
                    .map_err(|error| misused(error.into()))?;
                let store = open(&place).map_err(misused)?;
                let now_ms = Seams::real().clock.unix_millis();
                let made = backup::create(&client, &*store, now_ms).await.map_err(failed)?;
                print(json, &made, |made| {
                    let (copied, bytes) = (made.copied_blobs, made.copied_bytes);
                    format!("{} ({copied} blobs of {bytes} bytes copied)\n", line(made))
                });
            }
            BackupAction::List(place) => {
                let store = open(&place).map_err(misused)?;
                let found = backup::list(&*store).await.map_err(failed)?;
                print(json, &found, |found| found.iter().map(|made| line(made) + "\n").collect());
            }
            BackupAction::Remove(place, choose) => {
                let store = open(&place).map_err(misused)?;
                let removed = backup::remove(&*store, &choose).await.map_err(failed)?;
                print(json, &removed, |removed| {
                    let went = match &removed.backups[..] {
                        [] => "no backup".to_owned(),
                        names => names.join(", "),
                    };
                    format!("removed: {went}; {} blobs of {} bytes\n", removed.blobs, removed.bytes)
                });
            }
            BackupAction::Restore { from, name } => {
                let config = node(flags).map_err(misused)?;
                let store = open(&from).map_err(misused)?;
                let own = (config.name.clone(), config.data.clone(), config.address.clone());
                let files = Arc::new(RealFiles);
                let (seams, name) = (Seams::real(), name.as_deref());
                let restored = backup::restore(&*store, name, config, &seams, files).await.map_err(failed)?;
                print(json, &restored, |restored| told(restored, &own));
            }
        }
        Ok(())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => complain(code, &error),
    }
}

/// `holdfast import`
pub fn import(asked: ImportArguments, json: bool, flags: Flags) -> ExitCode {
    let import = || -> Result<Import, AnyError> {
        let settings = crate::settings(flags)?;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let ImportConfig { key, region, ca } = ImportConfig::new(&settings, &crate::read)?;
        let attempt_within = Some(ANSWER_WITHIN);
        let from = sdk::Place { ca: ca.clone(), attempt_within, ..sdk::Place::of(Some(asked.from), &variable)? };
        let keys = Credentials::new(key.access, key.secret.reveal(), None, None, "configuration");
        let to = sdk::Place { endpoint: Some(asked.to), region: Some(region), keys, ca, attempt_within };
        let ImportArguments { buckets, prefix, jobs, overwrite, dry_run, .. } = asked;
        Ok(Import { from: from.client(), to: to.client(), buckets, prefix, jobs, overwrite, dry_run })
    };
    let import = match import() {
        Ok(import) => import,
        Err(error) => return complain(MISUSED, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    match runtime.block_on(import.run()) {
        Ok(imported) => {
            print(json, &imported, Imported::text);
            let failed: u64 = imported.buckets.values().map(|counts| counts.failed).sum();
            if imported.whole() {
                return ExitCode::SUCCESS;
            }
            complain(FAILED, &format!("{failed} objects were not copied; the same command tries them again"))
        }
        Err(error) => complain(FAILED, &error),
    }
}

/// `holdfast config show`
pub fn show_config(role: Role, json: bool, flags: Flags) -> ExitCode {
    let settings = match crate::settings(flags) {
        Ok(settings) => settings,
        Err(error) => return complain(MISUSED, &error),
    };
    let shown: Vec<Shown> = KEYS
        .iter()
        .filter(|key| key.roles.contains(&role))
        .map(|key| {
            let setting = settings.get(key.name);
            let value = setting.map(|setting| match (&setting.value, key.secret) {
                (Value::InFile(path), _) => format!("(in {})", path.display()),
                (Value::Text(_), true) => "(secret)".to_owned(),
                (Value::Text(text), false) => text.clone(),
            });
            Shown { key: key.field(), value, source: setting.map(|setting| setting.name(key)) }
        })
        .collect();
    print(json, &shown, |shown| {
        let lines = shown.iter().filter_map(|Shown { key, value, source }| {
            let source = source.as_deref().filter(|source| source.replace('-', "_") != *key).unwrap_or("");
            Some(format!("{key} = {:?}  {source}", value.as_ref()?).trim_end().to_owned() + "\n")
        });
        lines.collect()
    });
    ExitCode::SUCCESS
}

/// A setting as it is shown.
#[derive(serde::Serialize)]
struct Shown {
    key: String,
    value: Option<String>,
    /// The name under which it was set: of a flag, a variable or a field; the key's own for a default.
    source: Option<String>,
}

/// `holdfast doctor`
pub fn doctor(role: Role, json: bool, flags: Flags) -> ExitCode {
    let config = crate::settings(flags).and_then(|settings| Ok(Config::new(role, &settings, &crate::read)?));
    let config = match config {
        Ok(config) => config,
        Err(error) => return complain(MISUSED, &error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    let seams = Seams::real();
    let found = runtime.block_on(doctor::examine(&config, Arc::new(RealFiles), &*seams.net, seams.clock.clone()));
    print(json, &found, |found| doctor::text(found));
    let worst = found.iter().map(|check| check.verdict).max();
    if worst == Some(Verdict::Fail) { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// `holdfast trace`
pub fn trace(query: &str, json: bool, flags: Flags) -> ExitCode {
    let client = crate::settings(flags).and_then(|settings| {
        Ok(AdminClient::new(Arc::new(TcpNet), ClientConfig::new(&settings, &crate::read)?, &crate::sources())?)
    });
    let client = match client {
        Ok(client) => client,
        Err(error) => return complain(MISUSED, &error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    let followed: Result<(), ClientError> = runtime.block_on(async {
        let (_, mut stream) = client.stream(&format!("/v1/trace?{query}")).await?;
        let mut rest = Vec::new();
        while let Some(bytes) = stream.next().await.transpose()? {
            rest.extend_from_slice(&bytes);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line);
                match serde_json::from_slice::<Line>(&line) {
                    Ok(line) if !json => println!("{}", line.text()),
                    Ok(_) => print!("{text}"),
                    Err(_) => return Err(client.not_ours()),
                }
            }
        }
        Ok(())
    });
    match followed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(FAILED, &error),
    }
}

fn open(place: &Place) -> Result<Arc<dyn Store>, AnyError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(backup::open(&place.url, place.endpoint.clone(), Arc::new(RealFiles), &variable)?)
}

/// The node that a backup becomes, as `holdfast replica` would be configured.
fn node(flags: Flags) -> Result<NodeConfig, AnyError> {
    let settings = crate::settings(flags)?;
    Ok(compose::node_config(&Config::new(Role::Replica, &settings, &crate::read)?))
}

fn print<T: serde::Serialize>(json: bool, value: &T, text: impl Fn(&T) -> String) {
    match json {
        true => println!("{}", serde_json::to_string_pretty(value).expect("it is always serializable")),
        false => print!("{}", text(value)),
    }
}

fn line(manifest: &Manifest) -> String {
    let created = OffsetDateTime::from_unix_timestamp((manifest.created_ms / 1000) as i64).ok();
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let created = created.and_then(|created| created.format(form).ok()).unwrap_or_default();
    let rows: u64 = manifest.groups.iter().map(|group| group.rows_bytes).sum();
    let (blobs, bytes) = manifest.blobs();
    format!(
        "{}  {created}  cluster {}  {} groups, {rows} bytes of rows, {blobs} blobs of {bytes} bytes",
        manifest.name,
        manifest.cluster,
        manifest.groups.len()
    )
}

fn told(restored: &Restored, (name, data, address): &(String, std::path::PathBuf, String)) -> String {
    format!(
        "restored {} of cluster {}: {} groups, {} blobs of {} bytes, all verified\n\
         {} is node {name} ({address}) of a new cluster: start it, and then the other nodes on empty directories\n",
        restored.name,
        restored.from_cluster,
        restored.groups,
        restored.blobs,
        restored.blob_bytes,
        data.display()
    )
}
