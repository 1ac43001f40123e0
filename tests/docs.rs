//! The documentation leads where it says: every relative link to a file or heading that exists, and
//! every test that `docs/RELIABILITY.md`, `docs/PRESENCE.md` and `docs/SECURITY.md` name to one that exists. The diff in
//! `docs/ARCHITECTURE.md` fits the files as they are.
//!
//! There, `` `tests/…` ``, `` `src/…` `` and `` `crates/…` `` are files, and what stands in single asterisks is the name of
//! a test in the last file named before it in that paragraph, item or cell. An `…` in a name stands for what
//! a test fills in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What names its tests.
const PROVEN: [&str; 3] = ["docs/RELIABILITY.md", "docs/PRESENCE.md", "docs/SECURITY.md"];

/// Folders with text of others, or none.
const FOREIGN: [&str; 4] = ["target", "node_modules", ".git", "found"];

/// What declares a test in the clients' tests.
const DECLARED_BY: [&str; 10] = [
    "scenario(",
    "restarting(",
    "fault(",
    "nuisance(",
    "jump(",
    "test(",
    "cluster(",
    "asked(",
    "askedOverEach(",
    "askedCluster(",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).expect(file)
}

/// Every Markdown file, by its path from the root.
fn manuals() -> BTreeMap<PathBuf, String> {
    fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !FOREIGN.contains(&name) {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).expect("text");
                found.insert(path.strip_prefix(root()).expect("below the root").into(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(&root(), &mut found);
    found
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !is_fence && !in_code
    })
}

/// A line without its code spans.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of the links in a text.
fn links(text: &str) -> Vec<String> {
    let text: String = prose(text).map(|line| without_code(line) + "\n").collect();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a text's headings, made as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        title.chars().filter(is_kept).collect::<String>().replace(' ', "-")
    };
    headings
        .map(|line| {
            let anchor = anchor(line);
            let before: &mut usize = times.entry(anchor.clone()).or_default();
            *before += 1;
            if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
        })
        .collect()
}

/// A path from the root, without its `..`.
fn resolve(from: &Path, target: &str) -> PathBuf {
    let mut path = from.parent().map(PathBuf::from).unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{target} leads out of the project"),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// What is wrong with a link, if anything is.
fn broken(manuals: &BTreeMap<PathBuf, String>, from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to = if file.is_empty() { from.to_owned() } else { resolve(from, file) };
    if !root().join(&to).exists() {
        return Some(format!("{}: there is no file {}", from.display(), to.display()));
    }
    let is_there = |text: &String| anchors(text).contains(anchor);
    if anchor.is_empty() || manuals.get(&to).is_some_and(is_there) {
        return None;
    }
    Some(format!("{}: {} has no heading #{anchor}", from.display(), to.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let manuals = manuals();
    let all =
        manuals.iter().flat_map(|(from, text)| links(text).into_iter().map(move |to| (from, to)));
    let all: Vec<_> = all.collect();
    assert!(all.len() > 150, "only {} links were found", all.len());
    let faults: Vec<_> =
        all.iter().filter_map(|(from, link)| broken(&manuals, from, link)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text =
        "# A\n[x](b.md) `[no](link)`\n```\n[no](link)\n# no\n```\n## It's `a` B: c_d\n## A\n";
    assert_eq!(links(text), ["b.md"]);
    let expected = ["a", "a-1", "its-a-b-c_d"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
    let manuals = BTreeMap::from([(PathBuf::from("docs/HTTP.md"), text.to_owned())]);
    let from = Path::new("docs/HTTP.md");
    for good in ["#a-1", "HTTP.md#a", "../README.md", "../src/main.rs", "https://a.example/#b"] {
        assert_eq!(broken(&manuals, from, good), None);
    }
    for bad in ["#b", "HTTP.md#a-2", "README.md", "../src/main.rs#L1", "../src/nothing.rs"] {
        assert!(broken(&manuals, from, bad).is_some(), "{bad}");
    }
}

/// The parts of a text that a test's name belongs to: paragraphs, items, rows.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in prose(text) {
        if line.is_empty() || line.starts_with(['|', '-', '#']) {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            *block += line.trim();
            block.push(' ');
        }
    }
    blocks.iter().flat_map(|block| block.split(" | ")).map(str::to_owned).collect()
}

/// The files that a block names, and the tests it names in each.
fn named(block: &str) -> Vec<(String, Vec<String>)> {
    let mut named: Vec<(String, Vec<String>)> = Vec::new();
    for (place, part) in block.replace("**", "").split('`').enumerate() {
        if place % 2 == 1 {
            if ["crates/", "src/", "tests/"].iter().any(|root| part.starts_with(root)) {
                named.push((part.to_owned(), Vec::new()));
            }
        } else if let Some((_, tests)) = named.last_mut() {
            tests.extend(part.split('*').skip(1).step_by(2).map(str::to_owned));
        } else {
            assert!(!part.contains('*'), "whose test is that? {block}");
        }
    }
    named
}

/// The names of a file's tests, with `…` where a test fills something in.
fn tests(file: &str) -> BTreeSet<String> {
    let text = read(file);
    if Path::new(file).extension().is_none_or(|extension| extension != "js") {
        let marked = ["#[test]", "#[tokio::test"].into_iter().flat_map(|by| text.split(by).skip(1));
        let names = marked.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        return names.map(|(name, _)| name.to_owned()).collect();
    }
    let declared = DECLARED_BY.iter().flat_map(|by| text.split(by).skip(1));
    let names = declared.filter_map(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '`'))?;
        rest.get(1..)?.split_once(quote).map(|(name, _)| name)
    });
    names.map(filled_in).collect()
}

