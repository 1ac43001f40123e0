//! Plays cases against a broker, many at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::frame::{TEXT, close, frame};
use crate::script::{Carriage, Case, Ending, Play, Step};
use crate::wire::{Fault, Heard, Wire, handshake};

/// How many connections are under test at the same time.
const AT_ONCE: usize = 64;

/// The broker's answer to a text message that is no command.
const NO_COMMAND: &str = r#"{"type":"error","identifier":"","command":"unknown","reason":"#;

/// How a case is played.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Its text as it is.
    Plain,
    /// Its text as whispers.
    Whispered,
    /// Its text as it is, and what is sent first in one packet with the handshake.
    WithHandshake,
    /// Its text as whispers, and everything in packets of a byte, the handshake too.
    ByTheByte,
}

const MANNERS: [Manner; 4] =
    [Manner::Plain, Manner::Whispered, Manner::WithHandshake, Manner::ByTheByte];

/// What was wrong with a case.
pub(crate) struct Failed {
    pub(crate) number: String,
    manner: Manner,
    fault: Fault,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?}): {}", self.number, self.manner, self.fault)
    }
}

/// Plays all cases in all manners.
pub(crate) fn play(port: u16, cases: &[Case]) -> Vec<Failed> {
    let plays: Vec<_> = cases.iter().flat_map(|case| MANNERS.map(|how| (case, how))).collect();
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let work = || {
        while let Some((case, manner)) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(fault) = play_one(port, case, *manner) {
                let number = case.number.clone();
                faults.lock().unwrap().push(Failed { number, manner: *manner, fault });
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    faults.into_inner().unwrap()
}

fn play_one(port: u16, case: &Case, manner: Manner) -> Result<(), Fault> {
    let (carriage, witness) = match manner {
        Manner::Plain | Manner::WithHandshake => (Carriage::Plain, None),
        Manner::Whispered | Manner::ByTheByte => {
            let stream = format!("{} {manner:?}", case.number);
            let witness = Witness::new(port, &stream)?;
            (Carriage::Whisper(stream), Some(witness))
        }
    };
    let Play { mut steps, ending } = (case.play)(&carriage);
    let mut opening = handshake();
    if let (Manner::WithHandshake, Step::Send(first, _)) = (manner, &mut steps[0]) {
        opening.append(first);
    }
    let mut peer = Peer { wire: Wire::connect(port)?, witness, carriage, manner };
    peer.send(&opening, None)?;
    peer.wire.upgraded()?;
    if let Some(witness) = &peer.witness {
        follow(&mut peer.wire, &witness.identifier)?;
    }
    for step in steps {
        peer.take(step)?;
    }
    peer.end(ending)
}

/// A connection under test, and who hears what is whispered on it.
struct Peer {
    wire: Wire,
    witness: Option<Witness>,
    carriage: Carriage,
    manner: Manner,
}

impl Peer {
    fn send(&mut self, bytes: &[u8], size: Option<usize>) -> Result<(), Fault> {
        match (self.manner, size) {
            (Manner::ByTheByte, _) => {
                self.wire.send_chopped(bytes, bytes.len().div_ceil(512).max(1))
            }
            (_, Some(size)) => self.wire.send_chopped(bytes, size),
            (_, None) => self.wire.send(bytes),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), Fault> {
        match step {
            Step::Send(bytes, size) => self.send(&bytes, size),
            Step::EndSending => self.wire.end_sending(),
            Step::Quiet => self.wire.is_quiet(),
            Step::Pong(payload) => expect(&self.wire.hear()?, &Heard::Pong(payload)),
            Step::Echo(message) => {
                if let Some(witness) = &mut self.witness {
                    return expect(&witness.wire.hear()?, &self.carriage.told(&message));
                }
                let answer = self.wire.hear()?;
                let is_error = matches!(&answer, Heard::Text(it) if it.starts_with(NO_COMMAND));
                let fault = || format!("{answer:?} came in answer to a text message");
                is_error.then_some(()).ok_or_else(fault)
            }
        }
    }

    fn end(mut self, ending: Ending) -> Result<(), Fault> {
        if ending == Ending::Closed {
            self.send(&close(1000, "").bytes(), None)?;
        }
        let code = match ending {
            Ending::Closed => Some(1000),
            Ending::Answered(code) | Ending::Failed(code) => Some(code),
            Ending::Dropped => None,
        };
        if let Some(code) = code {
            expect(&self.wire.hear()?, &Heard::Close(Some(code)))?;
        }
        if let Ending::Failed(code) = ending {
            self.wire.send(&close(code, "").bytes())?;
        }
        self.wire.ends()?;
        self.witness.map_or(Ok(()), Witness::hears_no_more)
    }
}

/// Who hears what is whispered on a stream.
struct Witness {
    wire: Wire,
    identifier: String,
}

impl Witness {
    fn new(port: u16, stream: &str) -> Result<Self, Fault> {
        let identifier = Carriage::identifier(stream);
        let mut wire = Wire::open(port)?;
        follow(&mut wire, &identifier)?;
        Ok(Self { wire, identifier })
    }

    /// Asks for something that is answered after all that was said to the stream before.
    fn hears_no_more(mut self) -> Result<(), Fault> {
        let identifier = &self.identifier;
        let command = format!(
            r#"{{"command":"presence","identifier":{identifier},"data":{{"return_records":false}}}}"#
        );
        self.wire.send(&frame(TEXT, command).bytes())?;
        let info = format!(
            r#"{{"type":"presence","identifier":{identifier},"message":{{"type":"info","total":0}}}}"#
        );
        expect(&self.wire.hear()?, &Heard::Text(info))
            .map_err(|fault| format!("at the other subscriber, {fault}"))
    }
}

/// Subscribes.
fn follow(wire: &mut Wire, identifier: &str) -> Result<(), Fault> {
    let command = format!(r#"{{"command":"subscribe","identifier":{identifier}}}"#);
    wire.send(&frame(TEXT, command).bytes())?;
    let confirmed = format!(r#"{{"identifier":{identifier},"type":"confirm_subscription"}}"#);
    expect(&wire.hear()?, &Heard::Text(confirmed))
}

/// That this came, shortened for reading.
fn expect(came: &Heard, expected: &Heard) -> Result<(), Fault> {
    if came == expected {
        return Ok(());
    }
    Err(format!("{:.200} came in place of {:.200}", format!("{came:?}"), format!("{expected:?}")))
}
