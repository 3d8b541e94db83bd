//! A private certificate authority, and a listener that shows a certificate of it. `openssl` makes them, in a folder of their own.
//! The controller's suite includes this file too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use webhooks::Authorities;

const SETTINGS: &str = "
[req]
distinguished_name = name
prompt = no
x509_extensions = authority
[name]
CN = $ENV::AUTHORITY
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[ca]
default_ca = here
[here]
database = ./index
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
serial = ./serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = $ENV::NAMES
";

/// When a certificate holds, in days from now.
pub(crate) const NOW: (i64, i64) = (-1, 1);
pub(crate) const EXPIRED: (i64, i64) = (-30, -1);
pub(crate) const NOT_YET: (i64, i64) = (1, 30);

pub(crate) struct Authority {
    folder: TempDir,
    name: &'static str,
}

/// A certificate with its key.
pub(crate) struct Shown(Arc<ServerConfig>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority")
    }

    /// Two of one name are two: each has a key of its own.
    pub(crate) fn named(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings"), SETTINGS).unwrap();
        std::fs::write(folder.path().join("index"), "").unwrap();
        let authority = Self { folder, name };
        authority.openssl("DNS:nobody.test", &["req", "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-newkey"]);
        authority
    }

    /// What an operator names.
    pub(crate) fn authorities(&self) -> Authorities {
        Authorities::parse(&std::fs::read(self.file()).unwrap()).unwrap()
    }

    /// The file that `WEBHOOK_CA_FILE` would name.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for names such as `DNS:hooks.test` or `IP:127.0.0.1`.
    pub(crate) fn certificate(&self, names: &str, (from, to): (i64, i64)) -> Shown {
        let day = |days: i64| (Utc::now() + TimeDelta::days(days)).format("%Y%m%d%H%M%SZ").to_string();
        self.openssl(names, &["req", "-new", "-keyout", "server.key", "-out", "server.request", "-newkey"]);
        let asked =
            ["ca", "-batch", "-notext", "-rand_serial", "-extensions", "server", "-in", "server.request", "-out", "server.pem"];
        self.openssl(names, &[&asked[..], &["-startdate", &day(from), "-enddate", &day(to)]].concat());
        let chain = vec![CertificateDer::from_pem_slice(&self.read("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&self.read("server.key")).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Shown(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    fn openssl(&self, names: &str, arguments: &[&str]) {
        let is_new_key = arguments.last() == Some(&"-newkey");
        let key: &[&str] = if is_new_key { &["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"] } else { &[] };
        run_in(
            self.folder.path(),
            [("AUTHORITY", self.name), ("NAMES", names)],
            &[arguments, key, &["-config", "settings"]].concat(),
        );
    }
}

fn run_in(folder: &Path, variables: [(&str, &str); 2], arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(folder).envs(variables);
    let ended = command.output().expect("this suite needs openssl: apt-get install openssl, or scripts/setup.sh --install test");
    assert!(ended.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// A listener that speaks TLS alone. Who does not believe its certificate never becomes a connection.
pub(crate) struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    pub(crate) async fn new(address: &str, shown: Shown) -> Self {
        Self { tcp: TcpListener::bind((address, 0)).await.unwrap(), acceptor: TlsAcceptor::from(shown.0) }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((connection, from)) = self.tcp.accept().await else { continue };
            let shaking = tokio::time::timeout(Duration::from_secs(5), self.acceptor.accept(connection));
            if let Ok(Ok(secured)) = shaking.await {
                return (secured, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
