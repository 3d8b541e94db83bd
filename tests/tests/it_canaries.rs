//! Secrets go through a whole call that is recorded and another that fails, with every log at its most talkative: not one is found
//! where it does not belong.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it measured")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bot_model::document::{BotInstance, Fields};
use bot_model::ids::MeetingPath;
use bot_model::lifecycle::Phase;
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::claim::{Claimer, claim_all};
use bot_store::{DocumentKey, Write};
use controller::config::{Config, Needs};
use controller::launch::kubernetes::manifest;
use controller::launch::{LaunchSpec, RunCommand};
use serde_json::{Value, json};
use tests::canary::{Find, Kind, Watch, found_in, in_files};
use tests::process::until;
use tests::room::PracticeRoom;
use tests::stack::Stack;

const LIMIT: Duration = Duration::from_secs(120);
const TALKATIVE: &str = "trace";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_where_it_does_not_belong() {
    let (folder, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let room = PracticeRoom::start(apart.path()).await.unwrap();
    for code in ["kept", "denied"] {
        let settings = json!({"passcode": Kind::Passcode.text(), "people": [Kind::Person.text()]});
        room.open(code, settings).await.unwrap();
    }
    let identity = identity(apart.path(), &room.origin);
    let variables = [
        ("LOG_LEVEL", TALKATIVE),
        ("RUST_LOG", TALKATIVE),
        ("BROWSER_STORAGE_STATE", identity.as_str()),
        ("AWS_SECRET_ACCESS_KEY", Kind::CloudKey.text()),
    ];
    let mut stack = Stack::start(folder.path(), Some(&room.origin), &variables).await.unwrap();
    let watch = Watch::of(stack.controller().unwrap().id());
    let kept = schedule(&stack, "kept", &address("kept")).await;
    let denied = schedule(&stack, "denied", &address("denied")).await;
    let refused = schedule(&stack, "refused", &format!("https://zoom.us.example/j/1?pwd={}", Kind::Passcode.text())).await;

    let guest = |code: &'static str| room.wait_for(code, "guest", "waiting", LIMIT);
    room.act("denied", &guest("denied").await.unwrap(), "deny").await.unwrap();
    room.act("kept", &guest("kept").await.unwrap(), "admit").await.unwrap();
    stack.wait_for("the recording", &kept, LIMIT, |instance| instance.phase == Phase::Recording).await.unwrap();
    let mut found = BTreeSet::new();
    found.extend(in_answers(&stack).await);
    stack
        .wait_for("segments", &kept, LIMIT, |instance| {
            instance.facts.recording.as_ref().is_some_and(|so_far| so_far.segments > 0)
        })
        .await
        .unwrap();
    found.extend(in_files(folder.path(), &is_meant_in_the_call));
    room.end("kept").await.unwrap();
    let over = |instance: &BotInstance| instance.phase.is_terminal();
    let done = stack.wait_for("the end", &kept, LIMIT, over).await.unwrap();
    assert_eq!(done.phase, Phase::Done, "{:?}", done.facts.outcome);
    let failed = stack.wait_for("the other end", &denied, LIMIT, over).await.unwrap();
    let logs_are_put_away = || async { Ok((std::fs::read_dir(folder.path().join("runs/logs"))?.count() == 2).then_some(())) };
    until("the logs of both runs", LIMIT, logs_are_put_away).await.unwrap();

    let (in_processes, programs) = watch.end();
    for program in ["controller", "manager", "meeting-bot", "chromium", "ffmpeg", "Xvfb", "pulseaudio"] {
        assert!(programs.contains(program), "{program} was not looked at");
    }
    found.extend(in_processes);
    for meeting in [&kept, &denied, &refused] {
        found.extend(in_documents(&stack, meeting).await);
    }
    found.extend(in_a_job(&kept).await);
    assert!(failed.facts.debug.is_some(), "no debug bundle");
    let debug = stack.recording_folder(&failed).unwrap().join("debug");
    assert!(debug.is_dir(), "no debug bundle in {}", debug.display());
    logs_tell_everything(folder.path());
    found.extend(in_files(folder.path(), &is_meant));
    assert!(found.is_empty(), "{found:#?}");

    // The negative control: what is planted beside everything else is found.
    std::fs::write(folder.path().join("runs/logs/planted"), Kind::Passcode.text()).unwrap();
    assert_eq!(in_files(folder.path(), &is_meant), BTreeSet::from([("runs/logs/planted".to_owned(), Kind::Passcode)]));
}

/// A log that tells little proves little.
fn logs_tell_everything(folder: &Path) {
    let runs = std::fs::read_dir(folder.join("runs/logs")).unwrap().map(|run| run.unwrap().path());
    let of_runs = runs.flat_map(|run| ["manager.log", "meeting-bot.log"].map(|log| run.join(log)));
    for log in of_runs.chain([folder.join("controller.log")]) {
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("DEBUG") || text.contains("TRACE"), "{} tells too little", log.display());
    }
}

