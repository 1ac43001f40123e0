//! Holds the layers apart: imports point down only, siblings don't know each other, the core has
//! no sockets, locks or clock, the time is read in one place, and files stay readable.
//!
//! The programs beside the broker, in `src/bin`, stand on their own: they don't know its library, and each
//! has a clock of its own.
//!
//! Reads the sources as tokens, so comments, strings and the wrapping of lines don't matter. Code
//! under `#[cfg(test)]` may name what it likes; only the length of its file counts.

use std::fs;
use std::path::Path;

/// The layers from the bottom up; those of one row don't name each other.
const ROWS: [&[&str]; 8] = [
    &["types"],
    &["auth"],
    &["broker", "session", "protocol"],
    &["clock", "telemetry", "config", "cors", "methods"],
    &["state", "fetch"],
    &["fanout"],
    &["transport", "http"],
    &["server"],
];

/// What a layer may name beyond the rows below it.
const BESIDES: [(&str, &str); 1] = [("clock", "telemetry")]; // it counts the pauses it notices

/// What stands beside the rows, and all that it may name. The library itself only lists them.
const APART: [(&str, &[&str]); 3] = [
    ("cli", &["config", "telemetry", "types"]),
    ("main", &["cli", "server", "telemetry", "config"]),
    ("lib", &[]),
];

/// Layers without sockets, tasks, locks, files or a clock of their own.
const PURE: [&str; 5] = ["types", "auth", "broker", "session", "protocol"];

