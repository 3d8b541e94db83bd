//! Answers that cost the store much, given out again for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::problem::Problem;

/// Tenants whose answers are kept at the same time.
const MOST: usize = 1_000;

/// Answers to questions about organizations (`None` for all) and a number of hours. Whoever asks the same meanwhile waits for the answer
/// that is being found. Of the same organizations one question is answered at a time: those of one tenant hold up no other.
pub(crate) struct Kept<A>(Mutex<HashMap<Organizations, Answers<A>>>);

type Organizations = Option<Vec<String>>;

/// Of some organizations, by the hours that were asked for, with when each was found.
type Answers<A> = Arc<tokio::sync::Mutex<HashMap<u32, (Instant, A)>>>;

impl<A> Default for Kept<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Clone> Kept<A> {
    /// An answer that is younger than `age`, or the one that `find` finds.
    pub(crate) async fn get(
        &self,
        (organizations, hours): (&Organizations, u32),
        age: Duration,
        find: impl Future<Output = Result<A, Problem>>,
    ) -> Result<A, Problem> {
        let answers = self.of(organizations);
        let mut answers = answers.lock().await;
        answers.retain(|_, (at, _)| at.elapsed() < age);
        if let Some((_, answer)) = answers.get(&hours) {
            return Ok(answer.clone());
        }
        let answer = find.await?;
        answers.insert(hours, (Instant::now(), answer.clone()));
        Ok(answer)
    }

    /// The answers to these organizations' questions. Where there are too many, those of others that nobody is waiting for are let go.
    fn of(&self, organizations: &Organizations) -> Answers<A> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, answers| Arc::strong_count(answers) > 1);
        }
        Arc::clone(all.entry(organizations.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn an_answer_is_given_out_again_until_it_is_old() {
        let kept = Kept::default();
        assert_eq!(kept.get((&None, 24), LONG, async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(kept.get((&None, 24), LONG, async { Ok(2) }).await.unwrap(), 1);
        assert_eq!(kept.get((&None, 1), LONG, async { Ok(3) }).await.unwrap(), 3);
        assert_eq!(kept.get((&Some(vec!["a".into()]), 24), LONG, async { Ok(4) }).await.unwrap(), 4);
        assert_eq!(kept.get((&None, 24), Duration::ZERO, async { Ok(5) }).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn the_questions_of_one_tenant_hold_up_no_other() {
        let kept = Kept::default();
        let (a, b) = (Some(vec!["a".to_owned()]), Some(vec!["b".to_owned()]));
        let endless = kept.get((&a, 1), LONG, std::future::pending());
        tokio::pin!(endless);
        tokio::select! {
            biased;
            _ = &mut endless => unreachable!("it never ends"),
            answer = kept.get((&b, 1), LONG, async { Ok(2) }) => assert_eq!(answer.unwrap(), 2),
        }
    }

    #[tokio::test]
    async fn so_many_tenants_are_remembered_and_no_more() {
        let kept = Kept::default();
        for tenant in 0..MOST + 10 {
            kept.get((&Some(vec![tenant.to_string()]), 1), LONG, async { Ok(tenant) }).await.unwrap();
        }
        assert!(kept.0.lock().unwrap().len() <= MOST);
    }
}
