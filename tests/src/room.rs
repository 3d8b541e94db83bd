//! A practice room as a suite drives it: over its control API.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::{Process, address, binary, until};

/// A running practice-room server.
pub struct PracticeRoom {
    /// Such as `http://127.0.0.1:41234`.
    pub origin: String,
    http: reqwest::Client,
    _server: Process,
}

impl PracticeRoom {
    /// Starts the server on a free port, with its log in `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        let port_file = folder.join("practice-room.port");
        let mut command = Command::new(binary("practice-room")?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--port-file"]).arg(&port_file);
        let mut server = Process::start(command, &folder.join("practice-room.log"))?;
        let origin = format!("http://{}", address(&port_file, &mut server).await?);
        Ok(Self { origin, http: reqwest::Client::new(), _server: server })
    }

    /// Opens a room where guests wait in the lobby.
    pub async fn open(&self, code: &str, settings: Value) -> Result<Value> {
        let url = format!("{}/control/rooms/{code}", self.origin);
        answer(self.http.put(url).json(&settings)).await
    }

    /// The room as it stands.
    pub async fn state(&self, code: &str) -> Result<Value> {
        answer(self.http.get(format!("{}/control/rooms/{code}", self.origin))).await
    }

    /// Who waits or is in the call with this role and state.
    pub async fn participant(&self, code: &str, role: &str, state: &str) -> Result<Option<String>> {
        let room = self.state(code).await?;
        let participants = room["participants"].as_array().cloned().unwrap_or_default();
        let found = participants.iter().find(|one| one["role"] == role && one["state"] == state);
        Ok(found.and_then(|one| one["id"].as_str()).map(str::to_owned))
    }

    /// Waits for a participant with this role and state.
    pub async fn wait_for(&self, code: &str, role: &str, state: &str, limit: Duration) -> Result<String> {
        until(&format!("a {role} that is {state}"), limit, || self.participant(code, role, state)).await
    }

    /// `admit`, `deny` or `remove` for one participant.
    pub async fn act(&self, code: &str, participant: &str, action: &str) -> Result<Value> {
        let url = format!("{}/control/rooms/{code}/participants/{participant}/{action}", self.origin);
        answer(self.http.post(url).json(&json!({}))).await
    }

    /// Any action of the control API, such as `{"do": "chat", "who": "Clara", "text": "Hello"}`, or a list of them.
    pub async fn perform(&self, code: &str, action: Value) -> Result<Value> {
        answer(self.http.post(format!("{}/control/rooms/{code}/actions", self.origin)).json(&action)).await
    }

    /// The host ends the call for everyone.
    pub async fn end(&self, code: &str) -> Result<Value> {
        answer(self.http.post(format!("{}/control/rooms/{code}/end", self.origin)).json(&json!({}))).await
    }

    /// The ground-truth log: joins and leaves, who spoke when, what was written.
    pub async fn log(&self, code: &str) -> Result<Value> {
        answer(self.http.get(format!("{}/control/rooms/{code}/log", self.origin))).await
    }

    /// What the participant's page says of the clock's frames that it presented.
    pub async fn presented(&self, code: &str, participant: &str) -> Result<Value> {
        answer(self.http.get(format!("{}/control/rooms/{code}/participants/{participant}/presented", self.origin))).await
    }

    /// Brings a synthetic participant into the room; it leaves when dropped.
    pub fn participant_process(&self, code: &str, name: &str, role: &str, tone_hz: u32, folder: &Path) -> Result<Process> {
        self.company_process(code, (name, role, tone_hz), &[], folder)
    }

    /// Brings a synthetic participant (name, role, tone) with persons for company, all in one browser.
    pub fn company_process(
        &self,
        code: &str,
        (name, role, tone_hz): (&str, &str, u32),
        company: &[&str],
        folder: &Path,
    ) -> Result<Process> {
        let mut command = Command::new(binary("practice-room")?);
        command.args(["participant", "--origin", &self.origin, "--room", code, "--name", name, "--role", role]);
        command.args(["--tone", &tone_hz.to_string(), "--duration", "14400"]);
        command.args(company.iter().flat_map(|name| ["--with", name]));
        Process::start(command, &folder.join(format!("participant-{name}.log")))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.timeout(Duration::from_secs(10)).send().await?;
    let status = response.status();
    let text = response.text().await?;
    anyhow::ensure!(status.is_success(), "practice room answered {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("practice room answered no JSON: {text}"))
}
