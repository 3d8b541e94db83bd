//! The judge over a round's history: pure, so that it can be shown to find what it is to find. The predicates are the product's own
//! ([`bot_model::invariants`]); what is added here holds what they cannot know against the ground truth.

mod excuse;

use std::collections::{BTreeMap, BTreeSet};

use bot_model::invariants::{Stay, Violation, done_means_done, moves_forward, no_lost_recording, one_bot_a_call};
use bot_model::lifecycle::Phase;
use bot_model::segment::{RawKind, RawName};
use chrono::TimeDelta;

use excuse::{failed_truthfully, is_excused, trouble};

use super::history::{Asked, History, Served};
use super::pods::Jobs;
use super::truth::{Attended, Event, Line, stays};
use crate::scripted_bot::{SEGMENT, template};

/// No bot outlives its manager by more.
const OUTLIVES: TimeDelta = TimeDelta::seconds(60);
/// From a cancelled document to the last join that could not know of it.
const CANCEL_KNOWN: TimeDelta = TimeDelta::seconds(30);

/// What became of a round.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Every promise that was broken.
    pub violations: Vec<Violation>,
    /// Calls with two bots at once.
    pub doubled: usize,
    /// Segments that are in no file and not excused.
    pub lost: usize,
    /// Segments that died with a run's disk, within the RPO.
    pub excused: usize,
    /// Of each bot that died in a call: seconds from the last kept segment's end to its death.
    pub media_lost: Vec<f64>,
    /// From one bot's end to the next one's join in the same call, in seconds.
    pub recovery: Vec<f64>,
    /// Stays of bots in calls.
    pub joins: usize,
    /// Instances by the phase that they ended in.
    pub ended: BTreeMap<&'static str, usize>,
}

/// Judges a round.
pub fn judge(history: &History) -> Judged {
    let attended = stays(&history.lines);
    let mut judged = Judged { joins: attended.len(), ..Judged::default() };
    one_bot(&attended, &mut judged);
    for meeting in &history.meetings {
        judged.violations.extend(meeting_served(meeting, history).err());
        judged.violations.extend(cancelled_in_time(meeting, history, &attended).err());
    }
    for served in &history.instances {
        *judged.ended.entry(served.instance.phase.as_str()).or_default() += 1;
        judged.violations.extend(served_well(served));
    }
    let kept = every_segment(history, &mut judged);
    judged.violations.extend(history.jobs.iter().flat_map(jobs_well_kept));
    judged.violations.extend(outlived(history, &attended));
    judged.media_lost = media_lost(history, &attended, &kept);
    judged.recovery = recovery(&attended);
    judged
}

/// One Job an attempt (I1), and none that outlives what it was made for (I15). One that was deleted by hand before its controller had heard
/// that it was made may have been made again.
fn jobs_well_kept(jobs: &Jobs) -> Vec<Violation> {
    let mut made: BTreeMap<&(String, String), usize> = BTreeMap::new();
    jobs.made.iter().for_each(|job| *made.entry(job).or_default() += 1);
    let twice = made.into_iter().filter(|((name, _), count)| *count > 1 + usize::from(jobs.deleted.contains(name)));
    let twice =
        twice.map(|((name, attempt), count)| Violation { id: "I1", what: format!("{count} Jobs {name} of attempt {attempt}") });
    let left = jobs.left.iter().map(|what| Violation { id: "I15", what: format!("{what} is left over") });
    twice.chain(left).collect()
}

/// I1.
fn one_bot(attended: &[Attended], judged: &mut Judged) {
    let calls: BTreeSet<&str> = attended.iter().map(|attended| attended.stay.call.as_str()).collect();
    for call in calls {
        let of_call: Vec<Stay> =
            attended.iter().map(|attended| &attended.stay).filter(|stay| stay.call == call).cloned().collect();
        if let Err(violation) = one_bot_a_call(&of_call) {
            judged.violations.push(violation);
            judged.doubled += 1;
        }
    }
}

