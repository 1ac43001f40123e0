//! From counts to figures.

/// A count as a number to divide: exact up to 2^53, which is more than is ever counted here.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    length as u64
}

/// What one of `count` took of `total`; nothing if there were none.
pub(crate) fn each(total: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { total / float(count) }
}
