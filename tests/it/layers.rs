//! The imports of `src` run one way.
//!
//! `lib.rs` lists the layers, lowest first, and the `mod.rs` of each folder lists its files in the
//! same way. A module uses only modules that are listed above it: of another layer by a path from
//! `crate`, of its own folder by a path from `super`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// Every file of `src` by the path of its module (`["queue", "list"]`, and `[]` for `lib.rs`).
/// Models are left out: they are compiled in tests only.
fn modules() -> BTreeMap<Vec<String>, syn::File> {
    fn read(dir: &Path, module: &[String], modules: &mut BTreeMap<Vec<String>, syn::File>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut module = module.to_vec();
            if path.is_dir() {
                if name != "loom" {
                    module.push(name);
                    read(&path, &module, modules);
                }
                continue;
            }
            if name != "mod" && name != "lib" {
                module.push(name);
            }
            let source = fs::read_to_string(&path).unwrap();
            let file = syn::parse_file(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(modules.insert(module, file).is_none(), "{} is there twice", path.display());
        }
    }
    let mut modules = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut modules);
    modules
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        let condition = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            _ => String::new(),
        };
        is_cfg && (condition == "test" || condition.starts_with("all (test"))
    })
}

/// All paths that a module uses, in imports and elsewhere, without its tests.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn add_imports(&mut self, prefix: &[String], tree: &UseTree) {
        let longer = |name: String| [prefix, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_imports(&longer(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.0.push(longer(name.ident.to_string())),
            UseTree::Rename(name) => self.0.push(longer(name.ident.to_string())),
            UseTree::Glob(_) => self.0.push(longer("*".to_owned())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_imports(prefix, tree)),
        }
    }
}

impl Visit<'_> for Paths {
    fn visit_item(&mut self, item: &Item) {
        match item {
            Item::Use(import) if !is_for_tests(&import.attrs) => self.add_imports(&[], &import.tree),
            Item::Use(_) => {}
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            item => visit::visit_item(self, item),
        }
    }

    /// `pub(in crate::queue)` uses nothing of that module.
    fn visit_visibility(&mut self, _: &syn::Visibility) {}

    fn visit_path(&mut self, path: &syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// The modules that a file declares, in order.
fn declared(file: &syn::File) -> Vec<String> {
    let names = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
        _ => None,
    });
    names.collect()
}

/// What is wrong with a path in a module, if anything is.
fn fault(modules: &BTreeMap<Vec<String>, syn::File>, module: &[String], path: &[String]) -> Option<String> {
    let (parent, name) = match (module, path.first()?.as_str()) {
        ([layer, ..], "crate") => (&[][..], layer),
        ([.., name], "super") => (&module[..module.len() - 1], name),
        _ => return None,
    };
    let order = declared(&modules[parent]);
    let place = |name: &str| order.iter().position(|module| module == name);
    let used = path.get(1)?;
    let wrong = match (place(used), place(name)) {
        (Some(used), Some(own)) if used < own => return None,
        (Some(used), Some(own)) if used == own => "it is of the same layer: use `super`",
        (Some(_), Some(_)) => "it is listed below",
        (None, _) => "it is no module: name the file that defines it",
        (_, None) => "the importing module is not listed",
    };
    let file = |module: &[String]| format!("src/{}", module.join("/"));
    let used = file(&[parent, std::slice::from_ref(used)].concat());
    Some(format!("{} uses {} of {used}: {wrong}", file(module), path.join("::")))
}

#[test]
fn a_module_uses_only_modules_that_are_listed_above_it() {
    let modules = modules();
    let mut faults = Vec::new();
    let mut seen = 0;
    for (module, file) in modules.iter().filter(|(module, _)| !module.is_empty()) {
        let mut paths = Paths::default();
        paths.visit_file(file);
        let is_of_crate = |path: &&Vec<String>| matches!(path[0].as_str(), "crate" | "super");
        seen += paths.0.iter().filter(is_of_crate).count();
        faults.extend(paths.0.iter().filter_map(|path| fault(&modules, module, path)));
    }
    assert!(seen > 200, "only {seen} paths were found: the test does not see the imports");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_is_listed_in_its_folder() {
    let modules = modules();
    for module in modules.keys().filter(|module| !module.is_empty()) {
        let (name, parent) = module.split_last().unwrap();
        assert!(declared(&modules[parent]).contains(name), "{module:?} is not listed");
    }
}

/// Calls `check` with each Rust file below a folder of the repository.
fn for_each_file(folder: &str, check: &dyn Fn(&Path, &str)) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_file(path.to_str().unwrap(), check);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            check(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn no_file_is_long() {
    for_each_file("src", &|path, source| {
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = source.lines().filter(is_code).count();
        assert!(lines <= 400, "{} has {lines} lines of code", path.display());
    });
}

/// rustfmt keeps the code to its width, and leaves comments as they are.
#[test]
fn no_comment_is_wide() {
    for folder in ["src", "tests", "benches", "examples"] {
        for_each_file(folder, &|path, source| {
            for (number, line) in (1..).zip(source.lines()) {
                // The row of a table is one line.
                let line = line.trim_start();
                let is_comment = line.starts_with("//") && !line.contains('|');
                let is_wide = is_comment && line.chars().count() > 110;
                assert!(!is_wide, "{}:{number} is wider than 110 columns", path.display());
            }
        });
    }
}
