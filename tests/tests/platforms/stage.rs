//! One browser with the bot's engine in it, for many calls one after another.

use std::sync::Arc;
use std::time::Duration;

use bot_model::meeting_url::{MeetingUrl, Platform};
use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionLimits;
use meeting_bot::browser::{Browser, LaunchOptions};
use meeting_bot::display::Display;
use meeting_bot::doctor::find_browser;
use meeting_bot::platform::decide::Decision;
use meeting_bot::platform::engine::Engine;
use meeting_bot::platform::pack::Pack;
use meeting_bot::scratch::Scratch;
use meeting_bot::sink::Sink;
use serde_json::{Value, json};
use tests::room::PracticeRoom;
use tokio::sync::RwLock;
use tokio::time::Instant;

/// As often as a session looks.
const TICK: Duration = Duration::from_millis(250);
/// The bot's own name in each call.
pub(crate) const OWN_NAME: &str = "Recorder Zoë";
/// No case takes longer, or it hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// One state and what has to come of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The room's settings; its script makes everything happen.
    pub(crate) settings: Value,
    pub(crate) passcode: Option<&'static str>,
    pub(crate) limits: SessionLimits,
    /// The recorder hears nothing from the beginning of the call on.
    pub(crate) is_silent: bool,
    pub(crate) wanted: OutcomeKind,
}

impl Case {
    /// A case without the pages before the client and its question for devices: what leads through those is played by few.
    pub(crate) fn new(name: &'static str, settings: Value, wanted: OutcomeKind) -> Self {
        let settings = with(json!({"launcher": false, "device_prompt": false}), &settings);
        let limits = SessionLimits { join_timeout_secs: 20, ..SessionLimits::default() };
        Self { name, settings, passcode: None, limits, is_silent: false, wanted }
    }

    pub(crate) fn limited(mut self, change: impl FnOnce(&mut SessionLimits)) -> Self {
        change(&mut self.limits);
        self
    }
}

/// What came of a case.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) outcome: Option<OutcomeKind>,
    pub(crate) was_in_call: bool,
    /// The steps that were done, in order.
    pub(crate) steps: Vec<String>,
    /// The most others that were seen.
    pub(crate) others: u32,
    pub(crate) took: Duration,
}

/// Whoever judges picture and sound has the machine alone; states do not mind each other.
pub(crate) static MACHINE: RwLock<()> = RwLock::const_new(());

