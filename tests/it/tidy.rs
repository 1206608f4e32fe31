//! The repository agrees with itself.

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
