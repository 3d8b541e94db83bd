//! The bucket in memory: raw segments are created once, a final object is replaced by generation match.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::actor::{Actor, Fate, Weather};

/// One segment: (attempt, run, number).
pub type Segment = (u32, String, u32);

/// What a video in the simulation is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Video {
    /// Changes with every write; 0 is none.
    pub generation: u64,
    /// In order.
    pub segments: Vec<Segment>,
}

/// The objects.
#[derive(Default)]
pub struct Bucket {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    raw: BTreeMap<String, BTreeSet<Segment>>,
    videos: BTreeMap<String, Video>,
    generation: u64,
}

/// A call whose outcome is not known, or that was refused: try again.
#[derive(Debug)]
pub struct Unavailable;

impl Bucket {
    /// Creates a raw segment below a path; one that exists counts as written.
    pub async fn put(&self, actor: &Actor, weather: &Weather, path: &str, segment: Segment) -> Result<(), Unavailable> {
        let fate = weather.fate(actor).await;
        if fate != Fate::Refused {
            self.lock().raw.entry(path.to_owned()).or_default().insert(segment);
        }
        if fate == Fate::Answered { Ok(()) } else { Err(Unavailable) }
    }

    /// What is below a path.
    pub async fn list(&self, actor: &Actor, weather: &Weather, path: &str) -> Result<BTreeSet<Segment>, Unavailable> {
        match weather.fate(actor).await {
            Fate::Answered => Ok(self.raw(path)),
            _ => Err(Unavailable),
        }
    }

    /// Replaces exactly this generation; false where another stands.
    pub async fn publish(
        &self,
        actor: &Actor,
        weather: &Weather,
        path: &str,
        over: u64,
        segments: &[Segment],
    ) -> Result<bool, Unavailable> {
        let fate = weather.fate(actor).await;
        if fate == Fate::Refused {
            return Err(Unavailable);
        }
        let mut state = self.lock();
        state.generation += 1;
        let generation = state.generation;
        let video = state.videos.entry(path.to_owned()).or_default();
        let is_there = video.segments == segments;
        if video.generation == over {
            *video = Video { generation, segments: segments.to_vec() };
        } else if !is_there {
            return Ok(false);
        }
        if fate == Fate::Answered { Ok(true) } else { Err(Unavailable) }
    }

    /// As it stands.
    pub fn video(&self, path: &str) -> Video {
        self.lock().videos.get(path).cloned().unwrap_or_default()
    }

    /// As it stands.
    pub fn raw(&self, path: &str) -> BTreeSet<Segment> {
        self.lock().raw.get(path).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
