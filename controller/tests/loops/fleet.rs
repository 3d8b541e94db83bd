//! A launcher in memory: it really holds runs, under the same rules as the others, and a test decides how they end.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bot_model::ids::{InstanceId, JobName};
use controller::launch::{LaunchError, LaunchSpec, Launched, Launcher, Observed, RunCommand, RunKey, RunState};

/// Runs in memory.
pub(crate) struct Fleet {
    runs: Mutex<BTreeMap<RunKey, Run>>,
    /// Every launch that started, in order, removed runs included.
    started: Mutex<Vec<(InstanceId, u32, RunCommand)>>,
    limit: usize,
    fails: Mutex<bool>,
    hangs: Mutex<bool>,
    hides: Mutex<Vec<String>>,
    unsaved: Mutex<Vec<JobName>>,
}

struct Run {
    instance_id: InstanceId,
    state: RunState,
}

impl Fleet {
    pub(crate) fn new(limit: usize) -> Self {
        let (runs, started, fails, hangs, hides, unsaved) = Default::default();
        Self { runs, started, limit, fails, hangs, hides, unsaved }
    }

    /// What was started so far.
    pub(crate) fn started(&self) -> Vec<(InstanceId, u32, RunCommand)> {
        self.started.lock().unwrap().clone()
    }

    /// Ends the only run that is alive.
    pub(crate) fn end(&self, state: RunState) {
        let mut runs = self.runs.lock().unwrap();
        let mut alive: Vec<_> = runs.values_mut().filter(|run| !run.state.is_over()).collect();
        assert_eq!(alive.len(), 1, "one run alive");
        alive[0].state = state;
    }

    /// Ends an instance's run.
    pub(crate) fn end_of(&self, id: &InstanceId, state: RunState) {
        self.runs.lock().unwrap().values_mut().filter(|run| run.instance_id == *id).for_each(|run| run.state = state);
    }

    pub(crate) fn alive_instances(&self) -> Vec<InstanceId> {
        let runs = self.runs.lock().unwrap();
        runs.values().filter(|run| !run.state.is_over()).map(|run| run.instance_id.clone()).collect()
    }

    /// Every launch fails from now on, or succeeds again.
    pub(crate) fn fail(&self, fails: bool) {
        *self.fails.lock().unwrap() = fails;
    }

    /// No launch is answered from now on, or each is again.
    pub(crate) fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
    }

    /// Runs of this controller are on another machine.
    pub(crate) fn hide(&self, controller_id: &str) {
        self.hides.lock().unwrap().push(controller_id.to_owned());
    }

    /// Ended runs of this instance hold what is not in the bucket.
    pub(crate) fn leaves_unsaved(&self, id: &InstanceId) {
        self.unsaved.lock().unwrap().push(JobName::for_instance(id));
    }

    /// Forgets everything, as a machine that was replaced.
    pub(crate) fn forget(&self) {
        self.runs.lock().unwrap().clear();
    }

    pub(crate) fn alive(&self) -> usize {
        self.runs.lock().unwrap().values().filter(|run| !run.state.is_over()).count()
    }

    pub(crate) fn count(&self) -> usize {
        self.runs.lock().unwrap().len()
    }
}

#[async_trait]
impl Launcher for Fleet {
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        if *self.fails.lock().unwrap() {
            return Err(LaunchError::Machine { what: "launch".into(), source: std::io::Error::other("out of order") });
        }
        let hangs = *self.hangs.lock().unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut runs = self.runs.lock().unwrap();
        let key = spec.key();
        if runs.contains_key(&key) {
            return Ok(Launched::AlreadyThere);
        }
        if let Some((other, _)) = runs.iter().find(|(other, run)| other.job == key.job && !run.state.is_over()) {
            return Err(LaunchError::OtherAttemptAlive { attempt: other.attempt });
        }
        let is_full = runs.values().filter(|run| !run.state.is_over()).count() >= self.limit;
        if is_full && spec.command() == RunCommand::Record {
            return Err(LaunchError::Full { limit: self.limit });
        }
        self.started.lock().unwrap().push((spec.instance_id().clone(), key.attempt, spec.command()));
        runs.insert(key, Run { instance_id: spec.instance_id().clone(), state: RunState::Running });
        Ok(Launched::Started)
    }

    async fn list(&self) -> Result<Vec<Observed>, LaunchError> {
        let runs = self.runs.lock().unwrap();
        let seen = |(key, run): (&RunKey, &Run)| Observed {
            key: key.clone(),
            instance_id: run.instance_id.clone(),
            state: run.state,
            trouble: None,
        };
        Ok(runs.iter().map(seen).collect())
    }

    async fn stop(&self, run: &RunKey) -> Result<(), LaunchError> {
        if let Some(run) = self.runs.lock().unwrap().get_mut(run).filter(|run| !run.state.is_over()) {
            run.state = RunState::Ended { code: Some(143) };
        }
        Ok(())
    }

    async fn remove(&self, run: &RunKey) -> Result<(), LaunchError> {
        let mut runs = self.runs.lock().unwrap();
        match runs.get(run) {
            Some(found) if !found.state.is_over() => Err(LaunchError::Alive),
            _ => {
                runs.remove(run);
                Ok(())
            }
        }
    }

    async fn free_slots(&self) -> Result<usize, LaunchError> {
        Ok(self.limit.saturating_sub(self.alive()))
    }

    fn sees_runs_of(&self, controller_id: &str) -> bool {
        !self.hides.lock().unwrap().iter().any(|hidden| hidden == controller_id)
    }

    async fn unsaved(&self) -> Result<Vec<JobName>, LaunchError> {
        Ok(self.unsaved.lock().unwrap().clone())
    }

    async fn changed(&self) {
        std::future::pending().await
    }

    async fn ready(&self) -> Result<(), LaunchError> {
        Ok(())
    }
}
