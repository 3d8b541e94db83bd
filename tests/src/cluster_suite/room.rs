//! A practice room as the suite drives it, wherever it runs.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::reach::{Reach, Service};
use crate::process::until;

/// One room.
pub struct Room<'a> {
    reach: &'a Reach,
    path: String,
}

impl<'a> Room<'a> {
    /// By its code.
    pub fn new(reach: &'a Reach, code: &str) -> Self {
        Self { reach, path: format!("/control/rooms/{code}") }
    }

    async fn ask(&self, method: Method, rest: &str, body: Option<&Value>) -> Result<Value> {
        self.reach.json(Service::Room, method, &format!("{}{rest}", self.path), body).await
    }

    /// Opens it: guests wait in its lobby.
    pub async fn open(&self) -> Result<()> {
        self.ask(Method::PUT, "", Some(&json!({"lobby": true}))).await.map(drop)
    }

    /// Waits for a participant.
    pub async fn wait_for(&self, role: &str, state: &str, limit: Duration) -> Result<String> {
        until(&format!("a {role} that is {state}"), limit, || async {
            let room = self.ask(Method::GET, "", None).await?;
            let all = room["participants"].as_array().cloned().unwrap_or_default();
            let found = all.iter().find(|one| one["role"] == role && one["state"] == state);
            Ok(found.and_then(|one| one["id"].as_str()).map(str::to_owned))
        })
        .await
    }

    /// Lets somebody in.
    pub async fn admit(&self, participant: &str) -> Result<()> {
        self.ask(Method::POST, &format!("/participants/{participant}/admit"), Some(&json!({}))).await.map(drop)
    }

    /// The host ends the call.
    pub async fn end(&self) -> Result<()> {
        self.ask(Method::POST, "/end", Some(&json!({}))).await.map(drop)
    }
}
