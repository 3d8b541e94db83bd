//! What a pack must fulfil beyond its schema. Every problem is named, so that a pack is corrected in one go.

use std::collections::BTreeSet;

use super::{Fill, Meaning, Pack, Predicate, SCHEMA, Step, StepPhase};

/// Every problem of a pack.
pub(super) fn problems(pack: &Pack) -> Vec<String> {
    let mut problems = Vec::new();
    if pack.schema != SCHEMA {
        problems.push(format!("schema is {}, this build reads {SCHEMA}", pack.schema));
    }
    if pack.platform.is_empty() || !pack.platform.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        problems.push(format!("platform is {:?}: write meet, teams, zoom, or a name of OTHER_PLATFORMS", pack.platform));
    }
    if pack.hosts.is_empty() {
        problems.push("hosts is empty: name the page's host".to_owned());
    }
    let is_host = |host: &String| !host.is_empty() && !host.contains(['/', ':', '*']);
    for host in pack.hosts.iter().filter(|host| !is_host(host)) {
        problems.push(format!(
            "host {host:?}: write a host's name, such as \"meet.example.com\"; \".example.com\" stands for every name below it"
        ));
    }
    states(pack, &mut problems);
    steps(pack, &mut problems);
    counts(pack, &mut problems);
    people(pack, &mut problems);
    problems
}

fn states(pack: &Pack, problems: &mut Vec<String>) {
    for state in &pack.state {
        let means = state.means.as_str();
        if state.any.is_empty() && state.all.is_empty() {
            problems.push(format!("state {means}: needs a predicate in any or all, or it would always hold"));
        }
        for predicate in state.any.iter().chain(&state.all).chain(&state.none) {
            if let Some(problem) = predicate_problem(predicate) {
                problems.push(format!("state {means}: {problem}"));
            }
        }
    }
    for needed in [Meaning::InCall, Meaning::Ended] {
        if !pack.state.iter().any(|state| state.means == needed) {
            let name = needed.as_str();
            problems.push(format!("no state means {name}: the bot could not tell that it is in the call or that it is over"));
        }
    }
}

fn predicate_problem(predicate: &Predicate) -> Option<String> {
    let Predicate { visible, text, within, button, host_differs, title, at_least } = predicate;
    let kinds = [visible.is_some(), text.is_some(), button.is_some(), host_differs.is_some(), title.is_some()];
    if kinds.iter().filter(|set| **set).count() != 1 {
        return Some("a predicate sets exactly one of visible, text, button, title, host_differs".to_owned());
    }
    if within.is_some() && text.is_none() {
        return Some("within belongs to text".to_owned());
    }
    if at_least.is_some() && visible.is_none() {
        return Some("at_least belongs to visible".to_owned());
    }
    if visible.as_ref().or(within.as_ref()).is_some_and(|selector| selector.trim().is_empty()) {
        return Some("an empty selector finds nothing".to_owned());
    }
    [text, button, title].into_iter().flatten().find_map(|texts| texts_problem(texts))
}

fn texts_problem(texts: &[String]) -> Option<String> {
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Some("an empty text would match every page".to_owned());
    }
    texts.iter().any(|text| text.contains('\u{2019}')).then(|| "write ' for the typographic apostrophe".to_owned())
}

fn steps(pack: &Pack, problems: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for step in &pack.step {
        if !names.insert(&step.name) {
            problems.push(format!("step {:?} stands twice", step.name));
        }
        problems.extend(step_problems(step).into_iter().map(|problem| format!("step {:?}: {problem}", step.name)));
    }
    if !pack.step.iter().any(|step| step.asks_to_join) {
        problems.push("no step has asks_to_join".to_owned());
    }
    if !pack.step.iter().any(|step| step.phase == StepPhase::Leaving) {
        problems.push("no step leaves (phase = \"leaving\")".to_owned());
    }
}

fn step_problems(step: &Step) -> Vec<&'static str> {
    let is_greeting = step.for_greeting && step.phase == StepPhase::InCall;
    let checks = [
        (step.target.selector.trim().is_empty(), "selector is empty"),
        (step.target.text.iter().any(|text| text.trim().is_empty()), "an empty text fits no element"),
        (step.fill == Some(Fill::Greeting) && !is_greeting, "fill = \"greeting\" needs for_greeting = true and phase in_call"),
        (
            matches!(step.fill, Some(Fill::DisplayName | Fill::Passcode))
                && matches!(step.phase, StepPhase::InCall | StepPhase::Leaving),
            "a name or a passcode is written before the call",
        ),
        (
            step.asks_to_join && (step.phase != StepPhase::Joining || step.fill.is_some()),
            "asks_to_join is for clicks in phase joining",
        ),
    ];
    checks.into_iter().filter(|(bad, _)| *bad).map(|(_, problem)| problem).collect()
}

fn counts(pack: &Pack, problems: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for count in &pack.count {
        if !names.insert(&count.name) {
            problems.push(format!("count {:?} stands twice", count.name));
        }
        if count.selector.trim().is_empty() {
            problems.push(format!("count {:?}: selector is empty", count.name));
        }
        if count.number_in.is_some() && count.distinct.is_some() {
            problems.push(format!("count {:?}: number_in and distinct exclude each other", count.name));
        }
    }
}

fn people(pack: &Pack, problems: &mut Vec<String>) {
    if let Some(roster) = &pack.roster {
        if roster.rows.trim().is_empty() || roster.name.is_empty() {
            problems.push("roster: needs rows and a place where the name stands".to_owned());
        }
        if roster.own.is_none() && roster.own_text.is_empty() {
            problems.push("roster: needs own or own_text, or the bot would take itself for a participant".to_owned());
        }
    }
    if let Some(speaking) = &pack.speaking
        && (speaking.marks.trim().is_empty() || (pack.roster.is_none() && speaking.name.is_empty()))
    {
        problems.push("speaking: needs marks, and a roster or a place where the name stands".to_owned());
    }
    if let Some(chat) = &pack.chat {
        if chat.messages.trim().is_empty() || chat.author.is_empty() || chat.text.is_empty() {
            problems.push("chat: needs messages and places where author and text stand".to_owned());
        }
        if pack.user_content.is_empty() {
            problems.push(
                "user_content is empty: name where people's own words stand, or a chat message could pass for a state".to_owned(),
            );
        }
    }
}
