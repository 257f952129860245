//! What went wrong with a handshake, in words an operator can act on; and not the same words again every second.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};
use tokio::time::Instant;

use super::der::date;

/// The same complaint is made again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Complaints remembered.
const REMEMBERED: usize = 1024;

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

fn certificate(why: &CertificateError) -> String {
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
            let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("its certificate is not for {wanted} but for {names}")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

/// Says a thing about someone once, and again a minute later if it is still so.
#[derive(Default)]
pub struct Complaints {
    said: Mutex<HashMap<String, (String, Instant)>>,
}

impl Complaints {
    /// Whether `what` about `whom` is worth a line now.
    pub fn is_news(&self, whom: &str, what: &str) -> bool {
        let mut said = self.said.lock();
        let now = Instant::now();
        if let Some((before, when)) = said.get(whom)
            && before == what
            && now.duration_since(*when) < AGAIN_AFTER
        {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(whom.to_owned(), (what.to_owned(), now));
        true
    }

    /// All is well with `whom`.
    pub fn settle(&self, whom: &str) {
        self.said.lock().remove(whom);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_not_said_twice_in_a_minute() {
        let complaints = Complaints::default();
        assert!(complaints.is_news("n1", "expired"));
        assert!(!complaints.is_news("n1", "expired"));
        assert!(complaints.is_news("n2", "expired"));
        assert!(complaints.is_news("n1", "another name"));
        tokio::time::advance(AGAIN_AFTER).await;
        assert!(complaints.is_news("n1", "another name"));
        complaints.settle("n1");
        assert!(complaints.is_news("n1", "another name"));
    }
}
