//! Normalization of connection identifiers, so that they compare as JSON values.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// Maximum nesting depth; deeper identifiers are compared as text.
const MAX_DEPTH: usize = 32;

/// Maximum number of trailing zeros; longer numbers are written with an exponent.
const MAX_ZEROS: i64 = 20;

/// The canonical form of a JSON value: no spaces, sorted keys (the last of duplicates), one form of
/// each string and number. Numbers keep all digits, and 1.0 is 1. Text that isn't JSON stays
/// unchanged.
pub fn canonical(identifiers: &str) -> Box<str> {
    let mut out = String::with_capacity(identifiers.len());
    let value = serde_json::from_str(identifiers).ok();
    match value.and_then(|value| write(value, MAX_DEPTH, &mut out)) {
        Some(()) => out.into(),
        None => identifiers.into(),
    }
}

fn write(value: &RawValue, depth: usize, out: &mut String) -> Option<()> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            out.push('{');
            for (number, (key, value)) in fields.into_iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::to_string(&key).ok()?);
                out.push(':');
                write(value, depth.checked_sub(1)?, out)?;
            }
            out.push('}');
        }
        b'[' => {
            let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            out.push('[');
            for (number, value) in values.into_iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                write(value, depth.checked_sub(1)?, out)?;
            }
            out.push(']');
        }
        b'"' => {
            let text: String = serde_json::from_str(json).ok()?;
            out.push_str(&serde_json::to_string(&text).ok()?);
        }
        b't' | b'f' | b'n' => out.push_str(json),
        _ => write_number(json, out)?,
    }
    Some(())
}

/// Appends a number's significant digits and the position of its point.
fn write_number(json: &str, out: &mut String) -> Option<()> {
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return Some(());
    }
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    out.push_str(sign);
    out.push_str(significant);
    match exponent {
        0..=MAX_ZEROS => out.extend((0..exponent).map(|_| '0')),
        _ => write!(out, "e{exponent}").ok()?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_the_same_json_has_one_spelling() {
        for (spellings, canonical_one) in [
            (&[r#"{"user":42}"#, r#" { "user" : 42 } "#, r#"{"user":42.0}"#][..], r#"{"user":42}"#),
            (
                &[r#"{"b":1,"a":[true, null]}"#, "{\"a\":[true,null],\n\"b\":1}"],
                r#"{"a":[true,null],"b":1}"#,
            ),
            (&[r#""\u00e9\/""#, r#""é/""#], r#""é/""#),
            (&["1", "1.0", "10e-1", "0.1E+1", "1e0"], "1"),
            (&["0", "-0", "0.0", "0e9"], "0"),
            (&["100", "1e2", "1.00e+2"], "100"),
            (&["-1.5", "-15e-1", "-1.50"], "-15e-1"),
            (&["1e21", "1000000000000000000000"], "1e21"),
            (&[r#"{"a":1,"a":2}"#, r#"{"a":2}"#], r#"{"a":2}"#),
            (&["{ }"], "{}"),
            (&["[ ]"], "[]"),
        ] {
            for spelling in spellings {
                assert_eq!(&*canonical(spelling), canonical_one, "{spelling}");
                assert_eq!(&*canonical(canonical_one), canonical_one);
            }
        }
    }

    #[test]
    fn what_is_another_value_has_another() {
        let all = [
            r#"{"user":9007199254740993}"#,
            r#"{"user":9007199254740992}"#,
            r#"{"user":"9007199254740992"}"#,
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            "1",
            "-1",
            "10",
            "0.1",
            "\"1\"",
            "[1]",
            "[1,2]",
            "[2,1]",
            "true",
            "null",
        ];
        for (number, one) in all.iter().enumerate() {
            for other in all.iter().skip(number + 1) {
                assert_ne!(canonical(one), canonical(other));
            }
        }
    }

    #[test]
    fn anything_else_is_a_text() {
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        for text in
            ["", "ann", " ann", "{\"user\":1", "01", "\"\\ud800\"", "1e99999999999999999999", &deep]
        {
            assert_eq!(&*canonical(text), text);
        }
        let nested = format!("{} 1{}", "[".repeat(32), "]".repeat(32));
        assert_eq!(*canonical(&nested), nested.replace(' ', ""));
    }

    proptest! {
        #[test]
        fn it_is_the_same_json(text in r#"[\[\]{}:,"a-c0-9.eE+ \\-]{0,12}"#) {
            let once = canonical(&text);
            prop_assert_eq!(&canonical(&once), &once);
            if let Ok(before) = serde_json::from_str::<serde_json::Value>(&text) {
                let after: serde_json::Value = serde_json::from_str(&once).unwrap();
                let same = |a: &serde_json::Value, b: &serde_json::Value| match (a.as_f64(), b.as_f64()) {
                    (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-9,
                    _ => a.is_object() || a.is_array() || a == b,
                };
                prop_assert!(same(&before, &after), "{} {}", text, once);
            }
        }

        #[test]
        fn spaces_make_no_difference(numbers in prop::collection::vec(any::<f64>().prop_filter("JSON", |n| n.is_finite()), 0..4)) {
            let tight = serde_json::to_string(&numbers).unwrap();
            let wide = serde_json::to_string_pretty(&numbers).unwrap();
            prop_assert_eq!(canonical(&tight), canonical(&wide));
        }
    }
}
