//! Settings that are planned and not there yet, so that asking for one gets a true answer rather
//! than "unknown", and a broker that was told to protect never starts without protection.

/// Why `setting` (a flag's name without dashes) isn't there, if it is one that will be.
///
/// ```
/// assert!(broker::config::not_yet("secret").is_some());
/// assert!(broker::config::not_yet("port").is_none());
/// ```
pub fn not_yet(setting: &str) -> Option<&'static str> {
    Some(match setting {
        "secret" => {
            "is not in this version and would protect nothing: leave it out and keep --host \
             127.0.0.1, or pass --public to serve everyone"
        }
        "allowed-origins" => {
            "is not in this version and every origin may connect: leave it out, and check origins \
             in a proxy in front"
        }
        "sessions-ttl" => {
            "is not in this version: leave it out; --presence-ttl says how long a member stays"
        }
        "state-dir" => "is not in this version: nothing is kept on disk, so leave it out",
        _ => return None,
    })
}
