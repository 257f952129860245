//! The `OTEL_…` variables, as the OpenTelemetry specification has them. What is asked for and not there is refused by name.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_gateway::sampling::Sampling;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// How spans are exported.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to: scheme, host and path.
    pub url: Uri,
    /// `host:port`
    pub address: String,
    /// For the `Host` header.
    pub host: String,
    /// Whether by TLS, and whom to believe then.
    pub authority: Option<PathBuf>,
    /// Sent along.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What this process is.
    pub resource: Vec<(String, String)>,
    /// Which requests.
    pub sampling: Sampling,
    /// For one export.
    pub timeout: Duration,
    /// Between two exports.
    pub delay: Duration,
    /// Spans that may wait.
    pub queue: usize,
    /// Spans in one export.
    pub batch: usize,
}

/// A variable that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {found:?} {why}")]
pub struct BadSetting {
    name: &'static str,
    found: String,
    why: &'static str,
}

/// Reads variables.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the environment says of a process named `instance` of this `version`; `None`: nothing is exported.
pub fn settings(variables: Variables<'_>, instance: &str, version: &str) -> Result<Option<Settings>, BadSetting> {
    let set = |name: &'static str| variables(name).filter(|value| !value.is_empty());
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = match set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        Some(whole) => Some(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole)),
        None => set("OTEL_EXPORTER_OTLP_ENDPOINT")
            .map(|base| ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/v1/traces", base.trim_end_matches('/')))),
    };
    match set("OTEL_TRACES_EXPORTER") {
        _ if off => return Ok(None),
        Some(none) if none == "none" => return Ok(None),
        Some(other) if other != "otlp" => return Err(bad("OTEL_TRACES_EXPORTER", &other, "is not otlp or none")),
        _ => {}
    }
    let Some((name, endpoint)) = endpoint else { return Ok(None) };
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        if let Some(protocol) = set(name).filter(|protocol| protocol != "http/protobuf") {
            return Err(bad(name, &protocol, "is not spoken here: http/protobuf (port 4318 of most collectors) is"));
        }
    }
    let not_a_url = || bad(name, &endpoint, "is not http://HOST[:PORT] or https://…");
    let url: Uri = endpoint.parse().map_err(|_| not_a_url())?;
    let (secure, port) = match url.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(not_a_url()),
    };
    let host = url.authority().ok_or_else(not_a_url)?.to_string();
    let address = if url.port().is_some() { host.clone() } else { format!("{host}:{port}") };
    let certificate = set("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE").or_else(|| set("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    if secure && certificate.is_none() {
        return Err(bad(name, &endpoint, "needs OTEL_EXPORTER_OTLP_CERTIFICATE: the authority to believe, PEM"));
    }
    let millis = |name: &'static str, default: u64| match set(name) {
        None => Ok(Duration::from_millis(default)),
        Some(text) => match text.parse() {
            Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
            _ => Err(bad(name, &text, "is not a number of milliseconds above 0")),
        },
    };
    let count = |name: &'static str, default: usize| match set(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(count) if (1..=1 << 20).contains(&count) => Ok(count),
            _ => Err(bad(name, &text, "is not a number from 1 to 1048576")),
        },
    };
    let mut resource =
        vec![("service.name".to_owned(), "holdfast".to_owned()), ("service.version".to_owned(), version.to_owned())];
    if !instance.is_empty() {
        resource.push(("service.instance.id".to_owned(), instance.to_owned()));
    }
    for (key, value) in pairs("OTEL_RESOURCE_ATTRIBUTES", set("OTEL_RESOURCE_ATTRIBUTES"))? {
        resource.retain(|(known, _)| *known != key);
        resource.push((key, value));
    }
    if let Some(name) = set("OTEL_SERVICE_NAME") {
        resource.retain(|(known, _)| known != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    let headers = match set("OTEL_EXPORTER_OTLP_TRACES_HEADERS") {
        Some(own) => pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS", Some(own))?,
        None => pairs("OTEL_EXPORTER_OTLP_HEADERS", set("OTEL_EXPORTER_OTLP_HEADERS"))?,
    };
    let headers = headers.into_iter().map(|(key, value)| {
        // A header may be a token: it is not shown.
        let unfit = || bad("OTEL_EXPORTER_OTLP_HEADERS", &key, "is no header, or its value cannot stand in one");
        Ok((HeaderName::try_from(&key).map_err(|_| unfit())?, HeaderValue::try_from(value).map_err(|_| unfit())?))
    });
    Ok(Some(Settings {
        address,
        host,
        authority: certificate.filter(|_| secure).map(PathBuf::from),
        headers: headers.collect::<Result<_, _>>()?,
        resource,
        sampling: sampling(set("OTEL_TRACES_SAMPLER"), set("OTEL_TRACES_SAMPLER_ARG"))?,
        timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000)?,
        delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
        queue: count("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?,
        batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?,
        url,
    }))
}

fn bad(name: &'static str, found: &str, why: &'static str) -> BadSetting {
    BadSetting { name, found: found.to_owned(), why }
}

fn sampling(sampler: Option<String>, argument: Option<String>) -> Result<Sampling, BadSetting> {
    let ratio = || match &argument {
        None => Ok(1.0),
        Some(text) => match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(bad("OTEL_TRACES_SAMPLER_ARG", text, "is not a number from 0 to 1")),
        },
    };
    let name = sampler.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (by_parent, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio()?,
        _ => return Err(bad("OTEL_TRACES_SAMPLER", &name, "is no sampler that is known here")),
    };
    Ok(Sampling { ratio, by_parent })
}

