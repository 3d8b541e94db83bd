//! The real Firestore emulator as a child process in a group of its own, for suites.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it serves suites, which fail by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const JAR: &str = "cloud-firestore-emulator.jar";
/// Measured: 1.2 s on an idle machine, up to 20 s on a busy one.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running emulator; dropped, it ends.
pub struct Emulator {
    child: Child,
    host: String,
}

impl Emulator {
    /// For `FIRESTORE_EMULATOR_HOST`.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.host) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut answer = [0; 256];
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        // It keeps the connection open, so the end never comes.
        asked.is_ok() && stream.read(&mut answer).is_ok_and(|count| answer[..count].starts_with(b"HTTP/1.1 200"))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Starts it; `None`, said loudly, where it is not installed (with `CI=true` that is a failure).
pub async fn start() -> Option<Emulator> {
    let (Some(jar), true) = (find_jar(), has_java()) else {
        skipped();
        return None;
    };
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let child = Command::new("java")
        // The JVM would take a quarter of the machine's memory.
        .args(["-Xmx512m", "-Duser.language=en", "-cp"])
        .arg(jar)
        .args(["com.google.cloud.datastore.emulator.firestore.CloudFirestore", "--host=127.0.0.1"])
        .arg(format!("--port={port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut emulator = Emulator { child, host: format!("127.0.0.1:{port}") };
    let give_up_at = Instant::now() + START_DEADLINE;
    while !emulator.answers() {
        assert!(Instant::now() < give_up_at, "the Firestore emulator does not answer");
        assert!(emulator.child.try_wait().unwrap().is_none(), "the Firestore emulator ended at once");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Some(emulator)
}

fn find_jar() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("FIRESTORE_EMULATOR_JAR") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "FIRESTORE_EMULATOR_JAR names {}, which is no file", named.display());
        return Some(named);
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("google-cloud-sdk"));
    let roots =
        ["/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "/snap/google-cloud-sdk/current"];
    let mut roots = roots.into_iter().map(PathBuf::from).chain(home);
    roots.find_map(|root| Some(root.join("platform/cloud-firestore-emulator").join(JAR)).filter(|jar| jar.is_file()))
}

fn has_java() -> bool {
    let version = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn skipped() {
    let text = format!(
        "\n*** SKIPPED: the Firestore adapter was not tested, for Java or {JAR} is not on this machine. Install both:\n\
         ***   apt-get install default-jre-headless google-cloud-cli-firestore-emulator\n\
         *** (the second from Google's apt repository; or: gcloud components install cloud-firestore-emulator),\n\
         *** or name the file in FIRESTORE_EMULATOR_JAR.\n"
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
    // Past libtest's capture, which would hide it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
