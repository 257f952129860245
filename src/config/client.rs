//! What the commands are told that talk to a running process.

use std::path::PathBuf;

use super::key::Role;
use super::layer::Layer;
use super::{ConfigError, ReadFile, Reader, RootKey, SECRET_MIN, Secret};
use crate::health::Place;

/// Where this configuration puts the ops listener.
pub fn ops(layer: &Layer) -> Result<Place, ConfigError> {
    let from = Reader { layer, read: &|_| Ok(None) };
    let secure = from.path("tls-cert").is_some() && !from.list("tls-plain").iter().any(|name| name == "ops");
    Ok(Place::of(&from.address("ops-listen")?.unwrap_or_default(), secure))
}

/// What `holdfast import` is told of the cluster that it writes to.
pub struct ImportConfig {
    /// As whom it writes.
    pub key: RootKey,
    /// For what region it signs.
    pub region: String,
    /// The authorities (PEM) by which it believes https.
    pub ca: Option<Vec<u8>>,
}

impl ImportConfig {
    /// The part of the settings that `holdfast import` needs.
    pub fn new(layer: &Layer, read: ReadFile<'_>) -> Result<Self, ConfigError> {
        let from = Reader { layer, read };
        let key = from.root(Role::Gateway)?.expect("a gateway without a root key is refused");
        let ca = from.path("ca").map(|path| {
            let unreadable = |error| ConfigError::Unreadable { name: "ca".to_owned(), path: path.clone(), error };
            read(&path).and_then(|bytes| bytes.ok_or_else(crate::no_such_file)).map_err(unreadable)
        });
        Ok(Self { key, region: from.text("region"), ca: ca.transpose()? })
    }
}

/// What `holdfast cluster` is told.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Base URL of the admin API.
    pub admin: String,
    /// Its token.
    pub token: Option<Secret>,
    /// The node that this configuration is also for.
    pub name: Option<String>,
    /// The authorities by which https is believed.
    pub ca: Option<PathBuf>,
}

impl ClientConfig {
    /// The part of the settings that `holdfast cluster` needs.
    pub fn new(layer: &Layer, read: ReadFile<'_>) -> Result<ClientConfig, ConfigError> {
        let from = Reader { layer, read };
        let token = from.secret("admin-token", SECRET_MIN, 1024)?;
        let name = from.set("name").map(|(_, name)| name.to_owned());
        Ok(ClientConfig { name, admin: from.text("admin"), token, ca: from.path("ca") })
    }
}
