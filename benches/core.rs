//! What the broker's own part costs: telling many, members that come and go, lists, records that
//! expire, and each protocol's words.
//!
//! `cargo bench --bench core`, or `cargo bench --bench core -- churn` for a part of it.

mod support;

use broker::protocol::{action_cable, phoenix};
use criterion::{BatchSize, Criterion, Throughput};

use support::codecs::{SPOKEN, decode, encode};
use support::expiry::expiry;
use support::room::{burst, churn, fan_out, list, list_after_a_change};
use support::work::{Run, Work};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for work in works() {
        time(&mut criterion, &work);
    }
    criterion.final_summary();
}

fn works() -> Vec<Work> {
    let core = [
        fan_out(action_cable::CODEC, 10_000),
        fan_out(phoenix::CODEC, 10_000),
        burst(action_cable::CODEC, 100, 1000),
        burst(phoenix::CODEC, 100, 1000),
        churn(action_cable::CODEC, 10),
        churn(action_cable::CODEC, 1000),
        churn(phoenix::CODEC, 1000),
        list(action_cable::CODEC, 10_000),
        list_after_a_change(action_cable::CODEC, 10_000),
        expiry(100_000),
    ];
    let words = SPOKEN.iter().flat_map(decode).chain(SPOKEN.iter().flat_map(encode));
    core.into_iter().chain(words).collect()
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
