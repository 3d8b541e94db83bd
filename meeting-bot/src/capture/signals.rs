//! Which watchdog signals are raised: pure, each with a threshold to raise it, another to clear it, and how long either must hold.

use std::time::Duration;

use bot_model::session::MediaHealth;

use super::health::{Lasting, stall_limit};

/// A black picture is worth a signal after this.
const BLACK_SECS: f64 = 20.0;
/// A still picture is normal while a slide is shown: it counts from here on, and only if the page shows another one.
const FROZEN_SECS: f64 = 30.0;
/// Somebody speaks by the platform, and nothing was recorded for so long: longer than any pause for breath.
const UNHEARD_SECS: f64 = 8.0;
/// Sound comes each 40 ms; a machine at its limit has been seen to pause for two seconds.
const SOUND_STALLED_SECS: f64 = 6.0;
/// The sound server was asked twice.
const SINK_LOST_SECS: f64 = 3.5;
/// Free space for half an hour at 720p, and when there is enough again.
const DISK_LOW: (u64, u64) = (512 * 1024 * 1024, 768 * 1024 * 1024);
/// Milliseconds: noticed by people, and surely not.
const DRIFT_MS: (i64, i64) = (150, 100);
/// Share of the frames.
const FRAMES_LOST: (f64, f64) = (0.25, 0.1);
/// Of ten seconds.
const CLIPPED_SECS: f64 = 3.0;

type Judge = fn(&MediaHealth, u32) -> bool;

struct Rule {
    name: &'static str,
    raises: (Judge, Duration),
    clears: (Judge, Duration),
}

const NOW: Duration = Duration::ZERO;
const RULES: &[Rule] = &[
    Rule { name: "segments_stalled", raises: (is_stalled, NOW), clears: (|health, secs| !is_stalled(health, secs), NOW) },
    Rule {
        name: "picture_black",
        raises: (|health, _| health.black_secs >= BLACK_SECS, NOW),
        clears: (|health, _| health.black_secs < 1.0, NOW),
    },
    Rule {
        name: "picture_frozen",
        raises: (|health, _| health.frozen_secs >= FROZEN_SECS && health.picture_differs, NOW),
        clears: (|health, _| health.frozen_secs < 1.0, NOW),
    },
    Rule {
        name: "wrong_sink",
        raises: (|health, _| !health.sink_is_right, NOW),
        clears: (|health, _| health.sink_is_right, NOW),
    },
    Rule {
        name: "sink_lost",
        raises: (|health, _| health.sink_lost_secs >= SINK_LOST_SECS, NOW),
        clears: (|health, _| health.sink_lost_secs <= 0.0, NOW),
    },
    Rule {
        name: "sound_stalled",
        raises: (|health, _| health.part.is_some() && health.sound_age_secs >= SOUND_STALLED_SECS, NOW),
        clears: (|health, _| health.sound_age_secs < 2.0, Duration::from_secs(2)),
    },
    Rule {
        name: "audio_missing",
        raises: (|health, _| health.unheard_secs >= UNHEARD_SECS, NOW),
        clears: (|health, _| health.unheard_secs <= 0.0, NOW),
    },
    Rule {
        name: "audio_clipping",
        raises: (|health, _| health.clipped_secs >= CLIPPED_SECS, NOW),
        clears: (|health, _| health.clipped_secs <= 0.0, NOW),
    },
    Rule {
        // With frames missing ffmpeg is behind, and its delays say nothing about the clocks.
        name: "av_drift",
        raises: (|health, _| drift(health) >= DRIFT_MS.0 && health.frames_lost_share < FRAMES_LOST.1, Duration::from_secs(30)),
        clears: (|health, _| drift(health) < DRIFT_MS.1, Duration::from_secs(30)),
    },
    Rule {
        name: "frames_missing",
        raises: (|health, _| health.frames_lost_share >= FRAMES_LOST.0, Duration::from_secs(10)),
        clears: (|health, _| health.frames_lost_share < FRAMES_LOST.1, Duration::from_secs(10)),
    },
    Rule {
        name: "disk_low",
        raises: (|health, _| health.free_bytes.is_some_and(|free| free < DISK_LOW.0), NOW),
        clears: (|health, _| health.free_bytes.is_some_and(|free| free > DISK_LOW.1), NOW),
    },
];

fn is_stalled(health: &MediaHealth, segment_secs: u32) -> bool {
    health.part.is_some() && health.segment_age_secs > stall_limit(segment_secs).as_secs_f64()
}

fn drift(health: &MediaHealth) -> i64 {
    health.drift_ms.unwrap_or_default().abs()
}

/// The signals, each raised or not.
#[derive(Debug, Clone, Default)]
pub struct Signals([State; RULES.len()]);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_raised: bool,
    /// What would change it holds since.
    turning: Lasting,
}

