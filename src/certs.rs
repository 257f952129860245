//! `holdfast certs`: a small authority of the cluster's own, for those who have none. ECDSA P-256 throughout.
//!
//! ```text
//! certs init DIR [--names …]      ca.crt, ca.key, and a pair for each name
//! certs issue DIR NAME[=HOST,…]   one more pair, or a new one in place of an old one
//! certs show FILE…                who, by whom, until when
//! ```
//! A pair's certificate is good for serving and for dialling, for its name and every host after the `=`; without hosts
//! for the name and loopback. The authority's key stays in DIR: keep it away from the nodes.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::tls::{self, Sources, TlsError};

/// An authority's life.
const CA_DAYS: i64 = 3650;
const CA_NAME: &str = "Holdfast cluster CA";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make an authority, and a pair for each subject.
    Init {
        /// Where.
        dir: PathBuf,
        /// `NAME` or `NAME=HOST,…`
        subjects: Vec<String>,
        /// How long the pairs are valid.
        days: i64,
    },
    /// Make one pair.
    Issue {
        /// Where the authority is.
        dir: PathBuf,
        /// `NAME` or `NAME=HOST,…`
        subject: String,
        /// How long the pair is valid.
        days: i64,
    },
    /// Tell about certificates.
    Show {
        /// PEM files.
        paths: Vec<PathBuf>,
    },
}

/// Why nothing came of it; one line each.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// There is an authority already.
    #[error("{} exists: an authority is never overwritten (`holdfast certs issue` makes pairs with it)", .0.display())]
    Exists(PathBuf),
    /// A name that cannot stand in a file's name.
    #[error("{0:?} is not NAME or NAME=HOST,HOST with names of letters, digits, `.`, `-`, `_` (hosts also `*.`)")]
    Subject(String),
    /// A file.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The authority's key is none.
    #[error("{}: this is not the key of an authority made by `holdfast certs init`", .0.display())]
    NotAnAuthority(PathBuf),
    /// A certificate cannot be made.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate cannot be read.
    #[error(transparent)]
    Read(#[from] TlsError),
}

/// Does it; the lines to print.
pub fn run(action: &Action, sources: &Sources) -> Result<Vec<String>, CertsError> {
    match action {
        Action::Init { dir, subjects, days } => init(sources, dir, subjects, *days),
        Action::Issue { dir, subject, days } => issue(sources, dir, &authority(sources, dir)?, subject, *days),
        Action::Show { paths } => paths.iter().map(|path| show(sources, path)).collect(),
    }
}

fn now(sources: &Sources) -> OffsetDateTime {
    let seconds = (sources.clock.unix_millis() / 1000) as i64;
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn init(sources: &Sources, dir: &Path, subjects: &[String], days: i64) -> Result<Vec<String>, CertsError> {
    for name in ["ca.crt", "ca.key"] {
        if dir.join(name).exists() {
            return Err(CertsError::Exists(dir.join(name)));
        }
    }
    subjects.iter().try_for_each(|subject| parse(subject).map(drop))?;
    let at = |error| CertsError::Io { path: dir.to_owned(), error };
    sources.files.create_dir_all(dir).map_err(at)?;
    let key = KeyPair::generate()?;
    let mut params = ca_params();
    params.not_before = now(sources) - Duration::hours(1);
    params.not_after = now(sources) + Duration::days(CA_DAYS);
    let certificate = params.self_signed(&key)?;
    write(sources, &dir.join("ca.key"), &key.serialize_pem(), 0o600)?;
    write(sources, &dir.join("ca.crt"), &certificate.pem(), 0o644)?;
    let mut said = vec![format!("{}: the cluster's authority", dir.join("ca.crt").display())];
    let issuer = Issuer::new(params, key);
    for subject in subjects {
        said.extend(issue(sources, dir, &issuer, subject, days)?);
    }
    Ok(said)
}

/// The authority in `dir`. Its certificate follows from its key alone.
fn authority(sources: &Sources, dir: &Path) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let path = dir.join("ca.key");
    let missing = |error| CertsError::Io { path: path.clone(), error };
    let bytes = holdfast_replica::file::read(&*sources.files, &path).map_err(missing)?;
    let bytes = bytes.ok_or_else(|| missing(crate::no_such_file()))?;
    let text = String::from_utf8(bytes).map_err(|_| CertsError::NotAnAuthority(path.clone()))?;
    let key = KeyPair::from_pem(&text).map_err(|_| CertsError::NotAnAuthority(path.clone()))?;
    // A foreign authority has another name: what it signs here nobody would believe.
    let certificate = tls::certificates(sources, &dir.join("ca.crt"))?;
    let holds = |part: &[u8]| certificate[0].windows(part.len()).any(|window| window == part);
    if !holds(CA_NAME.as_bytes()) || !holds(key.der_bytes()) {
        return Err(CertsError::NotAnAuthority(path));
    }
    Ok(Issuer::new(ca_params(), key))
}

