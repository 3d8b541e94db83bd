//! At times: what is no longer kept goes, the age of the oldest that waits is measured, and secrets are sealed with the present key.

use std::sync::Arc;

use bot_store::listing::{ListField, Listed, Listing};
use bot_store::{StoreError, Write, clock};
use tokio_util::sync::CancellationToken;

use crate::delivery::{Delivery, State};
use crate::endpoint;
use crate::engine::Webhooks;
use crate::schedule::delta;

/// Deliveries removed in one go.
const PAGE: usize = 200;

impl Webhooks {
    pub(crate) async fn tidy_for_ever(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.tidy().await {
                tracing::debug!(error = error.message, "webhooks were not tidied; the next time will do");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.pace.tidy) => {}
            }
        }
    }

    async fn tidy(&self) -> Result<(), StoreError> {
        self.metrics.oldest.set(self.oldest_undelivered().await?);
        self.seal().await?;
        let before = Some(clock::now() - delta(self.pace.kept));
        let mut cursor = None;
        loop {
            let listing = Listing { before, ..Listing::oldest(Listed::Deliveries) };
            let page = self.store.list(&listing, cursor.as_deref(), PAGE).await?;
            let is_over =
                |record: &&bot_store::Record| Delivery::of(record).is_none_or(|(found, _)| found.state != State::Pending);
            let over = page.records.iter().filter(is_over);
            let groups = over.map(|record| vec![Write::delete(record.key.clone(), record.version.clone())]).collect();
            for commit in self.store.commit_each(groups).await {
                commit?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Secrets that were kept before there was a key, or before the present one.
    async fn seal(&self) -> Result<(), StoreError> {
        if !self.safe.seals() {
            return Ok(());
        }
        for mut found in endpoint::all(self.store.as_ref()).await? {
            match found.endpoint.seal(&self.safe) {
                // A conflict: somebody edits it, and the next time will do.
                Ok(true) => drop(self.store.commit(vec![found.endpoint.update(found.version)]).await?),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, endpoint_id = found.endpoint.id, "a webhook's secret was not sealed"),
            }
            if found.endpoint.signing(&self.safe, clock::now()).is_none() {
                let endpoint_id = found.endpoint.id;
                tracing::error!(endpoint_id, "no key of WEBHOOK_SECRETS_KEY opens a webhook's secret: nothing is sent to it");
            }
        }
        Ok(())
    }

    /// Seconds since the oldest event that is not delivered and not given up; one that still is in the outbox counts.
    async fn oldest_undelivered(&self) -> Result<f64, StoreError> {
        let now = clock::now();
        let waiting = Listing::oldest(Listed::Deliveries).with(ListField::State, vec!["pending".into()]);
        let mut oldest = 0.0_f64;
        for listing in [waiting, Listing::oldest(Listed::Outbox)] {
            let page = self.store.list(&listing, None, 1).await?;
            let micros = page.records.first().and_then(|record| listing.kind.micros(&record.fields));
            let seconds = micros.map_or(0.0, |micros| (now.timestamp_micros() - micros) as f64 / 1e6);
            oldest = oldest.max(seconds);
        }
        Ok(oldest)
    }
}
