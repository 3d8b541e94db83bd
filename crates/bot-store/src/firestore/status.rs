//! What Firestore's status codes mean for a read and for a write.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use firestore::gcloud_sdk::tonic::{Code, Status};

use crate::{StoreError, StoreErrorKind};

/// How long one attempt may take.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// How long a call may take with all its retries.
pub(super) const TOTAL_DEADLINE: Duration = Duration::from_secs(20);

/// How a refused write is to be taken.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// A condition did not hold.
    Conflict,
    /// Nothing was written and the same write may succeed.
    Again(StoreError),
    /// Final.
    Failed(StoreError),
}

/// One attempt under its deadline.
pub(super) async fn attempt<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(CALL_DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer within {} s", CALL_DEADLINE.as_secs()))))
}

/// Repeats a read while it fails for a passing reason.
pub(super) async fn retry_read<T, F, C>(operation: &'static str, call: F) -> Result<T, StoreError>
where
    F: FnMut() -> C,
    C: Future<Output = Result<T, Status>>,
{
    let mut call = call;
    let tries = (|| attempt(call())).retry(backoff()).when(|status: &Status| is_passing(status.code()));
    match tokio::time::timeout(TOTAL_DEADLINE, tries).await {
        Ok(answer) => answer.map_err(|status| of_read(operation, &status)),
        Err(_) => Err(error(StoreErrorKind::Unavailable, operation, format!("no answer within {} s", TOTAL_DEADLINE.as_secs()))),
    }
}

/// Exponential with jitter; the total deadline is the caller's.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
}

/// The error of a failed read.
pub(super) fn of_read(operation: &'static str, status: &Status) -> StoreError {
    let kind = match status.code() {
        code if is_passing(code) => StoreErrorKind::Unavailable,
        Code::Unauthenticated | Code::PermissionDenied => StoreErrorKind::Denied,
        // FAILED_PRECONDITION of a query names the index that is missing.
        _ => StoreErrorKind::Refused,
    };
    error(kind, operation, text(status))
}

/// The meaning of a failed write.
pub(super) fn of_write(operation: &'static str, status: &Status) -> WriteFailure {
    let kind = match status.code() {
        Code::FailedPrecondition | Code::AlreadyExists | Code::NotFound if !is_about_the_database(status) => {
            return WriteFailure::Conflict;
        }
        // The transaction behind the commit was rolled back.
        Code::Aborted | Code::ResourceExhausted => {
            return WriteFailure::Again(error(StoreErrorKind::Unavailable, operation, text(status)));
        }
        // The commit may have been applied before the answer was lost.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Internal | Code::Unknown => StoreErrorKind::Unknown,
        Code::Unauthenticated | Code::PermissionDenied => StoreErrorKind::Denied,
        _ => StoreErrorKind::Refused,
    };
    WriteFailure::Failed(error(kind, operation, text(status)))
}

/// True for a missing document, but not for a missing database.
pub(super) fn is_missing_document(status: &Status) -> bool {
    status.code() == Code::NotFound && !is_about_the_database(status)
}

/// An error of this adapter.
pub(super) fn error(kind: StoreErrorKind, operation: &'static str, message: impl Display) -> StoreError {
    StoreError { kind, operation, message: message.to_string() }
}

fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Internal
            | Code::Unknown
            | Code::Aborted
            | Code::ResourceExhausted
    )
}

/// A missing database and one in Datastore mode have the codes of a lost race, which would be tried for ever.
fn is_about_the_database(status: &Status) -> bool {
    let message = status.message().to_ascii_lowercase();
    (message.contains("database") && message.contains("does not exist")) || message.contains("datastore mode")
}

fn text(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of_write(status: &Status) -> Option<StoreErrorKind> {
        match of_write("commit", status) {
            WriteFailure::Conflict => None,
            WriteFailure::Again(error) | WriteFailure::Failed(error) => Some(error.kind),
        }
    }

    #[test]
    fn a_condition_that_did_not_hold_is_a_conflict() {
        for status in [
            Status::failed_precondition("the stored version does not match"),
            Status::already_exists("Document already exists"),
            Status::not_found("No document to update"),
        ] {
            assert_eq!(kind_of_write(&status), None, "{status:?}");
        }
    }

    #[test]
    fn a_missing_database_is_refused_and_no_lost_race() {
        let status = Status::not_found("The database (default) does not exist for project p");
        assert_eq!(kind_of_write(&status), Some(StoreErrorKind::Refused));
        assert!(!is_missing_document(&status));
        assert_eq!(of_read("read", &status).kind, StoreErrorKind::Refused);
    }

    #[test]
    fn a_commit_without_an_answer_is_unknown_and_an_aborted_one_may_be_repeated() {
        assert_eq!(kind_of_write(&Status::unavailable("reset")), Some(StoreErrorKind::Unknown));
        assert_eq!(kind_of_write(&Status::deadline_exceeded("late")), Some(StoreErrorKind::Unknown));
        assert!(matches!(of_write("commit", &Status::aborted("contention")), WriteFailure::Again(_)));
    }

    #[test]
    fn a_missing_index_is_refused_with_the_message_that_names_it() {
        let error = of_read("meetings", &Status::failed_precondition("The query requires an index. Create it here: https://x"));
        assert_eq!(error.kind, StoreErrorKind::Refused);
        assert!(error.message.contains("https://x"));
    }
}
