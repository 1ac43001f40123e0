//! The terms that all layers share: ids, commands, messages, limits.
//!
//! Plain data, independent of wire formats, sockets and clocks.

mod cached_list;
mod call;
mod cause;
mod close;
mod codec;
mod command;
mod command_kind;
mod grant;
mod handshake;
mod ids;
mod joint_answer;
mod limits;
mod message;
mod position;
mod rights;
mod sharing;

pub use cached_list::CachedList;
pub use call::{
    About, Call, CallFailure, ChannelCommand, Origin, PresenceReply, Reply, ReplyStatus, State,
    StateValue,
};
pub use cause::{DropCause, FetchOutcome, JoinCause, LeaveCause, ResumeOutcome, UpdateCause};
pub use close::CloseReason;
pub use codec::{Capabilities, Codec, GroupKey, Reference, Transport, Watch};
pub(crate) use command::NOT_PRESENT;
pub use command::{
    BadCommand, ClientCommand, Head, HistoryRequest, Join, JoinRequest, Listing, Repeat, Request,
    StreamCommand, Subscribe, SubscribeOptions, Target,
};
pub use command_kind::CommandKind;
pub use grant::Grant;
pub use handshake::HandshakeFailure;
pub use ids::{Extra, Identifier, Identity, Names, PresenceId, RawJson, SessionId, StreamName};
pub use joint_answer::JointAnswer;
pub use limits::{Limit, Limits, Pace, ReservedIds};
pub use message::{
    ConnectionMessage, IdList, Label, Labels, Member, MemberChange, MemberEvent, MemberList,
    MemberRecords, PresenceChange, Publication, Record, RecordChange, RecordList, ServerMessage,
    Whisper,
};
pub use position::{Epoch, Offset, StreamPosition};
pub use rights::Rights;
