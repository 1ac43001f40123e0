//! A list of origins in the first line, and the origins of requests in the others.
//!
//! A list is written as it was read, and admits no origin whose host a plainer parser doesn't find in it.

use broker::auth::Origins;

pub fn run(data: &[u8]) {
    let Some(text) = super::text(data) else { return };
    let mut lines = text.split('\n');
    let written = lines.next().unwrap_or_default();
    let list: Origins = match written.parse() {
        Ok(list) => list,
        Err(error) => {
            let error = format!("{error:?}");
            return assert!(!error.is_empty());
        }
    };
    let again: Origins = list.to_string().parse().expect("what is written can be read");
    assert_eq!(again, list);
    let everyone = written.split(',').any(|entry| entry.trim() == "*");
    assert_eq!(list.allow(None), everyone);
    for origin in lines {
        let allowed = list.allow(Some(origin));
        assert_eq!(allowed, list.allow(Some(&origin.to_ascii_uppercase())));
        assert!(allowed || !everyone);
        assert!(!allowed || written.split(',').any(|entry| may(entry.trim(), origin)), "{origin}");
    }
}

/// Whether an entry can mean an origin: its host is the entry's, or ends with a dot and it.
fn may(entry: &str, origin: &str) -> bool {
    let (entry, origin) = (entry.to_ascii_lowercase(), origin.to_ascii_lowercase());
    let Some((scheme, host)) = origin.split_once("://") else { return entry == "*" };
    let (wanted, entry) = entry.split_once("://").unwrap_or((scheme, &entry));
    let parent = entry.trim_start_matches('*').trim_start_matches('.');
    let is_host = host == parent && !entry.starts_with("*.");
    let is_below = entry.starts_with('*') && host.ends_with(&format!(".{parent}"));
    wanted == scheme && (is_host || is_below || entry == "*")
}
