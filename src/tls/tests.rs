//! Handshakes over sockets: who gets through, and that rotated files are taken over without disturbing anybody.

use std::io;

use holdfast_replica::file::RealFiles;
use holdfast_wire::seam::{Connection, Listener, Net, SystemClock, TcpNet};
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Ca {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Ca {
        let dir = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("ca {}", dir.path().display()));
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        Ca { dir, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, name: &str, host: &str, last_year: i32, usage: Vec<rcgen::ExtendedKeyUsagePurpose>) -> Pair {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params.extended_key_usages = usage;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = Pair { cert: self.path(&format!("{name}.crt")), key: self.path(&format!("{name}.key")) };
        std::fs::write(&pair.cert, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    fn peer(&self, name: &str, host: &str) -> PeerTls {
        PeerTls { pair: self.issue(name, host, 2100, Vec::new()), ca: self.path("ca.crt") }
    }
}

fn sources() -> Sources {
    Sources { files: Arc::new(RealFiles), clock: Arc::new(SystemClock) }
}

fn node(peers: &PeerTls) -> Tls {
    Tls::load(&TlsConfig { peers: Some(peers.clone()), ..TlsConfig::default() }, sources()).unwrap()
}

async fn listen(acceptor: Arc<Acceptor>) -> (TlsListener, String) {
    let inner = TcpNet.listen("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap().to_string();
    (TlsListener { inner, acceptor }, address)
}

/// Both sides say a word; what the dialling one heard.
async fn talk(from: &Tls, listener: &TlsListener, address: &str) -> io::Result<String> {
    let net = TlsNet { inner: Arc::new(TcpNet), dialer: from.dialer().unwrap() };
    let serving = async {
        let (mut stream, _) = listener.accept().await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(b"pong").await?;
        stream.shutdown().await
    };
    let asking = async {
        let mut stream = net.connect(address).await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        Ok::<_, io::Error>(heard)
    };
    let (served, asked) = tokio::join!(serving, asking);
    served.and(asked)
}

#[tokio::test]
async fn nodes_of_one_authority_talk_and_strangers_do_not() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let n1 = node(&ours.peer("n1", "127.0.0.1"));
    let (listener, address) = listen(n1.peers().unwrap()).await;
    assert_eq!(talk(&node(&ours.peer("n2", "n2.hf")), &listener, &address).await.unwrap(), "pong");

    let stranger = PeerTls { ca: ours.path("ca.crt"), ..theirs.peer("x", "127.0.0.1") };
    talk(&node(&stranger), &listener, &address).await.unwrap_err();
    let believer = PeerTls { ca: theirs.path("ca.crt"), ..ours.peer("n3", "n3.hf") };
    let error = talk(&node(&believer), &listener, &address).await.unwrap_err();
    assert!(error.to_string().contains("not trusted") || error.to_string().contains("CA"), "{error}");

    // As OpenShift's service CA marks them: for servers only.
    let service = ours.issue("svc", "svc.hf", 2100, vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
    let service = PeerTls { pair: service, ca: ours.path("ca.crt") };
    assert_eq!(talk(&node(&service), &listener, &address).await.unwrap(), "pong");
    let mail = ours.issue("mail", "mail.hf", 2100, vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection]);
    talk(&node(&PeerTls { pair: mail, ca: ours.path("ca.crt") }), &listener, &address).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_for_another_name_is_named() {
    let ours = Ca::new();
    let n1 = node(&ours.peer("n1", "n1.hf"));
    let (listener, address) = listen(n1.peers().unwrap()).await;
    let net = TlsNet { inner: Arc::new(TcpNet), dialer: n1.dialer().unwrap() };
    let accepting = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap_err()
    };
    let (_, refused) = tokio::join!(accepting, net.connect(&address));
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("not for 127.0.0.1 but for") && refused.contains("n1.hf"), "{refused}");
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let ours = Ca::new();
    let (a, b) = (ours.issue("a", "a", 2100, Vec::new()), ours.issue("b", "b", 2100, Vec::new()));
    let refusal = |pair: Pair| {
        let config = TlsConfig { server: Some(pair), ..TlsConfig::default() };
        let text = Tls::load(&config, sources()).err().unwrap().to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    assert!(refusal(Pair { key: b.key.clone(), ..a.clone() }).contains("is not the key of"));
    assert!(refusal(ours.issue("old", "a", 2021, Vec::new())).contains("expired on 2021-01-01 00:00:00 UTC"));
    assert!(refusal(Pair { cert: a.key.clone(), ..a.clone() }).contains("no certificate"));
    assert!(refusal(Pair { key: a.cert.clone(), ..a.clone() }).contains("no private key"));
    assert!(refusal(Pair { key: ours.path("nowhere"), ..a.clone() }).contains("nowhere"));
    let early = Sources { clock: Arc::new(Stopped), ..sources() };
    let config = TlsConfig { server: Some(a), ..TlsConfig::default() };
    assert!(Tls::load(&config, early).err().unwrap().to_string().contains("clock"));
}

struct Stopped;

impl Clock for Stopped {
    fn unix_millis(&self) -> u64 {
        1_000
    }
}

/// The certificate that a new connection is shown, and the connection.
async fn presented(
    listener: &TlsListener,
    address: &str,
    ca: &Ca,
) -> (Vec<u8>, Box<dyn Connection>, Box<dyn Connection>) {
    let roots = authorities(&sources(), &ca.path("ca.crt")).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(dial::client_config(&clock, roots, None)));
    let dialling = async {
        let stream = TcpNet.connect(address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream
    };
    let accepting = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        stream
    };
    let (near, far) = tokio::join!(dialling, accepting);
    let shown = near.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    (shown, Box::new(near), far)
}

#[tokio::test]
async fn rotated_files_are_taken_over_and_open_connections_go_on() {
    let ours = Ca::new();
    let pair = ours.issue("s3", "localhost", 2100, Vec::new());
    let config = TlsConfig { server: Some(pair.clone()), ..TlsConfig::default() };
    let tls = Tls::load(&config, sources()).unwrap();
    let (listener, address) = listen(tls.server(Port::S3).unwrap()).await;
    let (first, mut near, mut far) = presented(&listener, &address, &ours).await;
    tokio::time::pause();
    let checks = async {
        // Half a rotation: certificate and key do not match, so the old pair stays.
        let other = ours.issue("other", "localhost", 2090, Vec::new());
        std::fs::copy(&other.cert, &pair.cert).unwrap();
        tokio::time::sleep(LOOKS).await;
        let (still, ..) = presented(&listener, &address, &ours).await;
        assert_eq!(still, first);
        std::fs::copy(&other.key, &pair.key).unwrap();
        tokio::time::sleep(LOOKS).await;
        let (second, ..) = presented(&listener, &address, &ours).await;
        assert_ne!(second, first, "the new certificate is shown");
        assert_eq!(tls.expiries(), [reload::Expiry { purpose: "server", not_after: 3_786_912_000 }]);
        near.write_all(b"y").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'y', "the old connection goes on");
    };
    tokio::select! {
        () = tls.watch() => unreachable!("it watches for ever"),
        () = checks => {}
    }
}

const LOOKS: Duration = Duration::from_secs(5);
