//! The tables on the output stream, and the JSON file.

use crate::peers::Kind;
use crate::placement;
use crate::plan::Plan;
use crate::race::{Finished, Row};
use crate::stats::{Summary, median};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::env;

/// The row with the lowest median among those for which `counts` holds.
fn best(rows: &[Row], counts: impl Fn(&Row) -> bool) -> Option<Summary> {
    let summaries = rows.iter().filter(|row| counts(row)).filter_map(Summary::of);
    summaries.min_by(|a, b| a.median.total_cmp(&b.median))
}

/// The table of a race.
pub(crate) fn table(finished: &Finished) -> String {
    let Finished { race, rows } = finished;
    let affine = best(rows, |row| row.kind == Kind::Affine);
    let any = best(rows, |row| matches!(row.kind, Kind::Affine | Kind::Pool));
    let limits: Vec<_> = rows
        .iter()
        .filter(|row| row.kind == Kind::Limit)
        .filter_map(|row| Some((row.name, Summary::of(row)?)))
        .collect();

    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let mut header: Vec<_> =
        ["", "kind", "median", "min", "max", "p99", "/ best affine", "p99 / its p99", "/ best of any"]
            .map(String::from)
            .into();
    header.extend(limits.iter().map(|(name, _)| format!("/ {name}")));
    if race.rate {
        header.push("per second".into());
    }
    table.set_header(header);

    for row in rows {
        let mut cells = vec![row.name.to_owned(), row.kind.name().to_owned()];
        if let Some(Summary { median, min, max, p99 }) = Summary::of(row) {
            cells.extend([median, min, max, p99].map(figure));
            cells.push(ratio(median, affine.map(|best| best.median)));
            cells.push(ratio(p99, affine.map(|best| best.p99)));
            cells.push(ratio(median, any.map(|best| best.median)));
            cells.extend(limits.iter().map(|(_, limit)| ratio(median, Some(limit.median))));
            if race.rate {
                cells.push(figure(1e9 / median));
            }
        } else if let Some(skipped) = &row.skipped {
            cells.push(format!("skipped: {}", skipped.0));
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("\n## {}: {}\n{}\n\n{table}", race.id, race.unit, race.about)
}

/// A figure with at least three digits: 0.0312, 4.63, 86.1, 1,234.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

/// A figure on a scale: 0.01, 1, 1,000.
pub(crate) fn whole(value: f64) -> String {
    if value < 1.0 { format!("{value}") } else { grouped(&format!("{value:.0}")) }
}

/// A whole number with a comma before every three digits.
fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len() - place;
        if place > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(crate) fn ratio(value: f64, of: Option<f64>) -> String {
    match of {
        Some(of) if of > 0.0 => format!("{:.2}", value / of),
        _ => String::new(),
    }
}

/// Everything that was measured, for programs to read.
pub(crate) fn json(plan: &Plan, races: &[Finished]) -> Value {
    let races: Vec<_> = races
        .iter()
        .map(|Finished { race, rows }| {
            let rows: Vec<_> = rows.iter().map(json_row).collect();
            json!({ "id": race.id, "about": race.about, "unit": race.unit, "rounds": race.rounds, "rows": rows })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": env::consts::OS,
        "arch": env::consts::ARCH,
        "cpus": placement::cpus(),
        "quick": plan.quick,
        "races": races,
    })
}

fn json_row(row: &Row) -> Value {
    let medians: Vec<_> = row.rounds.iter().map(|round| median(round)).collect();
    let mut value = json!({
        "name": row.name,
        "kind": row.kind.name(),
        "samples": row.rounds.iter().map(Vec::len).sum::<usize>(),
        "round_medians": medians,
    });
    if let Some(Summary { median, min, max, p99 }) = Summary::of(row) {
        value["median"] = json!(median);
        value["min"] = json!(min);
        value["max"] = json!(max);
        value["p99"] = json!(p99);
    }
    if let Some(skipped) = &row.skipped {
        value["skipped"] = json!(skipped.0);
    }
    value
}
