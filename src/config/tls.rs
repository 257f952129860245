//! The keys about certificates: which belong together. The files themselves are read at start (`crate::tls`).

use std::path::PathBuf;

use super::key::Role;
use super::{ConfigError, Reader, required};
use crate::tls::{Pair, PeerTls, Port, TlsConfig};

/// What the keys say.
pub fn config(from: &Reader<'_>, role: Role) -> Result<TlsConfig, ConfigError> {
    let all = |keys: &[&'static str], why| -> Result<Option<Vec<PathBuf>>, ConfigError> {
        let found: Vec<_> = keys.iter().filter_map(|key| from.path(key)).collect();
        match keys.iter().find(|key| from.path(key).is_none()) {
            None => Ok(Some(found)),
            Some(_) if found.is_empty() => Ok(None),
            Some(missing) => Err(required(missing, why)),
        }
    };
    let server = all(&["tls-cert", "tls-key"], "certificate and key come together")?;
    let peers = match role {
        Role::Dev | Role::Client => None,
        _ => all(&["peer-cert", "peer-key", "peer-ca"], "certificate, key and authority of peers come together")?,
    };
    let mut plain = Vec::new();
    for word in from.list("tls-plain") {
        let name = from.set("tls-plain").map_or(String::new(), |(name, _)| name);
        let port = Port::ALL.into_iter().find(|(known, _)| *known == word);
        let (_, port) = port.ok_or(ConfigError::Choice { name, expected: "s3, admin or ops", found: word })?;
        plain.push(port);
    }
    let pair = |cert: &PathBuf, key: &PathBuf| Pair { cert: cert.clone(), key: key.clone() };
    Ok(TlsConfig {
        server: server.and_then(|files| Some(pair(files.first()?, files.get(1)?))),
        plain,
        peers: peers
            .and_then(|files| Some(PeerTls { pair: pair(files.first()?, files.get(1)?), ca: files.get(2)?.clone() })),
    })
}
