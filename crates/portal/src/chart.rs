//! The forecast as inline SVG: numbers become places and lengths here, words stay in the page beside it.

use crate::shapes::Forecast;
use crate::zone::{Stamp, Zone};

/// Height of the plot, in its own units.
const HEIGHT: f64 = 100.0;
/// Width of one quarter of an hour.
const STEP: f64 = 10.0;
/// Labels below the plot, at equal distances.
const LABELS: usize = 5;

/// A bar of the plot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) height: String,
    pub(crate) is_over: bool,
    /// For a person who points at it.
    pub(crate) says: String,
}

/// The next hours against what can be held at once.
pub(crate) struct Chart {
    pub(crate) bars: Vec<Bar>,
    pub(crate) width: String,
    /// Height at which the places are used up.
    pub(crate) limit_y: String,
    pub(crate) labels: Vec<String>,
    pub(crate) places: u64,
    pub(crate) most: u64,
    pub(crate) shortfall: u64,
    pub(crate) short_at: Option<Stamp>,
    pub(crate) is_partial: bool,
}

/// The chart of a forecast.
#[allow(clippy::cast_precision_loss, reason = "bots and quarters of hours are few")]
pub(crate) fn chart(forecast: &Forecast, zone: &Zone) -> Chart {
    let top = forecast.buckets.iter().map(|one| one.bots).max().unwrap_or_default().max(forecast.places).max(1) as f64 * 1.1;
    let height = |bots: u64| bots as f64 / top * HEIGHT;
    let clock = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| zone.minute(at).clock).unwrap_or_default();
    let bar = |(index, one): (usize, &crate::shapes::Quarter)| Bar {
        x: format!("{:.0}", index as f64 * STEP),
        y: format!("{:.1}", HEIGHT - height(one.bots)),
        height: format!("{:.1}", height(one.bots)),
        is_over: one.bots > forecast.places,
        says: format!("{}: {}", clock(one.starts_at), one.bots),
    };
    let last = forecast.buckets.len().saturating_sub(1);
    let label = |index: usize| clock(forecast.buckets.get(last * index / (LABELS - 1)).and_then(|one| one.starts_at));
    Chart {
        bars: forecast.buckets.iter().enumerate().filter(|(_, one)| one.bots > 0).map(bar).collect(),
        width: format!("{:.0}", (forecast.buckets.len() as f64 * STEP).max(STEP)),
        limit_y: format!("{:.1}", HEIGHT - height(forecast.places)),
        labels: (0..LABELS).map(label).collect(),
        places: forecast.places,
        most: forecast.most,
        shortfall: forecast.shortfall,
        short_at: forecast.first_shortfall_at.map(|at| zone.minute(at)),
        is_partial: forecast.is_partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_the_ground_and_tell_where_it_gets_tight() {
        let forecast: Forecast = serde_json::from_value(serde_json::json!({"places": 4, "most": 9, "shortfall": 5, "meetings": 12,
            "first_shortfall_at": "2027-01-15T10:30:00+00:00",
            "buckets": [{"starts_at": "2027-01-15T10:00:00Z", "bots": 0}, {"starts_at": "2027-01-15T10:15:00Z", "bots": 4}, {"starts_at": "2027-01-15T10:30:00Z", "bots": 9}]}))
        .unwrap();
        let zone = Zone::of(&axum::http::HeaderMap::new(), "2027-01-15T10:00:00Z".parse().unwrap());
        let drawn = chart(&forecast, &zone);
        assert_eq!(
            drawn.bars.iter().map(|bar| (bar.says.as_str(), bar.is_over)).collect::<Vec<_>>(),
            [("10:15: 4", false), ("10:30: 9", true)]
        );
        assert!(drawn.bars.iter().all(|bar| {
            let (y, height): (f64, f64) = (bar.y.parse().unwrap(), bar.height.parse().unwrap());
            (y + height - HEIGHT).abs() < 0.11 && y >= 0.0
        }));
        assert_eq!((drawn.labels.first().map(String::as_str), drawn.short_at.unwrap().clock.as_str()), (Some("10:00"), "10:30"));
        assert_eq!(chart(&Forecast::default(), &zone).bars, []);
    }
}
