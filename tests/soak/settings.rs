//! [`Settings`]: what the environment asks for.

use std::env;
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

fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        number(&value).unwrap_or_else(|| {
            panic!("{name} is a number, such as 1_000_000, 500k, 20m or 1g, not `{value}`")
        }),
    )
}

/// 1000, `1_000` or `1k`.
fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1_000),
        (at, 'm') => (&text[..at], 1_000_000),
        (at, 'g') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(unit)
}
