//! What went wrong with a handshake, in words an operator can act on.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

use super::der::date;

/// A handshake's failure as a sentence; `None` for anything but TLS (a reset connection).
pub fn explain(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::NoCertificatesPresented => "the other side shows no certificate".to_owned(),
        Error::InvalidMessage(_) => "the other side does not speak TLS".to_owned(),
        Error::PeerIncompatible(why) => format!("no common version or cipher (TLS 1.2 at least): {why:?}"),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => "the other side says that our certificate has expired".to_owned(),
            AlertDescription::UnknownCA => "the other side does not know the CA of our certificate".to_owned(),
            AlertDescription::CertificateRequired => "the other side demands a certificate".to_owned(),
            alert => format!("the other side refuses: {alert:?}"),
        },
        other => other.to_string(),
    })
}

/// What is wrong with the certificate of the other side.
pub fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired => "its certificate has expired; renew it".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired on {}; renew it", date(not_after.as_secs() as i64))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; are the clocks right?".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is from an authority that is not trusted here".to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let wanted = match expected {
                ServerName::DnsName(name) => name.as_ref().to_owned(),
                ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
                _ => "the address".to_owned(),
            };
            // Each is shown as the kind of a name and, in quotes, the name.
            let names: Vec<_> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("its certificate is not for {wanted} but for {names}")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}
