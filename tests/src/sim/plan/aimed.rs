//! Plans that need a guard which most plans get by without: for the negative controls.

use bot_store::guard::Guard;

use super::{Call, Fault, FaultKind, Meeting, Plan, between};

impl Plan {
    /// A plan of the same weather that needs a guard which most plans get by without.
    pub fn aimed_at(self, guard: Guard) -> Self {
        match guard {
            Guard::JoinNoted => self.with_an_unsaid_join(),
            Guard::FrozenList => self.with_a_late_last_segment(),
            Guard::Places => self.with_a_crowd(),
            _ => self,
        }
    }

    /// One call whose manager is cut off from the store about when it joins, and killed after the meeting's end: nothing but the note
    /// before the join says that there may be a recording.
    fn with_an_unsaid_join(self) -> Self {
        let end = 210;
        let cut = Fault { at: between(10, 60), kind: FaultKind::CutPod(300) };
        let killed = Fault { at: end + 10, kind: FaultKind::KillPod };
        Self { faults: vec![cut, killed], ..self.of_calls(vec![(Call { over_at: end + 30 }, Some(end))]) }
    }

    /// One call whose manager goes on after its pod was deleted by force, and may carry its last segment out while the files are made.
    fn with_a_late_last_segment(self) -> Self {
        let over_at = 240;
        let forgotten = Fault { at: over_at - between(4, 20), kind: FaultKind::ForgetPod(between(10, 60), 20) };
        Self { faults: vec![forgotten], ..self.of_calls(vec![(Call { over_at }, None)]) }
    }

    /// Four calls at once and a place for one bot, with three controllers.
    fn with_a_crowd(self) -> Self {
        let calls = (0..4).map(|_| (Call { over_at: 300 }, None)).collect();
        Self { controllers: 3, places: Some(1), ..self.of_calls(calls) }
    }

    /// These calls alone, each with a meeting from now to the given end, and nothing that breaks but the weather.
    fn of_calls(self, calls: Vec<(Call, Option<u64>)>) -> Self {
        let meeting = |(call, (_, ends_at)): (usize, &(Call, Option<u64>))| Meeting {
            call,
            written_at: 0,
            starts_at: None,
            ends_at: *ends_at,
            cancelled_at: None,
            organization: 0,
            priority: 0,
        };
        let meetings = calls.iter().enumerate().map(meeting).collect();
        let calls = calls.into_iter().map(|(call, _)| call).collect();
        let (faults, kills, skews) = (Vec::new(), Vec::new(), Vec::new());
        Self { calls, meetings, faults, kills, skews, places: None, places_each: None, ..self }
    }
}
