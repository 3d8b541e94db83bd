//! Where a platform's page shows who is there, who speaks, and what is written in the chat.

use serde::{Deserialize, Serialize};

/// Where a text stands: in an attribute or as visible text, of an element or of the first one inside it that `selector` finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// The element inside; without it, the element itself.
    pub selector: Option<String>,
    /// The attribute; without it, the visible text.
    pub attribute: Option<String>,
}

/// Who is in the call: one row or tile a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// The rows or tiles; visible ones count. Several of one key are one person.
    pub rows: String,
    /// Where the platform's own id of the person stands; the first that is not empty counts. Without any, the name is the key,
    /// and two people of one name are one.
    #[serde(default)]
    pub key: Vec<Read>,
    /// Where the name stands; the first that is not empty counts.
    pub name: Vec<Read>,
    /// A row that fits or holds this is the bot's own.
    #[serde(default)]
    pub own: Option<String>,
    /// A row that shows one of these texts is the bot's own; the texts are cut from names.
    #[serde(default)]
    pub own_text: Vec<String>,
    /// Rows whose label or text holds one of these are nobody.
    #[serde(default)]
    pub except_text: Vec<String>,
    /// Cut from names, such as "(Guest)".
    #[serde(default)]
    pub cut: Vec<String>,
}

/// Who speaks now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speaking {
    /// Visible elements that are there while somebody speaks; each stands in (or is) a row of the roster, or names the speaker.
    pub marks: String,
    /// Where the speaker's name stands, for marks outside of rows; looked up in the roster.
    #[serde(default)]
    pub name: Vec<Read>,
}

/// The chat, as far as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// One element a message.
    pub messages: String,
    /// Where the platform's own id of the message stands. Without any, author, text and how often they were shown before are the key.
    #[serde(default)]
    pub key: Vec<Read>,
    /// Where the author stands; a message without one is the author's of the message before.
    pub author: Vec<Read>,
    /// Where the words stand.
    pub text: Vec<Read>,
}
