//! Ground truth: who was in which call and what was captured, as nobody in the system can know it; and the judgement over it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bot_model::document::BotInstance;
use bot_model::ids::InstanceId;
use bot_model::invariants::{Stay, Violation, no_lost_recording, one_bot_a_call, within_places};
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::clock::simulated::true_now;
use chrono::{DateTime, TimeDelta, Utc};

use super::bucket::{Bucket, Segment};
use super::store::Move;

/// What a manager killed without warning may cost: the open segment, the one on its way, and its tries.
const RPO: TimeDelta = TimeDelta::seconds(10);
/// From a cancelled document to the last join that could not know of it.
const CANCEL_KNOWN: TimeDelta = TimeDelta::seconds(30);

/// The log.
#[derive(Default)]
pub struct Truth {
    state: Mutex<State>,
    places: Option<u32>,
}

#[derive(Default)]
struct State {
    stays: Vec<Stay>,
    captured: BTreeMap<InstanceId, BTreeMap<Segment, DateTime<Utc>>>,
    /// By run: until when it could have carried out.
    killed: BTreeMap<String, DateTime<Utc>>,
    /// When runs could not reach the bucket: whose (none is everybody's), from when, for how long.
    outages: Vec<(Option<String>, DateTime<Utc>, TimeDelta)>,
    broken: Vec<Violation>,
}

impl Truth {
    /// Of a world with so many places.
    pub fn of(places: Option<u32>) -> Self {
        Self { places, ..Self::default() }
    }

    /// A bot asks to join; answers its place in the log.
    pub fn joins(&self, call: usize, bot: &str) -> usize {
        let from = now();
        let stay = Stay { call: call.to_string(), bot: bot.to_owned(), from, to: None };
        let mut state = self.lock();
        state.stays.push(stay);
        let there = state.stays.iter().filter(|stay| stay.to.is_none_or(|to| to > from)).count();
        let held = self.places.map_or(Ok(()), |places| within_places(there, places as usize));
        state.broken.extend(held.err());
        state.stays.len() - 1
    }

    /// A bot has left, or will have after `then`.
    pub fn leaves(&self, place: usize, then: Duration) {
        let at = now() + then;
        self.lock().stays[place].to.get_or_insert(at);
    }

    /// Every stay of a bot ends after `then`, unless it ends before.
    pub fn leaves_all(&self, bot: &str, then: Duration) {
        let at = now() + then;
        for stay in self.lock().stays.iter_mut().filter(|stay| stay.bot == bot) {
            stay.to = Some(stay.to.map_or(at, |to| to.min(at)));
        }
    }

    /// A segment was closed on the disk.
    pub fn captured(&self, instance: &InstanceId, segment: Segment) {
        self.lock().captured.entry(instance.clone()).or_default().insert(segment, now());
    }

    /// A run ended without a chance to carry out.
    pub fn killed(&self, run: &str) {
        self.lock().killed.insert(run.to_owned(), now());
    }

    /// The bucket cannot be reached from now on, by one run or by any.
    pub fn cut_off(&self, run: Option<&str>, secs: u64) {
        let length = TimeDelta::seconds(i64::try_from(secs).unwrap_or_default());
        self.lock().outages.push((run.map(str::to_owned), now(), length));
    }

    /// A run's upload that began at `since` has failed or hung until now.
    pub fn held_up(&self, run: &str, since: DateTime<Utc>) {
        self.lock().outages.push((Some(run.to_owned()), since, now() - since));
    }

    /// Something happened that never may.
    pub fn broken(&self, id: &'static str, what: String) {
        self.lock().broken.push(Violation { id, what });
    }

    /// Every stay, as a line for its beginning and one for its end.
    pub fn story(&self) -> Vec<String> {
        let stamp = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let lines = |stay: &Stay| {
            let joins = format!("{} bot {} joins call {}", stamp(stay.from), stay.bot, stay.call);
            let leaves = stay.to.map(|to| format!("{} bot {} is out of call {}", stamp(to), stay.bot, stay.call));
            [Some(joins), leaves]
        };
        self.lock().stays.iter().flat_map(lines).flatten().collect()
    }

    /// How long after the loss of a run another one was in the same call, in seconds.
    pub fn gaps(&self) -> Vec<f64> {
        let state = self.lock();
        let later = |stay: &Stay| {
            let to = stay.to?;
            let next =
                state.stays.iter().filter(|other| other.call == stay.call && other.from >= to).map(|other| other.from).min()?;
            Some((next - to).as_seconds_f64())
        };
        state.stays.iter().filter_map(later).collect()
    }