impl Signals {
    /// The signals that changed, with their new value.
    pub fn changes(&mut self, health: &MediaHealth, segment_secs: u32, now: Duration) -> Vec<(&'static str, bool)> {
        let mut changed = Vec::new();
        for (state, rule) in self.0.iter_mut().zip(RULES) {
            let (judge, lasting) = if state.is_raised { rule.clears } else { rule.raises };
            let turns = judge(health, segment_secs);
            state.turning.note(turns, now);
            if turns && state.turning.lasted(now) >= lasting {
                *state = State { is_raised: !state.is_raised, turning: Lasting::default() };
                changed.push((rule.name, state.is_raised));
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> MediaHealth {
        MediaHealth { part: Some(0), sink_is_right: true, ..MediaHealth::default() }
    }

    /// What is told of one health after another, each so many seconds after the one before.
    fn told(healths: &[(u64, MediaHealth)]) -> Vec<(&'static str, bool)> {
        let (mut signals, mut now) = (Signals::default(), Duration::ZERO);
        let look = |(secs, health): &(u64, MediaHealth)| {
            now += Duration::from_secs(*secs);
            signals.changes(health, 4, now)
        };
        healths.iter().flat_map(look).collect()
    }

    #[test]
    fn a_signal_is_told_when_it_begins_and_when_it_ends_and_not_between() {
        let black = MediaHealth { black_secs: 30.0, ..good() };
        let looks = [(1, good()), (1, black.clone()), (1, black), (1, good()), (1, good())];
        assert_eq!(told(&looks), [("picture_black", true), ("picture_black", false)]);
    }

    #[test]
    fn each_signal_is_raised_by_what_it_watches_and_by_nothing_less() {
        let table = [
            (
                "segments_stalled",
                MediaHealth { segment_age_secs: 21.0, ..good() },
                MediaHealth { segment_age_secs: 19.0, ..good() },
            ),
            ("picture_black", MediaHealth { black_secs: 20.0, ..good() }, MediaHealth { black_secs: 19.0, ..good() }),
            (
                "picture_frozen",
                MediaHealth { frozen_secs: 30.0, picture_differs: true, ..good() },
                MediaHealth { frozen_secs: 3_600.0, ..good() },
            ),
            ("wrong_sink", MediaHealth { sink_is_right: false, ..good() }, good()),
            ("sink_lost", MediaHealth { sink_lost_secs: 4.0, ..good() }, MediaHealth { sink_lost_secs: 1.0, ..good() }),
            ("sound_stalled", MediaHealth { sound_age_secs: 6.0, ..good() }, MediaHealth { sound_age_secs: 5.0, ..good() }),
            ("audio_missing", MediaHealth { unheard_secs: 8.0, ..good() }, MediaHealth { silent_secs: 600.0, ..good() }),
            ("audio_clipping", MediaHealth { clipped_secs: 3.0, ..good() }, MediaHealth { clipped_secs: 2.5, ..good() }),
            ("av_drift", MediaHealth { drift_ms: Some(-150), ..good() }, MediaHealth { drift_ms: Some(140), ..good() }),
            (
                "frames_missing",
                MediaHealth { frames_lost_share: 0.3, ..good() },
                MediaHealth { frames_lost_share: 0.2, ..good() },
            ),
            ("disk_low", MediaHealth { free_bytes: Some(1), ..good() }, MediaHealth { free_bytes: Some(1 << 40), ..good() }),
        ];
        assert_eq!(table.len(), RULES.len());
        for (name, bad, fair) in table {
            assert_eq!(told(&[(1, bad.clone()), (40, bad)]), [(name, true)]);
            assert_eq!(told(&[(1, fair.clone()), (40, fair)]), [], "{name}");
        }
    }

    #[test]
    fn between_the_two_thresholds_a_signal_stays_as_it_is() {
        let free = |mebibytes: u64| MediaHealth { free_bytes: Some(mebibytes << 20), ..good() };
        let looks = [(1, free(600)), (1, free(500)), (1, free(600)), (1, free(500)), (1, free(800)), (1, free(600))];
        assert_eq!(told(&looks), [("disk_low", true), ("disk_low", false)]);
    }

    #[test]
    fn a_moment_of_drift_or_lost_frames_raises_nothing() {
        let drifting = MediaHealth { drift_ms: Some(300), ..good() };
        assert_eq!(told(&[(1, drifting.clone()), (20, drifting.clone()), (1, good()), (20, drifting.clone())]), []);
        let behind = MediaHealth { frames_lost_share: 0.2, ..drifting };
        assert_eq!(told(&[(1, behind.clone()), (90, behind)]), [], "delays of a machine at its limit are no drift");
    }
}
