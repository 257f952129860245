use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_wire::seam::{Listener, Net, TcpNet};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::jwt::{BadToken, KeySet, verify};
use super::oidc::{Jwks, Nets, OidcConfig};
use super::*;

/// A key of 2048 bits that was forgotten after it had signed [`RSA_TOKEN`].
const RSA_N: &str = "wBiyzDr_zlSgRU1Ndj3snUQu3Ju32qUyHv1dX6UX7AqnfB2rAFVvtp_QL-DQIpMXxaEMK0_dM9xJOoUN_h_R8hn2qDE4In2i8ymjxD3le1eO7RedwblW3pE0uCvMbZounfN6Sh9HhGkzmSTBmp3JD8nf8RBW9JthATT1pCfG6BA4thIwJ-Fj4E6X_85eB4wbsChYS7kMUvwOeGcmz3AL3c4-kyZaS-s2G7E4bEiJLJmC6Rk3H1XlT9vrVxn0ujvs7_dvNIfmtVaBMSPm5trKY8fnZTEwIEX8ZEPSsCydI12mfInI5NLdbOR9OVKPA01FNc5eMLg5NFcFMDHLz0bdcw";
/// As Kubernetes issues them for service accounts; valid until 2100.
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMiLCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6dGVhbTphcHAiLCJhdWQiOlsiaG9sZGZhc3QiXSwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MDAwMDAwMDB9.uLBLiXN47oGXD9MNI25Yh7xMi_LfOPHOS4Sab9F1WGDhhxNI-URpPZ08IWDhKH262SoKTVb4BCvG6GqnZV_VQrBSzCgPKhcop_j7qHAytpaaivM2Qg_3WOHKMsiq4bmNlclrtlupMN6tASCgQ4AMWDtx4Wfj8Oab2UntiAJs5GgDIXEFXeTIbyHjCaVQS2G1r4x6CpmKoscFdDhIl012KPW6Gn3FhtygZ5NQiL_yD_z14cH4kSEJVeF2VFJVsfryuauDwy_UVfNFL4VqwjVGp4s479HQgHYuxrpjYFnOYTEv8YiZ0remgt0q9zVt9SeX1IYrNgTLZihwNNwZF5UQ9w";
const ISSUER: &str = "https://kubernetes.default.svc";

/// A provider with one elliptic key.
struct Signer {
    key: EcdsaKeyPair,
    id: &'static str,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { key, id }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": x, "y": y })
    }

    fn sign(&self, claims: &Value) -> String {
        let head = json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&head), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "system:serviceaccount:team:app", "aud": "holdfast", "exp": 2000, "iat": 1000 })
}

#[test]
fn a_service_accounts_token_is_believed() {
    let keys = set(&[
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "n": RSA_N, "e": "AQAB" }),
    ]);
    let check = |issuer, audience: &str, now_ms| verify(RSA_TOKEN, &keys, issuer, &[audience.to_owned()], now_ms);
    let now = 1_800_000_000_000;
    let identity = check(ISSUER, "holdfast", now).unwrap();
    assert_eq!((&*identity.subject, &*identity.audience), ("system:serviceaccount:team:app", "holdfast"));
    assert_eq!(check("https://elsewhere", "holdfast", now), Err(BadToken::Issuer));
    assert_eq!(check(ISSUER, "other", now), Err(BadToken::Audience));
    assert_eq!(check(ISSUER, "holdfast", 5_000_000_000_000), Err(BadToken::Expired));
    assert_eq!(check(ISSUER, "holdfast", 1_000_000_000_000), Err(BadToken::TooEarly));
}

