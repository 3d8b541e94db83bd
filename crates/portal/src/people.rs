//! Who was in the call, who spoke when, and what was written, from `timeline.json`.

use crate::shapes::{People, Span};
use crate::zone::{Zone, length};

/// Width of a lane, in its own units.
const WIDTH: f64 = 1_000.0;
/// Participants and messages that a page shows; the file has all.
const MOST: usize = 300;

/// A stretch of a lane.
pub(crate) struct Bar {
    pub(crate) x: String,
    pub(crate) width: String,
}

/// Somebody in the call.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) present: String,
    pub(crate) spoke: String,
    pub(crate) share: String,
    pub(crate) there: Vec<Bar>,
    pub(crate) speaking: Vec<Bar>,
}

/// A message.
pub(crate) struct Message {
    pub(crate) at: String,
    pub(crate) seconds: String,
    pub(crate) author: String,
    pub(crate) text: String,
}

/// What a page shows of them.
pub(crate) struct PeopleView {
    pub(crate) people: Vec<Person>,
    pub(crate) chat: Vec<Message>,
    pub(crate) left_out: usize,
}

/// Everybody, as lanes along the video.
pub(crate) fn people(found: &People, _zone: &Zone) -> PeopleView {
    let whole = found.duration_secs.max(1.0);
    let bar = |from: f64, to: f64| Bar {
        x: format!("{:.1}", (from / whole * WIDTH).clamp(0.0, WIDTH)),
        width: format!("{:.1}", ((to - from) / whole * WIDTH).clamp(2.0, WIDTH)),
    };
    let spoken: f64 = found.participants.iter().map(|one| one.speaking_secs).sum();
    let person = |one: &crate::shapes::Participant| Person {
        name: if one.name.is_empty() { "Without a name".into() } else { one.name.clone() },
        role: match one.role.as_str() {
            "self" => "this bot",
            "bot" => "another bot",
            _ => "",
        },
        present: length(one.present_secs),
        spoke: length(one.speaking_secs),
        share: if spoken > 0.0 { format!("{:.0} %", one.speaking_secs / spoken * 100.0) } else { String::new() },
        there: one.present.iter().map(|Span { from_secs, to_secs }| bar(*from_secs, *to_secs)).collect(),
        speaking: found
            .speaking
            .iter()
            .filter(|span| span.participant == one.id)
            .map(|span| bar(span.from_secs, span.to_secs))
            .collect(),
    };
    let message = |one: &crate::shapes::Chat| Message {
        at: length(one.secs),
        seconds: format!("{:.0}", one.secs),
        author: one.author.clone(),
        text: one.text.clone(),
    };
    PeopleView {
        people: found.participants.iter().take(MOST).map(person).collect(),
        chat: found.chat.iter().take(MOST).map(message).collect(),
        left_out: found.participants.len().saturating_sub(MOST),
    }
}
