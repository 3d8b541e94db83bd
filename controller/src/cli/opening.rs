//! The store of a controller that is to run for long: where Firestore cannot be reached, it is waited for. A controller that ended
//! instead would be kept away by its supervisor's back-off, long after the store is back.

use std::sync::Arc;
use std::time::Duration;

use bot_store::{Store, StoreError, StoreErrorKind, clock};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::OPEN_LIMIT;
use crate::config::Config;
use crate::http::Stage;

/// Longest pause between two tries; they double from a second on.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Opens the store. What is worth another try is tried for ever where `is_patient`, and told to `stage`.
pub(super) async fn open_for_long(
    config: &Config,
    is_patient: bool,
    stage: &watch::Sender<Stage>,
) -> Result<Arc<dyn Store>, StoreError> {
    let mut bound = Duration::from_secs(1);
    loop {
        let error = match open_once(config).await {
            Err(error) if is_patient && error.is_transient() => error,
            opened => return opened,
        };
        tracing::warn!(%error, "the store cannot be reached yet; nothing is launched until then");
        stage.send_replace(Stage::Opening(error.to_string()));
        sleep(bound.mul_f64((1.0 + clock::chance()) / 2.0)).await;
        bound = (bound * 2).min(LONGEST_PAUSE);
    }
}

async fn open_once(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let opening = bot_store::connect::open(&config.store_url, config.naming.clone());
    timeout(OPEN_LIMIT, opening).await.unwrap_or_else(|_| {
        let message = format!("{} did not open within {} s", config.store_url, OPEN_LIMIT.as_secs());
        Err(StoreError { kind: StoreErrorKind::Unavailable, operation: "open", message })
    })
}
