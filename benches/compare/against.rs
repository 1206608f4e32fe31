//! Two checkouts of the crate, measured in turns.
//!
//! Each checkout brings its own benchmark, so any two can be compared that print what they measure
//! in the same way. The programs run one race at a time, in random order within a turn. What the
//! machine does meanwhile, and however its clock speed drifts, meets both alike. The peers and the
//! limits are the same code on both sides: how far their ratios are from 1 is the noise.

use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{figure, ratio};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A benchmark program.
struct Program {
    name: &'static str,
    path: PathBuf,
}

/// The medians of a row, of each turn, on either side.
struct Row {
    name: String,
    kind: String,
    medians: [Vec<f64>; 2],
}

/// Compares this checkout with the one in this directory.
pub(crate) fn run(plan: &Plan, checkout: &Path) -> Result<(), Box<dyn Error>> {
    let programs = [
        Program { name: "that", path: build(checkout)? },
        Program { name: "this", path: env::current_exe()? },
    ];
    let [that, this] = [&programs[0].races()?, &programs[1].races()?];
    let races: Vec<_> = this.iter().filter(|race| that.contains(*race) && plan.wants(race)).collect();
    if races.is_empty() {
        return Err("no table of this name is in both checkouts".into());
    }
    let turns = plan.count(3, 10);
    println!("`that` is {}, `this` is this checkout: {turns} turns", checkout.display());
    let progress = Progress::new(u64::from(turns) * 2 * races.len() as u64);
    let mut noise = Vec::new();
    for race in races {
        let (mut rows, mut unit) = (Vec::new(), String::new());
        for _ in 0..turns {
            let mut order = [0, 1];
            fastrand::shuffle(&mut order);
            for side in order {
                progress.step(race, programs[side].name);
                unit = programs[side].measure(race, side, &mut rows)?;
            }
        }
        progress.print(&format!("\n## {race}: {unit}\n\n{}", table(&rows)));
        noise.extend(rows.iter().filter(|row| row.kind != "ours").filter_map(Row::ratio));
    }
    progress.finish();
    noise.sort_unstable_by(f64::total_cmp);
    if let [least, .., greatest] = noise[..] {
        println!("\nthe same code on both sides: ratios from {least:.2} to {greatest:.2}");
    }
    Ok(())
}

/// Builds the benchmark of a checkout. Returns the program.
fn build(checkout: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["bench", "--bench", "compare", "--no-run", "--message-format", "json"]);
    // Each checkout has its own target directory, and its own settings.
    build.current_dir(checkout).env_remove("CARGO_TARGET_DIR").stderr(Stdio::inherit());
    let output = succeed(build.output()?, "the build of the other checkout")?;
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "compare");
    let program = programs.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    program.ok_or_else(|| "the other checkout has no benchmark `compare`".into())
}

fn succeed(output: Output, what: &str) -> Result<String, Box<dyn Error>> {
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{what} failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

impl Program {
    fn run(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        succeed(Command::new(&self.path).arg("--bench").args(arguments).output()?, self.name)
    }

    /// The names of the tables of a quick run.
    fn races(&self) -> Result<Vec<String>, Box<dyn Error>> {
        Ok(self.run(&["--quick", "--list"])?.lines().map(str::to_owned).collect())
    }

    /// Runs a race, briefly. Adds its figures to `rows`, and returns the unit.
    fn measure(&self, race: &str, side: usize, rows: &mut Vec<Row>) -> Result<String, Box<dyn Error>> {
        let output = self.run(&["--quick", "--only", race])?;
        let written =
            output.lines().rev().find_map(|line| line.strip_prefix("written: compare.json and charts in "));
        let written = written.ok_or("the program does not say where its figures are")?;
        let json: Value = serde_json::from_slice(&fs::read(Path::new(written).join("compare.json"))?)?;
        let races = json["races"].as_array().into_iter().flatten();
        let found = races.into_iter().find(|found| found["id"] == race).ok_or("the table is not there")?;
        for row in found["rows"].as_array().into_iter().flatten() {
            let (Some(name), Some(median)) = (row["name"].as_str(), row["median"].as_f64()) else { continue };
            let at = rows.iter().position(|known| known.name == name).unwrap_or_else(|| {
                let kind = row["kind"].as_str().unwrap_or_default().to_owned();
                rows.push(Row { name: name.to_owned(), kind, medians: Default::default() });
                rows.len() - 1
            });
            rows[at].medians[side].push(median);
        }
        Ok(found["unit"].as_str().unwrap_or_default().to_owned())
    }
}

impl Row {
    /// This checkout's median over that one's, if that is not zero.
    fn ratio(&self) -> Option<f64> {
        let [that, this] = self.medians.each_ref().map(|medians| crate::stats::median(medians));
        let ratio = this? / that?;
        ratio.is_finite().then_some(ratio)
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "kind", "that", "min..max", "this", "min..max", "this / that"]);
    for row in rows {
        let mut cells = vec![row.name.clone(), row.kind.clone()];
        for medians in &row.medians {
            let (min, max) =
                medians.iter().fold((f64::MAX, 0.0_f64), |(min, max), &it| (min.min(it), max.max(it)));
            let median = crate::stats::median(medians);
            cells.push(median.map_or_else(String::new, figure));
            cells.push(median.map_or_else(String::new, |_| format!("{}..{}", figure(min), figure(max))));
        }
        cells.push(row.ratio().map_or_else(String::new, |it| ratio(it, Some(1.0))));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
