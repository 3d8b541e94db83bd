//! The black-box suite on a real cluster (`make test-cluster`), and the same scenarios on the stub of the API server (CI).
//!
//! A scenario writes meetings as a backend does, disturbs what Kubernetes made of them, and judges by documents, Jobs, pods and the
//! video. Each has a Firestore project of its own, so that its controllers see no other's meetings and Jobs.

mod cluster_site;
mod documents;
mod history;
mod objects;
mod reach;
mod room;
mod scenarios;
mod site;
mod stage;
mod stub_site;

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::BoxFuture;

pub use cluster_site::{ClusterSite, NoCluster};
pub use history::History;
pub use scenarios::all;
pub use site::Site;
pub use stage::Stage;
pub use stub_site::StubSite;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(180);
/// Longest wait for an answer over HTTP.
const ANSWER: Duration = Duration::from_secs(60);
/// More than any node has.
const TOO_MUCH_CPU: &str = "1000";
/// Enough for the meeting-bot to start, too little for its browser.
const TOO_LITTLE_MEMORY: &str = "64Mi";
/// A tag that no registry has.
const NO_SUCH_TAG: &str = ":no-such-tag";
/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All held.
    Pass,
    /// Something did not.
    Fail(String),
    /// It could not be tried, and why.
    NotRun(String),
}

/// How a scenario ends that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// All held.
    Passed,
    /// It could not be tried, and why.
    NotRun(String),
}

type Play = for<'a> fn(&'a Stage<'a>) -> BoxFuture<'a, Result<Ended>>;

/// One scenario.
pub struct Scenario {
    /// For `--only`.
    pub name: &'static str,
    /// For `--list` and docs/test-cluster.md.
    pub proves: &'static str,
    play: Play,
}

/// Plays scenarios one after the other, tells each verdict at once, and answers whether all that were tried passed and never two live
/// pods of one Job's name were seen.
pub async fn play(site: &Site, scenarios: &[&Scenario], tell: &mut (dyn FnMut(&str) + Send)) -> bool {
    let history = History::follow(site.client(), site.namespace());
    let (mut is_good, mut left_out) = (true, 0);
    for scenario in scenarios {
        let begun = Instant::now();
        let verdict = one(site, &history, scenario).await;
        let took = begun.elapsed().as_secs();
        match &verdict {
            Verdict::Pass => tell(&format!("PASS     {:<17} {took:>4} s", scenario.name)),
            Verdict::NotRun(why) => {
                left_out += 1;
                tell(&format!("NOT RUN  {:<17} {took:>4} s  {why}", scenario.name));
            }
            Verdict::Fail(why) => {
                is_good = false;
                tell(&format!("FAIL     {:<17} {took:>4} s  {why}", scenario.name));
            }
        }
    }
    if left_out > 0 {
        tell(&format!("!! {left_out} of {} scenarios were NOT RUN: what they prove is unproven here", scenarios.len()));
    }
    let violations = history.violations();
    for violation in &violations {
        tell(&format!("FAIL     two live pods: {violation}"));
    }
    if violations.is_empty() {
        tell("PASS     at no moment were two pods of one Job's name alive");
    }
    is_good && violations.is_empty()
}

async fn one(site: &Site, history: &History, scenario: &Scenario) -> Verdict {
    let stage = Stage::new(site, history, scenario.name);
    let played = (scenario.play)(&stage).await;
    let verdict = match played {
        Ok(Ended::Passed) => Verdict::Pass,
        Ok(Ended::NotRun(why)) => Verdict::NotRun(why),
        Err(error) => {
            let watch = history.broken().map(|error| format!("\nthe pods' watch failed once: {error}")).unwrap_or_default();
            Verdict::Fail(format!("{error:#}{watch}\n{}", site.logs().await))
        }
    };
    stage.strike().await;
    verdict
}