/// I2: every document has an instance that ended, and, unless it was cancelled, with files, or in truth without.
fn meeting_served(meeting: &Asked, history: &History) -> Result<(), Violation> {
    let violation = |what: String| Err(Violation { id: "I2", what: format!("{} ({}) {what}", meeting.path, meeting.call) });
    let found = meeting.instance.as_ref().and_then(|id| history.instances.iter().find(|served| served.instance.id == *id));
    match found {
        // One that was cancelled before anybody looked at it.
        None if meeting.is_cancelled => Ok(()),
        None => violation("has no bot instance".into()),
        Some(served) if !served.instance.phase.is_terminal() => {
            violation(format!("is left with {} in phase {}", served.instance.id, served.instance.phase))
        }
        Some(served) if served.instance.phase == Phase::Failed && failed_truthfully(served, history) => Ok(()),
        Some(served) if served.instance.phase != Phase::Done && !meeting.is_cancelled => {
            violation(format!("has no recording: {} {:?}", served.instance.phase, served.instance.facts.outcome))
        }
        Some(_) => Ok(()),
    }
}

/// I10: nobody joins for a cancelled meeting, unless they could not know.
fn cancelled_in_time(meeting: &Asked, history: &History, attended: &[Attended]) -> Result<(), Violation> {
    let of_call = |line: &&Line| matches!(&line.event, Event::Cancelled { call } if *call == meeting.call);
    let Some(cancelled) = history.lines.iter().find(of_call) else { return Ok(()) };
    let late = attended.iter().map(|attended| &attended.stay).find(|stay| {
        let unknown = trouble(&history.lines, "network_store", cancelled.at, stay.from);
        stay.call == meeting.call && stay.from > cancelled.at + CANCEL_KNOWN + unknown
    });
    match late {
        Some(stay) => Err(Violation { id: "I10", what: format!("{} joined {} long after its cancel", stay.bot, stay.call) }),
        None => Ok(()),
    }
}

/// I3 to I6 of one instance.
fn served_well(served: &Served) -> Vec<Violation> {
    let mut found = Vec::new();
    let instance = &served.instance;
    let seen: Vec<_> = served.seen.iter().chain([instance]).collect();
    found.extend(seen.windows(2).filter_map(|pair| moves_forward(pair[0], pair[1]).err()));
    let ends: BTreeSet<Phase> = served.events.iter().map(|event| event.phase).filter(|phase| phase.is_terminal()).collect();
    if ends.iter().any(|end| *end != instance.phase) {
        found.push(Violation { id: "I5", what: format!("{} is {} and its timeline says {ends:?}", instance.id, instance.phase) });
    }
    found.extend(no_lost_recording(instance).err());
    if instance.phase == Phase::Done {
        found.extend(files_are_there(served));
    }
    found
}

/// I4: each file is there as the document says, and holds every frame of every segment that it was made of.
fn files_are_there(served: &Served) -> Vec<Violation> {
    let (instance, files) = (&served.instance, &served.files);
    let violation = |what: String| Violation { id: "I4", what: format!("{} {what}", instance.id) };
    let mut found = Vec::new();
    for artifact in &instance.facts.artifacts {
        match files.objects.get(&artifact.object) {
            Some((bytes, crc32c)) if (*bytes, crc32c) == (artifact.bytes, &artifact.crc32c) => {}
            Some(_) => found.push(violation(format!("names another {} than lies there", artifact.object))),
            None => found.push(violation(format!("names {}, which is not there", artifact.object))),
        }
    }
    let segments = segments(served).len() as u64;
    found.extend(done_means_done(instance, segments as f64 * SEGMENT.as_secs_f64()).err());
    if files.frames != segments * template::FRAMES {
        found.push(violation(format!("has a video of {} frames for {segments} segments", files.frames)));
    }
    let frozen = instance.facts.frozen.as_ref().map(|frozen| frozen.sha256.as_str());
    if files.manifest.as_ref().map(|manifest| manifest.segments_sha256.as_str()) != frozen {
        found.push(violation("has a recording.json of another list of segments".into()));
    }
    found
}

