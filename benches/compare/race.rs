//! A [`Race`]: the rows of one table, measured in turns.
//!
//! Whatever else the machine does, and however its clock speed drifts, meets all rows alike: each round runs every
//! contestant once, in an order of its own. Rows of different tables were not measured side by side; rows of one
//! table were.

use crate::peers::{About, Kind};
use crate::progress::Progress;

/// What makes a contestant give its samples for one round: any number, in the race's unit, less is better.
pub(crate) type Run = Box<dyn FnMut() -> Result<Vec<f64>, Skipped>>;

/// Why a contestant cannot take part on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// A row to be.
pub(crate) struct Contestant {
    name: &'static str,
    kind: Kind,
    run: Run,
}

/// A table to be.
pub(crate) struct Race {
    /// What `--only` selects by, and the JSON file names it by.
    pub(crate) id: String,
    /// What is measured, in a line.
    pub(crate) about: &'static str,
    /// What a sample counts.
    pub(crate) unit: &'static str,
    /// Whether to show how many a second that makes. The unit must be nanoseconds then.
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

    /// Adds a row that not every machine can measure. Once it was skipped, it is not asked again.
    pub(crate) fn enter_fallible(
        &mut self,
        name: &'static str,
        kind: Kind,
        run: impl FnMut() -> Result<Vec<f64>, Skipped> + 'static,
    ) {
        self.contestants.push(Contestant { name, kind, run: Box::new(run) });
    }

    /// How many times a contestant will run, all together.
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
