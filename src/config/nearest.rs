//! What was probably meant by a name that isn't known.

/// The one of `names` a person probably meant by `name`.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |other: &str| strsim::jaro_winkler(name, other);
    names
        .into_iter()
        .map(|other| (alike(other), other))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}

/// How like a name must be to be suggested: a letter or two off, not just the same beginning.
const ALIKE: f64 = 0.88;
