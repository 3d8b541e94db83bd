//! The life of objects as sequences of states, read from a recorded timeline and from the stub's watch.

use std::collections::BTreeMap;

use serde_json::Value;

use super::recording::{folder, json_lines};

/// The states of each object in their order; pods by `job/number`.
pub(crate) type Lives = BTreeMap<String, Vec<String>>;

/// The recorded lives of a scenario.
pub(crate) fn recorded(scenario: &str) -> Lives {
    let text = std::fs::read_to_string(folder(scenario).join("timeline.txt")).unwrap();
    let mut lives = Collected::default();
    for line in text.lines().filter(|line| line.len() > 10) {
        // 07:18.210 ADDED    job ok-1: ...
        let (head, rest) = line.split_once(": ").or_else(|| line.split_once(':').map(|_| (line, ""))).unwrap();
        let head: Vec<_> = head.split_whitespace().collect();
        let [_, kind, what, name] = head.as_slice() else { panic!("{line}") };
        let state = if *what == "job" { job_state(rest) } else { pod_state(rest) };
        lives.add(kind, what, name.trim_end_matches(':'), &state);
    }
    lives.lives
}

/// The lives in a replay, from watch events of Jobs and pods.
pub(crate) fn replayed(jobs: &[Value], pods: &[Value]) -> Lives {
    let mut lives = Collected::default();
    for (events, what) in [(jobs, "job"), (pods, "pod")] {
        for event in events {
            let object = &event["object"];
            let line = if what == "job" { job_line(object) } else { pod_line(object) };
            let state = if what == "job" { job_state(&line) } else { pod_state(&line) };
            let name = object["metadata"]["name"].as_str().unwrap();
            lives.add(event["type"].as_str().unwrap(), what, name, &state);
        }
    }
    lives.lives
}

/// The recorded conditions of the pods whose watch was kept; of the others the timeline has to do.
pub(crate) fn recorded_conditions(scenario: &str) -> Lives {
    if folder(scenario).join("pods.watch.jsonl").exists() {
        // The watch also saw the recorder clean up; the timeline says when the story was over.
        let text = std::fs::read_to_string(folder(scenario).join("timeline.txt")).unwrap();
        let end = text.lines().last().unwrap().split(' ').next().unwrap().to_owned();
        let mut events = json_lines(scenario, "pods.watch.jsonl");
        events.retain(|event| event["t"].as_str().unwrap()[14..23] <= *end);
        replayed_conditions(&events)
    } else {
        Lives::new()
    }
}

/// The lives of pods with all their conditions.
pub(crate) fn replayed_conditions(pods: &[Value]) -> Lives {
    let mut lives = Collected::default();
    for event in pods.iter().filter(|event| event["type"] != "BOOKMARK") {
        let pod = &event["object"];
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten().map(|found| {
            let message = found["message"].as_str().unwrap_or_default();
            // The scheduler's and the runtime's own words are theirs.
            let is_kubelet = message.starts_with("containers with");
            format!("{} {}", condition(found), if is_kubelet { message } else { "" })
        });
        let state = format!("{} | {}", pod_state(&pod_line(pod)), conditions.collect::<Vec<_>>().join("; "));
        let name = pod["metadata"]["name"].as_str().unwrap();
        lives.add(event["type"].as_str().unwrap(), "pod", name, &state);
    }
    lives.lives
}

#[derive(Default)]
struct Collected {
    lives: Lives,
    numbers: BTreeMap<String, String>,
    pods: BTreeMap<String, usize>,
}

impl Collected {
    fn add(&mut self, kind: &str, what: &str, name: &str, state: &str) {
        let object = if what == "job" { format!("job {name}") } else { self.pod(name) };
        let life = self.lives.entry(object).or_default();
        let state = format!("{kind} {state}");
        // The timeline leaves out what looks the same as before.
        if life.last() != Some(&state) {
            life.push(state);
        }
    }

