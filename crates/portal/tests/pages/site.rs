//! The API and the portal over a store of their own, with calls in every state; and browsers that look at them.

use std::sync::Arc;

use crate::chromium::{Chromium, Tab};
use api::access::{Access, Role, Scope};
use api::keys::{self, NewKey};
use api::state::{Api, Settings};
use bot_model::configuration::Naming;
use bot_model::ids::{InstanceId, MeetingPath};
use bot_store::{DocumentKey, Store, Write};
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Breaks out of whatever holds it, wherever it is not written as text.
pub(crate) const EVIL: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>'\"`&amp;{{7*7}}${7*7}</textarea></title>";

pub(crate) struct Site {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) origin: String,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) stop: CancellationToken,
    _guard: DropGuard,
}

impl Site {
    pub(crate) async fn start(access: Access) -> Self {
        Self::start_with(access, |_| {}).await
    }

    /// The same, where an operator has decided more.
    pub(crate) async fn start_with(access: Access, decide: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, Naming::default()).await.unwrap();
        let recordings_url = format!("file://{}", folder.path().join("bucket").display());
        let ageing = std::time::Duration::from_secs(300);
        let mut settings = Settings { access, max_live: 6, recordings_url, ageing, ..Settings::default() };
        decide(&mut settings);
        let stop = CancellationToken::new();
        let api = api::serve(Api::new(Arc::clone(&store), settings, stop.clone()));
        let options = portal::Options { is_open: access == Access::DangerOpen, secret: None };
        let router = portal::before(api, &options).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(
            async move { axum::serve(listener, router.into_make_service_with_connect_info::<std::net::SocketAddr>()).await },
        );
        Self { store, origin, folder, stop: stop.clone(), _guard: stop.drop_guard() }
    }

    pub(crate) fn browser(&self) -> Chromium {
        Chromium::start(self.folder.path()).unwrap()
    }

    pub(crate) async fn key(&self, name: &str, role: Role, organizations: &[&str]) -> String {
        let names: Vec<String> = organizations.iter().map(|name| (*name).to_owned()).collect();
        let scope = if names.is_empty() { Scope::All } else { Scope::These(names) };
        let new = NewKey { name: name.into(), role, scope, expires_at: None, created_by: "cli".into() };
        keys::create(self.store.as_ref(), &new, Utc::now()).await.unwrap().1
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// A tab that has signed in with a key of this role, by the form.
    pub(crate) async fn signed_in(&self, browser: &Chromium, name: &str, role: Role) -> Tab {
        let (tab, key) = (browser.tab().await.unwrap(), self.key(name, role, &[]).await);
        tab.open(&self.url("/portal/")).await.unwrap();
        tab.fill("#key", &key).await.unwrap();
        tab.go("main button").await.unwrap();
        assert!(tab.text("location.pathname").await.unwrap() == "/portal/", "{}", tab.says().await.unwrap());
        tab
    }

    pub(crate) async fn put(&self, key: DocumentKey, value: Value) {
        let fields = value.as_object().unwrap().clone();
        assert!(self.store.commit(vec![Write::create(key, fields)]).await.unwrap().is_applied());
    }

    pub(crate) async fn meeting(&self, id: &str, value: Value) {
        let mut fields = json!({"meeting_url": "https://zoom.us/j/123456789?pwd=CANARY", "status": "scheduled",
            "creator_organization_id": "acme", "created_at": ago(7_200)});
        fields.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        let path = MeetingPath::parse(&format!("meetings/{id}")).unwrap();
        self.put(DocumentKey::Meeting(path), fields).await;
    }

    /// A bot in a phase, for a meeting of this title.
    pub(crate) async fn bot(&self, id: &str, phase: &str, title: &str, more: Value) {
        let status = match phase {
            "queued" | "done" => phase,
            "failed" | "cancelled" | "missed" => "failed",
            _ => "processing",
        };
        let meeting = format!("{id}-meeting");
        let linked = json!([{"path": format!("meetings/{meeting}")}]);
        self.meeting(&meeting, json!({"title": title, "bot_instance_id": id, "bot_status": phase, "start_time": ago(900)})).await;
        let mut fields = json!({"meeting_url": "https://meet.google.com/abc-defg-hij", "status": status, "phase": phase, "platform": "meet",
            "creator_organization_id": "acme", "created_at": ago(1_000), "start_time": ago(900), "attempt": 1, "linked_meetings": linked,
            "bot_name": "Recorder"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let instance = InstanceId::parse(id).unwrap();
        self.put(DocumentKey::Instance(instance), fields).await;
        for (index, (step, event)) in steps(phase).into_iter().enumerate() {
            self.event(id, index, step, event).await;
        }
    }

    pub(crate) async fn event(&self, id: &str, index: usize, phase: &str, event: &str) {
        let at = Utc::now() - TimeDelta::seconds(1_000) + TimeDelta::seconds(i64::try_from(index).unwrap() * 41);
        let stamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let fields = json!({"occurred_at": stamp, "phase": phase, "event": event, "actor": if index < 3 { "controller" } else { "manager" },
            "attempt": 1, "detail": if event == "recording" { "admitted after 41 s in the lobby" } else { "" }, "creator_organization_id": "acme"});
        let key = DocumentKey::Event(InstanceId::parse(id).unwrap(), format!("{stamp}-{index:04}"));
        self.put(key, fields).await;
    }

    /// A file in the bucket, as an artifact.
    pub(crate) fn artifact(&self, bot: &str, name: &str, bytes: &[u8], more: Value) -> Value {
        let path = self.folder.path().join("bucket").join(bot).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let mut value = json!({"name": object_name(name), "object": format!("file://{}", path.display()), "bytes": bytes.len(), "crc32c": "42c3487c"});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    }

    /// A day at the office.
    pub(crate) async fn populate(&self) {
        let recording = json!({"started_at": ago(760), "parts": 1, "segments": 188, "bytes": 21_482_113});
        self.bot("weekly-planning", "recording", "Weekly planning", json!({"recording": recording})).await;
        self.bot("design-review", "waiting_room", "Design review", json!({"platform": "teams"})).await;
        self.bot(
            "retro",
            "finalizing",
            "Sprint retrospective",
            json!({"platform": "zoom",
            "recording": {"started_at": ago(3_900), "ended_at": ago(12), "parts": 2, "segments": 961, "bytes": 104_113_870}}),
        )
        .await;
        self.bot("all-hands", "queued", "All hands", json!({"priority": 20})).await;
        self.bot("interview", "queued", "Interview, platform team", json!({"platform": "zoom"})).await;
        self.done("customer-call", "Customer call, Northwind").await;
        for (id, title, kind, phase, platform) in [
            ("lobby", "Sales sync", "lobby_timeout", "failed", "teams"),
            ("passcode", "Board preparation", "wrong_passcode", "failed", "zoom"),
            ("crash", "Support escalation", "browser_crashed", "failed", "meet"),
            ("nobody", "Coffee chat", "no_one_joined", "done", "meet"),
            ("late", "Early stand-up", "missed", "missed", "meet"),
            ("host-ended", "Budget review", "host_ended", "done", "teams"),
        ] {
            let outcome = outcome_of(kind);
            self.bot(
                id,
                phase,
                title,
                json!({"outcome": outcome, "outcome_kind": kind, "platform": platform, "processed_at": ago(300), "created_at": ago(5_000)}),
            )
            .await;
        }
        for (id, title, ahead) in [
            ("m1", "Roadmap check-in", 1_500),
            ("m2", "One-to-one", 5_400),
            ("m3", "Release go/no-go", 9_000),
            ("m4", "Quarterly review", 90_000),
        ] {
            self.meeting(id, json!({"title": title, "start_time": ago(-ahead), "updated_by": "backend", "updated_at": ago(600)}))
                .await;
        }
    }

    /// A bot with all its files.
    pub(crate) async fn done(&self, id: &str, title: &str) {
        let people = json!({"schema_version": 1, "bot_instance_id": id, "started_at": ago(4_000), "duration_secs": 1_805.0,
            "participants": [person(1, "Clara Weiss", "person", 812.0), person(2, "Samir Haddad", "person", 540.5), person(3, "Recorder", "self", 0.0)],
            "speaking": (0..40).map(|index| json!({"participant": 1 + index % 2, "from": ago(3_000), "to": ago(2_990),
                "from_secs": f64::from(index) * 43.0, "to_secs": f64::from(index) * 43.0 + 9.0 + f64::from(index % 5) * 6.0})).collect::<Vec<_>>(),
            "chat": [{"at": ago(3_500), "secs": 312.0, "author": "Clara Weiss", "text": "The figures are in the shared folder"},
                {"at": ago(3_000), "secs": 1_210.0, "author": "Samir Haddad", "text": "Thanks, that helps"}]});
        let artifacts = json!([
            self.artifact(id, "video.mp4", &video(), json!({"duration_secs": 4.0, "codecs": ["h264", "aac"]})),
            self.artifact(id, "recording.json", b"{}", json!({})),
            self.artifact(id, "timeline.json", people.to_string().as_bytes(), json!({})),
        ]);
        let recording =
            json!({"started_at": ago(4_000), "ended_at": ago(2_195), "parts": 1, "segments": 452, "bytes": 48_211_009});
        let more = json!({"recording": recording, "artifacts": artifacts, "outcome": outcome_of("host_ended"), "outcome_kind": "host_ended", "processed_at": ago(2_190)});
        self.bot(id, "done", title, more).await;
    }
}

fn person(id: u32, name: &str, role: &str, speaking: f64) -> Value {
    let span = json!({"from": ago(4_000), "to": ago(2_200), "from_secs": f64::from(id) * 20.0, "to_secs": 1_790.0});
    json!({"id": id, "name": name, "role": role, "present": [span], "present_secs": 1_770.0, "speaking_secs": speaking})
}

fn outcome_of(name: &str) -> Value {
    let kind = *bot_model::outcome::OutcomeKind::ALL.iter().find(|kind| kind.as_str() == name).unwrap();
    serde_json::to_value(bot_model::outcome::Outcome::new(kind)).unwrap()
}

/// What leads to a phase.
fn steps(phase: &str) -> Vec<(&'static str, &'static str)> {
    let all = [
        ("queued", "enqueued"),
        ("claimed", "claimed"),
        ("launched", "launched"),
        ("joining", "joining"),
        ("waiting_room", "waiting_room"),
        ("recording", "recording"),
        ("finalizing", "finalizing"),
        ("done", "done"),
    ];
    let end = all.iter().position(|(name, _)| *name == phase).map_or(5, |index| index + 1);
    let mut steps = all[..end].to_vec();
    match phase {
        "failed" => steps.push(("failed", "failed")),
        "missed" => return vec![("queued", "enqueued"), ("missed", "missed")],
        _ => {}
    }
    steps
}

/// Seconds before now, as documents have it.
pub(crate) fn ago(seconds: i64) -> String {
    (Utc::now() - TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A short film with sound.
fn video() -> Vec<u8> {
    static FILM: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    FILM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("film.mp4");
        let made = std::process::Command::new(std::env::var_os("FFMPEG_PATH").unwrap_or_else(|| "ffmpeg".into()))
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=640x360:rate=15:duration=4",
                "-f",
                "lavfi",
                "-i",
                "sine=440:duration=4",
            ])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart"])
            .arg(&file)
            .status()
            .expect("no ffmpeg; run scripts/setup.sh --install test");
        assert!(made.success(), "ffmpeg made no film");
        std::fs::read(file).unwrap()
    })
    .clone()
}

/// As documents call a file.
fn object_name(file: &str) -> &'static str {
    match file {
        "video.mp4" => "video",
        "audio.m4a" => "audio",
        "recording.json" => "manifest",
        _ => "timeline",
    }
}
