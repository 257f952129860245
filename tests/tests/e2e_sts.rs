//! Keys for a while: a service account's token, signed by a provider whose keys a local server gives out over https, and `aws sts`
//! become sessions that may do what their role may, as long as they last.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::client::{plain, xml};
use holdfast_tests::cluster::{Cluster, Options, binary};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::Method;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

type Test = Result<(), Failure>;

const ISSUER: &str = "https://kubernetes.default.svc";

fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

/// Serves one file over TLS, on a port that it prints.
const SERVER: &str = r#"
import http.server, ssl, sys
text = open(sys.argv[1], "rb").read()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// An identity provider's key.
struct Provider {
    key: EcdsaKeyPair,
}

/// A server that gives out a provider's public key over https, and whom to believe it.
struct Server {
    url: String,
    authority: String,
    _dir: tempfile::TempDir,
    _process: tokio::process::Child,
}

impl Server {
    async fn start(provider: &Provider) -> Result<Self, Failure> {
        let dir = tempfile::TempDir::with_prefix("holdfast-oidc-")?;
        let (keys, certs) = (dir.path().join("jwks"), dir.path().join("certs"));
        std::fs::write(&keys, provider.set().to_string())?;
        let mut init = tokio::process::Command::new(binary::find()?);
        let made = init.args(["certs", "init"]).arg(&certs).args(["--name", "idp"]).output().await?;
        must(made.status.success(), String::from_utf8_lossy(&made.stderr))?;
        let mut server = tokio::process::Command::new("python3");
        server.args(["-c", SERVER]).arg(&keys).arg(certs.join("idp.crt")).arg(certs.join("idp.key"));
        let mut process = server.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or_else(|| Failure::new("no output"))?).lines();
        let port = lines.next_line().await?.ok_or_else(|| Failure::new("the server did not start"))?;
        let authority = certs.join("ca.crt").display().to_string();
        Ok(Self { url: format!("https://127.0.0.1:{port}/jwks"), authority, _dir: dir, _process: process })
    }
}

impl Provider {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
        Self { key }
    }

    /// Its public half, as a set of keys.
    fn set(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": x, "y": y }] })
    }

    fn token(&self, subject: &str, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({ "iss": ISSUER, "sub": subject, "aud": [audience], "iat": now, "exp": now + 600 });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(json!({ "alg": "ES256", "kid": "k" })), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

async fn assume(cluster: &Cluster, token: &str, more: &str) -> Result<(u16, String), Failure> {
    let form = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fapp\
         &RoleSessionName=pod&WebIdentityToken={token}{more}"
    );
    let (status, body) = plain::form(&cluster.gateways()[0], "/", form).await?;
    Ok((status.as_u16(), body))
}

fn key_in(document: &str) -> Result<(Keys, String), Failure> {
    let of = |name: &str| xml::text(document, name).ok_or_else(|| Failure::new(document.to_owned()));
    Ok((Keys { access: of("AccessKeyId")?, secret: of("SecretAccessKey")? }, of("SessionToken")?))
}

async fn ask(cluster: &Cluster, keys: &Keys, token: &str, call: Call) -> Result<Reply, Failure> {
    let mut raw = Raw::new(cluster.gateways()[0].clone(), keys.clone(), Duration::from_secs(20));
    Ok(raw.call(call.header("x-amz-security-token", token)).await?)
}

