//! Charts as inline SVG: numbers become places and lengths here, words stay in the page's table beside it.

/// Height of the plot, in its own units.
const HEIGHT: f64 = 120.0;
/// Width of one hour.
const STEP: f64 = 30.0;

/// One hour of a forecast.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hour {
    pub(crate) label: String,
    pub(crate) bots: u64,
}

/// A bar of the plot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) height: String,
    pub(crate) is_over: bool,
    pub(crate) label: String,
    pub(crate) label_x: String,
    pub(crate) shows_label: bool,
    pub(crate) bots: u64,
}

/// The next hours against what can be held at once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    pub(crate) bars: Vec<Bar>,
    pub(crate) width: String,
    /// Height at which the places are used up.
    pub(crate) limit_y: String,
    pub(crate) places: u64,
    pub(crate) peak: u64,
    /// When the peak is.
    pub(crate) peak_at: String,
    /// The first hour that wants more than there is.
    pub(crate) short_at: String,
}

/// The chart of some hours.
#[allow(clippy::cast_precision_loss, reason = "bots and hours are few")]
pub(crate) fn chart(hours: &[Hour], places: u64) -> Chart {
    let peak = hours.iter().map(|hour| hour.bots).max().unwrap_or_default();
    let top = peak.max(places).max(1) as f64 * 1.1;
    let height = |bots: u64| bots as f64 / top * HEIGHT;
    let bar = |(index, hour): (usize, &Hour)| {
        let x = index as f64 * STEP;
        Bar {
            x: format!("{:.0}", x + 4.0),
            y: format!("{:.1}", HEIGHT - height(hour.bots)),
            height: format!("{:.1}", height(hour.bots)),
            is_over: hour.bots > places,
            label: hour.label.clone(),
            label_x: format!("{:.0}", x + STEP / 2.0),
            shows_label: index % 3 == 0,
            bots: hour.bots,
        }
    };
    let label = |found: Option<&Hour>| found.map(|hour| hour.label.clone()).unwrap_or_default();
    Chart {
        bars: hours.iter().enumerate().map(bar).collect(),
        width: format!("{:.0}", hours.len() as f64 * STEP),
        limit_y: format!("{:.1}", HEIGHT - height(places)),
        places,
        peak,
        peak_at: label(hours.iter().find(|hour| hour.bots == peak && peak > 0)),
        short_at: label(hours.iter().find(|hour| hour.bots > places)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_the_ground_and_tell_where_it_gets_tight() {
        let hour = |label: &str, bots| Hour { label: label.into(), bots };
        let drawn = chart(&[hour("10", 0), hour("11", 3), hour("12", 9)], 4);
        assert_eq!((drawn.peak, drawn.peak_at.as_str(), drawn.short_at.as_str()), (9, "12", "12"));
        assert!(drawn.bars.iter().all(|bar| {
            let (y, height): (f64, f64) = (bar.y.parse().unwrap(), bar.height.parse().unwrap());
            (y + height - HEIGHT).abs() < 0.11 && y >= 0.0
        }));
        assert_eq!(chart(&[], 0).peak_at, "");
    }
}
