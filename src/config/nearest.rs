//! Suggestions for misspelled names.

/// The one of `names` that `name` is probably a misspelling of.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |other: &str| strsim::jaro_winkler(name, other);
    names
        .into_iter()
        .map(|other| (alike(other), other))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}

/// Minimum similarity of a suggestion: one or two letters differ, not just the ending.
const ALIKE: f64 = 0.88;
