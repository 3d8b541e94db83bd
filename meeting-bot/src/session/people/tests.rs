use super::*;

const START: i64 = 1_800_000_000_000;

/// A page that is looked at four times a second.
struct Watched {
    tracker: Tracker,
    millis: u64,
    lines: Vec<Line>,
}

impl Watched {
    fn new() -> Self {
        Self { tracker: Tracker::new("Recorder", &bot_model::other_bots::defaults()), millis: 0, lines: Vec::new() }
    }

    fn moment(&self) -> Moment {
        let at = DateTime::from_timestamp_millis(START + i64::try_from(self.millis).unwrap()).unwrap();
        Moment { since: Duration::from_millis(self.millis), at }
    }

    fn look(&mut self, crowd: &Crowd) {
        let now = self.moment();
        self.lines.extend(self.tracker.look(crowd, now));
        self.millis += 250;
    }

    fn for_secs(&mut self, secs: f64, crowd: &Crowd) -> &mut Self {
        for _ in 0..(secs * 4.0) as u32 {
            self.look(crowd);
        }
        self
    }

    /// Everything told but the beginning: seconds, what, and who.
    fn told(&self) -> Vec<(f64, &'static str, u32)> {
        let told = |line: &Line| {
            let secs = (line.at.timestamp_millis() - START) as f64 / 1_000.0;
            match &line.what {
                Noted::Joined { person, .. } => Some((secs, "joined", *person)),
                Noted::Named { person, .. } => Some((secs, "named", *person)),
                Noted::Left { person } => Some((secs, "left", *person)),
                Noted::Speaking { person } => Some((secs, "speaking", *person)),
                Noted::Silent { person } => Some((secs, "silent", *person)),
                Noted::Chat { .. } => Some((secs, "chat", 0)),
                Noted::Full { .. } => Some((secs, "full", 0)),
                Noted::Began { .. } | Noted::Ended => None,
            }
        };
        self.lines.iter().filter_map(told).collect()
    }
}

fn person(key: &str, name: &str) -> PersonSeen {
    PersonSeen { key: key.into(), name: name.into(), is_self: key == "me" }
}

fn crowd(keys: &[&str]) -> Crowd {
    Crowd { people: Some(keys.iter().map(|key| person(key, &format!("Name {key}"))).collect()), ..Crowd::default() }
}

fn speaking(keys: &[&str], speakers: &[&str]) -> Crowd {
    Crowd { speaking: speakers.iter().map(|key| (*key).to_owned()).collect(), ..crowd(keys) }
}

fn writing(messages: &[(&str, &str)]) -> Crowd {
    let message = |(key, text): &(&str, &str)| ChatSeen { key: (*key).into(), author: "Ann".into(), text: (*text).into() };
    Crowd { chat: messages.iter().map(message).collect(), ..Crowd::default() }
}

#[test]
fn a_tile_that_vanishes_for_a_moment_neither_leaves_nor_joins_again() {
    let mut watched = Watched::new();
    watched.for_secs(5.0, &crowd(&["a", "b"])).for_secs(7.0, &crowd(&["a"])).for_secs(5.0, &crowd(&["a", "b"]));
    assert_eq!(watched.told(), [(0.0, "joined", 1), (0.0, "joined", 2)]);
    assert_eq!(watched.tracker.now().people, 2);
}

#[test]
fn who_is_gone_for_good_left_when_last_seen_and_may_come_back_as_the_same() {
    let mut watched = Watched::new();
    watched.for_secs(5.0, &crowd(&["a", "b"])).for_secs(10.0, &crowd(&["a"])).for_secs(3.0, &crowd(&["a", "b"]));
    assert_eq!(watched.told()[2..], [(4.75, "left", 2), (15.0, "joined", 2)]);
}

#[test]
fn a_roster_that_cannot_be_read_sends_nobody_away() {
    let mut watched = Watched::new();
    watched.for_secs(5.0, &crowd(&["a"])).for_secs(3.0, &crowd(&[])).for_secs(60.0, &Crowd::default());
    watched.for_secs(6.0, &crowd(&[])).for_secs(2.0, &crowd(&["a"]));
    assert_eq!(watched.told(), [(0.0, "joined", 1)]);
}

