//! The metric of the next 24 hours, measured by one replica for all: it takes reading a day's meetings, and every document read is billed.
//!
//! Who finds the document `capacity/forecast` unchanged for an hour by its own clock changes it, and by that has taken the hour's turn; the
//! others read what comes of it. Where that one dies, the value stays as it is for another hour.

use std::sync::Arc;
use std::time::Duration;

use bot_model::document::Fields;
use bot_store::{Commit, DocumentKey, Record, StoreError, Version, Write, clock};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::forecast::shortfall;
use crate::state::Api;

/// Between two forecasts.
const MEASURED_EVERY: Duration = Duration::from_secs(3_600);
/// Between looks at what another replica measured.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// A value this old, by its own time, is measured anew at once: nobody was there for it.
const OUTDATED: TimeDelta = TimeDelta::hours(2);

/// Tells the most by which the next 24 hours exceed the places, now and from time to time, until the API stops.
pub async fn measure(api: Arc<Api>, tell: impl Fn(u32)) {
    let mut turns = Turns::default();
    loop {
        match turns.look(&api).await {
            Ok(Some(shortfall)) => tell(shortfall),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = error.message, "there is no forecast"),
        }
        // Replicas that were started together do not ask together for ever.
        let pause = LOOK_EVERY.mul_f64(0.8 + 0.4 * clock::chance());
        tokio::select! {
            () = api.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What one replica remembers of the others' turns.
#[derive(Debug, Default)]
pub struct Turns {
    /// The document as it was seen last, and since when it is so.
    seen: Option<(Version, Instant)>,
    /// This replica has taken the turn, and nothing came of it.
    owes: bool,
}

impl Turns {
    /// The shortfall as it was measured last, by whichever replica; by this one where its turn has come. `None` where it is being measured.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn look(&mut self, api: &Api) -> Result<Option<u32>, StoreError> {
        let found = api.store().read(&key()).await?;
        if !self.owes && !self.is_due(found.as_ref(), clock::now()) {
            return Ok(found.as_ref().and_then(value));
        }
        let Some(version) = take_turn(api, found.as_ref()).await? else { return Ok(found.as_ref().and_then(value)) };
        self.owes = true;
        let shortfall = shortfall(api).await?;
        let mut fields = Fields::new();
        fields.insert("shortfall".into(), json!(shortfall));
        let committed = api.store().commit(vec![Write::update(key(), version, fields)]).await?;
        self.owes = false;
        if let Commit::Applied(versions) = committed {
            self.seen = versions.into_iter().next().map(|version| (version, Instant::now()));
        }
        Ok(Some(shortfall))
    }

    fn is_due(&mut self, found: Option<&Record>, now: DateTime<Utc>) -> bool {
        let Some(record) = found else { return true };
        let since = match &self.seen {
            Some((version, since)) if *version == record.version => *since,
            _ => Instant::now(),
        };
        self.seen = Some((record.version.clone(), since));
        let taken_at = record.fields.get("taken_at").and_then(Value::as_str).and_then(|at| at.parse::<DateTime<Utc>>().ok());
        since.elapsed() >= MEASURED_EVERY || taken_at.is_none_or(|at| now - at >= OUTDATED)
    }
}

/// Takes the hour's turn; the document's version where nobody was faster.
async fn take_turn(api: &Api, found: Option<&Record>) -> Result<Option<Version>, StoreError> {
    let mut fields = Fields::new();
    fields.insert("taken_at".into(), json!(clock::now()));
    let write = match found {
        Some(record) => Write::update(key(), record.version.clone(), fields),
        None => Write::create(key(), fields),
    };
    match api.store().commit(vec![write]).await? {
        Commit::Applied(versions) => Ok(versions.into_iter().next()),
        Commit::Conflict => Ok(None),
    }
}

fn key() -> DocumentKey {
    DocumentKey::Capacity("forecast".into())
}

fn value(record: &Record) -> Option<u32> {
    record.fields.get("shortfall").and_then(Value::as_u64).and_then(|shortfall| u32::try_from(shortfall).ok())
}
