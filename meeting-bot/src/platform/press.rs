//! One press, or some keys, on the element that a look found: on that and on nothing else (see `press.js`). Real input; what of it
//! would land elsewhere is stopped before the page hears of it. Decides nothing.

use serde::Deserialize;

use super::probe::{Ask, Probe};
use crate::browser::{CdpError, Page, Point};

/// Why the page was not touched. The next look tells what is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The element is not there any more, or cannot be acted on.
    #[error("it is gone")]
    Gone,
    /// It, or its dialog, says something else than when it was looked at.
    #[error("it says something else")]
    Changed,
    /// It would leave the call, and leaving was not decided.
    #[error("it would leave the call")]
    Leaves,
    /// It, or its dialog, was pressed a moment ago.
    #[error("it was pressed a moment ago")]
    Settling,
    /// Something lies over it.
    #[error("something lies over it")]
    Covered,
    /// Something else came under the mouse; the press was stopped.
    #[error("something else came under the mouse")]
    Elsewhere,
    /// The keys would have gone elsewhere.
    #[error("the keys would have gone elsewhere")]
    Unfocused,
}

/// What came of it; `Err` touched nothing.
pub type Outcome = Result<(), Missed>;

#[derive(Deserialize)]
struct Answer {
    missed: Option<Missed>,
    #[serde(flatten)]
    at: Option<Point>,
}

impl Answer {
    fn outcome(&self) -> Outcome {
        self.missed.map_or(Ok(()), Err)
    }
}

/// The bot's hand on one step's element.
#[derive(Debug, Clone, Copy)]
pub struct Hand<'a> {
    page: &'a Page,
    probe: &'a Probe,
    step: &'a str,
}

/// What moves on after so many tries is pressed where it was a moment ago: the press then reaches it or nothing.
const AIMS: u32 = 5;
/// In CSS pixels.
const STANDS_STILL: f64 = 3.0;

impl<'a> Hand<'a> {
    /// On the element that the last look by `probe` found for `step`.
    pub fn on(page: &'a Page, probe: &'a Probe, step: &'a str) -> Self {
        Self { page, probe, step }
    }

    /// Clicks it.
    pub async fn press(self) -> Result<Outcome, CdpError> {
        let reached = self.reach().await?;
        if reached.is_err() {
            return Ok(reached);
        }
        // A page that does not answer after a press was pressed all the same.
        Ok(self.ask("release").await.map_or(Ok(()), |answer| answer.outcome()))
    }

    /// Clicks the field, so that keys go there. To be followed by [`Self::write`].
    pub async fn enter(self) -> Result<Outcome, CdpError> {
        let reached = self.reach().await?;
        if reached.is_err() {
            return Ok(reached);
        }
        let focused = self.ask("focus").await?.outcome();
        if focused.is_err() {
            self.ask("release").await?;
        }
        Ok(focused)
    }

    /// Replaces what the field that was entered holds, and then presses Enter where `sends`.
    pub async fn write(self, text: &str, sends: bool) -> Result<(), CdpError> {
        self.page.type_over(text).await?;
        // The page may have put another field in its place; an end that was shown meanwhile must not be answered.
        if sends && self.ask("focus").await?.outcome().is_ok() {
            self.page.press_enter().await?;
        }
        // As after a press: what was typed was typed.
        let _ = self.ask("release").await;
        Ok(())
    }

    async fn reach(self) -> Result<Outcome, CdpError> {
        let mut mouse: Option<Point> = None;
        for _ in 0..AIMS {
            let aimed = self.ask("aim").await?;
            let Some(at) = aimed.at else { return Ok(aimed.outcome().and(Err(Missed::Gone))) };
            if mouse.is_some_and(|mouse| (mouse.x - at.x).abs() < STANDS_STILL && (mouse.y - at.y).abs() < STANDS_STILL) {
                break;
            }
            self.page.move_mouse(at).await?;
            mouse = Some(at);
        }
        match mouse {
            Some(at) => self.page.press_button(at).await.map(Ok),
            None => Ok(Err(Missed::Gone)),
        }
    }

    async fn ask(self, what: &str) -> Result<Answer, CdpError> {
        let answer = self.probe.ask(self.page, &Ask { what, step: self.step }).await?;
        serde_json::from_value(answer).map_err(|_| CdpError::Incomplete { method: "Runtime.evaluate", what: "a press's answer" })
    }
}