/// What a pure layer may not name.
const IMPURE: [&str; 19] = [
    "tokio",
    "tokio_util",
    "warp",
    "hyper",
    "hyper_util",
    "parking_lot",
    "socket2",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::thread",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

/// The one file that reads the time.
const CLOCK: &str = "clock.rs";

/// Other programs than the broker. Each has a folder here, with a [`CLOCK`] in it.
const PROGRAMS: &str = "bin/";

/// Types that tell the time when asked.
const TIMES: [&str; 2] = ["Instant", "SystemTime"];

/// Where the end is.
const MOST_LINES: usize = 800;

#[test]
fn the_sources_keep_to_the_architecture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, "", &mut sources);
    assert!(sources.len() > 20, "only {} files were found", sources.len());
    let hidden: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    let is_test = |source: &&Source| {
        let path = source.module.join("::");
        hidden.iter().any(|test| path == *test || path.starts_with(&format!("{test}::")))
    };
    let (tests, code): (Vec<_>, Vec<_>) = sources.iter().partition(is_test);
    let mut faults: Vec<String> = code.into_iter().flat_map(Source::faults).collect();
    faults.extend(tests.into_iter().filter_map(Source::too_long));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_fault_would_be_found() {
    for (file, text, fault) in [
        ("types/ids.rs", "use crate::broker::Shard;", ":1: types may not name broker"),
        ("types/ids.rs", "\n\nfn f(s: crate::broker::Shard) {}", ":3: types may not name broker"),
        ("types/ids.rs", "use crate::{\n  broker,\n};", ":2: types may not name broker"),
        ("types/mod.rs", "use super::broker::Shard;", "types may not name broker"),
        ("types/ids.rs", "use super::super::broker::Shard;", "types may not name broker"),
        ("types/ids.rs", "use super::{super::broker};", "types may not name broker"),
        ("types/ids.rs", "mod a { use super::super::super::broker; }", "types may not name broker"),
        ("types/ids.rs", "use self::super::super::broker;", "types may not name broker"),
        ("types/ids.rs", "use super::super as all;", "imports the whole crate"),
        ("types/ids.rs", "use crate::*;", "imports the whole crate"),
        ("types/ids.rs", "use crate::{self as all};", "imports the whole crate"),
        ("types/ids.rs", "use crate::unheard_of;", "types may not name unheard_of"),
        ("broker/mod.rs", "use crate::session::Session;", "broker may not name session"),
        ("session/mod.rs", "use crate::protocol::decode;", "session may not name protocol"),
        ("telemetry/mod.rs", "use crate::clock::Clock;", "telemetry may not name clock"),
        ("state/mod.rs", "use crate::fanout::Hub;", "state may not name fanout"),
        ("http/mod.rs", "use crate::transport::Context;", "http may not name transport"),
        ("fanout/mod.rs", "macro_rules! m { () => { $crate::http::f() } }", "may not name http"),
        ("server/mod.rs", "use crate::cli::run;", "server may not name cli"),
        ("cli/mod.rs", "use crate::server;", "cli may not name server"),
        ("main.rs", "use broker::{cli, fanout::Hub};", "main may not name fanout"),
        ("broker/mod.rs", "use tokio;", "broker is pure and may not name tokio"),
        ("broker/mod.rs", "extern crate tokio as t;", "may not name tokio"),
        ("broker/mod.rs", "fn f() { ::tokio::spawn(g()); }", "may not name tokio"),
        ("broker/mod.rs", "use std::{fmt, sync::{Arc, Mutex}};", "may not name std::sync::Mutex"),
        ("broker/mod.rs", "use core::sync::atomic::AtomicU32;", "may not name std::sync::atomic"),
        ("broker/mod.rs", "use std::sync;", "may not name std::sync whole"),
        ("broker/mod.rs", "use std::*;", "may not name std::* whole"),
        ("types/ids.rs", "use std::time::SystemTime;", "may not name std::time::SystemTime"),
        ("protocol/a.rs", "fn f() { let now = Instant::now(); }", "only src/clock.rs"),
        ("http/mod.rs", "fn f() { g(std::time::Instant::now) }", "only src/clock.rs"),
        ("http/mod.rs", "fn f() { tokio::time::Instant::now(); }", "only src/clock.rs"),
        ("http/mod.rs", "use std::time::Instant as I;", "renames Instant"),
        ("http/mod.rs", "fn f(i: Instant) { i.elapsed(); }", "only src/clock.rs"),
        ("http/mod.rs", "#[cfg(test)] use a::B; use crate::server::C;", "http may not name server"),
        ("http/mod.rs", "#[cfg(test)] mod t { } use crate::server::C;", "http may not name server"),
        (
            "http/mod.rs",
            "struct S { #[cfg(test)] a: A, b: crate::server::B }",
            "may not name server",
        ),
        ("bin/a/b.rs", "use broker::fanout::Hub;", "may not name the broker's library"),
        ("bin/a/b.rs", "fn f() { broker::cli::run(); }", "may not name the broker's library"),
        ("bin/a/b.rs", "fn f() { Instant::now(); }", "only src/clock.rs"),
        ("http/clock.rs", "fn f() { Instant::now(); }", "only src/clock.rs"),
        ("http/mod.rs", "const C: &str = r#\"\"\"#; use crate::server::C;", "may not name server"),
        ("http/mod.rs", "const C: char = '\"'; use crate::server::C;", "may not name server"),
    ] {
        let faults = Source::new(file, text).faults();
        let found = matches!(&*faults, [only] if only.contains(fault));
        assert!(found, "{file}: {text:?} should be \"{fault}\", and only that: {faults:?}");
    }
    let long = Source::new("http/mod.rs", &"\n".repeat(MOST_LINES + 1)).faults();
    assert!(long.iter().any(|fault| fault.contains("has 801 lines")), "{long:?}");
}

