//! A browser that looks at pages of a table by a platform's pack.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::get;
use bot_model::meeting_url::Platform;
use meeting_bot::browser::{Browser, LaunchOptions};
use meeting_bot::display::Display;
use meeting_bot::doctor::find_browser;
use meeting_bot::platform::pack::{Meaning, Pack};
use meeting_bot::platform::press::Hand;
use meeting_bot::platform::probe::{Probe, Seen};
use meeting_bot::scratch::Scratch;
use meeting_bot::sink::Sink;

/// A page's name, its body, and what it means.
pub(crate) type Case = (&'static str, &'static str, &'static [Meaning]);
type Pages = Arc<BTreeMap<String, &'static str>>;

pub(crate) struct Looker {
    pub(crate) pack: Pack,
    pub(crate) browser: Browser,
    probe: Probe,
    origin: String,
    display: Display,
    sink: Sink,
    _scratch: Scratch,
}

impl Looker {
    pub(crate) async fn start(platform: Platform, cases: &[Case]) -> Self {
        Self::with_pack(Pack::load(platform, None).unwrap(), cases).await
    }

    pub(crate) async fn with_pack(pack: Pack, cases: &[Case]) -> Self {
        let pages: Pages = Arc::new(cases.iter().map(|(name, html, _)| ((*name).to_owned(), *html)).collect());
        let origin = serve(pages).await;
        let scratch = Scratch::create(None).unwrap();
        let display = Display::start(&scratch, 1_280, 720).await.unwrap();
        let sink = Sink::start(&scratch).await.unwrap();
        let program = find_browser(std::env::var_os("CHROME_PATH").map(std::path::PathBuf::from).as_deref()).unwrap();
        let is_sandboxed = !rustix::process::geteuid().is_root();
        let options = LaunchOptions { program, width: 1_280, height: 720, practice: true, is_sandboxed };
        let browser = Browser::start(&scratch, &display, &sink, &options).await.unwrap();
        let probe = Probe::new(&pack, origin.strip_prefix("http://").map(str::to_owned));
        Self { pack, browser, probe, origin, display, sink, _scratch: scratch }
    }

    /// A probe that does not know the pages' host.
    pub(crate) fn elsewhere(&self) -> Probe {
        Probe::new(&self.pack, None)
    }

    /// The pages' host and port.
    pub(crate) fn host(&self) -> String {
        self.origin.strip_prefix("http://").unwrap().to_owned()
    }

    pub(crate) async fn look(&self, name: &str) -> Seen {
        self.look_with(&self.probe, name).await
    }

    pub(crate) async fn look_with(&self, probe: &Probe, name: &str) -> Seen {
        let (page, address) = (self.browser.page(), format!("{}/{name}", self.origin));
        page.navigate(&address).await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let seen = probe.look(page).await.unwrap();
            if seen.loaded {
                return seen;
            }
            assert!(tokio::time::Instant::now() < deadline, "{address} did not load");
        }
    }

    /// A hand on what the last look found.
    pub(crate) fn hand<'a>(&'a self, step: &'a str) -> Hand<'a> {
        Hand::on(self.browser.page(), &self.probe, step)
    }

    /// What is shown now, without opening anything.
    pub(crate) async fn again(&self) -> Seen {
        self.probe.look(self.browser.page()).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        tokio::join!(self.browser.stop(), self.sink.stop(), self.display.stop());
    }
}

async fn serve(pages: Pages) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let page = |State(pages): State<Pages>, Path(name): Path<String>| async move {
        let body = pages.get(&name).copied().unwrap_or_default(); // the browser also asks for an icon
        Html(format!("<!doctype html><meta charset=utf-8><body>{body}</body>"))
    };
    let router = Router::new().route("/{name}", get(page)).with_state(pages);
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}
