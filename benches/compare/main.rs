//! The benchmarks of `serial-executor`: this crate, its peers and the machine's limits, measured in turns.
//!
//! See `benches/README.md` for how to run it and how to read what it prints.

mod drive;
mod limits;
mod peers;
mod placement;
mod plan;
mod progress;
mod race;
mod report;
mod stats;
mod workloads;

use plan::Plan;
use progress::Progress;
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
    let plan = Plan::from_args()?;
    let _context = placement::prepare();
    let races: Vec<_> = workloads::all(&plan).into_iter().filter(|race| plan.wants(&race.id)).collect();
    if plan.list {
        for race in races {
            println!("{}", race.id);
        }
        return Ok(());
    }
    peers::check_affinity();
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
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&out)?;
    fs::write(out.join("compare.json"), serde_json::to_vec_pretty(&report::json(&plan, &finished))?)?;
    Ok(())
}
