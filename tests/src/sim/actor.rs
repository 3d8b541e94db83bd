//! What stands between an actor and the world: it may be paused, cut off, or meet a call that fails or loses its answer.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bot_model::ids::InstanceId;
use bot_store::clock::simulated::Skew;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{between, draws};

/// One controller or one pod.
#[derive(Debug, Default)]
pub struct Actor {
    /// Its name.
    pub name: String,
    /// Whose run it is, and of which attempt; none for a controller.
    pub run: Option<(InstanceId, u32)>,
    /// Its wall clock.
    pub skew: Skew,
    bot_is_gone: AtomicBool,
    gates: Mutex<Gates>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Gates {
    paused_until: Option<Instant>,
    cut_until: Option<Instant>,
}

/// Rates of trouble out of 1,000 calls, and outages, shared by everybody.
#[derive(Debug)]
pub struct Weather {
    /// Refused before anything was applied.
    pub refused: u64,
    /// Applied, the answer lost.
    pub lost: u64,
    /// Applied only after the caller has given up.
    pub late: u64,
    outage: Mutex<Option<Instant>>,
    troubles: Mutex<u64>,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is applied and answered.
    Answered,
    /// It is applied, and nobody hears of it.
    AnswerLost,
    /// It is not applied.
    Refused,
}

impl Actor {
    /// A machine with this name and a clock that is so many seconds ahead.
    pub fn new(name: &str, run: Option<(InstanceId, u32)>, ahead: i64) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), run, skew: Arc::new(AtomicI64::new(1_000 * ahead)), ..Self::default() })
    }

    /// From now on its clock is so many seconds ahead.
    pub fn jump(&self, ahead: i64) {
        self.skew.store(1_000 * ahead, Ordering::Relaxed);
    }

    /// Seconds by which its clock is ahead.
    pub fn ahead(&self) -> i64 {
        self.skew.load(Ordering::Relaxed) / 1_000
    }

    /// The bot beside this manager is dead.
    pub fn lose_bot(&self) {
        self.bot_is_gone.store(true, Ordering::Relaxed);
    }

    /// True where there is no bot that could join or record.
    pub fn has_no_bot(&self) -> bool {
        self.bot_is_gone.load(Ordering::Relaxed)
    }

    /// It stands still from now on.
    pub fn pause(&self, secs: u64) {
        self.lock().paused_until = Some(Instant::now() + Duration::from_secs(secs));
    }

    /// It reaches nobody from now on.
    pub fn cut(&self, secs: u64) {
        self.lock().cut_until = Some(Instant::now() + Duration::from_secs(secs));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Weather {
    /// Of a plan.
    pub fn new(refused: u64, lost: u64, late: u64) -> Arc<Self> {
        Arc::new(Self { refused, lost, late, outage: Mutex::default(), troubles: Mutex::default() })
    }

    /// Nobody is answered from now on.
    pub fn outage(&self, secs: u64) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + Duration::from_secs(secs));
    }

    /// How many calls met trouble.
    pub fn troubles(&self) -> u64 {
        *self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the time of a call on its way, and says what becomes of it.
    pub async fn fate(&self, actor: &Actor) -> Fate {
        let gates = *actor.lock();
        if let Some(until) = gates.paused_until {
            sleep_until(until).await;
        }
        let outage = *self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if [gates.cut_until, outage].into_iter().flatten().any(|until| Instant::now() < until) {
            sleep(Duration::from_secs(between(1, 10))).await;
            return self.troubled(Fate::Refused);
        }
        let slow = draws(20);
        sleep(Duration::from_millis(if slow { between(500, 8_000) } else { between(2, 60) })).await;
        match () {
            () if draws(self.refused) => self.troubled(Fate::Refused),
            () if draws(self.lost) => self.troubled(Fate::AnswerLost),
            () => Fate::Answered,
        }
    }

    /// True where a write, that its sender is about to send, arrives after the sender has given it up: see [`on_its_way`].
    pub fn is_late(&self) -> bool {
        self.late > 0 && draws(self.late) && self.troubled(Fate::AnswerLost) == Fate::AnswerLost
    }

    fn troubled(&self, fate: Fate) -> Fate {
        *self.troubles.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        fate
    }
}

/// How long a late call is on its way after its caller has given it up.
pub fn on_its_way() -> Duration {
    Duration::from_millis(between(20, 30_000))
}
