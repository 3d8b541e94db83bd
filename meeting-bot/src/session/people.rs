//! Who is in the call and who speaks, made of looks at the page: pure, time enters as an argument.
//!
//! A page flickers: a tile vanishes while the grid is laid out anew, a speaking mark blinks between two words. So somebody has left
//! only after [`GONE_AFTER`] of looks that could have shown them, and has stopped speaking after [`SILENT_AFTER`]; both are dated back
//! to when they were seen last. Everything is bounded, whatever the page shows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bot_model::other_bots::is_other_bot;
use bot_model::people::{JOURNAL_VERSION, Kind, Line, Noted, Role, clean_name, clean_text, key_of};
use bot_model::session::{PeopleNow, PersonNow};
use chrono::{DateTime, Utc};

use crate::platform::probe::{ChatSeen, PersonSeen};

/// A tile that shows for a shorter time is a flash.
const JOINED_AFTER: Duration = Duration::from_millis(600);
/// Not seen for this long, while the roster could be read: left.
const GONE_AFTER: Duration = Duration::from_secs(8);
/// Heard for this long: speaks.
const SPEAKS_AFTER: Duration = Duration::from_millis(200);
/// A mark that blinked once and did not come again within this time was no speech.
const BLINK: Duration = Duration::from_millis(700);
/// Not heard for this long: silent.
const SILENT_AFTER: Duration = Duration::from_millis(1_500);
/// Different participants that are told apart; more are not noted.
const MOST_PEOPLE: usize = 2_000;
/// Messages that are noted.
const MOST_MESSAGES: usize = 200_000;
/// What the platforms' English clients call whoever wrote it.
const OWN_AUTHOR: &str = "You";
/// Messages taken from one look; the others come with the next.
const MESSAGES_A_LOOK: usize = 500;
/// Latest messages kept, so that a debug bundle leaves them out.
const RECENT_MESSAGES: usize = 300;
/// Participants told of at `GET /v1/session/people`.
const MOST_TOLD: usize = 500;
/// Speakers told of in the session's state.
const SPEAKERS_TOLD: usize = 8;

/// One look's people, as the engine passes them on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Crowd {
    /// As in [`crate::platform::probe::Seen`].
    pub people: Option<Vec<PersonSeen>>,
    /// As there.
    pub speaking: BTreeSet<String>,
    /// As there.
    pub chat: Vec<ChatSeen>,
}

/// An instant on two clocks: one that only goes forward to decide by, one to be written down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Since the session's start.
    pub since: Duration,
    /// The wall clock.
    pub at: DateTime<Utc>,
}

impl Moment {
    fn after(self, earlier: Self) -> Duration {
        self.since.saturating_sub(earlier.since)
    }
}

/// Follows the people of one stay in a call.
#[derive(Debug, Default)]
pub struct Tracker {
    own_name: String,
    other_bots: Vec<String>,
    began: bool,
    people: HashMap<String, Tracked>,
    said: HashSet<u64>,
    recent: VecDeque<(String, String)>,
    messages: u64,
    full: BTreeSet<Kind>,
}

#[derive(Debug)]
struct Tracked {
    person: u32,
    name: String,
    role: Role,
    stay: Stay,
    absent_since: Option<Moment>,
    heard: Option<Heard>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stay {
    Coming { first: Moment },
    There { last: Moment },
    Gone,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    first: Moment,
    last: Moment,
    is_told: bool,
}

impl Tracker {
    /// For a bot of this display name; the patterns are other bots' ([`bot_model::other_bots`]).
    pub fn new(own_name: &str, other_bots: &[String]) -> Self {
        Self { own_name: clean_name(own_name), other_bots: other_bots.to_vec(), ..Self::default() }
    }

    /// What a look tells that was not known before, in order.
    pub fn look(&mut self, crowd: &Crowd, now: Moment) -> Vec<Line> {
        let mut lines = Vec::new();
        if !std::mem::replace(&mut self.began, true) {
            lines.push(line(now, Noted::Began { version: JOURNAL_VERSION }));
        }
        match &crowd.people {
            Some(people) => self.look_at_roster(people, now, &mut lines),
            // Nobody can be missed in a roster that is not there.
            None => self.people.values_mut().for_each(|tracked| tracked.absent_since = None),
        }
        self.listen(&crowd.speaking, now, &mut lines);
        self.read_chat(&crowd.chat, now, &mut lines);
        lines
    }

