//! A [`Race`]: the rows of one table, measured in turns.
//!
//! A race has rounds. Each round runs every contestant once, in random order. So whatever else the
//! machine does, and however its clock speed drifts, meets all rows of a table alike. Rows of
//! different tables were not measured side by side.

use crate::peers::{About, Kind};
use crate::progress::Progress;

/// Measures a contestant for one round. Returns any number of samples, in the race's unit; less is
/// better.
pub(crate) type Run = Box<dyn FnMut() -> Result<Vec<f64>, Skipped>>;

/// Why a contestant cannot take part on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// What becomes a row of the table.
pub(crate) struct Contestant {
    name: &'static str,
    kind: Kind,
    run: Run,
}

/// What becomes a table.
pub(crate) struct Race {
    /// The name that `--only` selects and that the JSON file has.
    pub(crate) id: String,
    /// What is measured, in one line.
    pub(crate) about: &'static str,
    /// What a sample counts.
    pub(crate) unit: &'static str,
    /// Whether the table also shows calls per second. The unit must be nanoseconds then.
    pub(crate) rate: bool,
    pub(crate) rounds: u32,
    contestants: Vec<Contestant>,
}

/// The rows of a table.
pub(crate) struct Finished {
    pub(crate) race: Race,
    pub(crate) rows: Vec<Row>,
}

/// The samples of one contestant, by round.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) rounds: Vec<Vec<f64>>,
    pub(crate) skipped: Option<Skipped>,
}

impl Race {
    pub(crate) fn new(id: impl Into<String>, about: &'static str, rounds: u32) -> Self {
        Self { id: id.into(), about, unit: "ns per call", rate: false, rounds, contestants: Vec::new() }
    }

    pub(crate) fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Adds a row. `run` returns the samples of one round.
    pub(crate) fn enter(
        &mut self,
        name: &'static str,
        kind: Kind,
        mut run: impl FnMut() -> Vec<f64> + 'static,
    ) {
        self.enter_fallible(name, kind, move || Ok(run()));
    }

    /// Adds the row of a peer.
    pub(crate) fn enter_peer(&mut self, about: About, run: impl FnMut() -> Vec<f64> + 'static) {
        self.enter(about.name, about.kind, run);
    }

    /// Adds a row that not every machine can measure. Once `run` has skipped it, `run` is not
    /// called again.
    pub(crate) fn enter_fallible(
        &mut self,
        name: &'static str,
        kind: Kind,
        run: impl FnMut() -> Result<Vec<f64>, Skipped> + 'static,
    ) {
        self.contestants.push(Contestant { name, kind, run: Box::new(run) });
    }

    /// How many runs there will be, of all contestants together.
    pub(crate) fn steps(&self) -> u64 {
        u64::from(self.rounds) * self.contestants.len() as u64
    }

    /// Runs all rounds.
    ///
    /// # Panics
    ///
    /// If a check fails.
    pub(crate) fn run(mut self, progress: &Progress) -> Finished {
        let mut rows: Vec<_> = self
            .contestants
            .iter()
            .map(|it| Row { name: it.name, kind: it.kind, rounds: Vec::new(), skipped: None })
            .collect();
        let mut order: Vec<_> = (0..rows.len()).collect();
        for _ in 0..self.rounds {
            fastrand::shuffle(&mut order);
            for &place in &order {
                let (contestant, row) = (&mut self.contestants[place], &mut rows[place]);
                progress.step(&self.id, contestant.name);
                if row.skipped.is_none() {
                    match (contestant.run)() {
                        Ok(samples) => row.rounds.push(samples),
                        Err(skipped) => row.skipped = Some(skipped),
                    }
                }
            }
        }
        Finished { race: self, rows }
    }
}
