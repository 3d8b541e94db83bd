//! Drives one page by a pack: looks, decides, and does at most one step a tick with real input.

use std::collections::HashMap;
use std::time::Duration;

use bot_model::session::SessionLimits;
use tokio::time::{Instant, sleep};

use super::decide::{Decision, History, Observed, decide};
use super::pack::{Fill, Meaning, Pack, Step, StepPhase};
use super::press::Hand;
use super::probe::{Possible, Probe, Seen};
use crate::browser::{CdpError, Page};
use crate::session::people::Crowd;

/// What a tick brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// What to do.
    pub decision: Decision,
    /// Others in the call, if a source could be read.
    pub others: Option<u32>,
    /// The step that was done.
    pub step: Option<String>,
    /// Who is there, who speaks, what the chat shows.
    pub crowd: Crowd,
}

/// The state of driving one page.
#[derive(Debug)]
pub struct Engine {
    page: Page,
    pack: Pack,
    probe: Probe,
    limits: SessionLimits,
    display_name: String,
    passcode: Option<String>,
    greeting: Option<String>,
    has_greeted: bool,
    reads_chat: bool,
    opened_at: Instant,
    loading_since: Option<Instant>,
    history: History,
    last_look: Seen,
    done: HashMap<String, Done>,
}

/// What came of a step so far.
#[derive(Debug, Clone, Copy)]
struct Done {
    at: Instant,
    times: u32,
    misses: u32,
    rests: Duration,
}

/// A page that never finishes loading is looked at anyway after this.
const LOADING: Duration = Duration::from_secs(8);
/// A step that shows no effect is done this often before the bot asks to join without it.
const PATIENCE: u32 = 4;
/// A step that missed is tried again after this: the page is busy changing.
const MISSED_RESTS: Duration = Duration::from_millis(300);
/// A step that misses so often is not waited for any longer.
const MISSES: u32 = 20;

impl Engine {
    /// For a page that was just opened; `practice_host` is the practice room's host and port.
    pub fn new(page: Page, pack: Pack, practice_host: Option<String>, limits: SessionLimits, display_name: &str) -> Self {
        let display_name = bot_model::display_name::display_name(display_name);
        let probe = Probe::new(&pack, practice_host);
        let history = History::default();
        let opened_at = Instant::now();
        Self {
            page,
            pack,
            probe,
            limits,
            display_name,
            passcode: None,
            greeting: None,
            has_greeted: false,
            reads_chat: false,
            opened_at,
            loading_since: None,
            history,
            last_look: Seen::default(),
            done: HashMap::new(),
        }
    }

    /// Types this where the page asks for the call's passcode.
    pub fn with_passcode(&mut self, passcode: Option<String>) {
        self.passcode = passcode;
    }

    /// Opens the chat's pane in the call, so that what is written can be seen (and is in the picture).
    pub fn read_chat(&mut self) {
        self.reads_chat = true;
    }

    /// Posts this to the call's chat once in the call.
    pub fn greet(&mut self, greeting: Option<String>) {
        self.greeting = greeting;
    }

    /// True once a greeting was posted, or may have been.
    pub fn has_greeted(&self) -> bool {
        self.has_greeted
    }

    /// What the last tick saw.
    pub fn last_look(&self) -> &Seen {
        &self.last_look
    }

    /// Names of the steps that were done so far.
    pub fn done_steps(&self) -> impl Iterator<Item = String> {
        self.done.iter().filter(|(_, done)| done.times > 0).map(|(name, _)| name.clone())
    }

    /// One look, one decision, at most one step.
    pub async fn tick(&mut self, silent_for: Duration) -> Result<Tick, CdpError> {
        let mut seen = self.probe.look(&self.page).await?;
        if self.is_loading(&seen) {
            seen = Seen::default();
        }
        self.know_self(&mut seen);
        self.last_look.clone_from(&seen);
        let observed = Observed { seen, silent_for, has_passcode: self.passcode.is_some() };
        if !observed.seen.problems.is_empty() {
            tracing::warn!(selectors = ?observed.seen.problems, "the browser refused selectors of the signal pack");
        }
        let now = self.opened_at.elapsed();
        self.history = self.history.after(&observed, &self.limits, now);
        let decision = decide(&self.history, &observed, &self.limits, now);
        let step = match decision {
            Decision::Stay => self.do_step(&observed.seen, &[StepPhase::Joining, StepPhase::BeforeCall]).await?,
            Decision::Wait => self.do_step(&observed.seen, &[StepPhase::BeforeCall]).await?,
            Decision::Record if self.history.holds_still(now) => None,
            Decision::Record => self.do_step(&observed.seen, &[StepPhase::InCall]).await?,
            Decision::End(..) => None,
        };
        let others = observed.others(&self.limits);
        let Seen { people, speaking, chat, .. } = observed.seen;
        Ok(Tick { decision, others, step, crowd: Crowd { people, speaking, chat } })
    }