    fn pod(&mut self, name: &str) -> String {
        if let Some(known) = self.numbers.get(name) {
            return known.clone();
        }
        let job = name.rsplit_once('-').unwrap().0;
        let number = self.pods.entry(job.to_owned()).or_default();
        *number += 1;
        let object = format!("pod {job}/{number}");
        self.numbers.insert(name.to_owned(), object.clone());
        object
    }
}

/// The parts of a Job's line that count, without times.
fn job_state(line: &str) -> String {
    let line = line.replace("{\"failed\": 1}", "{failed}").replace("{\"succeeded\": 1}", "{succeeded}");
    let parts = line.split_whitespace().filter(|part| *part != "conds=").map(|part| {
        let part = part
            .split("Time=")
            .next()
            .map_or(part.to_owned(), |name| if name.len() < part.len() { name.to_owned() } else { part.to_owned() });
        without_times(&part)
    });
    let mut parts: Vec<_> = parts.collect();
    parts.sort();
    parts.join(" ")
}

/// The parts of a pod's line that count: phase, containers, why it is not scheduled, disruption, deletion, finalizer.
fn pod_state(line: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in line.split_whitespace() {
        if let Some(at) = part.find("DisruptionTarget=True(") {
            let reason = part[at..].split(')').next().unwrap();
            parts.push(format!("{reason})"));
        } else if !part.starts_with("conds=") || part.contains("PodScheduled") {
            parts.push(without_times(part));
        }
    }
    parts.sort();
    parts.join(" ")
}

/// `X@10:24,Y@10:25/grace=0` without the times.
fn without_times(part: &str) -> String {
    let (mut result, mut rest) = (String::new(), part);
    while let Some(at) = rest.find('@') {
        result.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let end = tail.find(|letter: char| !letter.is_ascii_digit() && letter != ':').unwrap_or(tail.len());
        rest = &tail[end..];
    }
    result + rest
}

/// A Job as the timeline writes it.
fn job_line(job: &Value) -> String {
    let mut parts = Vec::new();
    let status = &job["status"];
    for count in ["active", "ready", "terminating", "succeeded", "failed"] {
        if let Some(number) = status[count].as_i64().filter(|number| *number > 0) {
            parts.push(format!("{count}={number}"));
        }
    }
    let conditions = status["conditions"].as_array().into_iter().flatten().map(condition).collect::<Vec<_>>();
    parts.push(format!("conds={}", conditions.join(",")));
    for kind in ["failed", "succeeded"] {
        if status["uncountedTerminatedPods"][kind].is_array() {
            parts.push(format!("uncounted={{\"{kind}\": 1}}"));
        }
    }
    for time in ["startTime", "completionTime"] {
        if status[time].is_string() {
            parts.push(format!("{time}=00:00"));
        }
    }
    if job["spec"]["suspend"] == true {
        parts.push("suspend".to_owned());
    }
    parts.extend(deletion(job));
    parts.join(" ")
}

fn condition(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    let reason = if text("reason").is_empty() { String::new() } else { format!("({})", text("reason")) };
    format!("{}={}{reason}", text("type"), text("status"))
}

