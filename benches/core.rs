//! What the broker's own part costs: telling many, members that come and go, lists, records that
//! expire, each protocol's words, and what nodes write for each other.
//!
//! `cargo bench --bench core`, or `cargo bench --bench core -- churn` for a part of it.

#[path = "support/sealing.rs"]
mod sealing;
mod support;

use criterion::{BatchSize, Criterion, Throughput};

use support::codecs::{SPOKEN, decode, encode};
use support::work::{Run, Work};
use support::works::{self, Sizes};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for work in works() {
        time(&mut criterion, &work);
    }
    criterion.final_summary();
}

fn works() -> Vec<Work> {
    let sizes = Sizes {
        subscribers: 10_000,
        burst: 1000,
        room: 1000,
        members: 10_000,
        records: 100_000,
        rooms: 10_000,
    };
    let core = works::works(&sizes);
    let words = SPOKEN.iter().flat_map(decode).chain(SPOKEN.iter().flat_map(encode));
    core.into_iter().chain(words).chain(sealing::sealing()).collect()
}

fn time(criterion: &mut Criterion, work: &Work) {
    let mut group = criterion.benchmark_group(work.group);
    group.throughput(Throughput::Elements(work.elements));
    match work.prepare() {
        Run::Again(mut run) => {
            group.bench_function(&work.name, |bencher| bencher.iter(&mut run));
        }
        Run::Once(_) => {
            let prepare = || match work.prepare() {
                Run::Again(run) => run as Box<dyn FnOnce()>,
                Run::Once(run) => run,
            };
            group.sample_size(10); // to prepare it takes longer than the work itself
            group.bench_function(&work.name, |bencher| {
                bencher.iter_batched(prepare, |run| run(), BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}
