//! The harness of the test programs that have `harness = false` in `Cargo.toml`: [`libtest_mimic`],
//! with its usual arguments, and two things that it does not do.
//!
//! - A test may need a [`Program`]. Where that is missing, the harness reports the test as ignored,
//!   and says at the end what to install. Where the environment variable `CI` is set, the test
//!   fails instead: there, nobody reads what was ignored.
//! - Each test runs in a process of its own. The harness shows what that has written only if the
//!   test fails, or with `--nocapture` at once.

use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::io;
use std::panic::resume_unwind;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::thread;

/// The first argument of a process that runs one test. The second is the name of the test.
const ALONE: &str = "--alone";

pub(crate) struct Test {
    /// Begins with what `module_path!` gives, so with the name of the test program.
    pub(crate) path: &'static str,
    pub(crate) run: fn(),
    pub(crate) needs: Option<&'static Program>,
}

/// Something to install that is not a crate.
pub(crate) struct Program {
    name: &'static str,
    install: &'static str,
    is_installed: OnceLock<bool>,
}

/// Runs the tests that the arguments of this process ask for.
pub(crate) fn main(tests: impl IntoIterator<Item = &'static Test>) -> ExitCode {
    let mut tests: Vec<_> = tests.into_iter().collect();
    tests.sort_unstable_by_key(|test| test.name());

    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(ALONE) {
        let name = arguments.next();
        let test =
            tests.iter().find(|test| Some(test.name()) == name.as_deref()).expect("a test of this name");
        test.run_here();
        return ExitCode::SUCCESS;
    }

    // The usual harness knows both spellings.
    let arguments = env::args().map(|argument| argument.replace("--no-capture", "--nocapture"));
    let arguments = Arguments::from_iter(arguments);
    let trials = tests.iter().map(|test| test.trial(arguments.nocapture)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        if let Some(program) = tests.iter().find_map(|test| test.lacks()) {
            eprintln!("{} tests were ignored: {}\n", conclusion.num_ignored, program.advice());
        }
    }
    conclusion.exit_code()
}

impl Test {
    fn name(&self) -> &'static str {
        self.path.split_once("::").map_or(self.path, |(_program, name)| name)
    }

    /// The program that it needs, if that is missing.
    fn lacks(&self) -> Option<&'static Program> {
        self.needs.filter(|program| !program.is_installed())
    }

    fn trial(&'static self, is_shown: bool) -> Trial {
        let lacks = self.lacks();
        let trial = Trial::test(self.name(), move || match lacks {
            Some(program) => Err(program.advice().into()),
            None => self.run_alone(is_shown),
        });
        match lacks {
            Some(program) if env::var_os("CI").is_none() => {
                trial.with_kind(format!("needs {}", program.name)).with_ignored_flag(true)
            }
            _ => trial,
        }
    }

    /// Runs the test on a thread that has its name, as the usual harness does. Panics if the test does.
    fn run_here(&self) {
        let thread = thread::Builder::new().name(self.name().to_owned()).spawn(self.run);
        thread.expect("a thread for the test").join().unwrap_or_else(|payload| resume_unwind(payload));
    }

    /// Runs the test in a process of its own. An error has what the test has written, unless that is
    /// shown.
    fn run_alone(&self, is_shown: bool) -> Result<(), Failed> {
        let mut process = Command::new(env::current_exe()?);
        process.args([ALONE, self.name()]).stdin(Stdio::null());
        if is_shown {
            process.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        }
        let output = process.output()?;
        if output.status.success() {
            return Ok(());
        }
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        Err(format!("{}\n{stdout}{stderr}", output.status).into())
    }
}

impl Program {
    pub(crate) const fn new(name: &'static str, install: &'static str) -> Self {
        Self { name, install, is_installed: OnceLock::new() }
    }

    fn is_installed(&self) -> bool {
        *self.is_installed.get_or_init(|| {
            let mut program = Command::new(self.name);
            let status = program.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            !status.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        })
    }

    fn advice(&self) -> String {
        format!("there is no `{}`; {}", self.name, self.install)
    }
}