#[test]
fn nothing_else_is_a_fault() {
    for (file, text) in [
        ("types/ids.rs", "// use crate::broker::Shard;\n/* crate::http /* nested */ crate::cli */"),
        ("types/ids.rs", "//! [`crate::broker`]\n/// `tokio::spawn`\npub struct A;"),
        (
            "types/ids.rs",
            "const A: &str = \"crate::broker \\\" Instant::now()\"; const B: &str = r\"\\\";",
        ),
        (
            "types/ids.rs",
            "const A: &[u8] = br#\"crate::broker\"#; fn f<'a>(a: &'a str) -> char { 'a' }",
        ),
        (
            "types/ids.rs",
            "pub(crate) fn f() {}\npub(super) fn g() {}\npub(in crate::types) fn h() {}",
        ),
        ("types/ids.rs", "use super::Limits; use self::inner::A; use std::sync::Arc;"),
        (
            "types/ids.rs",
            "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::server; fn f() { tokio::g() } }",
        ),
        ("types/ids.rs", "#[cfg(test)] fn f<A, B>() { crate::server::g(); }"),
        ("types/ids.rs", "mod a { mod b { use super::super::super::Limits; } }"),
        ("broker/mod.rs", "use std::time::{Duration, Instant}; fn f(tokio: u8) -> u8 { tokio }"),
        ("clock.rs", "use crate::telemetry::X; fn f() { Instant::now(); SystemTime::now(); }"),
        ("bin/a/b.rs", "use crate::c; use super::d; use std::sync::Mutex; fn f() { mio::g(); }"),
        ("bin/a/clock.rs", "fn f(i: Instant) { Instant::now(); i.elapsed(); }"),
        ("main.rs", "use broker::{cli::{self, Outcome}, server};"),
        ("cli/mod.rs", "use crate::config::Config; use super::config;"),
    ] {
        let faults = Source::new(file, text).faults();
        assert!(faults.is_empty(), "{file}: {text:?}: {faults:?}");
    }
    let hidden = Source::new("cli/mod.rs", "#[cfg(test)]\nmod tests;\nmod other;");
    assert_eq!(hidden.test_modules(), ["cli::tests"]);
}

/// One file of the sources.
struct Source {
    /// Its path under `src`.
    file: String,
    /// The module it is.
    module: Vec<String>,
    lines: usize,
    tokens: Vec<Token>,
}

