//! The engine that AnyCable's `--broker` and `--pubsub` name. Here it follows from the address of Redis or NATS, so they
//! have to agree with that.

use super::refusal::Refusal;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// None: a broker alone.
    Memory,
    /// Redis.
    Redis,
    /// NATS.
    Nats,
}

/// A flag or variable that names an engine.
#[derive(Debug)]
pub(super) struct EngineChoice {
    /// As it was given, with its value.
    given: String,
    engine: Engine,
}

impl EngineChoice {
    /// `given` names an engine by `value`.
    pub(super) fn new(given: &str, value: &str, engine: Engine) -> Self {
        Self { given: format!("{given}={value}"), engine }
    }

    /// Compares it with the engine that the settings have.
    pub(super) fn check(&self, is: Engine) -> Result<(), Refusal> {
        let Self { given, engine } = self;
        match (engine, is) {
            (Engine::Memory, Engine::Memory)
            | (Engine::Redis, Engine::Redis)
            | (Engine::Nats, Engine::Nats) => Ok(()),
            (Engine::Redis, Engine::Memory) => Err(Refusal(format!(
                "{given} needs the address of Redis: add --redis-url redis://HOST:PORT"
            ))),
            (Engine::Nats, Engine::Memory) => Err(Refusal(format!(
                "{given} needs the address of NATS: add --nats-servers nats://HOST:PORT"
            ))),
            (Engine::Memory | Engine::Nats, Engine::Redis) => Err(Refusal(format!(
                "{given} and --redis-url (or REDIS_URL) exclude each other, as the engine is Redis if there is one: \
                 leave one of them out"
            ))),
            (Engine::Memory | Engine::Redis, Engine::Nats) => Err(Refusal(format!(
                "{given} and --nats-servers (or NATS_SERVERS) exclude each other, as the engine is NATS if there is \
                 one: leave one of them out"
            ))),
        }
    }
}
