//! What a page can say: the closed list that packs map a platform's own words to.

use serde::{Deserialize, Serialize};

/// What the page says when a state's predicates hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// A page before the client offers an app to install; the client is one click away.
    Launcher,
    /// It asks for the guest's name.
    NamePrompt,
    /// It asks about microphone and camera.
    DevicePrompt,
    /// It asks for the call's passcode.
    PasscodePrompt,
    /// It says that the passcode is wrong.
    WrongPasscode,
    /// The button that asks to join is there.
    ReadyToJoin,
    /// A dialog wants consent (recording, transcript, notes) before it goes on.
    ConsentPrompt,
    /// The host has not started the call.
    WaitingForHost,
    /// Somebody has to let the bot in.
    Lobby,
    /// The bot is in the call and its controls are there.
    InCall,
    /// The client has lost its connection and tries to get it back.
    Reconnecting,
    /// The request was refused.
    Denied,
    /// Nobody answered the request.
    RequestTimedOut,
    /// A signed-in account is wanted.
    SignIn,
    /// The call wants a registration.
    Registration,
    /// A captcha is shown.
    Captcha,
    /// The platform refuses this client.
    Blocked,
    /// There is no such call.
    NotFound,
    /// The client could not connect to the call.
    CouldNotConnect,
    /// The host removed the bot.
    Removed,
    /// The call was ended.
    Ended,
    /// The page says that the bot has left.
    Left,
    /// The page says that nobody else is there.
    Alone,
}

impl Meaning {
    /// Every meaning, in the order of a call.
    pub const ALL: [Self; 23] = [
        Self::Launcher,
        Self::NamePrompt,
        Self::DevicePrompt,
        Self::PasscodePrompt,
        Self::WrongPasscode,
        Self::ReadyToJoin,
        Self::ConsentPrompt,
        Self::WaitingForHost,
        Self::Lobby,
        Self::InCall,
        Self::Reconnecting,
        Self::Denied,
        Self::RequestTimedOut,
        Self::SignIn,
        Self::Registration,
        Self::Captcha,
        Self::Blocked,
        Self::NotFound,
        Self::CouldNotConnect,
        Self::Removed,
        Self::Ended,
        Self::Left,
        Self::Alone,
    ];

    /// Its name in a pack.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::NamePrompt => "name_prompt",
            Self::DevicePrompt => "device_prompt",
            Self::PasscodePrompt => "passcode_prompt",
            Self::WrongPasscode => "wrong_passcode",
            Self::ReadyToJoin => "ready_to_join",
            Self::ConsentPrompt => "consent_prompt",
            Self::WaitingForHost => "waiting_for_host",
            Self::Lobby => "lobby",
            Self::InCall => "in_call",
            Self::Reconnecting => "reconnecting",
            Self::Denied => "denied",
            Self::RequestTimedOut => "request_timed_out",
            Self::SignIn => "sign_in",
            Self::Registration => "registration",
            Self::Captcha => "captcha",
            Self::Blocked => "blocked",
            Self::NotFound => "not_found",
            Self::CouldNotConnect => "could_not_connect",
            Self::Removed => "removed",
            Self::Ended => "ended",
            Self::Left => "left",
            Self::Alone => "alone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serde_names() {
        for meaning in Meaning::ALL {
            assert_eq!(serde_json::to_value(meaning).unwrap(), serde_json::json!(meaning.as_str()));
        }
    }
}
