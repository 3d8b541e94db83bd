//! The greeting in the call's chat. It is posted once an instance: whoever joins again, does so silently.

use chrono::Utc;

use super::Follower;
use crate::config::Config;
use crate::keeper::{Keeper, Kept};

/// The configured greeting, unless it was posted by an earlier session.
pub(super) fn greeting(config: &Config, keeper: &Keeper<'_>) -> Option<String> {
    config.greeting.clone().filter(|_| keeper.facts().greeted_at.is_none())
}

impl Follower<'_, '_> {
    /// The session says that it has greeted: no other one shall, not even one of another attempt.
    pub(super) async fn has_greeted(&mut self) {
        self.session.greeting = None;
        if self.keeper.facts().greeted_at.is_some() || !self.keeper.is_fresh() {
            return;
        }
        if let Kept::Unreachable(error) = self.keeper.set_greeted(Utc::now()).await {
            tracing::warn!(%error, "that the bot has greeted could not be written yet");
        }
    }
}
