//! Facts of a cluster, which its first node decides. Its other nodes must agree with them.

use super::error::EngineError;
use super::settings::EngineSettings;

/// Facts of a cluster, as the engine has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Facts {
    /// Version of what the engine has.
    pub(in crate::engine) format: u16,
    pub(in crate::engine) partitions: u16,
    /// What tells its secret from others, if it has one.
    pub(in crate::engine) secret: Option<String>,
}

impl Facts {
    /// Compares them with a node's settings, and the format that it knows.
    pub(in crate::engine) fn check(
        &self,
        settings: &EngineSettings,
        format: u16,
    ) -> Result<(), EngineError> {
        let cluster = settings.cluster.to_string();
        if self.format != format {
            return Err(EngineError::Format { cluster, theirs: self.format, ours: format });
        }
        if self.partitions != settings.partitions {
            let (theirs, ours) = (self.partitions, settings.partitions);
            return Err(EngineError::Partitions { cluster, theirs, ours });
        }
        match (&self.secret, &settings.secret) {
            (Some(_), None) => Err(EngineError::NoSecret { cluster }),
            (None, Some(_)) => Err(EngineError::NeedlessSecret { cluster }),
            (theirs, ours) if theirs != ours => Err(EngineError::OtherSecret { cluster }),
            _ => Ok(()),
        }
    }
}