/// Run, part, number and checksum: what a segment is.
type Segment = (String, u32, u32, u32);

/// The segments of which an instance's files were made; where there are none, those that lie in `raw/`.
fn segments(served: &Served) -> BTreeSet<Segment> {
    let names: Vec<&String> = match (&served.files.manifest, served.instance.phase) {
        (Some(manifest), Phase::Done) => manifest.raw.iter().collect(),
        _ => served.files.raw.iter().collect(),
    };
    let parsed = names.into_iter().filter_map(|name| RawName::parse(name));
    let segment = |name: RawName| match name.kind {
        RawKind::Segment(seq) => Some((name.run, name.part, seq, name.crc32c)),
        _ => None,
    };
    parsed.filter_map(segment).collect()
}

/// I3: every segment that was ever closed is in the files, or died with its disk within the RPO. Answers those that are kept.
fn every_segment(history: &History, judged: &mut Judged) -> BTreeSet<Segment> {
    let all: BTreeMap<&str, BTreeSet<Segment>> =
        history.instances.iter().map(|served| (served.instance.id.as_str(), segments(served))).collect();
    let mut kept = BTreeSet::new();
    for line in &history.lines {
        let Event::Captured { instance, run, part, seq, crc32c } = &line.event else { continue };
        let segment = (run.clone(), *part, *seq, *crc32c);
        if all.get(instance.as_str()).is_some_and(|segments| segments.contains(&segment)) {
            kept.insert(segment);
        } else if is_excused(history, run, line.at) {
            judged.excused += 1;
        } else {
            judged.lost += 1;
            let what = format!("{instance}: segment {seq} of part {part} of run {run}, captured {}, is lost", line.at);
            judged.violations.push(Violation { id: "I3", what });
        }
    }
    kept
}

/// I9.
fn outlived(history: &History, attended: &[Attended]) -> Vec<Violation> {
    let mut found = Vec::new();
    for line in &history.lines {
        let Event::Injected { fault, run: Some(run), .. } = &line.event else { continue };
        if !matches!(fault.as_str(), "run_kill_manager" | "run_kill_whole" | "run_kill_machine" | "pod_deletebyforce") {
            continue;
        }
        for Attended { stay, .. } in attended.iter().filter(|attended| attended.run == *run && attended.stay.from <= line.at) {
            if stay.to.is_none_or(|to| to > line.at + OUTLIVES) {
                found.push(Violation {
                    id: "I9",
                    what: format!("{} was in {} long after its manager's end", stay.bot, stay.call),
                });
            }
        }
    }
    found
}

fn media_lost(history: &History, attended: &[Attended], kept: &BTreeSet<Segment>) -> Vec<f64> {
    let of_dead = |died: &Attended| {
        let to = died.stay.to.filter(|_| died.died)?;
        let captured = history.lines.iter().filter_map(|line| match &line.event {
            Event::Captured { run, part, seq, crc32c, .. } if *run == died.run => {
                kept.contains(&(run.clone(), *part, *seq, *crc32c)).then_some(line.at)
            }
            _ => None,
        });
        let last = captured.filter(|at| (died.stay.from..=to).contains(at)).max().unwrap_or(died.stay.from);
        Some((to - last).as_seconds_f64())
    };
    attended.iter().filter_map(of_dead).collect()
}

fn recovery(attended: &[Attended]) -> Vec<f64> {
    let next = |one: &Attended| {
        let to = one.stay.to?;
        let later = attended.iter().map(|other| &other.stay).filter(|other| other.call == one.stay.call && other.from >= to);
        Some((later.map(|other| other.from).min()? - to).as_seconds_f64())
    };
    attended.iter().filter_map(next).collect()
}

#[cfg(test)]
mod tests;
