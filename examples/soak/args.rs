//! [`Args`]: what the command line asks for.

use std::time::Duration;

pub(crate) const USAGE: &str = "\
cargo run --release --example soak -- [--calls <number>] [--seed <number>] [--stall <seconds>]

  --calls   how many calls to make: 1_000_000, 500k, 20m, 1g (default 200k)
  --seed    another number, other calls (default 1)
  --stall   a caller that gets nowhere for so long hangs, which is a failure (default 60)";

pub(crate) struct Args {
    pub(crate) calls: u64,
    pub(crate) seed: u64,
    pub(crate) stall: Duration,
}

impl Args {
    /// What the arguments say, those after the program's name. `None`: somebody asks for help.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self { calls: 200_000, seed: 1, stall: Duration::from_secs(60) };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--calls" | "--seed" | "--stall" => argument,
                other => return Err(format!("unknown argument `{other}`")),
            };
            let value = arguments.next().ok_or_else(|| format!("{name} needs a number"))?;
            let number =
                number(&value).ok_or_else(|| format!("{name} needs a number, and `{value}` is none"))?;
            match name.as_str() {
                "--calls" => args.calls = number,
                "--seed" => args.seed = number,
                _ => args.stall = Duration::from_secs(number),
            }
        }
        if args.calls < 1_000 {
            return Err("--calls needs 1,000 at least: with fewer there is nothing to compare".into());
        }
        Ok(Some(args))
    }
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