#[test]
fn a_tile_that_flashes_up_was_never_there() {
    let mut watched = Watched::new();
    watched.for_secs(2.0, &crowd(&["a"])).for_secs(0.5, &crowd(&["a", "x"])).for_secs(2.0, &crowd(&["a"]));
    assert_eq!(watched.told(), [(0.0, "joined", 1)]);
}

#[test]
fn pauses_between_words_do_not_cut_speech_and_a_blink_is_none() {
    let mut watched = Watched::new();
    watched.for_secs(2.0, &crowd(&["a", "b"]));
    watched.for_secs(1.0, &speaking(&["a", "b"], &["a"])).for_secs(1.0, &crowd(&["a", "b"]));
    watched.for_secs(1.0, &speaking(&["a", "b"], &["a"])).for_secs(0.25, &speaking(&["a", "b"], &["b"]));
    watched.for_secs(4.0, &crowd(&["a", "b"]));
    assert_eq!(watched.told()[2..], [(2.0, "speaking", 1), (4.75, "silent", 1)]);
}

#[test]
fn who_leaves_while_speaking_is_silent_first() {
    let mut watched = Watched::new();
    watched.for_secs(3.0, &speaking(&["a"], &["a"])).for_secs(10.0, &speaking(&[], &["a"]));
    assert_eq!(watched.told()[1..], [(0.0, "speaking", 1), (2.75, "silent", 1), (2.75, "left", 1)]);
}

#[test]
fn the_bot_itself_and_other_bots_are_marked() {
    let mut watched = Watched::new();
    let people = vec![
        person("me", "Recorder"),
        person("a", "Ann Botsford"),
        person("b", "Fireflies.ai Notetaker"),
        person("c", "Recorder"),
        person("d", "Sam's Meeting Bot"),
    ];
    watched.for_secs(2.0, &Crowd { people: Some(people), ..Crowd::default() });
    let roles: Vec<Role> = watched.tracker.roster().iter().map(|one| one.role).collect();
    assert_eq!(roles, [Role::Own, Role::Person, Role::Bot, Role::Bot, Role::Bot]);
    assert_eq!((watched.tracker.now().people, watched.tracker.now().bots), (1, 3));
}

#[test]
fn a_message_is_noted_once_however_long_it_is_shown() {
    let mut watched = Watched::new();
    watched.for_secs(3.0, &writing(&[("1", "hi")])).for_secs(3.0, &writing(&[("1", "hi"), ("2", "hi"), ("3", "  ")]));
    assert_eq!(watched.told(), [(0.0, "chat", 0), (3.0, "chat", 0)]);
    assert_eq!(watched.tracker.now().chat_messages, 2);
}

#[test]
fn a_name_that_changes_is_noted_and_one_that_is_missing_for_a_moment_is_kept() {
    let mut watched = Watched::new();
    let named = |name: &str| Crowd { people: Some(vec![person("a", name)]), ..Crowd::default() };
    watched.for_secs(2.0, &named("Ann")).for_secs(1.0, &named("")).for_secs(1.0, &named("Ann \u{202e}B."));
    assert_eq!(watched.told(), [(0.0, "joined", 1), (3.0, "named", 1)]);
    assert_eq!(watched.tracker.roster()[0].name, "Ann B.");
}

#[test]
fn ten_hours_of_five_hundred_people_and_a_hundred_thousand_messages_stay_small() {
    let mut watched = Watched::new();
    let keys: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (all, written) = (crowd(&keys), "x".repeat(200));
    for look in 0..2_000u32 {
        let chat = (look * 50..(look + 1) * 50)
            .map(|number| ChatSeen { key: number.to_string(), author: "A".into(), text: written.clone() })
            .collect();
        watched.look(&Crowd { chat, ..all.clone() });
    }
    assert_eq!(watched.tracker.now().chat_messages, 100_000);
    assert_eq!(watched.tracker.recent.len(), RECENT_MESSAGES);
    assert_eq!(watched.told().iter().filter(|(_, what, _)| *what == "joined").count(), 500);
}

#[test]
fn a_page_that_makes_people_up_without_end_is_cut_off() {
    let mut watched = Watched::new();
    for round in 0..30 {
        let keys: Vec<String> = (0..100).map(|number| format!("{round}-{number}")).collect();
        watched.for_secs(2.0, &crowd(&keys.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    assert_eq!(watched.tracker.people.len(), MOST_PEOPLE);
    assert_eq!(watched.told().iter().filter(|(_, what, _)| *what == "full").count(), 1);
}
