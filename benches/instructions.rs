//! Counts the instructions that fixed pieces of work need, and compares them with those on record.
//!
//! Time tells little on a machine that is shared; instructions are the same every time, but for a
//! tenth of a per cent. They are counted by valgrind's callgrind, in a process of its own for each piece,
//! between the beginning and the end of [`counted`]. A crate for that (gungraun, once iai-callgrind)
//! would need a second program of exactly its own version installed, and the whole of what tests
//! need built anew; this needs valgrind alone.
//!
//! ```text
//! make instructions           fails where more is needed than on record, or much less
//! make instructions-update    puts what is needed now on record
//! ```
//!
//! What else has a say in the number:
//!
//! * The compiler. Where it is another one than that of the record, so may be every number: then
//!   much more is tolerated, and the output says so.
//! * The C library's functions for memory, which are chosen by the processor. They are told to be
//!   those that every x86-64 has. What the crate `memchr` chooses can't be told, so the record says
//!   whether there was AVX2.
//! * Random seeds of hash tables, which is most of the noise.
//! * The allocator: here it is the C library's, whatever the broker itself has.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::{env, fs, thread};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use support::codecs::{SPOKEN, decode, encode};
use support::work::{Run, Work};
use support::works::{self, Sizes};

/// Where the record is.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");

/// What stands at its beginning.
const HEADING: &str = "\
# How many instructions pieces of work need: `make instructions` compares with this, and
# `make instructions-update` writes it anew. benches/instructions.rs says more.
";

/// How many per cent another count may be away from the record. Runs differ by a tenth of one, but any
/// edit makes the compiler inline differently, which has been seen to be worth six, far from what was edited.
const TOLERANCE: u64 = 10;

/// The same where the record was made with something else.
const TOLERANCE_ELSEWHERE: u64 = 30;

/// How often what is small is done, so that what happens around it doesn't matter.
const TIMES: u32 = 100;

/// Functions for memory that every x86-64 has; names that a C library doesn't know, it ignores.
const PLAIN_MEMORY: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,-FSRM,\
                            -AVX2_Usable,-AVX_Fast_Unaligned_Load,-Prefer_No_VZEROUPPER";

/// What is on record.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    made_with: String,
    instructions: BTreeMap<String, u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => compare(),
        ["update"] => update(),
        ["do", name] => work_on(name),
        _ => bail!("usage: instructions [update]"),
    }
}

fn works() -> Vec<Work> {
    let sizes = Sizes {
        subscribers: 1000,
        burst: 100,
        room: 300,
        members: 1000,
        records: 5000,
        rooms: 300,
    };
    let core = works::works(&sizes);
    let words = SPOKEN.iter().flat_map(|spoken| {
        [all("decode", spoken.name, decode(spoken)), all("encode", spoken.name, encode(spoken))]
    });
    core.into_iter().chain(words).collect()
}

/// Several pieces of work that end as they began, as one.
fn all(group: &'static str, name: &str, works: Vec<Work>) -> Work {
    let elements = works.iter().map(|work| work.elements).sum();
    Work::again((group, name), elements, move || {
        let mut runs: Vec<Run> = works.iter().map(Work::prepare).collect();
        move || {
            for run in &mut runs {
                if let Run::Again(run) = run {
                    run();
                }
            }
        }
    })
}

