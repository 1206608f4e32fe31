//! The benchmarks of `serial-executor`: this crate, its peers and the machine's limits, measured in
//! turns.
//!
//! `benches/README.md` says how to run it and how to read what it prints.

mod against;
mod charts;
mod child;
mod drive;
mod limits;
mod peers;
mod placement;
mod plan;
mod procfs;
mod progress;
mod race;
mod report;
mod stats;
mod workloads;

use plan::Plan;
use progress::Progress;
use race::Finished;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\n\n{}", plan::USAGE);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let _context = placement::prepare();
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice() {
        if first == "--child" {
            return Ok(child::run(rest)?);
        }
    }
    peers::check_affinity();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!(
            "nothing is measured without `--bench`, which `cargo bench` passes and `cargo test` does not"
        );
        return Ok(());
    }
    let plan = Plan::from_arguments(arguments)?;
    if let Some(checkout) = &plan.against {
        return against::run(&plan, checkout);
    }
    let mut races = workloads::all(&plan);
    // A whole name means one table, although it may be the beginning of other names.
    let is_whole_name = races.iter().any(|race| plan.only.as_ref() == Some(&race.id));
    races.retain(
        |race| if is_whole_name { plan.only.as_ref() == Some(&race.id) } else { plan.wants(&race.id) },
    );
    if plan.list {
        for race in races {
            println!("{}", race.id);
        }
        return Ok(());
    }
    if let Some(missing) = placement::Placement::missing() {
        println!("{missing}");
    }
    let progress = Progress::new(races.iter().map(race::Race::steps).sum());
    let finished: Vec<_> = races
        .into_iter()
        .map(|race| {
            let finished = race.run(&progress);
            progress.print(&report::table(&finished));
            finished
        })
        .collect();
    progress.finish();
    write(&plan, &finished)
}

/// Writes the JSON file and the charts.
fn write(plan: &Plan, finished: &[Finished]) -> Result<(), Box<dyn Error>> {
    // The directory for temporary files is inside the target directory, wherever that is.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&out)?;
    fs::write(out.join("compare.json"), serde_json::to_vec_pretty(&report::json(plan, finished))?)?;
    charts::write(&out, finished, |_| true)?;
    println!("\nwritten: compare.json and charts in {}", out.display());
    if plan.save {
        let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench");
        fs::create_dir_all(&saved)?;
        charts::write(&saved, finished, |id| charts::SAVED.contains(&id))?;
    }
    Ok(())
}
