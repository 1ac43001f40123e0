//! The metrics recorder.

use std::time::Duration;

use metrics::{gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::error::Error;
use crate::telemetry::metrics as names;

/// How often histograms are drained, so that they don't grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of the histograms' buckets, in seconds.
const SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The same, for the items of a batch: at most 256, unless more belong together.
const ENTRIES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The same, for the bytes of a batch.
const BYTES: [f64; 9] =
    [64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// Installs the recorder and describes the metrics of every broker.
pub(super) fn install(open_files: u64) -> Result<PrometheusHandle, Error> {
    let failed = |error: &dyn std::error::Error| Error::Metrics(error.to_string());
    let full = |name: &str| Matcher::Full(name.to_owned());
    let buckets: [(_, &[f64]); 3] = [
        (Matcher::Suffix("_seconds".to_owned()), &SECONDS),
        (full(names::ENGINE_BATCH_ENTRIES), &ENTRIES),
        (full(names::ENGINE_BATCH_BYTES), &BYTES),
    ];
    let builder =
        buckets.into_iter().try_fold(PrometheusBuilder::new(), |builder, (metrics, bounds)| {
            builder.set_buckets_for_metric(metrics, bounds)
        });
    let recorder = builder.map_err(|error| failed(&error))?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    names::describe(names::ALL);
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!(names::OPEN_FILE_LIMIT).set(open_files as f64);
    drop(histogram!(names::EXPIRY_LAG)); // registered, so that it shows at zero
    Ok(handle)
}

/// Drains histograms periodically, for ever.
pub(super) async fn upkeep(prometheus: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        prometheus.run_upkeep();
    }
}
