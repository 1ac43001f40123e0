//! Parameters in the query of a URL, as forms and `URLSearchParams` write them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The value of the first parameter of that name, if it isn't empty. What isn't UTF-8 has U+FFFD in
/// its place.
///
/// ```
/// use broker_core::protocol::query::parameter;
/// assert_eq!(parameter("a=1&stream=room+4%2F2", "stream").as_deref(), Some("room 4/2"));
/// assert_eq!(parameter("stream=", "stream"), None);
/// ```
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    find(query, |key| key == name)
}

/// The same, whatever case the name is in.
pub fn parameter_ignoring_case<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    find(query, |key| key.eq_ignore_ascii_case(name))
}

/// A parameter that is standard base64, in which a plus stands for itself.
pub fn base64_parameter(query: &str, name: &str) -> Option<String> {
    parameter_ignoring_case(query, name).map(|value| value.replace(' ', "+"))
}

/// Whether all of a query is UTF-8 once it is decoded.
pub fn is_utf8(query: &str) -> bool {
    percent_decode_str(query).decode_utf8().is_ok()
}

fn find(query: &str, is_it: impl Fn(&str) -> bool) -> Option<Cow<'_, str>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| is_it(key)).map(|(_, value)| value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(parameter("pi=1&jid=a.b%2Dc&jid=d", "jid").as_deref(), Some("a.b-c"));
        assert_eq!(parameter("j%69d=a", "jid").as_deref(), Some("a"));
        for query in ["", "jid", "jid=", "xjid=a", "JID=a"] {
            assert_eq!(parameter(query, "jid"), None, "{query}");
        }
        assert_eq!(parameter_ignoring_case("JID=a", "jid").as_deref(), Some("a"));
    }

    #[test]
    fn a_plus_is_a_space_except_in_base64() {
        assert_eq!(parameter("a=b+c%2Bd", "a").as_deref(), Some("b c+d"));
        assert_eq!(base64_parameter("a=b+c%2Bd", "a").as_deref(), Some("b+c+d"));
    }

    #[test]
    fn what_is_not_utf8_is_known() {
        assert!(is_utf8("a=%C3%A9") && !is_utf8("a=%FF"));
        assert_eq!(parameter("a=%FF", "a").as_deref(), Some("\u{FFFD}"));
    }
}