/// `key=value,…`, percent-encoded.
fn pairs(name: &'static str, text: Option<String>) -> Result<Vec<(String, String)>, BadSetting> {
    let text = text.unwrap_or_default();
    let decoded = |part: &str| percent_decode_str(part.trim()).decode_utf8_lossy().into_owned();
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((decoded(key), decoded(value))),
            _ => Err(bad(name, part.split('=').next().unwrap_or_default(), "is not key=value,key=value")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Settings>, BadSetting> {
        let map: HashMap<_, _> = pairs.iter().copied().collect();
        settings(&|name| map.get(name).map(|value| (*value).to_owned()), "n1", "0.1.0")
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        assert!(of(&[]).unwrap().is_none());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(of(&[endpoint, off]).unwrap().is_none());
        }
        let settings = of(&[endpoint]).unwrap().unwrap();
        assert_eq!((settings.address.as_str(), settings.url.path()), ("collector:4318", "/v1/traces"));
        assert_eq!(settings.sampling, Sampling { ratio: 1.0, by_parent: true });
        assert!(settings.resource.contains(&("service.instance.id".to_owned(), "n1".to_owned())));
    }

    #[test]
    fn variables_are_followed() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://nobody"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector/otlp"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.crt"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, x-team=storage"),
            ("OTEL_SERVICE_NAME", "objects"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.name=other"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!((settings.address.as_str(), settings.url.path()), ("collector:443", "/otlp"));
        assert_eq!(settings.headers[0].1, "Bearer x");
        assert_eq!(settings.headers[1].0, "x-team");
        assert!(settings.resource.contains(&("service.name".to_owned(), "objects".to_owned())));
        assert_eq!(settings.sampling, Sampling { ratio: 0.25, by_parent: false });
        assert_eq!(settings.delay, Duration::from_millis(100));
        assert_eq!(settings.authority, Some("/ca.crt".into()));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"),
        ] {
            let refusal = of(&[endpoint, (name, value)]).unwrap_err();
            assert_eq!(refusal.name, name, "{refusal}");
        }
        let secret = of(&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret")]).unwrap_err().to_string();
        assert!(!secret.contains("secret"), "{secret}");
    }
}
