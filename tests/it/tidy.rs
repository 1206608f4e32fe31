//! The repository agrees with itself.

use std::fs;
use std::path::Path;

/// The text of a file of the repository.
macro_rules! text {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path))
    };
}

#[test]
fn the_changelog_knows_the_version() {
    let heading = format!("\n## [{}] - ", env!("CARGO_PKG_VERSION"));
    assert!(text!("CHANGELOG.md").contains(&heading), "CHANGELOG.md has no heading `{heading}`");
}

#[test]
fn the_readme_names_the_version_and_the_rust_version() {
    let (minor, _patch) = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap();
    assert!(text!("README.md").contains(&format!("serial-executor = \"{minor}\"")));
    assert!(text!("README.md").contains(&format!("Rust {} or later", env!("CARGO_PKG_RUST_VERSION"))));
}

#[test]
fn programs_with_a_harness_of_their_own_have_no_test_that_it_does_not_know() {
    // The compiler leaves out whatever has this attribute, where the harness is not its own.
    const UNKNOWN: &str = "#[test]";

    fn check(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().position(|line| line.trim() == UNKNOWN);
            assert!(line.is_none(), "{}:{}: {UNKNOWN} has no effect here", path.display(), line.unwrap() + 1);
        }
    }

    for target in text!("Cargo.toml").split("[[test]]\n").skip(1) {
        let (lines, _) = target.split_once("\n\n").unwrap();
        let name = lines.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).unwrap();
        if lines.contains("harness = false") {
            check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name));
        }
    }
}
