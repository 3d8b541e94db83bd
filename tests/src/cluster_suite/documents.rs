//! Meetings and bot instances, written and read as a backend does: over Firestore's REST interface.

use anyhow::{Context as _, Result};
use bot_model::ids::{InstanceId, JobName};
use http::Method;
use serde_json::{Value, json};

use super::reach::{Reach, Service};

/// The documents of one scenario: a project of its own, so that its controllers see no other's.
pub struct Documents<'a> {
    reach: &'a Reach,
    root: String,
}

/// A bot instance as it is stored.
#[derive(Debug, Clone)]
pub struct Instance(Value);

impl Instance {
    fn text(&self, field: &str) -> &str {
        self.0["fields"][field]["stringValue"].as_str().unwrap_or_default()
    }

    /// Its phase.
    pub fn phase(&self) -> &str {
        self.text("phase")
    }

    /// The attempt that it is in.
    pub fn attempt(&self) -> u32 {
        let text = self.0["fields"]["attempt"]["integerValue"].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Kind and message of its outcome, empty before.
    pub fn outcome(&self) -> (&str, &str) {
        let fields = &self.0["fields"]["outcome"]["mapValue"]["fields"];
        let text = |field: &str| fields[field]["stringValue"].as_str().unwrap_or_default();
        (text("kind"), text("message"))
    }

    /// Where its files lie.
    pub fn prefix(&self) -> &str {
        self.text("gcs_path")
    }

    /// The name of its Jobs.
    pub fn job(&self) -> Result<String> {
        let id = self.0["name"].as_str().and_then(|name| name.rsplit('/').next()).and_then(InstanceId::parse);
        Ok(JobName::for_instance(&id.context("an instance without an id")?).to_string())
    }

    /// For a person.
    pub fn summary(&self) -> String {
        let (kind, message) = self.outcome();
        format!("phase {}, attempt {}, outcome {kind:?} {message:?}", self.phase(), self.attempt())
    }
}

impl<'a> Documents<'a> {
    /// Of a project.
    pub fn new(reach: &'a Reach, project: &str) -> Self {
        Self { reach, root: format!("/v1/projects/{project}/databases/(default)/documents") }
    }

    /// Schedules a meeting in a practice room for now.
    pub async fn schedule(&self, id: &str, room: &str, lasts: std::time::Duration) -> Result<()> {
        let now = chrono::Utc::now();
        let instant = |at: chrono::DateTime<chrono::Utc>| json!({"timestampValue": at.to_rfc3339()});
        let fields = json!({
            "meeting_url": {"stringValue": format!("practice:meet/{room}")},
            "status": {"stringValue": "scheduled"},
            "start_time": instant(now),
            "end_time": instant(now + lasts),
        });
        let path = format!("{}/meetings?documentId={id}", self.root);
        self.reach.ask(Service::Firestore, Method::POST, &path, Some(&json!({"fields": fields}))).await.map(drop)
    }

    /// Cancels a meeting.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        let path = format!("{}/meetings/{id}?updateMask.fieldPaths=status", self.root);
        let body = json!({"fields": {"status": {"stringValue": "cancelled"}}});
        self.reach.ask(Service::Firestore, Method::PATCH, &path, Some(&body)).await.map(drop)
    }

    /// Every instance of the project.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        let path = format!("{}/bot_instances", self.root);
        let answer = self.reach.json(Service::Firestore, Method::GET, &path, None).await?;
        Ok(answer["documents"].as_array().into_iter().flatten().cloned().map(Instance).collect())
    }
}
