//! Numbers from the environment: how much a test does.

use std::env;

/// The number that the variable is set to, if it is set.
///
/// # Panics
///
/// If it is no number.
pub(crate) fn variable(name: &str) -> Option<u64> {
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
