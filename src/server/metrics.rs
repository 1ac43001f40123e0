//! The metrics recorder.

use std::time::Duration;

use metrics::{gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::error::Error;
use crate::telemetry::metrics as names;

/// How often histograms are drained, so that they don't grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Installs the recorder and describes all metrics.
pub(super) fn install(open_files: u64) -> Result<PrometheusHandle, Error> {
    let failed = |error: &dyn std::error::Error| Error::Metrics(error.to_string());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .map_err(|error| failed(&error))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    names::describe();
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