/// A template's text with `…` for what is filled in.
fn filled_in(template: &str) -> String {
    let mut parts = template.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('…');
        text += part.split_once('}').map_or("", |(_, rest)| rest);
    }
    text
}

#[test]
fn every_test_that_is_named_exists() {
    let mut faults = Vec::new();
    let mut found = 0;
    for manual in PROVEN {
        for (file, names) in blocks(&read(manual)).iter().flat_map(|block| named(block)) {
            if !root().join(&file).exists() {
                faults.push(format!("{manual}: there is no {file}"));
                continue;
            }
            let there = tests(&file);
            found += names.len();
            let missing = names.iter().filter(|name| !there.contains(*name));
            faults.extend(missing.map(|name| format!("{manual}: {file} has no test \"{name}\"")));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(found > 100, "only {found} tests are named");
}

#[test]
fn a_name_belongs_to_the_file_before_it() {
    let text =
        "**A.** `x *y*` `src/a.rs` (*one*; *two\nthree*)\n- `tests/b.js` *four* | `src/c.rs`\n";
    let found: Vec<_> = blocks(text).iter().flat_map(|block| named(block)).collect();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let expected = [
        ("src/a.rs".to_owned(), names(&["one", "two three"])),
        ("tests/b.js".to_owned(), names(&["four"])),
        ("src/c.rs".to_owned(), names(&[])),
    ];
    assert_eq!(found, expected);
    assert_eq!(filled_in("over ${way}: ${a ? 'b' : 'c'}."), "over …: ….");
    let here = tests("tests/docs.rs");
    assert!(here.contains("a_name_belongs_to_the_file_before_it") && !here.contains("filled_in"));
}

#[test]
fn the_diff_of_a_new_protocol_fits() {
    let text = read("docs/ARCHITECTURE.md");
    let (_, diff) = text.split_once("```diff\n").expect("a diff");
    let (diff, _) = diff.split_once("```").expect("its end");
    let (mut file, mut kept) = (String::new(), 0);
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            file = fs::read_to_string(root().join(name)).unwrap_or_default();
        } else if !line.starts_with("--- ")
            && let Some(line) = line.strip_prefix([' ', '-'])
        {
            assert!(file.lines().any(|it| it == line), "it is there no more: {line}");
            kept += 1;
        }
    }
    assert!(kept > 5, "{kept} lines of files");
}
