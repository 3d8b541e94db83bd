//! The bucket in memory: raw segments are created once, a final object is replaced by generation match.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bot_model::invariants::Violation;
use bot_store::clock::simulated::true_now;
use chrono::{DateTime, Utc};
use tokio::time::sleep;

use super::actor::{Actor, Fate, Weather, on_its_way};
use super::plan::between;

/// One segment: (attempt, run, number).
pub type Segment = (u32, String, u32);

/// What a video in the simulation is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Video {
    /// Changes with every write; 0 is none.
    pub generation: u64,
    /// In order.
    pub segments: Vec<Segment>,
    /// The hash of the frozen list that it was made of.
    pub list: Option<String>,
}

/// The objects.
#[derive(Default)]
pub struct Bucket {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By path; each with when it came, by a clock that nobody in the system has.
    raw: BTreeMap<String, BTreeMap<Segment, DateTime<Utc>>>,
    videos: BTreeMap<String, Video>,
    generation: u64,
    broken: Vec<String>,
}

/// A call whose outcome is not known, or that was refused: try again.
#[derive(Debug)]
pub struct Unavailable;

impl Bucket {
    /// Creates a raw segment below a path; one that exists counts as written.
    pub async fn put(
        self: &Arc<Self>,
        actor: &Actor,
        weather: &Weather,
        path: &str,
        segment: Segment,
    ) -> Result<(), Unavailable> {
        if weather.is_late() {
            let (bucket, path) = (Arc::clone(self), path.to_owned());
            return Err(late(move || bucket.create(&path, segment)).await);
        }
        let fate = weather.fate(actor).await;
        if fate != Fate::Refused {
            self.create(path, segment);
        }
        if fate == Fate::Answered { Ok(()) } else { Err(Unavailable) }
    }

    fn create(&self, path: &str, segment: Segment) {
        let at = true_now().unwrap_or_default();
        self.lock().raw.entry(path.to_owned()).or_default().entry(segment).or_insert(at);
    }

    /// What is below a path.
    pub async fn list(&self, actor: &Actor, weather: &Weather, path: &str) -> Result<BTreeSet<Segment>, Unavailable> {
        match weather.fate(actor).await {
            Fate::Answered => Ok(self.raw(path)),
            _ => Err(Unavailable),
        }
    }

    /// The video as the bucket has it.
    pub async fn head(&self, actor: &Actor, weather: &Weather, path: &str) -> Result<Video, Unavailable> {
        match weather.fate(actor).await {
            Fate::Answered => Ok(self.video(path)),
            _ => Err(Unavailable),
        }
    }

    /// Replaces exactly this generation, labelled with the list that it was made of; false where another stands.
    pub async fn publish(
        self: &Arc<Self>,
        actor: &Actor,
        weather: &Weather,
        path: &str,
        over: u64,
        (segments, list): (&[Segment], Option<String>),
    ) -> Result<bool, Unavailable> {
        let (bucket, path, segments) = (Arc::clone(self), path.to_owned(), segments.to_vec());
        let replace = move || bucket.replace(&path, over, segments, list);
        if weather.is_late() {
            return Err(late(move || {
                let _ = replace();
            })
            .await);
        }
        let fate = weather.fate(actor).await;
        if fate == Fate::Refused {
            return Err(Unavailable);
        }
        let is_ours = replace();
        if fate == Fate::Answered { Ok(is_ours) } else { Err(Unavailable) }
    }

    fn replace(&self, path: &str, over: u64, segments: Vec<Segment>, list: Option<String>) -> bool {
        let mut state = self.lock();
        state.generation += 1;
        let generation = state.generation;
        let video = state.videos.entry(path.to_owned()).or_default();
        if video.generation != over {
            return video.segments == segments;
        }
        let differs = over != 0 && video.list == list && video.segments != segments;
        *video = Video { generation, segments, list };
        if differs {
            state.broken.push(format!("two different videos were published of one list of segments, below {path}"));
        }
        true
    }

    /// I7: whatever is published of one list of segments is the same.
    pub fn check(&self) -> Result<(), Violation> {
        match self.lock().broken.first() {
            Some(what) => Err(Violation { id: "I7", what: what.clone() }),
            None => Ok(()),
        }
    }

    /// As it stands.
    pub fn video(&self, path: &str) -> Video {
        self.lock().videos.get(path).cloned().unwrap_or_default()
    }

    /// As it stands.
    pub fn raw(&self, path: &str) -> BTreeSet<Segment> {
        self.arrivals(path).into_keys().collect()
    }

    /// The same, with when each came.
    pub fn arrivals(&self, path: &str) -> BTreeMap<Segment, DateTime<Utc>> {
        self.lock().raw.get(path).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What its sender gives up before it arrives.
async fn late(arrives: impl FnOnce() + Send + 'static) -> Unavailable {
    tokio::spawn(async move {
        sleep(on_its_way()).await;
        arrives();
    });
    sleep(Duration::from_secs(between(1, 12))).await;
    Unavailable
}
