//! The values of settings and of metadata: what is read is written so that it is read as the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use broker::config::{ByteSize, Host, HumanDuration, Secret};
use broker::types::SessionId;

/// No setting takes more; humantime can't read all that it writes of far longer ones.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

pub fn run(data: &[u8]) {
    let Some(text) = super::text(data) else { return };
    if let Some(HumanDuration(duration)) =
        check::<HumanDuration>(text, |duration| duration.0 <= LONGEST)
    {
        assert!(text.bytes().any(|byte| byte.is_ascii_digit()), "{duration:?}");
    }
    if let Some(ByteSize(size)) = check::<ByteSize>(text, |_| true) {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        assert!(digits.parse::<usize>().is_ok_and(|number| number <= size));
    }
    check::<Host>(text, |_| true);
    if let Some(sid) = SessionId::parse(text) {
        assert_eq!(sid.to_string(), text);
    }
    let secret = Secret::from(text);
    assert!(secret.each().all(|key| secret.matches(key.as_bytes())));
    assert!(secret.each().count() > 0);
}

fn check<T: FromStr + Display + Debug + PartialEq>(
    text: &str,
    is_meant: fn(&T) -> bool,
) -> Option<T>
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            if is_meant(&value) {
                let written = value.to_string();
                assert_eq!(written.parse().ok().as_ref(), Some(&value), "{written}");
            }
            Some(value)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
