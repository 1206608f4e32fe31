//! Child processes: they run this program again, which then plays a part and ends, or is ended.

use std::env;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that names the part of a child process.
const PART: &str = "SERIAL_EXECUTOR_FAULT";

/// How long a child may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(120);

/// What became of a child.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// What it wrote to standard error.
    pub(crate) said: String,
}

/// Plays `part` in a child process, which runs the test with this name and nothing else.
#[track_caller]
pub(crate) fn play(test: &str, part: &str) -> End {
    end_of(Command::new(env::current_exe().unwrap()), test, part)
}

/// Like [`play`], with the shell command `first` before it, such as a limit.
#[track_caller]
pub(crate) fn play_after(first: &str, test: &str, part: &str) -> End {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
    end_of(shell, test, part)
}

#[track_caller]
fn end_of(mut command: Command, test: &str, part: &str) -> End {
    let mut child = command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        stderr.read_to_end(&mut said).map(|_| String::from_utf8_lossy(&said).into_owned())
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{part} hangs: {}", reader.join().unwrap().unwrap());
        }
        thread::sleep(Duration::from_millis(1));
    };
    End { status, said: reader.join().unwrap().unwrap() }
}

/// Whether this is a child.
pub(crate) fn is_child() -> bool {
    env::var_os(PART).is_some()
}

/// A part and what it does.
pub(crate) type Part = (&'static str, fn());

/// Plays the part of this child process, if it is one. Returns whether it is.
pub(crate) fn is_played(parts: &[Part]) -> bool {
    let Ok(part) = env::var(PART) else { return false };
    let (_, run) = parts.iter().find(|(name, _)| *name == part).expect("a part that is known");
    run();
    true
}

impl End {
    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert!(self.status.success(), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
    }

    /// Fails unless the process was aborted, with this message.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn assert_aborted(&self, why: &str) {
        use std::os::unix::process::ExitStatusExt;
        const SIGABRT: i32 = 6;
        assert_eq!(self.status.signal(), Some(SIGABRT), "{self:?}");
        assert!(self.said.contains(why), "{self:?}");
    }
}