    /// A join of a meeting that was cancelled at `cancelled_at`, too late to be excused.
    pub fn check_cancelled(&self, call: usize, cancelled_at: DateTime<Utc>) -> Result<(), Violation> {
        let state = self.lock();
        let late = state.stays.iter().find(|stay| stay.call == call.to_string() && stay.from > cancelled_at + CANCEL_KNOWN);
        match late {
            Some(stay) => Err(Violation {
                id: "I10",
                what: format!("{} joined {} s after the cancel", stay.bot, (stay.from - cancelled_at).num_seconds()),
            }),
            None => Ok(()),
        }
    }

    /// Everything that holds over the whole history, for these instances as they ended after these moves. Answers the seconds of
    /// media lost.
    pub fn judge(&self, instances: &[BotInstance], moves: &[Move], bucket: &Bucket) -> Result<Vec<f64>, Violation> {
        let state = self.lock();
        if let Some(violation) = state.broken.first() {
            return Err(violation.clone());
        }
        one_bot_a_call(&state.stays)?;
        let mut lost = Vec::new();
        for instance in instances {
            no_lost_recording(instance)?;
            let Some(path) = &instance.facts.gcs_path else { continue };
            let video = bucket.video(path.as_str());
            let raw = bucket.arrivals(path.as_str());
            let ended_at = moves.iter().rfind(|moved| moved.id == instance.id && moved.phase.is_terminal()).map(|moved| moved.at);
            // A run that is dead for everybody may still bring something afterwards: it is kept, but nobody could know of it.
            let could_be_known = |segment: &Segment| {
                let came_at = raw.get(segment).copied();
                came_at.is_some() && (came_at <= ended_at || !state.killed.contains_key(&segment.1))
            };
            let captured = state.captured.get(&instance.id);
            let has_raw = captured.is_some_and(|mine| mine.keys().any(could_be_known));
            let kind = instance.facts.outcome.as_ref().map(|outcome| outcome.kind);
            if has_raw
                && instance.phase.is_terminal()
                && instance.phase != Phase::Done
                && kind != Some(OutcomeKind::FinalizeFailed)
            {
                let what = format!("{} ended {} ({kind:?}) with segments in the bucket", instance.id, instance.phase);
                return Err(Violation { id: "I3", what });
            }
            if instance.phase == Phase::Done {
                let recorded = instance.facts.artifacts.first().map(|artifact| artifact.crc32c.clone()).unwrap_or_default();
                if recorded != fingerprint(&video.segments) {
                    let what = format!("{}'s video is not the one that its document names", instance.id);
                    return Err(Violation { id: "I4", what });
                }
            }
            for (segment, at) in captured.into_iter().flatten() {
                let kept = match instance.phase {
                    Phase::Done => video.segments.contains(segment),
                    _ => raw.contains_key(segment),
                };
                if kept {
                    continue;
                }
                match state.killed.get(&segment.1) {
                    Some(killed) if *killed - *at <= RPO + state.unreachable(&segment.1, *at, *killed) => {
                        lost.push((*killed - *at).as_seconds_f64())
                    }
                    killed => {
                        let what = format!(
                            "{}: segment {segment:?} captured {at} is lost ({}; killed {killed:?})",
                            instance.id, instance.phase
                        );
                        return Err(Violation { id: "I3", what });
                    }
                }
            }
        }
        Ok(lost)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long a run could not reach the bucket within a span of time.
    fn unreachable(&self, run: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
        let of_run = self.outages.iter().filter(|(whose, ..)| whose.as_deref().is_none_or(|whose| whose == run));
        let mut spans: Vec<_> = of_run.map(|(_, at, length)| ((*at).max(from), (*at + *length).min(to))).collect();
        spans.sort_unstable();
        let (mut out, mut counted_to) = (TimeDelta::zero(), from);
        for (begin, end) in spans {
            out += (end - begin.max(counted_to)).max(TimeDelta::zero());
            counted_to = counted_to.max(end);
        }
        // What piled up meanwhile has to be carried first.
        out + out / 10
    }
}

/// Stands for a file's checksum.
pub fn fingerprint(segments: &[Segment]) -> String {
    let text: Vec<String> = segments.iter().map(|(attempt, run, number)| format!("{attempt}-{run}-{number}")).collect();
    format!("{:08x}", crc32c::crc32c(text.join(" ").as_bytes()))
}

/// By a clock that nobody in the system has.
fn now() -> DateTime<Utc> {
    true_now().unwrap_or_default()
}