/// A word, `::`, or any other single character.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// A path as it stands somewhere, a `use` with braces being several.
#[derive(Debug)]
struct Named {
    segments: Vec<String>,
    /// The name a `use` gives it.
    alias: Option<String>,
    imported: bool,
    line: usize,
    /// The inline modules it stands in.
    within: Vec<String>,
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let file = format!("{prefix}{name}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{file}/"), sources);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).expect("a source in UTF-8");
            sources.push(Source::new(&file, &text));
        }
    }
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let path = file.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let module = if path == "lib" || path == "main" { "" } else { path };
        let module = module.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let lines = text.lines().count();
        let tokens = tokens(&text.chars().collect::<Vec<char>>());
        Self { file: file.to_owned(), module, lines, tokens }
    }

    fn layer(&self) -> &str {
        match self.module.first() {
            Some(layer) => layer,
            None => self.file.trim_end_matches(".rs"),
        }
    }

    /// Whether it belongs to another program than the broker.
    fn is_of_program(&self) -> bool {
        self.file.starts_with(PROGRAMS)
    }

    /// Whether it may read the time.
    fn is_clock(&self) -> bool {
        let name = self.file.rsplit('/').next();
        self.file == CLOCK || (self.is_of_program() && name == Some(CLOCK))
    }

    /// Modules of which the whole file is under `#[cfg(test)]`.
    fn test_modules(&self) -> Vec<String> {
        let (_, removed) = without_tests(&self.tokens);
        let declared = removed.iter().filter_map(|item| match item.as_slice() {
            [.., keyword, name, end] if keyword.text == "mod" && end.text == ";" => {
                Some([self.module.as_slice(), std::slice::from_ref(&name.text)].concat().join("::"))
            }
            _ => None,
        });
        declared.collect()
    }

    fn too_long(&self) -> Option<String> {
        let Self { file, lines, .. } = self;
        (*lines > MOST_LINES)
            .then(|| format!("src/{file}: has {lines} lines, at most {MOST_LINES} are readable"))
    }

    fn faults(&self) -> Vec<String> {
        let (code, _) = without_tests(&self.tokens);
        let mut faults: Vec<String> = self.too_long().into_iter().collect();
        for named in paths(&code) {
            let fault = self.fault_of_layers(&named).or_else(|| self.fault_of_purity(&named));
            let fault = fault.or_else(|| self.fault_of_time(&named));
            faults.extend(fault.map(|fault| format!("src/{}:{}: {fault}", self.file, named.line)));
        }
        for call in code.windows(3) {
            let texts = call.iter().map(|token| token.text.as_str());
            if !self.is_clock() && texts.eq([".", "elapsed", "("]) {
                let line = call.first().map_or(0, |token| token.line);
                faults.push(format!(
                    "src/{}:{line}: elapsed() reads the time, which only src/{CLOCK} may",
                    self.file
                ));
            }
        }
        faults
    }

    /// Whether a path leads into a layer that this one may not know.
    fn fault_of_layers(&self, named: &Named) -> Option<String> {
        if self.is_of_program() {
            let first = named.segments.first().map(String::as_str);
            return (first == Some("broker")).then(|| {
                let path = named.segments.join("::");
                format!("a program of its own may not name the broker's library: {path}")
            });
        }
        let within_crate = self.resolve(named)?;
        let layer = self.layer();
        match within_crate.first().map(String::as_str) {
            None | Some("*") => {
                named.imported.then(|| format!("{layer} imports the whole crate: name the parts"))
            }
            Some(other) if other == layer || may_name(layer, other) => None,
            Some(other) => {
                Some(format!("{layer} may not name {other}: {}", named.segments.join("::")))
            }
        }
    }

    /// A path from the crate's root, if it leads into the crate.
    fn resolve(&self, named: &Named) -> Option<Vec<String>> {
        let mut segments = named.segments.iter().peekable();
        let mut at: Vec<String> = match segments.next()?.as_str() {
            "crate" => Vec::new(),
            "broker" if self.file == "main.rs" => Vec::new(),
            "self" => [self.module.as_slice(), &named.within].concat(),
            "super" => {
                let mut parent = [self.module.as_slice(), &named.within].concat();
                parent.pop();
                parent
            }
            _ => return None,
        };
        for segment in segments {
            match segment.as_str() {
                "super" => drop(at.pop()),
                "self" => {}
                _ => at.push(segment.clone()),
            }
        }
        Some(at)
    }

    fn fault_of_purity(&self, named: &Named) -> Option<String> {
        let layer = self.layer();
        if !PURE.contains(&layer) || (named.segments.len() < 2 && !named.imported) {
            return None;
        }
        let path = named.segments.join("::");
        let path = match path.split_once("::") {
            Some(("core" | "alloc", rest)) => format!("std::{rest}"),
            Some(_) | None => path,
        };
        let within =
            |path: &str, whole: &str| path == whole || path.starts_with(&format!("{whole}::"));
        let whole = path.trim_end_matches("::*").trim_end_matches("::self");
        IMPURE.iter().find_map(|impure| {
            if within(&path, impure) {
                Some(format!("{layer} is pure and may not name {impure}"))
            } else if named.imported && within(impure, whole) {
                Some(format!("{layer} is pure and may not name {path} whole, which has {impure}"))
            } else {
                None
            }
        })
    }

    fn fault_of_time(&self, named: &Named) -> Option<String> {
        if self.is_clock() {
            return None;
        }
        let path = named.segments.join("::");
        let last = named.segments.last().map(String::as_str).unwrap_or_default();
        if named.imported {
            let renamed = TIMES.contains(&last) && named.alias.is_some();
            return renamed
                .then(|| format!("{path} renames {last}, which hides who reads the time"));
        }
        let reads = TIMES.iter().any(|time| path.ends_with(&format!("{time}::now")));
        reads.then(|| format!("{path} reads the time, which only src/{CLOCK} may"))
    }
}