    /// The stay is over; empty where it never began.
    pub fn end(&mut self, now: Moment) -> Vec<Line> {
        if std::mem::take(&mut self.began) { vec![line(now, Noted::Ended)] } else { Vec::new() }
    }

    /// Who is there, by numbers.
    pub fn now(&self) -> PeopleNow {
        let count = |role| u32::try_from(self.there().filter(|tracked| tracked.role == role).count()).unwrap_or(u32::MAX);
        let mut speaking: Vec<u32> = self.there().filter(|tracked| tracked.speaks()).map(|tracked| tracked.person).collect();
        speaking.sort_unstable();
        speaking.truncate(SPEAKERS_TOLD);
        PeopleNow { people: count(Role::Person), bots: count(Role::Bot), speaking, chat_messages: self.messages }
    }

    /// Who is there, by name.
    pub fn roster(&self) -> Vec<PersonNow> {
        let told =
            |one: &Tracked| PersonNow { person: one.person, name: one.name.clone(), role: one.role, is_speaking: one.speaks() };
        let mut roster: Vec<PersonNow> = self.there().map(told).collect();
        roster.sort_unstable_by_key(|one| one.person);
        roster.truncate(MOST_TOLD);
        roster
    }

    /// Names and messages that must not be in what is written down for others.
    pub fn private(&self) -> (Vec<String>, Vec<String>) {
        let authors = self.recent.iter().map(|(author, _)| author.clone());
        let names = self.people.values().map(|tracked| tracked.name.clone()).chain(authors);
        let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).collect();
        (names.into_iter().collect(), self.recent.iter().map(|(_, text)| text.clone()).collect())
    }

    fn there(&self) -> impl Iterator<Item = &Tracked> {
        self.people.values().filter(|tracked| matches!(tracked.stay, Stay::There { .. }))
    }

    fn look_at_roster(&mut self, people: &[PersonSeen], now: Moment, lines: &mut Vec<Line>) {
        let mut seen = HashSet::new();
        for one in people {
            // A key that stands twice is one participant in two places of the page.
            if !seen.insert(one.key.as_str()) {
                continue;
            }
            let name = clean_name(&one.name);
            if !self.people.contains_key(&one.key) {
                if self.people.len() >= MOST_PEOPLE {
                    self.is_full(Kind::Participants, now, lines);
                    continue;
                }
                let person = u32::try_from(self.people.len() + 1).unwrap_or(u32::MAX);
                let role = self.role(one.is_self, &name);
                let stay = Stay::Coming { first: now };
                let tracked = Tracked { person, name: name.clone(), role, stay, absent_since: None, heard: None };
                self.people.insert(one.key.clone(), tracked);
            }
            if let Some(tracked) = self.people.get_mut(&one.key) {
                tracked.is_seen(&one.key, name, now, lines);
            }
        }
        let mut missed: Vec<&mut Tracked> =
            self.people.iter_mut().filter(|(key, _)| !seen.contains(key.as_str())).map(|(_, tracked)| tracked).collect();
        missed.sort_unstable_by_key(|tracked| tracked.person);
        missed.into_iter().for_each(|tracked| tracked.is_missed(now, lines));
    }

    fn role(&self, is_self: bool, name: &str) -> Role {
        match is_self {
            true => Role::Own,
            // Another of ours is in the call.
            false if is_other_bot(name, &self.other_bots) || name == self.own_name => Role::Bot,
            false => Role::Person,
        }
    }

    fn listen(&mut self, speaking: &BTreeSet<String>, now: Moment, lines: &mut Vec<Line>) {
        let mut by_number = BTreeMap::new();
        for (key, tracked) in &mut self.people {
            let is_heard = speaking.contains(key);
            if is_heard || tracked.heard.is_some() {
                by_number.insert(tracked.person, (tracked, is_heard));
            }
        }
        for (tracked, is_heard) in by_number.into_values() {
            tracked.listen(is_heard, now, lines);
        }
    }

