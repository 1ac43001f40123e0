//! Phoenix Channels, version 2 of the serializer: the frames of the `phoenix` client.

mod connecting;
mod decode;
mod encode;

pub use connecting::{
    TOKEN_HEADER, USER_PARAMETER, VERSION_PARAMETER, choose_subprotocol, token_in_subprotocols,
};
pub use decode::{decode, decode_head};
pub use encode::{encode, encode_connection, encode_run};