/// Does a piece of work, under valgrind.
fn work_on(name: &str) -> anyhow::Result<ExitCode> {
    let work = works().into_iter().find(|work| title(work) == name);
    match work.context("no such work")?.prepare() {
        Run::Again(mut run) => {
            run(); // what is made when first needed is there then
            counted(&mut || (0..TIMES).for_each(|_| run()));
        }
        Run::Once(run) => {
            let mut run = Some(run);
            counted(&mut || run.take().into_iter().for_each(|run| run()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is counted happens in here: valgrind knows the function by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    std::hint::black_box(()); // else the call would be a jump, and the function over before it
}

fn compare() -> anyhow::Result<ExitCode> {
    let record = fs::read_to_string(RECORD).with_context(|| format!("no record at {RECORD}"))?;
    let record: Record = toml::from_str(&record).with_context(|| format!("{RECORD} is broken"))?;
    let here = made_with()?;
    let tolerance = if here == record.made_with {
        TOLERANCE
    } else {
        say(&format!(
            "NOTE: the record was made with something else, so only more than {TOLERANCE_ELSEWHERE} % is a fault.\n\
             on record: {}\nhere:      {here}\n\
             `make instructions-update` makes it exact for here; CI is where it should be.\n",
            record.made_with
        ));
        TOLERANCE_ELSEWHERE
    };
    let mut faults = Vec::new();
    let counts = count_all()?;
    for (name, now) in &counts {
        let Some(before) = record.instructions.get(name).copied() else {
            faults.push(format!("{name}: not on record yet"));
            continue;
        };
        let change = per_mille(*now, before);
        say(&format!("{name:<60}{now:>12}{:>+8.1} %", f64::from(change) / 10.0));
        if u64::from(change.unsigned_abs()) > tolerance * 10 {
            let which = if change > 0 { "more" } else { "less" };
            faults.push(format!("{name}: {now} instructions, much {which} than {before}"));
        }
    }
    for name in record.instructions.keys().filter(|name| !counts.contains_key(*name)) {
        faults.push(format!("{name}: on record, and no work any more"));
    }
    if faults.is_empty() {
        say(&format!("{} pieces of work need what they did, within {tolerance} %", counts.len()));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "\nNot within {tolerance} % of the record:\n  {}\n\
         If that is meant, `make instructions-update` and say in the commit why.",
        faults.join("\n  ")
    ));
    Ok(ExitCode::FAILURE)
}

fn update() -> anyhow::Result<ExitCode> {
    let record = Record { made_with: made_with()?, instructions: count_all()? };
    fs::write(RECORD, format!("{HEADING}{}", toml::to_string(&record)?))?;
    say(&format!("{} pieces of work are on record", record.instructions.len()));
    Ok(ExitCode::SUCCESS)
}

/// Counts every piece of work, as many at once as there are processors.
fn count_all() -> anyhow::Result<BTreeMap<String, u64>> {
    let names: Vec<String> = works().iter().map(title).collect();
    let (names, counts) = (Mutex::new(names), Mutex::new(BTreeMap::new()));
    let next = || names.lock().map(|mut names| names.pop()).unwrap_or_default();
    let count_some = || -> anyhow::Result<()> {
        while let Some(name) = next() {
            let count = count(&name).with_context(|| format!("{name} can't be counted"))?;
            if let Ok(mut counts) = counts.lock() {
                counts.insert(name, count);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(count_some)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread panicked"),
        })
    })?;
    counts.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))
}

/// Counts a piece of work in a process of its own.
fn count(name: &str) -> anyhow::Result<u64> {
    let this = env::current_exe()?;
    let file = output_file(&this, name);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&this)
        .args(["do", name])
        .env("GLIBC_TUNABLES", PLAIN_MEMORY)
        .output()
        .context("valgrind can't be started: `make setup` installs it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let profile = fs::read_to_string(&file).context("valgrind wrote nothing")?;
    fs::remove_file(&file)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("valgrind says no total")?.trim().parse()?;
    ensure!(total > 1000, "only {total} instructions: the function that is counted was not found");
    Ok(total)
}

fn output_file(this: &Path, name: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    this.with_file_name(format!("instructions-{}-{name}.out", std::process::id()))
}

/// All that the counts depend on besides the sources.
fn made_with() -> anyhow::Result<String> {
    let version = run("rustc", &["-vV"])?;
    let mut text = version.lines().next().context("rustc says no version")?.to_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("unknown");
    write!(text, ", {host}")?;
    write!(text, ", {}", run("getconf", &["GNU_LIBC_VERSION"])?.trim())?;
    #[cfg(target_arch = "x86_64")]
    text.push_str(if std::arch::is_x86_feature_detected!("avx2") { ", avx2" } else { ", no avx2" });
    Ok(text)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("{program} can't be started"))?;
    ensure!(output.status.success(), "{program} failed");
    Ok(String::from_utf8(output.stdout)?)
}

/// How far a count is from one before, in thousandths of that.
fn per_mille(now: u64, before: u64) -> i32 {
    let (now, before) = (i128::from(now), i128::from(before.max(1)));
    i32::try_from((now - before) * 1000 / before).unwrap_or(i32::MAX)
}

fn title(work: &Work) -> String {
    format!("{}/{}", work.group, work.name)
}

#[expect(clippy::print_stdout, reason = "it is a program of the command line")]
fn say(text: &str) {
    println!("{text}");
}
