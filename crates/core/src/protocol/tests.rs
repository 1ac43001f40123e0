//! What the codecs' tests share.

use proptest::prelude::*;

/// Any JSON, written in one way or another.
pub(super) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        Just("1.50e3".to_owned()),
        string(),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof![
            Just("\"username\"".to_owned()),
            Just("\"content\"".to_owned()),
            Just("\"timestamp\"".to_owned()),
            string(),
        ];
        let entry = (key, inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(entry, 0..5).prop_map(|all| format!("{{{} }}", all.join(","))),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    ".{0,8}".prop_map(|text| serde_json::Value::from(text).to_string())
}
