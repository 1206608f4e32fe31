//! [`Plan`]: what the command line asks for.

use std::path::PathBuf;

/// How much to measure, and what.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    /// Only enough of everything to see that it works.
    pub(crate) quick: bool,
    /// Only the races whose name contains this.
    pub(crate) only: Option<String>,
    /// Also write the charts to `docs/bench`.
    pub(crate) save: bool,
    /// Print the names of the races and stop.
    pub(crate) list: bool,
    /// Compare this checkout of the crate with the one in this directory.
    pub(crate) against: Option<PathBuf>,
}

pub(crate) const USAGE: &str = "\
cargo bench -- [--quick] [--only <part of a name>] [--save] [--list] [--against <checkout>]

  --quick   fewer rounds, smaller counts: two minutes at most, to see that everything works
  --only    only the tables whose name contains this
  --save    also write the charts to docs/bench
  --list    print the names of the tables
  --against compare this checkout of the crate with another one, in turns; builds the other one first";

impl Plan {
    /// The plan that the arguments ask for. They are those after the program's name.
    ///
    /// # Errors
    ///
    /// If an argument is unknown.
    pub(crate) fn from_arguments(arguments: Vec<String>) -> Result<Self, String> {
        let mut plan = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => plan.quick = true,
                "--save" => plan.save = true,
                "--list" => plan.list = true,
                "--only" => plan.only = Some(arguments.next().ok_or("--only needs a name")?),
                "--against" => {
                    plan.against = Some(arguments.next().ok_or("--against needs a directory")?.into());
                }
                "--bench" => {} // from cargo
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        Ok(plan)
    }

    /// `quick` in a quick run, else `full`.
    pub(crate) fn count(&self, quick: u32, full: u32) -> u32 {
        if self.quick { quick } else { full }
    }

    pub(crate) fn wants(&self, id: &str) -> bool {
        self.only.as_ref().is_none_or(|part| id.contains(part.as_str()))
    }
}