/// Whether the architecture lets one layer name another.
fn may_name(layer: &str, other: &str) -> bool {
    if let Some((_, all)) = APART.iter().find(|(name, _)| *name == layer) {
        return all.contains(&other);
    }
    let row = |name: &str| ROWS.iter().position(|row| row.contains(&name));
    let below = matches!((row(layer), row(other)), (Some(from), Some(to)) if to < from);
    below || BESIDES.contains(&(layer, other))
}

/// Splits a source into tokens; comments go, and literals become a lone quote.
fn tokens(text: &[char]) -> Vec<Token> {
    let at = |place: usize| text.get(place).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut place, mut line) = (Vec::new(), 0, 1);
    while place < text.len() {
        let start = place;
        let kind = match (at(place), at(place + 1)) {
            ('/', '/') => {
                while place < text.len() && at(place) != '\n' {
                    place += 1;
                }
                None
            }
            ('/', '*') => {
                place = end_of_comment(text, place);
                None
            }
            ('"', _) | ('\'', '\\') => {
                place = end_of_string(text, place);
                Some("\"".to_owned())
            }
            ('\'', _) if at(place + 2) == '\'' => {
                place += 3;
                Some("\"".to_owned())
            }
            ('\'', _) => {
                place += 1;
                while is_word(at(place)) {
                    place += 1;
                }
                None // a lifetime
            }
            (':', ':') => {
                place += 2;
                Some("::".to_owned())
            }
            (c, _) if is_word(c) => {
                while is_word(at(place)) {
                    place += 1;
                }
                let word: String = text.get(start..place).unwrap_or_default().iter().collect();
                match (word.as_str(), at(place), at(place + 1)) {
                    ("r" | "br" | "cr", '"', _) | ("r" | "br" | "cr", '#', '"' | '#') => {
                        place = end_of_raw_string(text, place);
                        Some("\"".to_owned())
                    }
                    ("r", '#', _) => {
                        place += 1; // the word itself comes next
                        None
                    }
                    ("b" | "c", '"' | '\'', _) => {
                        place = end_of_string(text, place);
                        Some("\"".to_owned())
                    }
                    _ => Some(word),
                }
            }
            (c, _) => {
                place += 1;
                (!c.is_whitespace()).then(|| c.to_string())
            }
        };
        tokens.extend(kind.map(|text| Token { text, line }));
        let passed = text.get(start..place).unwrap_or_default();
        line += passed.iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_comment(text: &[char], mut place: usize) -> usize {
    let mut depth = 0;
    loop {
        match (text.get(place), text.get(place + 1)) {
            (Some('/'), Some('*')) => (depth, place) = (depth + 1, place + 2),
            (Some('*'), Some('/')) => (depth, place) = (depth - 1, place + 2),
            (Some(_), _) => place += 1,
            (None, _) => return place,
        }
        if depth == 0 {
            return place;
        }
    }
}

/// The end of a literal that begins with its quote.
fn end_of_string(text: &[char], start: usize) -> usize {
    let mut place = start + 1;
    while let Some(c) = text.get(place) {
        match c {
            '\\' => place += 2,
            c if Some(c) == text.get(start) => return place + 1,
            _ => place += 1,
        }
    }
    place
}

/// The end of a literal that begins with its hashes.
fn end_of_raw_string(text: &[char], start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    let mut place = start + hashes + 1;
    while place < text.len() {
        let rest = text.get(place..).unwrap_or_default();
        place += 1;
        if rest.first() == Some(&'"')
            && rest.iter().skip(1).take(hashes).filter(|c| **c == '#').count() == hashes
        {
            return place + hashes;
        }
    }
    place
}

/// The code, and the items under `#[cfg(test)]` that were taken out of it.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<Vec<Token>>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut code, mut removed, mut rest) = (Vec::new(), Vec::new(), tokens);
    while let Some((first, behind)) = rest.split_first() {
        let mark = rest.iter().take(MARK.len()).map(|token| token.text.as_str());
        if mark.eq(MARK) {
            let item = rest.get(MARK.len()..).unwrap_or_default();
            let (item, after) = item.split_at(length_of_item(item));
            removed.push(item.to_vec());
            rest = after;
        } else {
            code.push(first.clone());
            rest = behind;
        }
    }
    (code, removed)
}

