//! The figures of rounds, as lines for a person.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Round;
use super::checker::Judged;
use super::plan::{Fault, Launcher};
use super::truth::Event;

/// The figures of one round or several.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    injected: BTreeMap<String, usize>,
    kills: usize,
    restarts: usize,
    meetings: usize,
    broken: [u64; 3],
    jobs: usize,
    quiet_after: Vec<f64>,
    never_quiet: usize,
    judged: Judged,
}

impl Figures {
    /// Adds a round.
    pub fn add(&mut self, round: &Round, judged: &Judged) {
        let kills: Vec<String> = Fault::kinds(Launcher::Kubernetes)
            .into_iter()
            .chain(Fault::ALL)
            .filter(|fault| fault.is_kill())
            .map(Fault::name)
            .collect();
        for line in &round.history.lines {
            match &line.event {
                Event::Injected { fault, .. } => {
                    self.kills += usize::from(kills.contains(fault));
                    *self.injected.entry(fault.clone()).or_default() += 1;
                }
                Event::Restarted { .. } => self.restarts += 1,
                _ => {}
            }
        }
        self.meetings += round.history.meetings.len();
        self.broken.iter_mut().zip(round.broken).for_each(|(all, of_round)| *all += of_round);
        self.jobs += round.history.jobs.as_ref().map_or(0, |jobs| jobs.made.len());
        match round.quiet_after {
            Some(after) => self.quiet_after.push(after.as_secs_f64()),
            None => self.never_quiet += 1,
        }
        let all = &mut self.judged;
        all.violations.extend(judged.violations.iter().cloned());
        (all.doubled, all.lost) = (all.doubled + judged.doubled, all.lost + judged.lost);
        (all.excused, all.joins) = (all.excused + judged.excused, all.joins + judged.joins);
        all.media_lost.extend(&judged.media_lost);
        all.recovery.extend(&judged.recovery);
        for (phase, count) in &judged.ended {
            *all.ended.entry(phase).or_default() += count;
        }
    }

    /// True where every promise was kept.
    pub fn is_good(&self) -> bool {
        self.judged.violations.is_empty() && self.never_quiet == 0
    }

    /// Everything broken, then the counts.
    pub fn lines(&self, took: Duration) -> Vec<String> {
        let judged = &self.judged;
        let mut lines: Vec<String> = judged.violations.iter().map(|violation| format!("BROKEN {violation}")).collect();
        let injected: Vec<String> = self.injected.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        lines.push(format!("injected: {}", injected.join(", ")));
        let [store, bucket, api] = self.broken;
        lines.push(format!("connections broken: {store} to the store, {bucket} to the bucket, {api} to the API server"));
        lines.push(format!("kills {}, restarts of controllers {}", self.kills, self.restarts));
        let Self { meetings, jobs, .. } = self;
        lines.push(format!("meetings {meetings}, joins {}, Jobs {jobs}, instances {:?}", judged.joins, judged.ended));
        lines.push(format!("quiet after: {}, never quiet: {}", spread(&self.quiet_after), self.never_quiet));
        lines.push(format!("media lost with a bot that died: {}", spread(&judged.media_lost)));
        lines.push(format!("from a bot's end to the next one's join: {}", spread(&judged.recovery)));
        let Judged { lost, excused, doubled, violations, .. } = judged;
        let broken = violations.len();
        lines.push(format!(
            "segments lost {lost} (with their disk, within the limit: {excused}), calls doubled {doubled}, promises broken {broken}, in {:.0} s",
            took.as_secs_f64()
        ));
        lines
    }
}

fn spread(values: &[f64]) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or_default();
    format!("{} times, p50 {:.1} s, p99 {:.1} s, worst {:.1} s", values.len(), at(0.5), at(0.99), at(1.0))
}
