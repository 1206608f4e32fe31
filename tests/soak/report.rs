//! What the soak prints, and what makes it fail.

use crate::life::{STILLBORN, Totals};
use crate::system::Sample;
use crate::watch::faults;
use crate::{HEAP, RESIDENT};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub(crate) const HEADER: &str =
    "round         calls   ns/call   heap (bytes)   resident (KiB)   threads   descriptors";

/// The line of one round.
pub(crate) fn round(round: u64, calls: u64, took: Duration, rest: &Sample) -> String {
    let each = took.as_nanos() / u128::from(calls.max(1));
    let [resident, threads, descriptors] = [rest.resident, rest.threads, rest.descriptors].map(known);
    let (calls, heap) = (HumanCount(calls).to_string(), HumanCount(rest.heap).to_string());
    format!("{round:>5} {calls:>13} {each:>9} {heap:>14} {resident:>16} {threads:>9} {descriptors:>13}")
}

/// What became of the calls.
pub(crate) fn calls(totals: &Totals) -> Table {
    let Totals { lanes, stats, ledger, inside, fired, told } = totals;
    table(
        ["calls", ""],
        &[
            ("submitted", stats.submitted),
            ("= completed", stats.completed),
            ("+ panicked", stats.panicked),
            ("+ cancelled", stats.cancelled),
            ("+ refused", stats.refused),
            ("awaited, and gave a value", ledger.ok),
            ("sessions", ledger.granted),
            ("streams", ledger.streams),
            ("awaited by another caller than made them", ledger.elsewhere),
            ("made by the lane itself", *inside),
            ("interrupters called", *fired),
            ("functions of tokens called", *told),
            ("closures that took the object", ledger.ended),
            ("futures spawned", ledger.spawned),
            ("scopes", ledger.scopes),
            ("values kept", ledger.kept),
            ("lanes", *lanes),
            ("lanes that never came up", STILLBORN.load(Relaxed)),
        ]
        .map(|(name, count)| [name.to_owned(), HumanCount(count).to_string()]),
    )
}

/// What the process holds.
pub(crate) fn memory(first: &Sample, last: &Sample, most: &Sample) -> Table {
    let row = |name: &str, of: fn(&Sample) -> Option<u64>| {
        [name.to_owned(), known(of(first)), known(of(last)), known(of(most))]
    };
    table(
        ["", "start (at rest, after the warm-up)", "end (at rest)", "most (at work)"],
        &[
            row("heap (bytes)", |sample| Some(sample.heap)),
            row("resident (KiB)", |sample| sample.resident),
            row("threads", |sample| sample.threads),
            row("file descriptors", |sample| sample.descriptors),
        ],
    )
}

/// Why the soak has failed, if it has.
pub(crate) fn failures(asked: u64, totals: &Totals, first: &Sample, last: &Sample) -> Vec<String> {
    let mut failures = Vec::new();
    if faults() > 0 {
        failures.push(format!("{} faults", faults()));
    }
    let stats = &totals.stats;
    if stats.submitted < asked {
        failures.push(format!("{asked} calls were to be made, and {} were", stats.submitted));
    }
    if stats.submitted != stats.completed + stats.panicked + stats.cancelled + stats.refused {
        failures.push("a call is not accounted for".into());
    }
    let mut grown = |name: &str, first: Option<u64>, last: Option<u64>, by: u64| {
        if let (Some(first), Some(last)) = (first, last) {
            if last > first + by {
                failures.push(format!("{name} have grown from {first} to {last}, by more than {by}"));
            }
        }
    };
    grown("bytes of heap", Some(first.heap), Some(last.heap), HEAP);
    grown("KiB of resident memory", first.resident, last.resident, RESIDENT);
    grown("threads", first.threads, last.threads, 0);
    grown("file descriptors", first.descriptors, last.descriptors, 0);
    failures
}

fn known(value: Option<u64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| HumanCount(value).to_string())
}

fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
