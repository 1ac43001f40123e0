//! The list of members that Phoenix's client keeps, by its own algorithms
//! (`assets/js/phoenix/presence.js`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The client's class of this name.
#[derive(Default)]
pub(crate) struct Presence {
    pub(crate) state: BTreeMap<String, Vec<Value>>,
    pub(crate) pending: Vec<Value>,
    pub(crate) join_ref: Option<String>,
    /// It was told something twice, as may be around a join: then its metas are in another order.
    pub(crate) is_shuffled: bool,
}

impl Presence {
    /// `syncState`, and then the diffs that came before it.
    pub(crate) fn take_state(&mut self, new: &Value, join_ref: Option<String>) {
        self.join_ref = join_ref;
        let (mut joins, mut leaves) = (Map::new(), Map::new());
        for (id, current) in &self.state {
            if new.get(id).is_none() {
                leaves.insert(id.clone(), json!({ "metas": current }));
            }
        }
        for (id, presence) in new.as_object().unwrap() {
            let metas = presence["metas"].as_array().unwrap();
            let current = self.state.get(id).map(Vec::as_slice).unwrap_or_default();
            let (known, given) = (references(current), references(metas));
            let is_new = |meta: &&Value| !known.contains(&reference(meta));
            let joined: Vec<Value> = metas.iter().filter(is_new).cloned().collect();
            let is_gone = |meta: &&Value| !given.contains(&reference(meta));
            let left: Vec<Value> = current.iter().filter(is_gone).cloned().collect();
            if !joined.is_empty() {
                joins.insert(id.clone(), json!({ "metas": joined }));
            }
            if !left.is_empty() {
                leaves.insert(id.clone(), json!({ "metas": left }));
            }
        }
        self.sync_diff(&json!({ "joins": joins, "leaves": leaves }), false);
        for diff in std::mem::take(&mut self.pending) {
            self.is_shuffled = true;
            self.sync_diff(&diff, false);
        }
    }

    /// `syncDiff`. Strictly, nothing comes that is there, nothing goes that isn't, and what takes
    /// another's place takes that of one that is there.
    pub(crate) fn sync_diff(&mut self, diff: &Value, is_strict: bool) {
        for (id, presence) in diff["joins"].as_object().unwrap() {
            let new = presence["metas"].as_array().unwrap();
            let current = self.state.remove(id).unwrap_or_default();
            let joined = references(new);
            let is_known = |meta: &Value| joined.contains(&reference(meta));
            if is_strict {
                assert!(!current.iter().any(is_known), "{diff} joins what is there: {current:?}");
                let mut there = references(&current);
                for meta in new {
                    if let Some(previous) = meta.get("phx_ref_prev") {
                        let previous = previous.as_str().unwrap().to_owned();
                        assert!(there.contains(&previous), "{diff} replaces none of {there:?}");
                    }
                    there.push(reference(meta));
                }
            }
            let mut metas: Vec<Value> = current.into_iter().filter(|it| !is_known(it)).collect();
            metas.extend(new.iter().cloned());
            self.state.insert(id.clone(), metas);
        }
        for (id, presence) in diff["leaves"].as_object().unwrap() {
            let left = references(presence["metas"].as_array().unwrap());
            let Some(current) = self.state.get_mut(id) else {
                assert!(!is_strict, "{diff} takes out who isn't there");
                continue;
            };
            let before = current.len();
            current.retain(|meta| !left.contains(&reference(meta)));
            assert!(!is_strict || before == current.len() + left.len(), "{diff}");
            if current.is_empty() {
                self.state.remove(id);
            }
        }
    }
}

pub(crate) fn references(metas: &[Value]) -> Vec<String> {
    metas.iter().map(reference).collect()
}

fn reference(meta: &Value) -> String {
    meta["phx_ref"].as_str().unwrap().to_owned()
}
