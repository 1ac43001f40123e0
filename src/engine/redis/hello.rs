//! What a server says of itself.

use redis::Value;

use super::fault::Fault;
use super::run::text;

/// The oldest version that has all that is used (`XTRIM MINID`).
const OLDEST: (u16, u16) = (6, 2);

/// The first version in which the messages of a slot stay at its master.
const SHARDED: (u16, u16) = (7, 0);

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub(super) mode: String,
    role: String,
}

impl Hello {
    /// From the answer to `HELLO`.
    pub(super) fn read(hello: &Value) -> Result<Self, Fault> {
        let Value::Map(facts) = hello else { return Err(Fault::Unexpected) };
        let fact = |name: &str| {
            let is_it = |key: &Value| text(key).is_some_and(|key| key == name);
            let (_, value) = facts.iter().find(|(key, _)| is_it(key)).ok_or(Fault::Unexpected)?;
            text(value).map(str::to_owned).ok_or(Fault::Unexpected)
        };
        Ok(Self { version: fact("version")?, mode: fact("mode")?, role: fact("role")? })
    }

    /// Whether the server can be used: alone, or as one of a Redis Cluster.
    pub(super) fn check(&self, is_cluster: bool) -> Result<(), Fault> {
        let mode = if is_cluster { "cluster" } else { "standalone" };
        if self.number() < OLDEST {
            Err(Fault::Version(self.version.clone()))
        } else if self.mode != mode {
            Err(Fault::Mode(self.mode.clone()))
        } else if self.role != "master" {
            Err(Fault::Replica)
        } else {
            Ok(())
        }
    }

    /// Whether messages of a slot can stay at its master.
    pub(super) fn has_shard_channels(&self) -> bool {
        self.mode == "cluster" && self.number() >= SHARDED
    }

    fn number(&self) -> (u16, u16) {
        let mut numbers = self.version.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: &str, mode: &str, role: &str) -> Hello {
        let text = |text: &str| Value::BulkString(text.into());
        let fact = |key, value| (text(key), text(value));
        let facts = [("version", version), ("mode", mode), ("role", role)];
        let facts = facts.map(|(key, value)| fact(key, value));
        let proto = (text("proto"), Value::Int(3));
        Hello::read(&Value::Map([vec![proto], facts.to_vec()].concat())).unwrap()
    }

    #[test]
    fn only_a_primary_that_is_new_enough_will_do() {
        for version in ["6.2.0", "7.0.15", "10.1", "255.255.255"] {
            assert!(hello(version, "standalone", "master").check(false).is_ok(), "{version}");
            assert!(hello(version, "cluster", "master").check(true).is_ok(), "{version}");
        }
        for version in ["6.0.16", "5.9", "x"] {
            let refused = hello(version, "standalone", "master").check(false);
            assert!(matches!(refused, Err(Fault::Version(_))), "{version}");
        }
        for (mode, is_cluster) in [("cluster", false), ("standalone", true), ("sentinel", false)] {
            let refused = hello("7.0", mode, "master").check(is_cluster);
            assert!(matches!(refused, Err(Fault::Mode(_))), "{mode}");
        }
        let replica = hello("7.0", "standalone", "replica").check(false);
        assert!(matches!(replica, Err(Fault::Replica)));
        assert!(matches!(Hello::read(&Value::Okay), Err(Fault::Unexpected)));
    }

    #[test]
    fn messages_stay_at_a_master_from_7_on() {
        let has = |version, mode| hello(version, mode, "master").has_shard_channels();
        assert!(has("7.0.0", "cluster") && has("8.2.1", "cluster"));
        assert!(!has("6.2.14", "cluster") && !has("7.0.15", "standalone"));
    }
}
