//! Name and greeting of the bot in the call. A greeting is posted once an instance: whoever joins again, does so silently.

use bot_model::people::clean_name;
use bot_model::session::DISPLAY_NAME_CHARACTERS;
use chrono::Utc;

use super::Follower;
use crate::config::Config;
use crate::keeper::{Keeper, Kept};

/// The document's name, fit to be shown; else the configured one.
pub(super) fn display_name(config: &Config, keeper: &Keeper<'_>) -> String {
    fit(keeper.facts().bot_name.as_deref()).unwrap_or_else(|| config.default_bot_name.clone())
}

fn fit(name: Option<&str>) -> Option<String> {
    let name: String = clean_name(name?).chars().take(DISPLAY_NAME_CHARACTERS).collect();
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_s_name_is_made_fit_to_be_shown() {
        assert_eq!(fit(Some(" Note\u{0}\n taker\u{202e} ")).as_deref(), Some("Note taker"));
        assert_eq!(fit(Some(&"x".repeat(1_000))).unwrap().chars().count(), DISPLAY_NAME_CHARACTERS);
        for empty in [None, Some(""), Some(" \u{7}\u{202e} ")] {
            assert_eq!(fit(empty), None);
        }
    }
}
