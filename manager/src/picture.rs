//! The live picture: every few seconds, while the bot waits or records, what its page shows goes to one object beside the recording,
//! and away once the bot has left.
//!
//! A courtesy, on a task of its own: it shares nothing with what carries the recording out but the bucket's client, each step has a
//! deadline, nothing is tried twice, and nobody waits for it longer than [`END_WITHIN`].

use std::time::Duration;

use bot_model::object_prefix::ObjectPrefix;
use bot_model::picture::{MOST_BYTES, stamped};
use bot_store::clock;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::objects::{Label, Objects};

/// For the bot's answer, and for the bucket's.
const STEP_WITHIN: Duration = Duration::from_secs(5);
/// The picture's removal holds the end of a run up for no longer.
const END_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Nothing,
    Page,
    Over,
}

/// Takes pictures until it is finished or dropped.
#[derive(Debug)]
pub struct Pictures {
    show: watch::Sender<Show>,
    task: JoinHandle<()>,
}

impl Pictures {
    /// Begins to take one each `every` of the meeting-bot at `bot`, once there is something to show.
    pub fn begin(objects: Objects, prefix: ObjectPrefix, bot: &str, every: Duration) -> Option<Self> {
        let http = reqwest::Client::builder().timeout(STEP_WITHIN).no_proxy().build().ok()?;
        let from = format!("{}/v1/session/picture", bot.trim_end_matches('/'));
        let (show, shown) = watch::channel(Show::Nothing);
        let task = tokio::spawn(Box::pin(take(objects, prefix, (http, from), every, shown)));
        Some(Self { show, task })
    }

    /// There is a page to show, or none.
    pub fn show(&self, is_there: bool) {
        let now = if is_there { Show::Page } else { Show::Nothing };
        self.show.send_if_modified(|show| std::mem::replace(show, now) != now);
    }

    /// The bot has left: nothing more is taken, and the picture goes. Meanwhile something else can be done until [`Pictures::ended`].
    pub fn finish(&self) {
        let _ = self.show.send(Show::Over);
    }

    /// Returns once the picture is gone, or could not be removed in time.
    pub async fn ended(mut self) {
        self.finish();
        let _ = timeout(END_WITHIN, &mut self.task).await;
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Removes what a run that was killed left. Best effort.
pub async fn remove(objects: &Objects, prefix: &ObjectPrefix) {
    if !matches!(timeout(END_WITHIN, Box::pin(objects.delete(&prefix.picture()))).await, Ok(Ok(()))) {
        tracing::debug!("the live picture could not be removed");
    }
}

async fn take(
    objects: Objects,
    prefix: ObjectPrefix,
    (http, from): (reqwest::Client, String),
    every: Duration,
    mut shown: watch::Receiver<Show>,
) {
    let (name, mut is_there) = (prefix.picture(), false);
    loop {
        let Ok(show) = shown.wait_for(|show| *show != Show::Nothing).await.map(|show| *show) else { return };
        if show == Show::Over {
            break;
        }
        let next = Instant::now() + every;
        if let Some(picture) = asked(&http, &from).await {
            let label = Label { content_type: "image/jpeg", crc32c: crc32c::crc32c(&picture), segments_sha256: String::new() };
            match Box::pin(objects.put_over_once(&name, picture, &label, STEP_WITHIN)).await {
                Ok(()) => is_there = true,
                Err(error) if error.is_transient => tracing::debug!(%error, "a live picture was not carried out"),
                // Such as the right to create alone, which replaces nothing: asking again would change nothing.
                Err(error) => {
                    tracing::info!(%error, "no more live pictures: the bucket refuses to replace one");
                    break;
                }
            }
        }
        tokio::select! {
            () = sleep_until(next) => {}
            over = shown.wait_for(|show| *show == Show::Over) => if over.is_err() { return },
        }
    }
    if is_there {
        remove(&objects, &prefix).await;
    }
}

/// What the bot's page shows now, with the instant.
async fn asked(http: &reqwest::Client, from: &str) -> Option<Bytes> {
    let answer = http.get(from).send().await.ok()?.error_for_status().ok()?;
    if answer.content_length().is_none_or(|length| length > MOST_BYTES as u64) {
        return None;
    }
    stamped(&answer.bytes().await.ok()?, clock::now()).map(Bytes::from)
}
