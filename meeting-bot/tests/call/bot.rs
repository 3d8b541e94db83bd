//! A real `meeting-bot` process and what a manager does with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bot_model::segment::{PART_END_FILE, PART_INFO_FILE, PartEnd, PartInfo};
use bot_model::session::{CaptureSettings, SessionEvent, SessionLimits, SessionPhase, SessionState};
use serde_json::json;

pub(crate) struct Bot {
    pub(crate) process: Child,
    pub(crate) base: String,
    pub(crate) output: PathBuf,
    folder: tempfile::TempDir,
    http: reqwest::Client,
}

impl Bot {
    pub(crate) async fn start(practice_origin: &str) -> Self {
        Self::start_with(practice_origin, &[]).await
    }

    /// With further variables.
    pub(crate) async fn start_with(practice_origin: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        std::fs::create_dir(&output).unwrap();
        Self::start_into(practice_origin, folder, output, variables).await
    }

    /// One that writes its recording somewhere else.
    pub(crate) async fn start_into(
        practice_origin: &str,
        folder: tempfile::TempDir,
        output: PathBuf,
        variables: &[(&str, &str)],
    ) -> Self {
        let port_file = folder.path().join("port");
        let log = std::fs::File::create(folder.path().join("bot.log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_meeting-bot"))
            .env("MEETING_BOT_LISTEN", "127.0.0.1:0")
            .env("MEETING_BOT_PORT_FILE", &port_file)
            .env("MEETING_BOT_SCRATCH", folder.path().join("scratch"))
            .env("PRACTICE_ROOM_ORIGIN", practice_origin)
            .envs(variables.iter().copied())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let address = until("the port file", Duration::from_secs(20), async || std::fs::read_to_string(&port_file).ok()).await;
        Self { process, base: format!("http://{address}"), output, folder, http: reqwest::Client::new() }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("bot.log")).unwrap()
    }

    /// What is left of the bot's private folders.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    pub(crate) async fn join(&self, code: &str, limits: SessionLimits) -> reqwest::Response {
        self.start_session(code, json!({ "limits": limits })).await
    }

    pub(crate) async fn join_greeting(&self, code: &str, greeting: &str) -> reqwest::Response {
        self.start_session(code, json!({ "limits": SessionLimits::default(), "greeting": greeting })).await
    }

    async fn start_session(&self, code: &str, mut body: serde_json::Value) -> reqwest::Response {
        body["session_id"] = json!(format!("s-{code}"));
        body["meeting"] = json!(format!("practice:meet/{code}"));
        body["display_name"] = json!("Recorder Zoë");
        body["output_dir"] = json!(self.output);
        body["capture"] = json!(CaptureSettings { segment_secs: 2, ..CaptureSettings::default() });
        self.http.post(format!("{}/v1/session", self.base)).json(&body).send().await.unwrap()
    }

    pub(crate) async fn state(&self) -> SessionState {
        self.http.get(format!("{}/v1/session", self.base)).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: serde_json::Value) -> reqwest::StatusCode {
        self.http.post(format!("{}{path}", self.base)).json(&body).send().await.unwrap().status()
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    /// The whole timeline, read as server-sent events after the session's end.
    pub(crate) async fn timeline(&self, after: u64) -> Vec<SessionEvent> {
        let request = self.http.get(format!("{}/v1/session/events", self.base)).header("last-event-id", after);
        let text = request.send().await.unwrap().text().await.unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
    }

    pub(crate) async fn reaches(&self, phase: SessionPhase, limit: Duration) -> SessionState {
        self.satisfies(&format!("phase {phase:?}"), limit, |state| state.phase >= phase).await
    }

    pub(crate) async fn satisfies(&self, what: &str, limit: Duration, test: impl Fn(&SessionState) -> bool) -> SessionState {
        let deadline = Instant::now() + limit;
        loop {
            let state = self.state().await;
            if test(&state) {
                return state;
            }
            assert!(
                Instant::now() < deadline && state.phase != SessionPhase::Ended,
                "not {what} in {limit:?}: {state:?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) async fn exits(&mut self, limit: Duration) -> ExitStatus {
        let process = &mut self.process;
        until("the bot's exit", limit, async || process.try_wait().unwrap()).await
    }

    pub(crate) fn part(&self, number: u32) -> PathBuf {
        self.output.join(bot_model::segment::part_folder(number))
    }

    /// What a part says of its start and, once it is closed, of its end.
    pub(crate) fn span(&self, number: u32) -> (PartInfo, PartEnd) {
        let read = |name| std::fs::read(self.part(number).join(name)).unwrap();
        (serde_json::from_slice(&read(PART_INFO_FILE)).unwrap(), serde_json::from_slice(&read(PART_END_FILE)).unwrap())
    }

    /// The address of this bot's sound server.
    fn sound_server(&self) -> String {
        let session = std::fs::read_dir(self.scratch()).unwrap().next().unwrap().unwrap().path();
        let socket = [
            session.join("run/native"),
            Path::new("/tmp").join(format!("{}-run/native", session.file_name().unwrap().to_str().unwrap())),
        ];
        format!("unix:{}", socket.iter().find(|socket| socket.exists()).unwrap().display())
    }

    /// Lays a still picture over everything on this bot's display, as a dialog of the browser or the system would.
    pub(crate) fn cover_its_display(&self) -> Child {
        let is_capture =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ffmpeg");
        let capture = self.descendants().into_iter().find(is_capture).unwrap();
        let environment = std::fs::read(format!("/proc/{capture}/environ")).unwrap();
        let variables = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
        let mut command = Command::new("ffplay");
        command.args(["-v", "error", "-noborder", "-left", "0", "-top", "0", "-x", "1280", "-y", "720", "-f", "lavfi"]);
        command.args(["-i", "smptebars=size=1280x720:rate=1"]).env("SDL_AUDIODRIVER", "dummy");
        command.envs(variables.filter(|(name, _)| ["DISPLAY", "XAUTHORITY"].contains(name)));
        command.stdin(Stdio::null()).spawn().expect("ffplay is missing: install the package ffmpeg")
    }

    /// Asks or tells this bot's sound server something.
    pub(crate) fn pactl(&self, arguments: &[&str]) -> String {
        let output = Command::new("pactl").args(arguments).env("PULSE_SERVER", self.sound_server()).output().unwrap();
        assert!(output.status.success(), "pactl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Plays a tone to this bot's sound server, as a crossed wire would.
    pub(crate) fn play_into_its_sink(&self, hertz: u32) -> Child {
        Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-f", "lavfi", "-i", &format!("sine=frequency={hertz}"), "-f", "pulse", "intruder"])
            .env("PULSE_SERVER", self.sound_server())
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// SIGKILL to every child whose program has this name.
    pub(crate) fn kill_child(&self, program: &str) {
        self.signal_child(program, rustix::process::Signal::KILL);
    }

    /// SIGSTOP: it hangs, and hears no SIGTERM.
    pub(crate) fn freeze_child(&self, program: &str) {
        self.signal_child(program, rustix::process::Signal::STOP);
    }

    fn signal_child(&self, program: &str, signal: rustix::process::Signal) {
        let mut killed = 0;
        for pid in self.descendants() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == program {
                killed += 1;
                let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
            }
        }
        assert!(killed > 0, "no {program} is running");
    }

    /// Every living process that has this bot's private folder in its command line or environment.
    pub(crate) fn descendants(&self) -> Vec<i32> {
        processes_with(&self.scratch())
    }

    /// What was killed needs a moment to be gone.
    pub(crate) async fn leaves_no_process(&self) {
        until("the end of every child", Duration::from_secs(15), async || self.descendants().is_empty().then_some(())).await;
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        for pid in self.descendants().into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Processes that name something below a folder in their environment or, since Chromium wipes its own, their command
/// line. The bot itself names only the folder.
fn processes_with(folder: &Path) -> Vec<i32> {
    let needle = format!("{}/mb-", folder.display()).into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let names = |file: PathBuf| std::fs::read(file).is_ok_and(|text| text.windows(needle.len()).any(|window| window == needle));
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| ["environ", "cmdline"].iter().any(|file| names(format!("/proc/{pid}/{file}").into())))
        .collect()
}

pub(crate) async fn until<T>(what: &str, limit: Duration, mut test: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = test().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
