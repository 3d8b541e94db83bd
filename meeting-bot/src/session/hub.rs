//! The session's published state: what HTTP answers and what the run changes. The phase moves forward only.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::{
    MediaHealth, PeopleNow, PersonNow, SessionEnd, SessionEvent, SessionEventKind, SessionPhase, SessionState, StartSession,
};
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::browser::Page;

/// Events kept: ten hours of phases, parts and people, and the latest of those who speak.
const EVENTS: usize = 20_000;

/// What a start request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is the first: run it.
    Fresh,
    /// This very session runs already.
    Same,
    /// Another session has been here.
    Other,
}

/// Shared by HTTP and the run.
#[derive(Debug)]
pub struct Hub {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
    leave: watch::Sender<Option<OutcomeKind>>,
}

#[derive(Debug)]
struct Inner {
    state: SessionState,
    events: VecDeque<SessionEvent>,
    roster: Vec<PersonNow>,
    polled_at: Instant,
    screenshot: Option<Vec<u8>>,
    page: Option<Page>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// Idle, with a new boot id.
    pub fn new() -> Self {
        let state = SessionState::idle(uuid::Uuid::new_v4().to_string(), Utc::now());
        let (events, roster) = (VecDeque::new(), Vec::new());
        let inner = Inner { state, events, roster, polled_at: Instant::now(), screenshot: None, page: None };
        Self { inner: Mutex::new(inner), version: watch::Sender::new(0), leave: watch::Sender::new(None) }
    }

    /// Admits a session, or says why not.
    pub fn admit(&self, request: &StartSession) -> Admission {
        let mut inner = self.lock();
        match &inner.state.session_id {
            Some(id) if *id == request.session_id => Admission::Same,
            Some(_) => Admission::Other,
            None => {
                inner.state.session_id = Some(request.session_id.clone());
                inner.polled_at = Instant::now();
                drop(inner);
                self.enter(SessionPhase::Starting);
                Admission::Fresh
            }
        }
    }

    /// The state now.
    pub fn state(&self) -> SessionState {
        self.lock().state.clone()
    }

    /// Notes that the manager is alive.
    pub fn polled(&self) {
        self.lock().polled_at = Instant::now();
    }

    /// How long nobody has polled, counted from the session's start at the earliest.
    pub fn unpolled_for(&self) -> Duration {
        self.lock().polled_at.elapsed()
    }

    /// Moves to a later phase; an earlier one is ignored.
    pub fn enter(&self, phase: SessionPhase) {
        self.change(|inner, now| {
            if phase <= inner.state.phase {
                return;
            }
            tracing::info!(from = ?inner.state.phase, to = ?phase, "phase");
            inner.state.phase = phase;
            inner.state.phase_since = now;
            if phase == SessionPhase::Recording {
                inner.state.admitted_at = Some(now);
            }
            inner.add(now, SessionEventKind::Phase { phase });
        });
    }

    /// Notes that the bot is out of the call.
    pub fn left(&self) {
        self.change(|inner, now| {
            if inner.state.admitted_at.is_some() && inner.state.left_at.is_none() {
                inner.state.left_at = Some(now);
            }
        });
    }

    /// Notes the number of others in the call.
    pub fn others(&self, others: Option<u32>) {
        self.change(|inner, now| {
            if let Some(count) = others.filter(|_| inner.state.others_in_call != others) {
                inner.add(now, SessionEventKind::Participants { others: count });
            }
            inner.state.others_in_call = others.or(inner.state.others_in_call);
        });
    }

    /// Publishes who is there.
    pub fn people(&self, now: PeopleNow, roster: Vec<PersonNow>) {
        self.change(|inner, _| (inner.state.people, inner.roster) = (now, roster));
    }

    /// Who is there, by name.
    pub fn roster(&self) -> Vec<PersonNow> {
        self.lock().roster.clone()
    }

    /// Notes that the greeting was posted.
    pub fn greeted(&self) {
        if !self.lock().state.has_greeted {
            self.change(|inner, _| inner.state.has_greeted = true);
        }
    }

    /// Publishes the recorder's health.
    pub fn media(&self, media: MediaHealth) {
        self.change(|inner, _| inner.state.media = media);
    }