/// A pod as the timeline writes it.
fn pod_line(pod: &Value) -> String {
    let status = &pod["status"];
    let mut parts = vec![status["phase"].as_str().unwrap().to_owned()];
    for list in ["initContainerStatuses", "containerStatuses"] {
        parts.extend(status[list].as_array().into_iter().flatten().map(container));
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    for found in conditions {
        match found["type"].as_str().unwrap() {
            "DisruptionTarget" => parts.push(condition(found)),
            "PodScheduled" if status.get("containerStatuses").is_none() => {
                parts.push(format!("conds={}", condition(found)));
            }
            _ => {}
        }
    }
    parts.extend(deletion(pod));
    parts.join(" ")
}

fn container(status: &Value) -> String {
    let name = status["name"].as_str().unwrap();
    let (state, detail) = status["state"].as_object().unwrap().iter().next().unwrap();
    let mut text = format!("{name}:{state}");
    if let Some(reason) = detail["reason"].as_str() {
        text += &format!("/{reason}");
    }
    if let Some(code) = detail["exitCode"].as_i64() {
        text += &format!("/{code}");
    }
    for flag in ["started", "ready"] {
        if status[flag] == true {
            text += &format!("/{flag}");
        }
    }
    match status["restartCount"].as_u64().unwrap() {
        0 => text,
        restarts => text + &format!("/restarts{restarts}"),
    }
}

fn deletion(object: &Value) -> Vec<String> {
    let metadata = &object["metadata"];
    let mut parts = Vec::new();
    if metadata["deletionTimestamp"].is_string() {
        parts.push(format!("DELETING@00:00/grace={}", metadata["deletionGracePeriodSeconds"]));
    }
    if let Some(names) = metadata["finalizers"].as_array() {
        let names: Vec<_> = names.iter().map(|name| name.as_str().unwrap().rsplit('/').next().unwrap()).collect();
        parts.push(format!("fin={}", names.join(",")));
    }
    parts
}

/// Whether a real cluster may fold this state into the next: a kubelet reports, and a controller counts, only now and then.
fn may_be_folded(state: &str) -> bool {
    let is_start = state.contains("Pending")
        && !state.contains("DELETING")
        && !state.contains("terminated")
        && (state.contains("main:waiting/PodInitializing"));
    let is_ready_count = ["MODIFIED", "active=1", "ready=1"].iter().all(|part| state.contains(part));
    let is_between_ends = state.contains("Running") && state.contains("main:terminated") && !state.contains("DELETING");
    is_start || is_ready_count || is_between_ends
}

/// Cuts a replayed life off where all that was recorded has come.
pub(crate) fn cut_behind(found: &mut Vec<String>, expected: &[String]) {
    let mut left = expected.iter().peekable();
    let end = found.iter().position(|state| {
        if left.peek() == Some(&state) {
            left.next();
        }
        left.peek().is_none()
    });
    if let Some(end) = end {
        found.truncate(end + 1);
    }
}

/// What differs between two sets of lives.
pub(crate) fn compare(recorded: &Lives, replayed: &Lives) -> Vec<String> {
    let mut problems = Vec::new();
    for (object, expected) in recorded {
        let Some(found) = replayed.get(object) else {
            problems.push(format!("{object}: not in the replay"));
            continue;
        };
        if let Some(problem) = compare_life(expected, found) {
            let (expected, found) = (expected.join("\n    "), found.join("\n    "));
            problems.push(format!("{object}: {problem}\n  recorded\n    {expected}\n  replayed\n    {found}"));
        }
    }
    for object in replayed.keys().filter(|object| !recorded.contains_key(*object)) {
        problems.push(format!("{object}: not in the recording"));
    }
    problems
}

fn compare_life(expected: &[String], found: &[String]) -> Option<String> {
    let mut expected = expected.iter().peekable();
    for state in found {
        if expected.peek() == Some(&state) {
            expected.next();
        } else if !may_be_folded(state) {
            return Some(format!("replayed `{state}` where `{:?}` was recorded", expected.peek()));
        }
    }
    expected.next().map(|missing| format!("`{missing}` did not come"))
}

#[test]
fn a_missing_and_an_additional_state_are_told() {
    let life = |states: &[&str]| states.iter().map(|state| (*state).to_owned()).collect::<Vec<_>>();
    assert_eq!(compare_life(&life(&["ADDED a", "MODIFIED b"]), &life(&["ADDED a", "MODIFIED b"])), None);
    assert!(compare_life(&life(&["ADDED a", "MODIFIED b"]), &life(&["ADDED a"])).is_some());
    assert!(compare_life(&life(&["ADDED a"]), &life(&["ADDED a", "MODIFIED b"])).is_some());
}