async fn holdfast(cluster: &Cluster, args: &[&str]) -> Result<Value, Failure> {
    let (code, printed) = cluster.holdfast(0, &[args, &["-o", "json"]].concat()).await?;
    must(code == Some(0), format!("{args:?}: {printed}"))?;
    Ok(serde_json::from_str(&printed)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_accounts_and_users_take_on_roles() {
    let provider = Provider::new();
    let server = Server::start(&provider).await.unwrap_or_else(|failure| panic!("{failure}"));
    let env = vec![
        ("HOLDFAST_OIDC_ISSUER".to_owned(), ISSUER.to_owned()),
        ("HOLDFAST_OIDC_AUDIENCE".to_owned(), "holdfast".to_owned()),
        ("HOLDFAST_OIDC_JWKS".to_owned(), server.url.clone()),
        ("HOLDFAST_OIDC_CA".to_owned(), server.authority.clone()),
        ("HOLDFAST_DEFAULT_BUCKETS".to_owned(), "data".to_owned()),
    ];
    on_cluster(Options { nodes: 1, shards: 1, env, ..Options::default() }, async |cluster| -> Test {
        let write = |name: &str, value: Value| -> Result<String, Failure> {
            let path = cluster.dir().join(name);
            std::fs::write(&path, value.to_string())?;
            Ok(path.display().to_string())
        };
        let policy = write("read.json", json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"] }] }))?;
        let trust = write("trust.json", json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "Federated": "arn:aws:iam::000000000000:oidc-provider/kubernetes.default.svc" },
              "Action": "sts:AssumeRoleWithWebIdentity",
              "Condition": { "StringLike": { "kubernetes.default.svc:sub": "system:serviceaccount:team:*" } } },
            { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam:::user/ann" }, "Action": "sts:AssumeRole" }] }))?;
        holdfast(cluster, &["policy", "set", "read", &policy]).await?;
        holdfast(cluster, &["role", "set", "app", "--policies", "read", "--trust", &trust]).await?;
        holdfast(cluster, &["user", "set", "ann"]).await?;
        let ann = holdfast(cluster, &["key", "create", "ann"]).await?;

        let token = provider.token("system:serviceaccount:team:app", "holdfast");
        let taken = wait::until("the role at the gateway", Duration::from_secs(10), || async {
            match assume(cluster, &token, "").await {
                Ok((200, document)) => Ok(document),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let (keys, session) = key_in(&taken)?;
        let put = || Call::object(Method::PUT, "data", "k").body("bytes");
        let get = || Call::object(Method::GET, "data", "k");
        must(ask(cluster, &keys, &session, put()).await?.status == 200, "the role may write")?;
        let deleted = ask(cluster, &keys, &session, Call::object(Method::DELETE, "data", "k")).await?;
        must(deleted.status == 403, deleted.text())?;
        let mut raw = Raw::new(cluster.gateways()[0].clone(), keys.clone(), Duration::from_secs(20));
        let tokenless = raw.call(get()).await?;
        must(tokenless.status == 403 && tokenless.text().contains("InvalidAccessKeyId"), tokenless.text())?;
        let damaged = ask(cluster, &keys, &session.replace('A', "B"), get()).await?;
        must(damaged.status == 400 && damaged.text().contains("InvalidToken"), damaged.text())?;

        // A session's own policy limits it.
        let limit = "&Policy=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3AGetObject%22%2C%22Resource%22%3A%22*%22%7D%7D";
        let (status, limited) = assume(cluster, &token, limit).await?;
        must(status == 200, &*limited)?;
        let (reader, reading) = key_in(&limited)?;
        must(ask(cluster, &reader, &reading, get()).await?.status == 200, "it may read")?;
        must(ask(cluster, &reader, &reading, put()).await?.status == 403, "it may not write")?;

        // Others are not let in.
        for (token, more, code) in [
            (provider.token("system:serviceaccount:other:app", "holdfast"), "", "AccessDenied"),
            (provider.token("system:serviceaccount:team:app", "other"), "", "InvalidIdentityToken"),
            (Provider::new().token("system:serviceaccount:team:app", "holdfast"), "", "InvalidIdentityToken"),
            (token.clone(), "&DurationSeconds=7200", "ValidationError"),
            (token.clone(), "&PolicyArns.member.1.arn=x", "ValidationError"),
        ] {
            let (status, document) = assume(cluster, &token, more).await?;
            must(status >= 400 && document.contains(code), format!("{code}: {status} {document}"))?;
        }

        // The AWS command line, signed by a user.
        let aws = async |args: &[&str], key: &Value| -> Result<(bool, String), Failure> {
            let output = tokio::process::Command::new("aws")
                .args(["--endpoint-url", &format!("http://{}", cluster.gateways()[0]), "--region", "us-east-1", "sts"])
                .args(args)
                .env("AWS_ACCESS_KEY_ID", key["access_key"].as_str().unwrap_or_default())
                .env("AWS_SECRET_ACCESS_KEY", key["secret_key"].as_str().unwrap_or_default())
                .env("AWS_CONFIG_FILE", "/dev/null")
                .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
                .kill_on_drop(true)
                .output()
                .await?;
            let text = [output.stdout, output.stderr].concat();
            Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        };
        let role = ["assume-role", "--role-arn", "arn:aws:iam::000000000000:role/app", "--role-session-name", "ann"];
        let (good, printed) = aws(&role, &ann).await?;
        must(good, &*printed)?;
        let made: Value = serde_json::from_str(&printed)?;
        let text = |name: &str| made["Credentials"][name].as_str().unwrap_or_default().to_owned();
        let keys = Keys { access: text("AccessKeyId"), secret: text("SecretAccessKey") };
        must(ask(cluster, &keys, &text("SessionToken"), get()).await?.status == 200, "ann's session may read")?;
        let (good, printed) = aws(&["get-caller-identity"], &ann).await?;
        must(good && printed.contains("user/ann"), printed)?;

        // A role that is gone takes its sessions with it.
        holdfast(cluster, &["role", "remove", "app"]).await?;
        let gone = || async {
            let reply = ask(cluster, &keys, &text("SessionToken"), get()).await.map_err(|error| error.to_string())?;
            if reply.status == 403 { Ok(()) } else { Err(reply.text()) }
        };
        Ok(wait::until("the end of the role's sessions", Duration::from_secs(10), gone).await?)
    })
    .await;
}