    fn read_chat(&mut self, chat: &[ChatSeen], now: Moment, lines: &mut Vec<Line>) {
        let mut taken = 0;
        for message in chat {
            let hash = hash_of(&message.key);
            if self.said.contains(&hash) {
                continue;
            }
            if self.said.len() >= MOST_MESSAGES {
                return self.is_full(Kind::Chat, now, lines);
            }
            if taken >= MESSAGES_A_LOOK {
                return;
            }
            taken += 1;
            self.said.insert(hash);
            let (text, cut) = clean_text(&message.text);
            if text.is_empty() {
                continue;
            }
            let author = clean_name(&message.author);
            let author = if author == OWN_AUTHOR { self.own_name.clone() } else { author };
            self.messages += 1;
            self.recent.push_back((author.clone(), text.clone()));
            if self.recent.len() > RECENT_MESSAGES {
                self.recent.pop_front();
            }
            lines.push(line(now, Noted::Chat { key: key_of(&message.key), author, text, cut }));
        }
    }

    fn is_full(&mut self, of: Kind, now: Moment, lines: &mut Vec<Line>) {
        if self.full.insert(of) {
            lines.push(line(now, Noted::Full { of }));
        }
    }
}

impl Tracked {
    fn speaks(&self) -> bool {
        self.heard.is_some_and(|heard| heard.is_told)
    }

    fn is_seen(&mut self, key: &str, name: String, now: Moment, lines: &mut Vec<Line>) {
        self.absent_since = None;
        match self.stay {
            Stay::Gone => self.stay = Stay::Coming { first: now },
            Stay::There { .. } => self.stay = Stay::There { last: now },
            Stay::Coming { first } if now.after(first) >= JOINED_AFTER => {
                self.stay = Stay::There { last: now };
                self.name.clone_from(&name);
                let joined = Noted::Joined { person: self.person, key: key_of(key), name: name.clone(), role: self.role };
                lines.push(line(first, joined));
            }
            Stay::Coming { .. } => {}
        }
        // A page that shows no name for a moment takes nobody's name away.
        if !name.is_empty() && name != self.name {
            self.name = name;
            if matches!(self.stay, Stay::There { .. }) {
                lines.push(line(now, Noted::Named { person: self.person, name: self.name.clone() }));
            }
        }
    }

    fn is_missed(&mut self, now: Moment, lines: &mut Vec<Line>) {
        match self.stay {
            Stay::Gone => {}
            Stay::Coming { .. } => self.stay = Stay::Gone,
            Stay::There { last } => {
                let since = *self.absent_since.get_or_insert(now);
                if now.after(since) < GONE_AFTER {
                    return;
                }
                if let Some(heard) = self.heard.take().filter(|heard| heard.is_told) {
                    let until = if heard.last.since < last.since { heard.last } else { last };
                    lines.push(line(until, Noted::Silent { person: self.person }));
                }
                lines.push(line(last, Noted::Left { person: self.person }));
                (self.stay, self.absent_since) = (Stay::Gone, None);
            }
        }
    }

    fn listen(&mut self, is_heard: bool, now: Moment, lines: &mut Vec<Line>) {
        let person = self.person;
        let Some(heard) = &mut self.heard else {
            self.heard = is_heard.then_some(Heard { first: now, last: now, is_told: false });
            return;
        };
        if is_heard {
            heard.last = now;
            let is_there = matches!(self.stay, Stay::There { .. });
            if !heard.is_told && is_there && now.after(heard.first) >= SPEAKS_AFTER {
                heard.is_told = true;
                lines.push(line(heard.first, Noted::Speaking { person }));
            }
            return;
        }
        let quiet = now.after(heard.last);
        if heard.is_told && quiet >= SILENT_AFTER {
            lines.push(line(heard.last, Noted::Silent { person }));
            self.heard = None;
        } else if !heard.is_told && quiet >= BLINK {
            self.heard = None;
        }
    }
}

fn line(when: Moment, what: Noted) -> Line {
    Line { at: when.at, what }
}

fn hash_of(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
