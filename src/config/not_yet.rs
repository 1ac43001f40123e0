//! Settings that are planned and not there yet, so that asking for one gets a true answer rather
//! than "unknown".

/// Why `setting` (a flag's name without dashes) isn't there, if it is one that will be.
///
/// ```
/// assert!(broker::config::not_yet("state-dir").is_some());
/// assert!(broker::config::not_yet("port").is_none());
/// ```
pub fn not_yet(setting: &str) -> Option<&'static str> {
    Some(match setting {
        "sessions-ttl" => {
            "is not in this version: leave it out; --presence-ttl says how long a member stays"
        }
        "state-dir" => "is not in this version: nothing is kept on disk, so leave it out",
        _ => return None,
    })
}