/// How many tokens belong to the item that comes first, its attributes included.
fn length_of_item(tokens: &[Token]) -> usize {
    const BY_COMMA: [&str; 12] = [
        "pub", "fn", "mod", "use", "impl", "struct", "enum", "trait", "const", "static", "type",
        "let",
    ];
    let (mut depth, mut attribute, mut is_item) = (0_i32, false, None);
    for (number, token) in tokens.iter().enumerate() {
        let text = token.text.as_str();
        if depth == 0 && text == "#" {
            attribute = true;
        } else if depth == 0 && !attribute && is_item.is_none() {
            is_item = Some(BY_COMMA.contains(&text));
        }
        match text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let over = match text {
            _ if depth < 0 => return number,
            "]" if depth == 0 && attribute => {
                attribute = false;
                false
            }
            "}" | ";" => depth == 0,
            "," => depth == 0 && is_item == Some(false),
            _ => false,
        };
        if over {
            return number + 1;
        }
    }
    tokens.len()
}

/// Every path that the code names.
fn paths(code: &[Token]) -> Vec<Named> {
    let text = |place: usize| code.get(place).map(|token| token.text.as_str()).unwrap_or_default();
    let (mut found, mut within, mut depth) = (Vec::new(), Vec::<(usize, String)>::new(), 0_usize);
    let mut place = 0;
    while place < code.len() {
        match text(place) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                within.pop_if(|(opened, _)| *opened == depth);
            }
            "mod" if text(place + 2) == "{" => {
                within.push((depth, text(place + 1).to_owned()));
                place += 1; // the name is no path
            }
            word => {
                let import = word == "use" || (word == "extern" && text(place + 1) == "crate");
                let start = match word {
                    "use" => place + 1,
                    "extern" if import => place + 2,
                    _ => place,
                };
                let start = if text(start) == "::" { start + 1 } else { start };
                let behind = place.checked_sub(1).map(text).unwrap_or_default();
                if import || (behind != "." && (behind != "::" || start == place + 1)) {
                    let modules: Vec<String> =
                        within.iter().map(|(_, name)| name.clone()).collect();
                    let from = found.len();
                    let end = tree(code, start, &[], &mut found);
                    for named in found.iter_mut().skip(from) {
                        named.imported = import;
                        named.within.clone_from(&modules);
                    }
                    place = place.max(end.saturating_sub(1));
                }
            }
        }
        place += 1;
    }
    found
}

/// Adds the paths that begin at a place, each behind a prefix; returns where they end.
fn tree(code: &[Token], start: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let text = |place: usize| code.get(place).map(|token| token.text.as_str()).unwrap_or_default();
    let is_name =
        |text: &str| text == "*" || text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let line = code.get(start).map_or(0, |token| token.line);
    let (mut segments, mut place) = (prefix.to_vec(), start);
    loop {
        let name = text(place);
        if name == "{" && !segments.is_empty() {
            loop {
                place = tree(code, place + 1, &segments, found);
                if text(place) != "," {
                    return place + 1;
                }
            }
        }
        if !is_name(name) || (name == "*" && segments.is_empty()) {
            return place; // nothing, or the end behind a last comma
        }
        segments.push(name.to_owned());
        place += 1;
        if text(place) != "::" || !(is_name(text(place + 1)) || text(place + 1) == "{") {
            break;
        }
        place += 1;
    }
    let alias = (text(place) == "as").then(|| text(place + 1).to_owned());
    if alias.is_some() {
        place += 2;
    }
    found.push(Named { segments, alias, imported: false, line, within: Vec::new() });
    place
}
