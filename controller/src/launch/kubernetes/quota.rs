//! What a used-up ResourceQuota means for the launches that follow. Pure: time and what was seen are arguments.
//!
//! A quota refuses in two ways: the creation of a Job (403), or that of its pod (an event on the Job, which stays without one). Neither says
//! when there will be room, so launches are held back for a time that grows with each refusal, and are let through one by one as what
//! counts against the quota goes away. Held here in each replica; one that does not know yet asks once and is refused.

use std::time::Duration;

use tokio::time::Instant;

/// After the first refusal; doubles with each.
const FIRST: Duration = Duration::from_secs(5);
/// The longest time between two tries. The Job controller's own longest is the same.
const LONGEST: Duration = Duration::from_secs(60);
/// Until it shows whether a Job got its pod: one look of the reaper, and the answer.
const OUTCOME: Duration = Duration::from_secs(15);

/// What a quota refused to have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Jobs (`count/jobs.batch`): counted until they are deleted.
    Jobs,
    /// Pods, or what they ask for: counted until they have ended.
    Pods,
}

/// Whether launches are held back.
#[derive(Debug, Default)]
pub struct Quota(Option<Hold>);

#[derive(Debug)]
struct Hold {
    counted: Counted,
    refusals: u32,
    /// The next try, whatever was seen.
    until: Instant,
    /// What has become free meanwhile.
    free: usize,
    /// A launch is on its way that will show whether there is room again.
    is_trying: bool,
}

impl Quota {
    /// A launch was refused. Launches that were on their way together count as one.
    pub fn refused(&mut self, counted: Counted, now: Instant) {
        let refusals = match &self.0 {
            Some(hold) if now < hold.until && !hold.is_trying => hold.refusals,
            Some(hold) => hold.refusals.saturating_add(1),
            None => 1,
        };
        let until = match &self.0 {
            Some(hold) if hold.refusals == refusals => hold.until,
            _ => now + pause(refusals),
        };
        self.0 = Some(Hold { counted, refusals, until, free: 0, is_trying: false });
    }

    /// Something that counted is gone. True where a launch may follow that was held back.
    pub fn freed(&mut self, counted: Counted) -> bool {
        let Some(hold) = self.0.as_mut().filter(|hold| hold.counted == counted) else { return false };
        hold.free += 1;
        true
    }

    /// A pod was made: where that was a try, there is room again.
    pub fn admitted(&mut self) {
        if self.0.as_ref().is_some_and(|hold| hold.is_trying) {
            self.0 = None;
        }
    }

    /// How many may be launched now; `None` is without a bound of this kind.
    pub fn room(&self, now: Instant) -> Option<usize> {
        let hold = self.0.as_ref()?;
        Some(if hold.free == 0 { usize::from(now >= hold.until) } else { hold.free })
    }

    /// Takes the room for a launch; false where it is held back.
    pub fn take(&mut self, now: Instant) -> bool {
        let Some(hold) = &mut self.0 else { return true };
        if hold.free > 0 {
            hold.free -= 1;
            return true;
        }
        if now < hold.until {
            return false;
        }
        (hold.is_trying, hold.until) = (true, now + pause(hold.refusals).max(OUTCOME));
        true
    }

    /// True while launches are held back, or let through one by one.
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

fn pause(refusals: u32) -> Duration {
    FIRST.saturating_mul(1 << refusals.saturating_sub(1).min(6)).min(LONGEST)
}

/// True for Kubernetes' words for a quota that is used up, or not counted yet, as against a missing right, whose message has the same
/// status and reason: `jobs.batch "x" is forbidden: exceeded quota: bots, requested: count/jobs.batch=1, used: …, limited: …`.
/// (`failed quota`, a pod that does not say what it asks for, is a mistake and stays one.)
pub fn is_quota(message: &str) -> bool {
    let why = message.split_once(" is forbidden: ").map_or("", |(_, why)| why);
    ["exceeded quota: ", "status unknown for quota: "].iter().any(|words| why.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_time_between_tries_grows_to_a_minute_and_no_further() {
        let (mut quota, mut now) = (Quota::default(), Instant::now());
        let mut waited = Vec::new();
        for _ in 0..6 {
            quota.refused(Counted::Jobs, now);
            let begun = now;
            assert!(!quota.take(now) && quota.room(now) == Some(0));
            while quota.room(now) == Some(0) {
                now += SECOND;
            }
            waited.push((now - begun).as_secs());
            assert!(quota.take(now), "one try");
            assert!(!quota.take(now), "and no second one beside it");
        }
        assert_eq!(waited, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn launches_that_are_refused_together_are_one_refusal() {
        let (mut quota, now) = (Quota::default(), Instant::now());
        (0..8).for_each(|_| quota.refused(Counted::Jobs, now));
        assert_eq!(quota.room(now + 5 * SECOND), Some(1));
    }

    #[test]
    fn what_becomes_free_lets_as_many_through_at_once() {
        let (mut quota, now) = (Quota::default(), Instant::now());
        quota.refused(Counted::Pods, now);
        assert!(!quota.freed(Counted::Jobs), "a finished Job counts no pod");
        assert!(quota.freed(Counted::Pods) && quota.freed(Counted::Pods));
        assert_eq!(quota.room(now), Some(2));
        assert!(quota.take(now) && quota.take(now) && !quota.take(now));
        quota.admitted();
        assert!(quota.is_held(), "those took what was free; whether there is more nobody knows");
        let later = now + 5 * SECOND;
        assert!(quota.take(later));
        quota.admitted();
        assert!(!quota.is_held() && quota.room(later).is_none() && quota.take(later));
    }

    #[test]
    fn a_quota_is_told_from_a_missing_right() {
        for quota in [
            r#"jobs.batch "bot-b1" is forbidden: exceeded quota: bots, requested: count/jobs.batch=1, used: count/jobs.batch=5k, limited: count/jobs.batch=5k"#,
            r#"Error creating: pods "bot-b1-x" is forbidden: exceeded quota: bots, requested: pods=1, used: pods=200, limited: pods=200"#,
            r#"jobs.batch "bot-b1" is forbidden: status unknown for quota: bots, resources: count/jobs.batch"#,
        ] {
            assert!(is_quota(quota), "{quota}");
        }
        for other in [
            r#"jobs.batch is forbidden: User "exceeded quota: x" cannot create resource "jobs" in API group "batch" in the namespace "bots""#,
            r#"pods "b" is forbidden: failed quota: bots: must specify requests.cpu"#,
            r#"Error creating: pods "b" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)"#,
            "",
        ] {
            assert!(!is_quota(other), "{other}");
        }
    }
}
