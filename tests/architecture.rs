//! Holds the layers of `src` apart: imports point down only and go in no circle, and files stay
//! readable. The purity of the core is kept by its `Cargo.toml` and `clippy.toml`, reading the time in
//! one place by `clippy.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up; those of one row don't name each other.
const ROWS: [&[&str]; 11] = [
    &["types"],
    &["auth", "log"],
    &["stream", "session", "protocol"],
    &["shard"],
    &["cluster"],
    &["telemetry", "config", "cors", "filters"],
    &["clock"],
    &["state", "app", "outbound", "engine"],
    &["node"],
    &["net", "http"],
    &["server"],
];

/// What stands above the rows, and all that it may name.
const APART: [(&str, &[&str]); 1] = [("cli", &["config", "telemetry", "types"])];

/// No file is longer.
const MAX_LINES: usize = 600;

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for (layer, file, text) in sources() {
        for name in names(&text).filter(|name| !may_name(&layer, name)) {
            faults.push(format!("{}: {layer} may not name {name}", file.display()));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// No two files of a crate import each other, by themselves or through others.
#[test]
fn imports_go_in_no_circle() {
    for root in ["crates/core/src", "src", "crates/bench/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        let mut paths = Vec::new();
        collect(&root, &mut paths);
        let text = |path: &PathBuf| {
            Some((module(path.strip_prefix(&root).ok()?), fs::read_to_string(path).ok()?))
        };
        let files: BTreeMap<String, String> = paths.iter().filter_map(text).collect();
        let left = circle(&files);
        assert!(left.is_empty(), "these files of {} import each other: {left:#?}", root.display());
    }
}

/// The files that import each other, or are between some that do, each with what it imports of them.
fn circle(files: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        files.iter().map(|(name, text)| (name.as_str(), imports(name, text, files))).collect();
    assert!(left.values().map(BTreeSet::len).sum::<usize>() > 100, "few imports were found");
    let mut before = usize::MAX;
    while before != left.len() {
        before = left.len();
        let names: BTreeSet<&str> = left.keys().copied().collect();
        for imports in left.values_mut() {
            imports.retain(|name| names.contains(name));
        }
        let imported: BTreeSet<&str> = left.values().flatten().copied().collect();
        left.retain(|name, imports| !imports.is_empty() && imported.contains(name));
    }
    left
}

#[test]
fn files_stay_readable() {
    let long = sources().into_iter().filter(|(.., text)| text.lines().count() > MAX_LINES);
    let long: Vec<_> = long.map(|(_, file, _)| file).collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines: {long:?}");
}

#[test]
fn what_a_source_names_is_found() {
    let text = "use crate::types::Id;\n// crate::http\nfn f() { crate::server::g() } // crate::cli\n\
                #[cfg(test)]\nmod tests { use crate::net; }";
    assert_eq!(names(text).collect::<Vec<_>>(), ["types", "server"]);
    for (layer, name) in [
        ("types", "shard"),
        ("node", "http"),
        ("session", "protocol"),
        ("stream", "shard"),
        ("cli", "server"),
    ] {
        assert!(!may_name(layer, name), "{layer} may name {name}");
    }
    for (layer, name) in [("http", "node"), ("clock", "telemetry"), ("auth", "auth")] {
        assert!(may_name(layer, name), "{layer} may not name {name}");
    }
}

#[test]
fn what_a_file_imports_is_found() {
    let files = ["a", "a::b", "a::b::c", "a::d", "e"].map(|name| (name.to_owned(), String::new()));
    let text = "//! use crate::e;\nmod c;\n\npub(super) use c::C;\nuse super::d::{D, self};\n\
                use std::fmt;\n#[cfg(test)]\nmod tests {\n    use crate::e::E;\n}";
    let mut files = BTreeMap::from(files);
    assert_eq!(imports("a::b", text, &files), BTreeSet::from(["a::b::c", "a::d"]));
    let text = "use super::{\n    C, // of the room above\n};\nuse super::super::d as other;\nuse crate::e;";
    assert_eq!(imports("a::b::c", text, &files), BTreeSet::from(["a::b", "a::d", "e"]));
    files.insert("a::b".to_owned(), "mod c;\npub use c::{B, C};".to_owned());
    assert_eq!(
        imports("e", "use crate::a::b::{A, C};", &files),
        BTreeSet::from(["a::b", "a::b::c"])
    );
}

/// Every source of the core and of the process, with its layer and its text.
fn sources() -> Vec<(String, PathBuf, String)> {
    let mut files = Vec::new();
    for root in ["crates/core/src", "src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        collect(&root, &mut files);
    }
    assert!(files.len() > 100, "only {} files were found", files.len());
    let of_layer = |file: PathBuf| {
        let mut parts = file.iter().skip_while(|part| *part != "src").skip(1);
        let layer = Path::new(parts.next()?).file_stem()?.to_str()?.to_owned();
        let text = fs::read_to_string(&file).ok()?;
        Some((layer, file, text)).filter(|(layer, ..)| !["lib", "main"].contains(&layer.as_str()))
    };
    files.into_iter().filter_map(of_layer).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules of the crate that a source names outside its comments and unit tests.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| line.split("crate::").skip(1)).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    })
}

/// The name of a file's module, without the crate's.
fn module(file: &Path) -> String {
    let file = file.with_extension("");
    let parts = file.iter().filter_map(|part| part.to_str()).filter(|part| *part != "mod");
    parts.collect::<Vec<_>>().join("::")
}

/// The files that a file imports from, but for its unit tests.
fn imports<'a>(module: &str, text: &str, files: &'a BTreeMap<String, String>) -> BTreeSet<&'a str> {
    let files = paths(text).into_iter().filter_map(|path| file_of(module, &path, files));
    files.filter(|file| *file != module).collect()
}

/// The paths of a file's `use`, outside its comments and unit tests.
fn paths(text: &str) -> Vec<String> {
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    let code = lines.fold(String::new(), |code, line| code + " " + line);
    let used = code.split(';').filter_map(|statement| Some(statement.rsplit_once(" use ")?.1));
    let paths = used.flat_map(|used| {
        let (room, names) = used.split_once('{').unwrap_or(("", used));
        let names = names.trim_end_matches([' ', '}']).split(',');
        let names = names.filter_map(|name| name.split(" as ").next());
        let names = names.filter(|name| !name.trim().is_empty()); // behind the last comma
        names.map(|name| format!("{}{}", room.trim(), name.trim())).collect::<Vec<_>>()
    });
    paths.collect()
}

/// The file that a path leads to: the deepest module in it that has one, or the file from which that
/// re-exports the name.
fn file_of<'a>(module: &str, path: &str, files: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut found = None;
    for part in path.split("::") {
        match part {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" | "*" => break,
            part => at.push(part),
        }
        if let Some((file, text)) = files.get_key_value(&at.join("::")) {
            found = Some((file.as_str(), text));
        } else if !matches!(part, "crate" | "super") {
            let (file, text) = found?;
            let exports = |path: &String| path.rsplit("::").next() == Some(part);
            let from = paths(text).into_iter().find(exports);
            return from.and_then(|path| file_of(file, &path, files)).or(Some(file));
        }
    }
    found.map(|(file, _)| file)
}

fn may_name(layer: &str, name: &str) -> bool {
    if let Some((_, named)) = APART.iter().find(|(apart, _)| *apart == layer) {
        return name == layer || named.contains(&name);
    }
    let row = |name: &str| ROWS.iter().position(|row| row.contains(&name));
    name == layer || row(name) < row(layer) && row(name).is_some()
}
