//! Parameters in the query of a URL, as forms and `URLSearchParams` write them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A query's parameters, decoded once.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    text: &'a str,
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads a query. What isn't UTF-8 has U+FFFD in its place.
    pub fn parse(text: &'a str) -> Self {
        Self { text, pairs: form_urlencoded::parse(text.as_bytes()).collect() }
    }

    /// The value of the first parameter of that name, in whatever case, if it isn't empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&*pair.1).filter(|value| !value.is_empty())
    }

    /// A parameter that is standard base64, in which a plus stands for itself.
    pub fn base64(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.replace(' ', "+"))
    }

    /// Whether all of it is UTF-8.
    pub fn is_utf8(&self) -> bool {
        percent_decode_str(self.text).decode_utf8().is_ok()
    }
}

/// The value of the first parameter of exactly that name, if it isn't empty.
///
/// ```
/// use broker_core::protocol::query::parameter;
/// assert_eq!(parameter("a=1&stream=room+4%2F2", "stream").as_deref(), Some("room 4/2"));
/// assert_eq!(parameter("stream=", "stream"), None);
/// ```
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| !value.is_empty())
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
        assert_eq!(Query::parse("JID=a").get("jid"), Some("a"));
    }

    #[test]
    fn a_plus_is_a_space_except_in_base64() {
        assert_eq!(parameter("a=b+c%2Bd", "a").as_deref(), Some("b c+d"));
        assert_eq!(Query::parse("a=b+c%2Bd").base64("a").as_deref(), Some("b+c+d"));
    }

    #[test]
    fn what_is_not_utf8_is_known() {
        assert!(Query::parse("a=%C3%A9").is_utf8() && !Query::parse("a=%FF").is_utf8());
        assert_eq!(parameter("a=%FF", "a").as_deref(), Some("\u{FFFD}"));
    }
}
