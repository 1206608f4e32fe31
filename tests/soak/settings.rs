//! [`Settings`]: what the environment asks for.

use crate::variable::variable;
use std::time::Duration;

pub(crate) struct Settings {
    pub(crate) calls: u64,
    pub(crate) seed: u64,
    pub(crate) stall: Duration,
}

impl Settings {
    /// # Panics
    ///
    /// If a variable is no number, or asks for too few calls.
    pub(crate) fn from_env() -> Self {
        let calls = variable("SOAK_CALLS").unwrap_or(1_000_000);
        assert!(calls >= 1_000, "SOAK_CALLS is 1,000 at least: with fewer there is nothing to compare");
        let seed = variable("SOAK_SEED").unwrap_or(1);
        let stall = Duration::from_secs(variable("SOAK_STALL").unwrap_or(60));
        Self { calls, seed, stall }
    }
}
