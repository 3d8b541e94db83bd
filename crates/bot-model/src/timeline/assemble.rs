//! From the lines of several journals to one timeline.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{ChatMessage, Clock, Participant, SpeakingSpan, TIMELINE_VERSION, Timeline, thousandths};
use crate::ids::InstanceId;
use crate::manifest::ManifestPart;
use crate::people::{Kind, Line, Noted, Role};

/// The journal of one run, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOf {
    /// The attempt.
    pub attempt: u32,
    /// The run.
    pub run: String,
    /// Its lines. What is no line (a torn end, a lost piece) is passed over.
    pub text: String,
}

/// Puts a timeline together, journal by journal.
#[derive(Debug)]
pub struct Assembly<'a> {
    clock: Clock<'a>,
    people: Vec<Known>,
    /// Who of `people` the session's numbers are.
    session: HashMap<u32, usize>,
    speaking: Vec<SpeakingSpan>,
    chat: Vec<ChatMessage>,
    said: HashSet<String>,
    incomplete: BTreeSet<Kind>,
    /// The latest time of the session that is being read.
    last_at: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Known {
    participant: Participant,
    keys: BTreeSet<String>,
    there_since: Option<DateTime<Utc>>,
    speaks_since: Option<DateTime<Utc>>,
}

impl<'a> Assembly<'a> {
    /// For a recording of these parts, in the order of the video.
    pub fn new(parts: &'a [ManifestPart]) -> Self {
        Self {
            clock: Clock { parts },
            people: Vec::new(),
            session: HashMap::new(),
            speaking: Vec::new(),
            chat: Vec::new(),
            said: HashSet::new(),
            incomplete: BTreeSet::new(),
            last_at: None,
        }
    }

