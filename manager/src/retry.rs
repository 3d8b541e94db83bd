//! The one place for tries and their pauses: exponential with full jitter, under a total deadline.
//!
//! Never nested: what a call retries here, its callers do not retry again, and what the store's adapters retry is not retried
//! at all. Where a loop goes on for another reason (a spool, a terminal commit), it takes its [`Pauses`] from here and calls
//! what does not retry.

use std::time::Duration;

pub use bot_objects::retry::{Pauses, retried};
use bot_store::{StoreError, StoreErrorKind};

/// A store call that takes longer than this is given up; the lease's own clocks decide what that means.
pub const STORE_WITHIN: Duration = Duration::from_secs(10);
/// A verb of several store calls, each with the adapter's own deadline and tries.
const VERB_WITHIN: Duration = Duration::from_secs(45);
/// One call of the store, under its deadline.
///
/// # Errors
/// The call's own; `Unavailable` where it took too long.
pub async fn store_within<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    within(STORE_WITHIN, operation, call).await
}

/// A verb of the protocol that calls the store several times (bind, settle), under its deadline.
///
/// # Errors
/// The call's own; `Unavailable` where it took too long.
pub async fn verb_within<T>(operation: &'static str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    within(VERB_WITHIN, operation, call).await
}

async fn within<T>(
    limit: Duration,
    operation: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    // Boxed: the adapters' futures nest too deep to be laid out within every caller's.
    tokio::time::timeout(limit, Box::pin(call)).await.unwrap_or_else(|_| Err(slow(operation)))
}

/// What a store call that took too long is.
pub fn slow(operation: &'static str) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unavailable,
        operation,
        message: format!("no answer within {STORE_WITHIN:?}, or the document kept changing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_call_that_hangs_is_given_up() {
        let hangs = std::future::pending::<Result<(), StoreError>>();
        assert!(within(Duration::from_millis(20), "bind", hangs).await.unwrap_err().is_transient());
    }
}