    /// Before the call, a page that still loads is given time: without its style sheets it shows what it hides later. In the call, a
    /// frame that loads hides nothing of the rest.
    fn is_loading(&mut self, seen: &Seen) -> bool {
        self.loading_since = (!seen.loaded).then(|| self.loading_since.unwrap_or_else(Instant::now));
        self.history.admitted_at.is_none() && self.loading_since.is_some_and(|since| since.elapsed() < LOADING)
    }

    /// Where the page marks nobody as the bot itself, the bot's own name does.
    fn know_self(&self, seen: &mut Seen) {
        let Some(people) = &mut seen.people else { return };
        if !people.iter().any(|person| person.is_self)
            && let Some(own) = people.iter_mut().find(|person| person.name == self.display_name)
        {
            own.is_self = true;
        }
    }

    /// Does the pack's leaving steps until the page says that the bot has left, their targets are gone, or `limit` has passed. True when they are gone.
    pub async fn leave(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let Ok(seen) = self.probe.look(&self.page).await else { return false };
            let is_out = seen.meanings.contains(&Meaning::Left);
            if is_out || !seen.steps.iter().any(|possible| self.phase_of(possible) == Some(StepPhase::Leaving)) {
                return true;
            }
            if self.do_step(&seen, &[StepPhase::Leaving]).await.is_err() {
                return false;
            }
            sleep(Duration::from_millis(150)).await;
        }
        false
    }

    async fn do_step(&mut self, seen: &Seen, phases: &[StepPhase]) -> Result<Option<String>, CdpError> {
        let Some(step) = self.possible(seen, phases) else { return Ok(None) };
        let (page, probe) = (self.page.clone(), self.probe.clone());
        let hand = Hand::on(&page, &probe, &step.name);
        let outcome = match step.fill {
            Some(_) => hand.enter().await?,
            None => hand.press().await?,
        };
        let before = self.done.get(&step.name).copied();
        let (times, misses) = before.map_or((0, 0), |done| (done.times, done.misses));
        if let Err(missed) = outcome {
            tracing::debug!(step = step.name, reason = %missed, "step not done");
            let done = Done { at: Instant::now(), times, misses: misses + 1, rests: MISSED_RESTS };
            self.done.insert(step.name, done);
            return Ok(None);
        }
        if let Some(fill) = step.fill {
            let text = self.text_of(fill);
            hand.write(&text, fill == Fill::Greeting).await?;
        }
        let done = Done { at: Instant::now(), times: times + 1, misses, rests: Duration::from_secs(step.again_after_secs) };
        self.done.insert(step.name.clone(), done);
        if step.asks_to_join {
            self.history.asked(self.opened_at.elapsed());
        }
        Ok(Some(step.name))
    }

    /// What to write. A greeting is taken: one that may have been posted is not posted again.
    fn text_of(&mut self, fill: Fill) -> String {
        match fill {
            Fill::DisplayName => self.display_name.clone(),
            Fill::Passcode => self.passcode.clone().unwrap_or_default(),
            Fill::Greeting => {
                self.has_greeted = true;
                self.greeting.take().unwrap_or_default()
            }
        }
    }

    /// The first step that may be done. A covered target waits for what covers it to be dismissed, and asking to
    /// join waits for the steps before it: the microphone must be off by then.
    fn possible(&self, seen: &Seen, phases: &[StepPhase]) -> Option<Step> {
        let mut pending = false;
        for possible in &seen.steps {
            let Some(step) = self.pack.step.iter().find(|step| step.name == possible.name) else { continue };
            // Refused once, it would be refused again, and typing it again would take away the page that says so.
            let refused = step.fill == Some(Fill::Passcode) && seen.meanings.contains(&Meaning::WrongPasscode);
            if !phases.contains(&step.phase) || refused || !self.is_wanted(step, possible) {
                continue;
            }
            let done = self.done.get(&step.name);
            let resting = done.is_some_and(|done| done.at.elapsed() < done.rests);
            if possible.reachable && !resting && !(step.asks_to_join && pending) {
                return Some(step.clone());
            }
            pending |= step.phase == StepPhase::Joining && done.is_none_or(|done| done.times < PATIENCE && done.misses < MISSES);
        }
        None
    }

    /// The step has something to do: its field is not filled yet, there is something to fill it with, its purpose is given.
    fn is_wanted(&self, step: &Step, possible: &Possible) -> bool {
        let holds = possible.value.as_deref().unwrap_or_default();
        let fill = match step.fill {
            Some(Fill::DisplayName) => holds != self.display_name,
            Some(Fill::Passcode) => self.passcode.as_ref().is_some_and(|code| code.chars().count() != holds.len()),
            Some(Fill::Greeting) | None => true,
        };
        let (greets, chats) = (self.greeting.is_some(), self.reads_chat);
        fill && (!step.for_greeting || greets) && (!step.for_chat || greets || chats)
    }

    fn phase_of(&self, possible: &Possible) -> Option<StepPhase> {
        self.pack.step.iter().find(|step| step.name == possible.name).map(|step| step.phase)
    }
}