    /// Reads a journal; journals come in the order of the attempts. What a session left open, because it was killed, ends with
    /// the last that it recorded.
    pub fn read(&mut self, journal: &JournalOf) {
        for line in journal.text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
            if let Noted::Began { .. } = line.what {
                self.close(self.end_of_killed(journal, Some(line.at)));
                self.last_at = Some(line.at);
            }
            // A clock that was set back must not turn a span around.
            let at = self.last_at.map_or(line.at, |last| last.max(line.at));
            self.last_at = Some(at);
            self.note(at, line.what);
        }
        self.close(self.end_of_killed(journal, None));
    }

    /// The timeline of everything that was read.
    pub fn finish(self, bot_instance_id: InstanceId) -> Timeline {
        let parts = self.clock.parts;
        let mut speaking = self.speaking;
        speaking.sort_by_key(|one| (one.span.from, one.participant));
        let mut chat = self.chat;
        let mut by_name: HashMap<&str, Option<u32>> = HashMap::new();
        for known in &self.people {
            let one = &known.participant;
            by_name.entry(&one.name).and_modify(|id| *id = None).or_insert(Some(one.id));
        }
        for message in &mut chat {
            message.participant = by_name.get(message.author.as_str()).copied().flatten();
        }
        Timeline {
            schema_version: TIMELINE_VERSION,
            bot_instance_id,
            started_at: parts.first().map_or(DateTime::UNIX_EPOCH, |part| part.started_at),
            duration_secs: thousandths(parts.last().map_or(0.0, |part| part.offset_secs + part.duration_secs)),
            participants: self.people.into_iter().map(|known| known.participant).collect(),
            speaking,
            chat,
            incomplete: self.incomplete.into_iter().collect(),
        }
    }

    fn note(&mut self, at: DateTime<Utc>, what: Noted) {
        match what {
            Noted::Began { .. } => {}
            Noted::Joined { person, key, name, role } => self.joined(at, person, (key, name), role),
            Noted::Named { person, name } => {
                if let Some(known) = self.person(person) {
                    known.participant.name = name;
                }
            }
            Noted::Left { person } => {
                if let Some(index) = self.session.get(&person).copied() {
                    self.part_with(index, at);
                }
            }
            Noted::Speaking { person } => {
                if let Some(known) = self.person(person) {
                    known.speaks_since.get_or_insert(at);
                }
            }
            Noted::Silent { person } => {
                if let Some(index) = self.session.get(&person).copied() {
                    self.silence(index, at);
                }
            }
            Noted::Chat { key, author, text, cut } => {
                if self.said.insert(key) {
                    self.chat.push(ChatMessage { at, secs: self.clock.secs(at), author, participant: None, text, cut });
                }
            }
            Noted::Full { of } => drop(self.incomplete.insert(of)),
            Noted::Ended => self.close(at),
        }
    }

    fn joined(&mut self, at: DateTime<Utc>, person: u32, (key, name): (String, String), role: Role) {
        let index = self.session.get(&person).copied().or_else(|| self.again(&key, &name, role)).unwrap_or_else(|| {
            let id = u32::try_from(self.people.len() + 1).unwrap_or(u32::MAX);
            let participant =
                Participant { id, name: name.clone(), role, present: Vec::new(), present_secs: 0.0, speaking_secs: 0.0 };
            self.people.push(Known { participant, keys: BTreeSet::new(), there_since: None, speaks_since: None });
            self.people.len() - 1
        });
        self.session.insert(person, index);
        if let Some(known) = self.people.get_mut(index) {
            known.keys.insert(key);
            if !name.is_empty() {
                known.participant.name = name;
            }
            known.there_since.get_or_insert(at);
        }
    }

    /// Somebody of an earlier session, or who had left: by the platform's key, else by the name.
    fn again(&self, key: &str, name: &str, role: Role) -> Option<usize> {
        let is_free = |known: &Known| known.there_since.is_none() && known.participant.role == role;
        let same_name = |known: &Known| !name.is_empty() && known.participant.name == name;
        let by_key = self.people.iter().position(|known| is_free(known) && known.keys.contains(key) && same_name(known));
        let is_own = |known: &Known| role == Role::Own && is_free(known);
        by_key.or_else(|| self.people.iter().position(|known| (is_free(known) && same_name(known)) || is_own(known)))
    }

    fn person(&mut self, person: u32) -> Option<&mut Known> {
        self.people.get_mut(*self.session.get(&person)?)
    }

    fn part_with(&mut self, index: usize, at: DateTime<Utc>) {
        self.silence(index, at);
        let clock = self.clock;
        if let Some(known) = self.people.get_mut(index)
            && let Some(since) = known.there_since.take()
        {
            let span = clock.span(since, at);
            let secs = known.participant.present_secs + (span.to - span.from).as_seconds_f64();
            known.participant.present_secs = thousandths(secs);
            known.participant.present.push(span);
        }
    }

    fn silence(&mut self, index: usize, at: DateTime<Utc>) {
        let clock = self.clock;
        if let Some(known) = self.people.get_mut(index)
            && let Some(since) = known.speaks_since.take()
        {
            let span = clock.span(since, at);
            let secs = known.participant.speaking_secs + (span.to - span.from).as_seconds_f64();
            known.participant.speaking_secs = thousandths(secs);
            self.speaking.push(SpeakingSpan { participant: known.participant.id, span });
        }
    }

    /// The end of a session that said none: the last of its lines, or of the parts that it recorded.
    fn end_of_killed(&self, journal: &JournalOf, next: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let last = self.last_at.unwrap_or(DateTime::UNIX_EPOCH);
        let own = self.clock.parts.iter().filter(|part| part.attempt == journal.attempt && part.run == journal.run);
        let before = own.filter(|part| next.is_none_or(|next| part.started_at < next));
        let ends = before.map(|part| part.started_at + chrono::Duration::milliseconds((part.duration_secs * 1_000.0) as i64));
        let end = ends.max().map_or(last, |end| end.max(last));
        next.map_or(end, |next| end.min(next).max(last.min(next)))
    }

    /// The session is over for everybody.
    fn close(&mut self, at: DateTime<Utc>) {
        for index in 0..self.people.len() {
            self.part_with(index, at);
        }
        self.session.clear();
        self.last_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::key_of;

    fn at(secs: f64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + (secs * 1_000.0) as i64).unwrap()
    }

    fn part(attempt: u32, part: u32, from: f64, to: f64, offset_secs: f64) -> ManifestPart {
        let (run, started_at) = (format!("r{attempt}"), at(from));
        ManifestPart { attempt, run, part, started_at, offset_secs, duration_secs: to - from, segments: 1 }
    }

    fn journal(attempt: u32, lines: &[(f64, Noted)]) -> JournalOf {
        let line =
            |(secs, what): &(f64, Noted)| serde_json::to_string(&Line { at: at(*secs), what: what.clone() }).unwrap() + "\n";
        JournalOf { attempt, run: format!("r{attempt}"), text: lines.iter().map(line).collect() }
    }

    fn began() -> Noted {
        Noted::Began { version: 1 }
    }

    fn joined(person: u32, name: &str) -> Noted {
        Noted::Joined { person, key: key_of(&format!("{person}{name}")), name: name.into(), role: Role::Person }
    }

    fn chat(key: &str, text: &str) -> Noted {
        Noted::Chat { key: key.into(), author: "Ann".into(), text: text.into(), cut: false }
    }

    fn assembled(parts: &[ManifestPart], journals: &[JournalOf]) -> Timeline {
        let mut assembly = Assembly::new(parts);
        for journal in journals {
            assembly.read(journal);
        }
        assembly.finish(InstanceId::parse("b1").unwrap())
    }

    #[test]
    fn a_call_has_its_people_their_speech_and_the_chat_in_seconds_of_the_video() {
        let lines = [
            (-1.0, began()),
            (-0.5, joined(1, "Ann")),
            (4.0, joined(2, "Bo")),
            (5.0, Noted::Speaking { person: 2 }),
            (7.5, Noted::Silent { person: 2 }),
            (8.0, chat("c1", "hello")),
            (8.1, chat("c1", "hello")),
            (9.0, Noted::Left { person: 2 }),
            (10.0, Noted::Ended),
        ];
        let timeline = assembled(&[part(1, 0, 0.0, 10.0, 0.0)], &[journal(1, &lines)]);
        let [ann, bo] = timeline.participants.as_slice() else { panic!("{timeline:?}") };
        assert_eq!((ann.name.as_str(), ann.present[0].from_secs, ann.present[0].to_secs), ("Ann", 0.0, 10.0));
        assert_eq!(ann.present_secs, 10.5, "there before the first frame");
        assert_eq!((bo.present_secs, bo.speaking_secs), (5.0, 2.5));
        assert_eq!((timeline.speaking[0].participant, timeline.speaking[0].span.from_secs), (2, 5.0));
        assert_eq!(timeline.chat.len(), 1, "a message that was seen twice is one");
        assert_eq!((timeline.chat[0].participant, timeline.chat[0].secs), (Some(1), 8.0));
        let summary = timeline.summary("timeline.json", "00000000");
        assert_eq!((summary.participant_count, summary.speaker_count, summary.chat_messages), (2, 1, 1));
    }

    #[test]
    fn after_a_kill_another_attempt_goes_on_with_the_same_people_and_the_gap_is_left_out() {
        let parts = [part(1, 0, 0.0, 10.0, 0.0), part(2, 0, 60.0, 80.0, 10.0)];
        let first = [(0.0, began()), (0.0, joined(1, "Ann")), (2.0, joined(2, "Bo")), (8.0, Noted::Speaking { person: 2 })];
        let second =
            [(60.0, began()), (60.0, joined(1, "Bo")), (61.0, joined(2, "Ann")), (70.0, chat("x", "y")), (80.0, Noted::Ended)];
        let timeline = assembled(&parts, &[journal(1, &first), journal(2, &second)]);
        assert_eq!(timeline.participants.len(), 2, "{timeline:?}");
        let bo = &timeline.participants[1];
        assert_eq!(bo.name, "Bo");
        let spans: Vec<_> = bo.present.iter().map(|span| (span.from_secs, span.to_secs)).collect();
        assert_eq!(spans, [(2.0, 10.0), (10.0, 30.0)], "what the killed session left open ends with its last frame");
        assert_eq!((bo.present_secs, bo.speaking_secs), (28.0, 2.0));
        assert_eq!(timeline.chat[0].secs, 20.0);
        assert_eq!(timeline.duration_secs, 30.0);
    }

    #[test]
    fn two_people_of_one_name_stay_two_and_who_comes_back_is_one() {
        let lines = [
            (0.0, began()),
            (0.0, joined(1, "Ann")),
            (1.0, joined(2, "Ann")),
            (2.0, Noted::Left { person: 2 }),
            (3.0, joined(3, "Ann")),
            (5.0, Noted::Ended),
        ];
        let timeline = assembled(&[part(1, 0, 0.0, 5.0, 0.0)], &[journal(1, &lines)]);
        assert_eq!(timeline.participants.len(), 2);
        assert_eq!(timeline.participants[1].present.len(), 2);
        assert_eq!(timeline.participants[0].present.len(), 1);
    }

    #[test]
    fn a_rejoined_session_in_one_journal_closes_what_the_broken_one_left_open() {
        let parts = [part(1, 0, 0.0, 10.0, 0.0), part(1, 1, 20.0, 30.0, 10.0)];
        let lines = [(0.0, began()), (0.0, joined(1, "Ann")), (19.0, began()), (19.5, joined(1, "Ann")), (30.0, Noted::Ended)];
        let timeline = assembled(&parts, &[journal(1, &lines)]);
        let [ann] = timeline.participants.as_slice() else { panic!("{timeline:?}") };
        assert_eq!(
            ann.present.iter().map(|span| (span.from, span.to)).collect::<Vec<_>>(),
            [(at(0.0), at(10.0)), (at(19.5), at(30.0))]
        );
    }

    #[test]
    fn torn_lines_lost_pieces_and_a_clock_that_went_back_harm_nothing() {
        let mut torn = journal(
            1,
            &[(0.0, began()), (5.0, joined(1, "Ann")), (4.0, Noted::Left { person: 1 }), (4.0, Noted::Left { person: 9 })],
        );
        torn.text.push_str("{\"at\":\"2027-01-15T08:00:00Z\",\"eve");
        let timeline = assembled(&[part(1, 0, 0.0, 10.0, 0.0)], &[torn]);
        assert_eq!(timeline.participants[0].present_secs, 0.0);
        assert!(assembled(&[], &[]).participants.is_empty());
    }
}