#[test]
fn nothing_else_is_believed() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let keys = set(&[signer.jwk()]);
    let check = |token: &str, now_ms| verify(token, &keys, ISSUER, &["holdfast".to_owned()], now_ms);
    let token = signer.sign(&claims());
    assert!(check(&token, 1_500_000).is_ok());
    assert_eq!(check(&other.sign(&claims()), 1_500_000), Err(BadToken::Signature));
    assert_eq!(check(&Signer::new("k2").sign(&claims()), 1_500_000), Err(BadToken::UnknownKey));
    assert_eq!(check(&token, 2_100_000), Err(BadToken::Expired));
    let parts: Vec<&str> = token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let hmac = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k1"}"#);
    let admin = URL_SAFE_NO_PAD.encode(claims().to_string().replace("app", "admin"));
    assert_eq!(check(&format!("{none}.{}.", parts[1]), 1_500_000), Err(BadToken::Algorithm));
    assert_eq!(check(&format!("{hmac}.{}.{}", parts[1], parts[2]), 1_500_000), Err(BadToken::Algorithm));
    assert_eq!(check(&format!("{}.{admin}.{}", parts[0], parts[2]), 1_500_000), Err(BadToken::Signature));
    for broken in ["", "a.b", "a.b.c", &token[1..], &format!("{token}.x")] {
        assert!(check(broken, 1_500_000).is_err(), "{broken}");
    }
    for at in (0..token.len()).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(check(&String::from_utf8(changed).unwrap(), 1_500_000).is_err(), "{at}");
    }
}

/// Answers every request with one document, and counts them.
async fn serve(listener: Box<dyn Listener>, documents: Arc<Mutex<Vec<String>>>, served: Arc<AtomicUsize>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        served.fetch_add(1, Ordering::SeqCst);
        let document = documents.lock().last().cloned();
        let answer = match document {
            Some(document) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{document}", document.len()),
            None => "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_anew_when_one_is_unknown() {
    let listener = TcpNet.listen("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let (documents, served) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let server = tokio::spawn(serve(listener, documents.clone(), served.clone()));
    let config = OidcConfig { issuer: ISSUER.to_owned(), audiences: vec!["holdfast".to_owned()], jwks: Jwks::Url(url) };
    let provider = Provider::new(config, Nets { plain: Arc::new(TcpNet), https: None });
    assert_eq!(provider.name(), "kubernetes.default.svc");
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let failed = provider.verify(&one.sign(&claims()), 1_500_000).await.unwrap_err();
    assert!(matches!(failed, Refused::IdpCommunication(_)), "{failed}");
    documents.lock().push(json!({ "keys": [one.jwk()] }).to_string());
    for _ in 0..3 {
        provider.verify(&one.sign(&claims()), 1_500_000).await.unwrap();
    }
    assert_eq!(served.load(Ordering::SeqCst), 2, "kept");
    documents.lock().push(json!({ "keys": [one.jwk(), two.jwk()] }).to_string());
    let token = two.sign(&claims());
    assert!(provider.verify(&token, 1_500_000).await.is_err(), "asked a moment ago");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    tokio::time::resume();
    provider.verify(&token, 1_500_000).await.unwrap();
    assert_eq!(served.load(Ordering::SeqCst), 3);
    server.abort();
}

#[test]
fn forms_are_read_strictly() {
    let form = Form::parse("Action=AssumeRole&RoleArn=a%3Ab&RoleSessionName=x+y").unwrap();
    assert_eq!((form.get("RoleArn").unwrap(), form.get("RoleSessionName").unwrap()), ("a:b", "x y"));
    assert_eq!(form.get("Policy"), Err(Refused::Missing("Policy")));
    assert!(Form::parse("Action=a&Action=b").is_err());
    let limited = Form::parse("Action=AssumeRole&PolicyArns.member.1.arn=x").unwrap();
    assert!(limited.refuse_others(&[]).is_err(), "a limit that is not understood is not passed over");
    let arn = |text| role_name(text);
    assert_eq!(arn("arn:aws:iam::000000000000:role/team/app"), Some("app"));
    assert_eq!(arn("arn:aws:iam::111111111111:role/app"), None);
    assert_eq!(arn("app"), None);
}
