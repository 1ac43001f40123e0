//! 10: a large message in many fragments.

use crate::frame::{TEXT, fragmented};
use crate::script::{Case, Script, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![case("10.1.1", |carriage| {
        let message = carriage.filled(65_536);
        let frames = fragmented(TEXT, &message, 1300);
        assert_eq!(frames.len(), 51);
        Script::new().together(frames).echo(message).closed()
    })]
}