fn issue(
    sources: &Sources,
    dir: &Path,
    issuer: &Issuer<'static, KeyPair>,
    subject: &str,
    days: i64,
) -> Result<Vec<String>, CertsError> {
    let (name, hosts) = parse(subject)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    for host in &hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName((*host).try_into()?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now(sources) - Duration::hours(1);
    params.not_after = now(sources) + Duration::days(days);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let (cert, secret) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    write(sources, &secret, &key.serialize_pem(), 0o600)?;
    write(sources, &cert, &certificate.pem(), 0o644)?;
    let until = tls::date(params.not_after.unix_timestamp());
    Ok(vec![format!("{}: for {}, until {until}", cert.display(), hosts.join(", "))])
}

/// `NAME` or `NAME=HOST,…`
fn parse(subject: &str) -> Result<(&str, Vec<&str>), CertsError> {
    let bad = || CertsError::Subject(subject.to_owned());
    let (name, hosts) = subject.split_once('=').map_or((subject, None), |(name, hosts)| (name, Some(hosts)));
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if !word(name) || name.starts_with('.') || name == "ca" {
        return Err(bad());
    }
    let hosts = match hosts {
        Some(hosts) => hosts.split(',').map(str::trim).collect(),
        None => vec![name, "localhost", "127.0.0.1", "::1"],
    };
    let host = |host: &&str| word(host.strip_prefix("*.").unwrap_or(host)) || host.parse::<IpAddr>().is_ok();
    if hosts.iter().all(host) { Ok((name, hosts)) } else { Err(bad()) }
}

fn show(sources: &Sources, path: &Path) -> Result<String, CertsError> {
    let facts = tls::facts(sources, path)?;
    let now = now(sources).unix_timestamp();
    let left = (facts.not_after - now) / 86_400;
    let until = tls::date(facts.not_after);
    let state = if now > facts.not_after {
        format!("EXPIRED on {until}")
    } else if now < facts.not_before {
        format!("not valid before {}", tls::date(facts.not_before))
    } else {
        format!("valid until {until} ({left} days)")
    };
    Ok(format!("{}: {state}", path.display()))
}

/// Replaces a file that is created with these rights.
#[expect(clippy::disallowed_types, reason = "the file seam knows no modes, and a key must never be readable by others")]
fn write(sources: &Sources, path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error| CertsError::Io { path: path.to_owned(), error };
    let beside = path.with_extension("new");
    match sources.files.remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = std::fs::File::options().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    sources.files.rename(&beside, path).map_err(failed)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it makes real files")]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use holdfast_replica::file::RealFiles;
    use holdfast_wire::seam::SystemClock;

    use super::*;
    use crate::tls::{Pair, PeerTls, Tls, TlsConfig};

    fn sources() -> Sources {
        Sources { files: Arc::new(RealFiles), clock: Arc::new(SystemClock) }
    }

    #[test]
    fn an_authority_and_its_pairs_are_what_nodes_take() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let subjects = vec!["n1".to_owned(), "n2=n2.hf.svc,*.hf.svc,10.0.0.2,::1".to_owned()];
        let init = Action::Init { dir: dir.path().to_owned(), subjects, days: 30 };
        assert_eq!(run(&init, &sources()).unwrap().len(), 3);
        assert!(run(&init, &sources()).unwrap_err().to_string().contains("never overwritten"));
        let issue = Action::Issue { dir: dir.path().to_owned(), subject: "n3".to_owned(), days: 30 };
        assert!(run(&issue, &sources()).unwrap()[0].contains("for n3, localhost"));
        for name in ["n1", "n2", "n3"] {
            let pair = Pair { cert: at(&format!("{name}.crt")), key: at(&format!("{name}.key")) };
            let peers = Some(PeerTls { pair: pair.clone(), ca: at("ca.crt") });
            Tls::load(&TlsConfig { server: Some(pair), peers, plain: Vec::new() }, sources()).unwrap();
        }
        for key in ["ca.key", "n1.key"] {
            assert_eq!(std::fs::metadata(at(key)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let shown = run(&Action::Show { paths: vec![at("ca.crt"), at("n1.crt")] }, &sources()).unwrap();
        assert!(shown[0].contains("(3650 days)") && shown[1].contains("(30 days)"), "{shown:?}");
    }

    #[test]
    fn what_is_no_name_or_authority_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for subject in ["", "ca", "a/b", "../x", "n1=", "n1=a b", "n1=*x"] {
            let init = Action::Init { dir: dir.path().to_owned(), subjects: vec![subject.to_owned()], days: 1 };
            assert!(matches!(run(&init, &sources()), Err(CertsError::Subject(_))), "{subject}");
        }
        let issue = Action::Issue { dir: dir.path().to_owned(), subject: "n1".to_owned(), days: 1 };
        assert!(matches!(run(&issue, &sources()), Err(CertsError::Io { .. })));
        let other = KeyPair::generate().unwrap();
        let foreign = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&other).unwrap();
        std::fs::write(dir.path().join("ca.key"), other.serialize_pem()).unwrap();
        std::fs::write(dir.path().join("ca.crt"), foreign.pem()).unwrap();
        assert!(matches!(run(&issue, &sources()), Err(CertsError::NotAnAuthority(_))));
    }
}
