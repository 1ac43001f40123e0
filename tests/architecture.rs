//! Holds the layers of `src` apart: imports point down only, and files stay readable. The purity of
//! the core is kept by its `Cargo.toml` and `clippy.toml`, reading the time in one place by `clippy.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up; those of one row don't name each other.
const ROWS: [&[&str]; 8] = [
    &["types"],
    &["auth"],
    &["broker", "session", "protocol"],
    &["clock", "telemetry", "config", "cors", "methods"],
    &["state", "fetch", "outbound"],
    &["node"],
    &["net", "http"],
    &["server"],
];

/// What a layer may name beyond the rows below it.
const BESIDES: [(&str, &str); 1] = [("clock", "telemetry")]; // it counts the pauses it notices

/// What stands above the rows, and all that it may name.
const APART: [(&str, &[&str]); 1] = [("cli", &["config", "telemetry", "types"])];

/// No file is longer.
const MAX_LINES: usize = 800;

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
    for (layer, name) in
        [("types", "broker"), ("node", "http"), ("session", "protocol"), ("cli", "server")]
    {
        assert!(!may_name(layer, name), "{layer} may name {name}");
    }
    for (layer, name) in [("http", "node"), ("clock", "telemetry"), ("auth", "auth")] {
        assert!(may_name(layer, name), "{layer} may not name {name}");
    }
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
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| line.split("crate::").skip(1)).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    })
}

fn may_name(layer: &str, name: &str) -> bool {
    if let Some((_, named)) = APART.iter().find(|(apart, _)| *apart == layer) {
        return name == layer || named.contains(&name);
    }
    let row = |name: &str| ROWS.iter().position(|row| row.contains(&name));
    name == layer
        || BESIDES.contains(&(layer, name))
        || row(name) < row(layer) && row(name).is_some()
}
