//! [`Summary`]: the figures of a row.

use crate::race::Row;

/// The figures of the samples of a row, of all rounds together, in the race's unit.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The 99th percentile. With fewer than 100 samples it is the largest one.
    pub(crate) p99: f64,
}

impl Summary {
    /// `None` without samples.
    pub(crate) fn of(row: &Row) -> Option<Self> {
        let mut samples: Vec<_> = row.rounds.iter().flatten().copied().collect();
        samples.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        Some(Self { median: quantile(&samples, 50), min, max, p99: quantile(&samples, 99) })
    }
}

/// The median of a round; `None` without samples.
pub(crate) fn median(round: &[f64]) -> Option<f64> {
    let mut samples = round.to_vec();
    samples.sort_unstable_by(f64::total_cmp);
    (!samples.is_empty()).then(|| quantile(&samples, 50))
}

/// The smallest sample such that at least `percent` of the samples are not above it.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}
