//! What a bot's meeting is called, remembered for a while: pages that renew themselves must not read every meeting each time.
//!
//! A title is asked for with the key of whoever looks, and remembered under the bot's id, which only those see who see the bot.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};

use crate::client::{Client, segment};
use crate::shapes::{Bot, Meeting};
use crate::words;

const FRESH: Duration = Duration::from_secs(120);
const MOST: usize = 20_000;
const AT_ONCE: usize = 8;

/// The titles that this replica knows.
#[derive(Default)]
pub(crate) struct Titles(Mutex<HashMap<String, (Instant, Option<String>)>>);

impl Titles {
    /// What to call each of these bots, in their order.
    pub(crate) async fn of(&self, client: &Client, bots: &[Bot]) -> Vec<String> {
        let asked = bots.iter().map(|bot| self.one(client, bot));
        stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await
    }

    async fn one(&self, client: &Client, bot: &Bot) -> String {
        let known = self.lock().get(&bot.id).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, title)| title.clone());
        let title = match known {
            Some(title) => title,
            None => self.asked(client, bot).await,
        };
        title.unwrap_or_else(|| format!("{} call", words::platform(&bot.platform)))
    }

    async fn asked(&self, client: &Client, bot: &Bot) -> Option<String> {
        let title = match bot.meeting_ids.first() {
            Some(id) => {
                let found = client.find::<Meeting>(&format!("/v1/meetings/{}", segment(id))).await;
                found.ok()?.and_then(|meeting| meeting.title).filter(|title| !title.trim().is_empty())
            }
            None => None,
        };
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(bot.id.clone(), (Instant::now(), title.clone()));
        title
    }

    /// Forgets a bot's title, where somebody has just changed it.
    pub(crate) fn forget(&self, bot: &str) {
        self.lock().remove(bot);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Option<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
