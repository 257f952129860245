//! Settings being turned into a configuration, key by key.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_gateway::access_log::AccessLog;
use holdfast_gateway::ownership::Ownership;
use holdfast_gateway::policy::value::Network;
use holdfast_gateway::seal::KeyRing;
use holdfast_gateway::sts::jwt::KeySet;
use holdfast_gateway::sts::oidc::{Jwks, OidcConfig};
use holdfast_replica::index::engine::check_url;

use super::key::{Key, Role};
use super::layer::{Layer, Value};
use super::peers::BadPeers;
use super::{ConfigError, Peer, ReadFile, RootKey, Secret, peers, required, text};

/// Settings being turned into a configuration.
pub(super) struct Reader<'a> {
    pub(super) layer: &'a Layer,
    pub(super) read: ReadFile<'a>,
}

impl Reader<'_> {
    pub(super) fn set(&self, key: &str) -> Option<(String, &str)> {
        let setting = self.layer.get(key)?;
        Some((setting.name(Key::of(key)?), text(setting)))
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.set(key).map_or(String::new(), |(_, text)| text.to_owned())
    }

    pub(super) fn oidc(&self) -> Result<Option<OidcConfig>, ConfigError> {
        let Some((_, issuer)) = self.set("oidc-issuer") else { return Ok(None) };
        let jwks = match self.set("oidc-jwks") {
            None => Jwks::Discovered,
            Some((_, url)) if url.starts_with("http://") || url.starts_with("https://") => Jwks::Url(url.to_owned()),
            Some((name, path)) => {
                let path = PathBuf::from(path);
                let unreadable = |error| ConfigError::Unreadable { name: name.clone(), path: path.clone(), error };
                let text = (self.read)(&path).map_err(unreadable)?;
                let text = text.ok_or_else(|| unreadable(crate::no_such_file()))?;
                let keys = KeySet::parse(&text);
                Jwks::Given(keys.ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?)
            }
        };
        let audiences = self.list("oidc-audience");
        Ok(Some(OidcConfig { issuer: issuer.to_owned(), audiences, jwks }))
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.set(key).map(|(_, text)| PathBuf::from(text))
    }

    pub(super) fn number(&self, key: &str, min: u64, max: u64) -> Result<u64, ConfigError> {
        let (name, text) = self.set(key).unwrap_or_else(|| (key.to_owned(), ""));
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(ConfigError::Number { name, min, max, found: text.to_owned() }),
        }
    }

    pub(super) fn switch(&self, key: &str) -> Result<bool, ConfigError> {
        match self.set(key) {
            None | Some((_, "false")) => Ok(false),
            Some((_, "true")) => Ok(true),
            Some((name, found)) => {
                Err(ConfigError::Choice { name, expected: "true or false", found: found.to_owned() })
            }
        }
    }

    pub(super) fn address(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some((name, text)) = self.set(key) else { return Ok(None) };
        if peers::is_address(text) {
            Ok(Some(text.to_owned()))
        } else {
            Err(ConfigError::Address { name, found: text.to_owned() })
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        self.text(key).split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn networks(&self, key: &str) -> Result<Vec<Network>, ConfigError> {
        let name = self.set(key).map_or(String::new(), |(name, _)| name);
        let parsed =
            |found: String| Network::parse(&found).ok_or_else(|| ConfigError::Network { name: name.clone(), found });
        self.list(key).into_iter().map(parsed).collect()
    }

    pub(super) fn secret(&self, key: &str, min: usize, max: usize) -> Result<Option<Secret>, ConfigError> {
        let Some((name, text)) = self.secret_text(key)? else { return Ok(None) };
        let sound = (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if sound { Ok(Some(Secret::new(text))) } else { Err(ConfigError::SecretForm { name, min, max }) }
    }

    pub(super) fn index(&self) -> Result<Option<Secret>, ConfigError> {
        let Some((name, text)) = self.secret_text("index")? else { return Ok(None) };
        if text == "embedded" {
            return Ok(None);
        }
        check_url(&text).map_err(|error| ConfigError::Index { name, error })?;
        Ok(Some(Secret::new(text)))
    }

    pub(super) fn encryption_keys(&self) -> Result<Option<Arc<KeyRing>>, ConfigError> {
        let Some((name, text)) = self.secret_text("encryption-keys")? else { return Ok(None) };
        let ring = KeyRing::parse(&text).map_err(|error| ConfigError::EncryptionKeys { name, error })?;
        Ok(Some(Arc::new(ring)))
    }

    /// Whether customers' keys are taken over plain HTTP.
    pub(super) fn default_ownership(&self) -> Result<Ownership, ConfigError> {
        let expected = "BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter";
        let Some((name, found)) = self.set("default-object-ownership") else { return Ok(Ownership::Enforced) };
        found.parse().map_err(|_| ConfigError::Choice { name, expected, found: found.to_owned() })
    }

    pub(super) fn customer_keys_over_http(&self) -> Result<bool, ConfigError> {
        match self.set("customer-keys-over") {
            None | Some((_, "https")) => Ok(false),
            Some((_, "any")) => Ok(true),
            Some((name, found)) => Err(ConfigError::Choice { name, expected: "https or any", found: found.to_owned() }),
        }
    }

    /// A secret as it stands there, and what sets it.
    pub(super) fn secret_text(&self, key: &str) -> Result<Option<(String, String)>, ConfigError> {
        let (Some(setting), Some(key)) = (self.layer.get(key), Key::of(key)) else { return Ok(None) };
        let name = setting.name(key);
        let text = match &setting.value {
            Value::Text(text) => text.clone(),
            Value::InFile(path) => {
                let unreadable = |error| ConfigError::Unreadable { name: name.clone(), path: path.clone(), error };
                let bytes = (self.read)(path).map_err(unreadable)?;
                let bytes = bytes.ok_or_else(|| unreadable(crate::no_such_file()))?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| ConfigError::NotText { name: name.clone(), path: path.clone() })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        Ok(Some((name, text)))
    }

    pub(super) fn access_log(&self) -> Result<AccessLog, ConfigError> {
        let Some((name, found)) = self.set("access-log") else { return Ok(AccessLog::default()) };
        let choice = |_| ConfigError::Choice { name, expected: "off, failures or all", found: found.to_owned() };
        found.parse().map_err(choice)
    }

    pub(super) fn root(&self, role: Role) -> Result<Option<RootKey>, ConfigError> {
        if !role.has_gateway() {
            return Ok(None);
        }
        let access = self.secret("root-access-key", 3, 128)?;
        let secret = self.secret("root-secret-key", 8, 128)?;
        match (access, secret) {
            (Some(access), Some(secret)) => Ok(Some(RootKey { access: access.reveal().to_owned(), secret })),
            (None, None) if role == Role::Dev => Ok(None),
            (None, _) => Err(required("root-access-key", "there are no default credentials")),
            (_, None) => Err(required("root-secret-key", "there are no default credentials")),
        }
    }

    /// Name, peers, where this node listens for peers, and what they dial.
    pub(super) fn place(&self, role: Role) -> Result<(String, Vec<Peer>, String, String), ConfigError> {
        let list = self.set("peers");
        let peers = match &list {
            Some((name, text)) => {
                peers::parse(text).map_err(|error| ConfigError::Peers { name: name.clone(), error })?
            }
            None => Vec::new(),
        };
        match role {
            Role::Dev | Role::Client => return Ok((String::new(), Vec::new(), String::new(), String::new())),
            Role::Gateway if peers.is_empty() => return Err(required("peers", "a gateway keeps no data itself")),
            Role::Gateway => return Ok((String::new(), peers, String::new(), String::new())),
            Role::Server | Role::Replica => {}
        }
        let name = match self.set("name") {
            Some((_, text)) if peers::is_name(text) => text.to_owned(),
            Some((name, text)) => {
                let error = BadPeers::Name(text.to_owned());
                return Err(ConfigError::Peers { name, error });
            }
            None if peers.is_empty() => "n1".to_owned(),
            None => return Err(required("name", "this node must know which of the peers it is")),
        };
        let own = peers.iter().find(|peer| peer.name == name).map(|peer| peer.address.clone());
        let listen = self.address("peer-listen")?;
        let address = match (self.address("peer-address")?, own, &listen) {
            (Some(address), _, _) | (None, Some(address), _) => address,
            (None, None, Some(listen)) if peers.is_empty() && peers::is_loopback(listen) => listen.clone(),
            (None, None, _) if peers.is_empty() => "127.0.0.1:9003".to_owned(),
            (None, None, _) => return Err(required("peer-address", "this node's name is not among the peers")),
        };
        let listen = listen.unwrap_or_else(|| {
            let port = peers::port(&address).unwrap_or_default();
            if peers::is_loopback(&address) { address.clone() } else { format!("0.0.0.0:{port}") }
        });
        let peers = if peers.is_empty() { vec![Peer { name: name.clone(), address: address.clone() }] } else { peers };
        Ok((name, peers, listen, address))
    }
}
