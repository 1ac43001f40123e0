//! The values of settings and of metadata: a value that was read is written in a form that reads the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use broker::config::{ByteSize, Host, HumanDuration, Secret};
use broker::types::SessionId;

pub fn run(data: &[u8]) {
    let Some(text) = super::text(data) else { return };
    check::<HumanDuration>(text);
    if let Some(ByteSize(size)) = check(text) {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        assert!(digits.parse::<usize>().is_ok_and(|number| number <= size));
    }
    check::<Host>(text);
    if let Some(sid) = SessionId::parse(text) {
        assert_eq!(sid.to_string(), text);
    }
    let secret = Secret::from(text);
    assert!(secret.each().all(|key| secret.matches(key.as_bytes())));
    assert!(secret.each().count() > 0);
}

/// Reads a value; what it is written as is read as the same.
fn check<T: FromStr<Err: Display> + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            assert_eq!(written.parse().ok().as_ref(), Some(&value), "{written}");
            Some(value)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
