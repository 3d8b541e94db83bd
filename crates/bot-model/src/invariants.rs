//! What must always hold, as predicates with the ids that code, tests and alerts share.
//!
//! Each takes plain facts and answers `Ok` or what was violated, so that simulation, black-box suites and production checks
//! judge by the same code.

use chrono::{DateTime, Utc};

use crate::document::BotInstance;
use crate::lifecycle::Phase;

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {what}")]
pub struct Violation {
    /// `I1` … `I19`.
    pub id: &'static str,
    /// What was seen.
    pub what: String,
}

/// One stay of one bot in one call, as the meeting platform's own log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// The call.
    pub call: String,
    /// Who.
    pub bot: String,
    /// From the request to join.
    pub from: DateTime<Utc>,
    /// To having left; `None` while still there.
    pub to: Option<DateTime<Utc>>,
}

/// I1: at most one bot in a call at every instant.
pub fn one_bot_a_call(stays: &[Stay]) -> Result<(), Violation> {
    for (index, one) in stays.iter().enumerate() {
        for other in &stays[index + 1..] {
            let apart = one.to.is_some_and(|end| end <= other.from) || other.to.is_some_and(|end| end <= one.from);
            if one.call == other.call && !apart {
                return Err(Violation { id: "I1", what: format!("{} and {} were in {} at once", one.bot, other.bot, one.call) });
            }
        }
    }
    Ok(())
}

/// I3: what was recorded ends in verified files, or in a failure that says where its raw segments are.
pub fn no_lost_recording(instance: &BotInstance) -> Result<(), Violation> {
    let recorded = instance.is_recorded();
    let lost = match instance.phase {
        Phase::Done => instance.facts.artifacts.is_empty(),
        Phase::Failed => instance.facts.gcs_path.is_none(),
        Phase::Cancelled | Phase::Missed => true,
        _ => false,
    };
    if recorded && lost {
        return Err(Violation { id: "I3", what: format!("{} recorded but ended {} without files", instance.id, instance.phase) });
    }
    Ok(())
}

/// I4: `done` means that files are listed and as long as what was frozen (95 %), given the frozen list's length in seconds.
pub fn done_means_done(instance: &BotInstance, frozen_secs: f64) -> Result<(), Violation> {
    if instance.phase != Phase::Done {
        return Ok(());
    }
    let media: Vec<f64> = instance.facts.artifacts.iter().filter_map(|artifact| artifact.duration_secs).collect();
    if media.is_empty() || media.iter().any(|duration| *duration < 0.95 * frozen_secs) {
        let what = format!("{} is done with media of {media:?} s for {frozen_secs} s of segments", instance.id);
        return Err(Violation { id: "I4", what });
    }
    Ok(())
}

/// I5 and I6 over two successive states of one instance: terminal is final, attempts only grow.
pub fn moves_forward(before: &BotInstance, after: &BotInstance) -> Result<(), Violation> {
    if before.phase.is_terminal() && before.phase != after.phase {
        return Err(Violation { id: "I5", what: format!("{} went from {} to {}", before.id, before.phase, after.phase) });
    }
    if after.facts.attempt < before.facts.attempt {
        return Err(Violation { id: "I6", what: format!("{}'s attempt fell", before.id) });
    }
    let run_of = |instance: &BotInstance| instance.facts.run.as_ref().map(|run| (run.attempt, run.pod_uid.clone()));
    if let Some((attempt, _)) = run_of(after).filter(|run| Some(run) != run_of(before).as_ref())
        && attempt != after.facts.attempt
    {
        let what = format!("attempt {attempt} bound {}, which attempt {} owns", before.id, after.facts.attempt);
        return Err(Violation { id: "I6", what });
    }
    Ok(())
}

/// I17: never more bots than places, given how many are there at one moment.
pub fn within_places(bots: usize, places: usize) -> Result<(), Violation> {
    if bots <= places {
        return Ok(());
    }
    Err(Violation { id: "I17", what: format!("{bots} bots at once where {places} may be") })
}

/// I14: none of the secrets occurs in a text that leaves the process.
pub fn no_secrets<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> Result<(), Violation> {
    match secrets.into_iter().find(|secret| text.contains(secret)) {
        Some(secret) => Err(Violation { id: "I14", what: format!("a text holds the secret of {} bytes", secret.len()) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::InstanceId;
    use crate::meeting_url::MeetingUrl;

    fn stay(bot: &str, from: i64, to: Option<i64>) -> Stay {
        let at = |seconds| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        Stay { call: "c".into(), bot: bot.into(), from: at(from), to: to.map(at) }
    }

    #[test]
    fn overlapping_stays_violate_i1() {
        assert!(one_bot_a_call(&[stay("a", 0, Some(10)), stay("b", 10, None)]).is_ok());
        assert_eq!(one_bot_a_call(&[stay("a", 0, None), stay("b", 10, None)]).unwrap_err().id, "I1");
        assert_eq!(one_bot_a_call(&[stay("a", 5, Some(11)), stay("b", 0, Some(6))]).unwrap_err().id, "I1");
    }

    #[test]
    fn leaving_a_terminal_phase_violates_i5() {
        let url = MeetingUrl::parse("https://meet.google.com/abc-defg-hij").unwrap();
        let before = BotInstance { phase: Phase::Done, ..BotInstance::queued(InstanceId::parse("b").unwrap(), url) };
        let after = BotInstance { phase: Phase::Queued, ..before.clone() };
        assert_eq!(moves_forward(&before, &after).unwrap_err().id, "I5");
        assert_eq!(done_means_done(&before, 10.0).unwrap_err().id, "I4");
    }
}