/// Plays on all platforms at once, in one practice room; fails with all that failed.
pub(crate) async fn on_every_platform<F: Future<Output = ()> + Send + 'static>(play: impl Fn(Platform, Arc<PracticeRoom>) -> F) {
    let _shared = MACHINE.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = Arc::new(PracticeRoom::start(folder.path()).await.unwrap());
    let playing =
        [Platform::Meet, Platform::Teams, Platform::Zoom].map(|platform| tokio::spawn(play(platform, Arc::clone(&room))));
    let mut problems = Vec::new();
    for played in playing {
        problems.extend(played.await.err().map(|error| error.to_string()));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Display, sink and browser, as a session has them.
pub(crate) struct Stage {
    pub(crate) room: Arc<PracticeRoom>,
    platform: Platform,
    browser: Browser,
    sink: Sink,
    display: Display,
    _scratch: Scratch,
}

impl Stage {
    pub(crate) async fn set(platform: Platform, room: Arc<PracticeRoom>) -> Self {
        let scratch = Scratch::create(None).unwrap();
        let display = Display::start(&scratch, 1_280, 720).await.unwrap();
        let sink = Sink::start(&scratch).await.unwrap();
        let program = find_browser(std::env::var_os("CHROME_PATH").map(std::path::PathBuf::from).as_deref()).unwrap();
        let is_sandboxed = !rustix::process::geteuid().is_root();
        let options = LaunchOptions { program, width: 1_280, height: 720, practice: true, is_sandboxed };
        let browser = Browser::start(&scratch, &display, &sink, &options).await.unwrap();
        browser.deny_devices(&room.origin).await.unwrap();
        Self { room, platform, browser, sink, display, _scratch: scratch }
    }

    pub(crate) async fn strike(self) {
        tokio::join!(self.browser.stop(), self.sink.stop(), self.display.stop());
    }

    /// Plays all cases, and fails with every one that ended otherwise than wanted.
    pub(crate) async fn play_all(self, cases: Vec<Case>) {
        let mut wrong = Vec::new();
        for case in &cases {
            let played = self.play(case).await;
            println!("{:<5} {:<34} {played:?}", self.platform.to_string(), case.name);
            if played.outcome != Some(case.wanted) {
                wrong.push(format!("{} {}: wanted {:?}, got {played:?}", self.platform, case.name, case.wanted));
                self.keep_picture(case.name).await;
            }
        }
        self.strike().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    pub(crate) async fn play(&self, case: &Case) -> Played {
        let code = format!("{}-{}", self.platform, case.name.replace('_', "-"));
        self.room.open(&code, case.settings.clone()).await.unwrap();
        let mut engine = self.open(&code, case).await;
        let begun = Instant::now();
        let mut in_call_since = None;
        let mut played = Played { outcome: None, was_in_call: false, steps: Vec::new(), others: 0, took: Duration::ZERO };
        while played.outcome.is_none() && begun.elapsed() < LIMIT {
            tokio::time::sleep(TICK).await;
            // A page that is going elsewhere gives no look.
            let silent_for = in_call_since.filter(|_| case.is_silent).map_or(Duration::ZERO, |since: Instant| since.elapsed());
            let Ok(tick) = engine.tick(silent_for).await else { continue };
            played.steps.extend(tick.step);
            played.others = played.others.max(tick.others.unwrap_or_default());
            match tick.decision {
                Decision::End(kind, _) => played.outcome = Some(kind),
                Decision::Record => {
                    played.was_in_call = true;
                    in_call_since = in_call_since.or_else(|| Some(Instant::now()));
                }
                Decision::Stay | Decision::Wait => {}
            }
        }
        played.took = begun.elapsed();
        played
    }

    /// Opens a room's page as a session does.
    pub(crate) async fn open(&self, code: &str, case: &Case) -> Engine {
        let secret = case.passcode.map_or(String::new(), |passcode| format!("?pwd={passcode}"));
        let meeting = MeetingUrl::parse(&format!("practice:{}/{code}{secret}", self.platform)).unwrap();
        let pack = Pack::load(self.platform, None).unwrap();
        let address = with_query(&meeting.join_url(Some(&self.room.origin)).unwrap(), &pack);
        self.browser.page().navigate(&address).await.unwrap();
        let host = self.room.origin.strip_prefix("http://").map(str::to_owned);
        let mut engine = Engine::new(self.browser.page().clone(), pack, host, case.limits.clone(), OWN_NAME);
        engine.with_passcode(meeting.passcode().map(str::to_owned));
        engine
    }

    /// What the page showed in the end, for whoever looks into a failure.
    async fn keep_picture(&self, name: &str) {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.png", self.platform));
        if let Ok(png) = self.browser.page().screenshot().await {
            std::fs::write(&file, png).unwrap();
            println!("what the page showed: {}", file.display());
        }
    }
}

fn with_query(address: &str, pack: &Pack) -> String {
    let query: Vec<String> = pack.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if query.is_empty() {
        return address.to_owned();
    }
    format!("{address}{}{}", if address.contains('?') { "&" } else { "?" }, query.join("&"))
}

/// A script that admits the guest and then does `rest`, with times since it is in the call.
pub(crate) fn admitted_then(rest: &[Value]) -> Value {
    let mut steps = vec![json!({"since": "asked", "after_ms": 300, "do": "admit"})];
    steps.extend(rest.iter().map(|step| {
        let mut step = step.clone();
        step["since"] = json!("admitted");
        step
    }));
    json!(steps)
}

/// Adds fields to settings.
pub(crate) fn with(mut settings: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}