    /// Adds a line to the timeline.
    pub fn event(&self, kind: SessionEventKind) {
        self.change(|inner, now| inner.add(now, kind));
    }

    /// The session is over: the last change of all.
    pub fn end(&self, kind: OutcomeKind, detail: String) {
        tracing::info!(outcome = %kind, detail, "session ended");
        self.change(|inner, now| {
            inner.state.end = Some(SessionEnd { kind, detail, at: now });
            inner.state.phase = SessionPhase::Ended;
            inner.state.phase_since = now;
            inner.add(now, SessionEventKind::Phase { phase: SessionPhase::Ended });
            inner.add(now, SessionEventKind::Ended { kind });
        });
    }

    /// Events after `seq`, as far as they are kept.
    pub fn events_after(&self, seq: u64) -> Vec<SessionEvent> {
        let inner = self.lock();
        let first = inner.events.front().map_or(1, |event| event.seq);
        let skip = usize::try_from((seq + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        inner.events.iter().skip(skip).cloned().collect()
    }

    /// Changes whenever the state does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Asks the run to leave; the first reason stands.
    pub fn ask_to_leave(&self, reason: OutcomeKind) {
        self.leave.send_if_modified(|wish| {
            let first = wish.is_none();
            if first {
                *wish = Some(reason);
            }
            first
        });
    }

    /// The wish to leave.
    pub fn leave_wish(&self) -> watch::Receiver<Option<OutcomeKind>> {
        self.leave.subscribe()
    }

    /// Keeps the newest picture of the page.
    pub fn keep_screenshot(&self, png: Vec<u8>) {
        self.lock().screenshot = Some(png);
    }

    /// Sets or takes away the page that [`Hub::screenshot`] shows.
    pub fn show(&self, page: Option<Page>) {
        self.lock().page = page;
    }

    /// A PNG of the page now, or the last one that was kept.
    pub async fn screenshot(&self) -> Option<Vec<u8>> {
        let (page, kept) = {
            let inner = self.lock();
            (inner.page.clone(), inner.screenshot.clone())
        };
        match page {
            Some(page) => page.screenshot().await.ok().or(kept),
            None => kept,
        }
    }

    /// A JPEG of the page now; never one that was kept, which would show a call that is over.
    pub async fn glance(&self) -> Option<Vec<u8>> {
        let page = self.lock().page.clone()?;
        page.glance().await.ok()
    }

    fn change(&self, how: impl FnOnce(&mut Inner, DateTime<Utc>)) {
        how(&mut self.lock(), Utc::now());
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, at: DateTime<Utc>, kind: SessionEventKind) {
        self.state.last_event += 1;
        self.events.push_back(SessionEvent { seq: self.state.last_event, at, kind });
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_never_moves_back() {
        let hub = Hub::new();
        hub.enter(SessionPhase::Recording);
        hub.enter(SessionPhase::WaitingRoom);
        assert_eq!(hub.state().phase, SessionPhase::Recording);
        assert_eq!(hub.events_after(0).len(), 1);
    }

    #[test]
    fn events_are_numbered_without_gaps_and_can_be_read_from_any_point() {
        let hub = Hub::new();
        for others in 0..5 {
            hub.others(Some(others));
            hub.others(Some(others));
        }
        let numbers: Vec<u64> = hub.events_after(2).iter().map(|event| event.seq).collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert!(hub.events_after(99).is_empty());
    }

    #[test]
    fn of_a_very_long_session_the_newest_events_are_kept_under_their_own_numbers() {
        let hub = Hub::new();
        for number in 0..EVENTS as u32 + 10 {
            hub.event(SessionEventKind::PersonJoined { person: number });
        }
        let events = hub.events_after(0);
        assert_eq!((events.len(), events[0].seq), (EVENTS, 11));
        assert_eq!(hub.events_after(EVENTS as u64).len(), 10);
    }

    #[test]
    fn the_first_reason_to_leave_stands() {
        let hub = Hub::new();
        hub.ask_to_leave(OutcomeKind::AskedToLeave);
        hub.ask_to_leave(OutcomeKind::Evicted);
        assert_eq!(*hub.leave_wish().borrow(), Some(OutcomeKind::AskedToLeave));
    }
}