/// Where a secret belongs: who was in the call, the bot itself among them, in what tells of who was in the call; and the documents'
/// own store, which is searched document by document.
fn is_meant(path: &str, kind: Kind) -> bool {
    let is_journal = path.ends_with(".jsonl") && path.contains("/raw/");
    let tells_of_people = is_journal || path.ends_with("/timeline.json") || path.ends_with("/recording.json");
    let is_a_name = matches!(kind, Kind::Person | Kind::BotName);
    path.starts_with("store.sqlite") || (is_a_name && path.starts_with("recordings/") && tells_of_people)
}

/// While the call lasts: the browser's private folder knows its page and its identity, and the session's folder has the journal.
fn is_meant_in_the_call(path: &str, kind: Kind) -> bool {
    let is_private = path.contains("/a1/bot/");
    let is_journal = path.ends_with("/scratch/session/people.jsonl") && matches!(kind, Kind::Person | Kind::BotName);
    is_private || is_journal || is_meant(path, kind)
}

fn address(code: &str) -> String {
    format!("practice:zoom/{code}?passcode={}", Kind::Passcode.text())
}

/// A signed-in identity's storage state, in a file of its own.
fn identity(folder: &Path, origin: &str) -> String {
    let cookie = json!({ "name": "session", "value": Kind::Cookie.text(), "domain": "127.0.0.1", "path": "/", "expires": 4_000_000_000_u64,
        "httpOnly": true, "secure": false, "sameSite": "Lax" });
    let stored = json!({ "origin": origin, "localStorage": [{ "name": "identity", "value": Kind::Storage.text() }] });
    let file = folder.join("state.json");
    std::fs::write(&file, json!({ "cookies": [cookie], "origins": [stored] }).to_string()).unwrap();
    file.display().to_string()
}

fn fields(url: &str) -> Fields {
    let fields = json!({
        "meeting_url": url, "status": "scheduled", "title": Kind::Title.text(), "bot_name": Kind::BotName.text(),
        "creator_user_id": Kind::Email.text(), "attendees": [Kind::Email.text()], "access_token": Kind::Token.text(),
    });
    fields.as_object().unwrap().clone()
}

async fn schedule(stack: &Stack, name: &str, url: &str) -> MeetingPath {
    let path = MeetingPath::parse(&format!("meetings/{name}")).unwrap();
    let created = vec![Write::create(DocumentKey::Meeting(path.clone()), fields(url))];
    assert!(stack.store().commit(created).await.unwrap().is_applied());
    path
}

/// What controller and meeting-bot answer to whoever may ask.
async fn in_answers(stack: &Stack) -> Vec<Find> {
    let mut asked = ["/metrics", "/healthz", "/readyz"].map(|path| format!("{}{path}", stack.http)).to_vec();
    let runs = std::fs::read_dir(stack.folder().join("runs")).unwrap().flatten();
    let ports = runs.filter_map(|run| std::fs::read_to_string(run.path().join("a1/meeting-bot.port")).ok());
    asked.extend(ports.flat_map(|port| ["metrics", "isbusy", "health"].map(|path| format!("http://{}/{path}", port.trim()))));
    assert!(asked.len() > 3, "no meeting-bot to ask");
    let mut found = in_a_foreign_order(&asked[3..]).await;
    for url in asked {
        let Ok(answer) = reqwest::get(&url).await else { continue };
        let path = url.rsplit('/').next().unwrap_or_default().to_owned();
        found.extend(found_in(&answer.bytes().await.unwrap()).into_iter().map(|kind| (format!("answer of {path}"), kind)));
    }
    found
}

