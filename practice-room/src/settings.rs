//! What a room's pages shall show: the body of `PUT /control/rooms/{code}`, and what of it a page may know.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::script::Step;

/// Whose web client a page replicates; part of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Google Meet.
    Meet,
    /// Microsoft Teams, the light client of guests.
    Teams,
    /// Zoom's web client.
    Zoom,
}

/// A page that a guest is shown in place of the client, or once it has asked to join. Each platform has its own words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// The client itself.
    #[default]
    Open,
    /// The platform refuses this client: "You can't join this video call", "Automated bots aren't allowed".
    Blocked,
    /// No call at this address.
    NotFound,
    /// The sign-in wall, within the platform's pages.
    SignIn,
    /// The sign-in wall on another host.
    SignInElsewhere,
    /// A captcha.
    Captcha,
    /// The call wants a registration.
    Registration,
    /// The client cannot reach the call.
    CouldNotConnect,
    /// The client never shows anything.
    Blank,
    /// The page's text never ends, so it never finishes loading.
    Stalled,
    /// The server never answers.
    Unanswered,
}

/// How a client's page differs from what is known of it, as a new release of it would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Buttons, fields and headings are called something else.
    RenamedLabels,
    /// Controls stand elsewhere, in another order.
    MovedButtons,
    /// The page is in German whatever language was asked for.
    OtherLanguage,
    /// Dialogs come up before joining and in the call.
    PopUps,
    /// The call's controls vanish for a moment again and again.
    Flicker,
}

/// A page that misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Its script never returns.
    Hang,
    /// It goes to another host.
    Away,
    /// It loads itself again.
    Reload,
    /// A dialog that blocks the page, and another when it is closed, without end.
    Dialogs,
    /// Whoever leaves the page is asked whether that is meant.
    AskBeforeLeaving,
    /// It takes memory: `mib`, or without end.
    Memory,
    /// Everything that it shows goes away.
    Blank,
}

/// Body of `PUT /control/rooms/{code}`; absent fields take their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomSettings {
    /// Guests wait until they are admitted.
    pub lobby: bool,
    /// The host has not come yet: the lobby says so.
    pub waiting_for_host: bool,
    /// The device prompt comes before the name field; on Zoom it comes twice.
    pub device_prompt: bool,
    /// A notice that the call is being recorded comes up after admission.
    pub consent_dialog: bool,
    /// What a guest's page shows.
    pub page: PageState,
    /// Said in place of the usual words of `page`.
    pub page_text: Option<String>,
    /// Teams and Zoom first show the page that would rather launch their application.
    pub launcher: bool,
    /// Zoom's launcher lies under a cookie banner.
    pub cookie_banner: bool,
    /// Zoom's client sits in a frame of its page; otherwise it is the page.
    pub client_in_frame: bool,
    /// What guests of Teams and Zoom must give, in the address (`?passcode=`) or on the page.
    pub passcode: Option<String>,
    /// Meet offers to use an account before anything else.
    pub account_prompt: bool,
    /// A tip has to be confirmed before joining and again in the call.
    pub tips: bool,
    /// A warning that no microphone was found, with a button that closes it.
    pub device_warning: bool,
    /// Before joining, a notice that the call is recorded has a join button of its own.
    pub recording_notice: bool,
    /// After admission, a question about taking notes has to be answered before the call is shown.
    pub notes_question: bool,
    /// What Meet's join button says in place of "Ask to join" or "Join now".
    pub join_label: Option<String>,
    /// Others who are in the call without picture or sound, such as other bots.
    pub people: Vec<String>,
    /// How the pages differ from what is known.
    pub drift: Vec<Drift>,
    /// What the page does to the browser as soon as it is open.
    pub trouble: Option<Trouble>,
    /// What happens by itself.
    pub script: Vec<Step>,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self {
            lobby: true,
            waiting_for_host: false,
            device_prompt: true,
            consent_dialog: false,
            page: PageState::Open,
            page_text: None,
            launcher: true,
            cookie_banner: true,
            client_in_frame: true,
            passcode: None,
            account_prompt: false,
            tips: false,
            device_warning: false,
            recording_notice: false,
            notes_question: false,
            join_label: None,
            people: Vec::new(),
            drift: Vec::new(),
            trouble: None,
            script: Vec::new(),
        }
    }
}

impl RoomSettings {
    /// What a page may know: not the passcode, and not what is going to happen.
    pub(crate) fn for_page(&self) -> Value {
        let mut shown = json!(self);
        if let Some(fields) = shown.as_object_mut() {
            for hidden in ["passcode", "script", "people"] {
                fields.remove(hidden);
            }
            fields.insert("wants_passcode".to_owned(), json!(self.passcode.is_some()));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_never_learns_the_passcode_that_it_asks_for() {
        let settings = RoomSettings { passcode: Some("sesame-123".to_owned()), ..RoomSettings::default() };
        let shown = settings.for_page().to_string();
        assert!(!shown.contains("sesame") && shown.contains("\"wants_passcode\":true"), "{shown}");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<RoomSettings>(r#"{"lobbby": true}"#).is_err());
    }
}
