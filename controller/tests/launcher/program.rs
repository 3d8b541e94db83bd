//! The whole program.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use controller::launch::run_dir::RunDir;

use crate::bench::{Bench, CONTROLLER, signal, supervisor, until};

/// Killed, started again, and told to end.
#[tokio::test]
async fn a_killed_controller_is_replaced_without_a_second_launch_and_sigterm_leaves_the_bots_alone() {
    let bench = Bench::new().await;
    let scheduled = command(&bench).args(["schedule", "https://zoom.us/j/123456789?pwd=CANARY"]).output().unwrap();
    assert!(scheduled.status.success(), "{}", String::from_utf8_lossy(&scheduled.stderr));
    let mut first = start(&bench, "first.log");
    let job = || {
        std::fs::read_dir(bench.path().join("runs"))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("bot-"))
    };
    until("the run", || job().is_some_and(|job| job.join("a1/manager.command").exists()));
    first.kill().unwrap();
    first.wait().unwrap();
    let run = RunDir::at(job().unwrap().join("a1"));
    let supervised_by = supervisor(&run);

    let mut second = start(&bench, "second.log");
    until("a ready controller", || http(&bench, "/readyz").is_some_and(|answer| answer.contains("200 OK")));
    let metrics = http(&bench, "/metrics").unwrap();
    assert!(metrics.contains("meetingbot_runs_alive"), "{metrics}");
    let begun = Instant::now();
    signal(i32::try_from(second.id()).unwrap(), rustix::process::Signal::TERM);
    let status = second.wait().unwrap();
    assert!(status.success() && begun.elapsed() < Duration::from_secs(5), "{status} after {:?}", begun.elapsed());
    assert_eq!(supervisor(&run), supervised_by, "the bot goes on");
    assert_eq!(std::fs::read_dir(job().unwrap()).unwrap().count(), 1, "one attempt");
    for log in ["first.log", "second.log"] {
        let log = std::fs::read_to_string(bench.path().join(log)).unwrap();
        assert!(!log.contains("CANARY") && log.contains("running"), "{log}");
    }
    run.ask_to_stop().unwrap();
    until("the end of the run", || !run.is_locked().unwrap());
}

fn command(bench: &Bench) -> Command {
    let path = |name: &str| bench.path().join(name).display().to_string();
    let mut command = Command::new(CONTROLLER);
    command.env("STORE_URL", format!("sqlite:{}", path("store.sqlite"))).env("RECORDINGS_URL", format!("file://{}", path("r")));
    command
        .env("MACHINE_ADMISSION", "off")
        .env("RUNS_DIR", path("runs"))
        .env("MANAGER_BIN", path("manager"))
        .env("MEETING_BOT_BIN", path("meeting-bot"));
    command.env("HTTP_LISTEN", "127.0.0.1:0").env("HTTP_PORT_FILE", path("port")).env("POLL_INTERVAL", "1");
    command.env("REAP_INTERVAL_SECONDS", "1").env("PRACTICE_ROOM_ORIGIN", "http://127.0.0.1:1").env("LOG_LEVEL", "debug");
    command.stdin(Stdio::null());
    command
}

fn start(bench: &Bench, log: &str) -> Child {
    let _ = std::fs::remove_file(bench.path().join("port"));
    let log = std::fs::File::create(bench.path().join(log)).unwrap();
    command(bench).arg("run").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn http(bench: &Bench, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let address = std::fs::read_to_string(bench.path().join("port")).ok()?;
    let mut stream = std::net::TcpStream::connect(address.trim()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_wrong_environment_is_told_whole_and_ends_with_64() {
    let output = Command::new(CONTROLLER)
        .arg("run")
        .env_clear()
        .env("STORE_URL", "mysql:x")
        .env("POLL_INTERVAL", "soon")
        .env("MEETING_STATUS_FIELD", "sta tus")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64));
    for name in ["STORE_URL", "POLL_INTERVAL", "MEETING_STATUS_FIELD", "GCS_BUCKET", "LAUNCHER"] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
}