/// A manager of another make asks the meeting-bot, which is busy, to join a call with its token.
async fn in_a_foreign_order(asked: &[String]) -> Vec<Find> {
    let order = json!({ "bearerToken": Kind::Token.text(), "url": address("other"), "name": Kind::BotName.text(), "teamId": "t",
        "timezone": "UTC", "userId": "u", "botId": "b" });
    let mut answers = Vec::new();
    for metrics in asked.iter().filter(|url| url.ends_with("/metrics")) {
        // The one that was denied may be gone by now, or free to take the order.
        let Ok(told) = reqwest::get(metrics).await else { continue };
        if told.text().await.unwrap().contains("isbusy 1") {
            let url = metrics.replace("/metrics", "/zoom/join");
            answers.extend(reqwest::Client::new().post(url).json(&order).send().await);
        }
    }
    assert!(!answers.is_empty(), "no meeting-bot answers: {asked:?}");
    let mut found = Vec::new();
    for answer in answers {
        assert!(answer.status().is_client_error(), "{} from a meeting-bot that is busy", answer.status());
        let kinds = found_in(&answer.bytes().await.unwrap());
        found.extend(kinds.into_iter().map(|kind| ("answer of join".to_owned(), kind)));
    }
    found
}

/// What the product wrote into the store: the instance but what it takes over from the meeting, its timeline, and what was added to the
/// meeting.
async fn in_documents(stack: &Stack, meeting: &MeetingPath) -> Vec<Find> {
    let given = fields("");
    let mut written: Vec<(String, Value)> = Vec::new();
    let record = stack.store().read(&DocumentKey::Meeting(meeting.clone())).await.unwrap().unwrap();
    written.push((
        "meeting".into(),
        record.fields.into_iter().filter(|(name, _)| !given.contains_key(name)).collect::<Fields>().into(),
    ));
    if let Some(instance) = stack.instance_of(meeting).await.unwrap() {
        let record = stack.store().read(&DocumentKey::Instance(instance.id.clone())).await.unwrap().unwrap();
        let taken_over = ["meeting_url", "bot_name", "creator_user_id"];
        let own: Fields = record.fields.into_iter().filter(|(name, _)| !taken_over.contains(&name.as_str())).collect();
        written.push(("instance".into(), own.into()));
        let events = stack.store().events(&instance.id).await.unwrap();
        assert!(!events.is_empty(), "no timeline");
        written.extend(events.into_iter().map(|event| ("timeline".into(), event.fields.into())));
    }
    let find = |(place, value): (String, Value)| {
        let text = value.to_string();
        found_in(text.as_bytes()).into_iter().map(move |kind| (format!("{place}: {text}"), kind)).collect::<Vec<_>>()
    };
    written.into_iter().flat_map(find).collect()
}

/// The Job that the same document would become in a cluster, to record and to finalize.
async fn in_a_job(meeting: &MeetingPath) -> Vec<Find> {
    let variables = [
        ("GCP_PROJECT_ID", "p"),
        ("GCS_BUCKET", "b"),
        ("MANAGER_IMAGE", "r/manager:1"),
        ("MEETING_BOT_IMAGE", "r/bot:1"),
        ("BOT_IDENTITY_SECRET", "identity"),
        ("AWS_SECRET_ACCESS_KEY", Kind::CloudKey.text()),
    ];
    let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let config = Config::read(Needs::Everything, lookup).unwrap().kubernetes.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("job.sqlite").display());
    let store = bot_store::connect::open(&url, bot_model::configuration::Naming::default()).await.unwrap();
    let key = DocumentKey::Meeting(meeting.clone());
    assert!(store.commit(vec![Write::create(key.clone(), fields(&address("kept")))]).await.unwrap().is_applied());
    let record = store.read(&key).await.unwrap().unwrap();
    let window = bot_model::schedule::StartWindow::default();
    let enqueued = bot_store::protocol::enqueue::enqueue(store.as_ref(), &record, &window, chrono::Utc::now()).await.unwrap();
    let bot_store::protocol::enqueue::Enqueued::Created(id) = enqueued else { return vec![("not enqueued".into(), Kind::Token)] };
    let record = InstanceRecord::read(store.as_ref(), &id).await.unwrap().unwrap();
    let claimer = Claimer { controller_id: "c".into(), ttl: LIMIT };
    let claimed = claim_all(store.as_ref(), vec![record], &claimer, chrono::Utc::now()).await.remove(0).unwrap().unwrap();
    let jobs =
        [RunCommand::Record, RunCommand::Finalize].map(|verb| manifest::job(&config, &LaunchSpec::new(&claimed, verb), "launch"));
    let texts = jobs.map(|job| serde_json::to_string(&job).unwrap());
    assert!(texts.iter().all(|text| text.contains(id.as_str())), "no Job of this document");
    texts.iter().flat_map(|text| found_in(text.as_bytes())).map(|kind| ("Job".to_owned(), kind)).collect()
}
