//! What is measured: one module for each scenario.

mod burst;
mod cluster;
mod commands;
mod expire;
mod fanout;
mod idle;
mod mixed;
mod records;
mod rejoin;
mod run;
mod storm;

use clap::Subcommand;
use serde::Serialize;

pub(crate) use run::Run;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Scenario {
    /// Connections that do nothing: what one costs in memory, and in CPU to begin and to keep
    ///
    /// Opens the connections, each of which waits for `welcome`, subscribes, waits for the confirmation and,
    /// with --join, joins and waits to hear of itself. Then nothing is sent, and the server goes on with its
    /// pings.
    ///
    /// `server_memory_per_connection_bytes` is the growth of the server's resident memory since before the
    /// first connection: of a server that has just started, that includes what it needs only once.
    ///
    /// `connect_server_cpu_per_connection_us` is all of the above, telling others of joins included.
    /// `idle_server_cpu_core_percent` is of one core, for all connections.
    ///
    /// Example: broker-bench idle --pid $(pidof broker) --connections 10000 --streams 1000 --join
    Idle(Command<idle::Idle>),
    /// Publications at a pace: what a delivery costs, and how long it takes
    ///
    /// Every connection subscribes; then publications are sent over HTTP at --rate, to one stream after the
    /// other. Every one has to reach every subscriber of its stream.
    ///
    /// `server_cpu_per_delivery_us` is the server's CPU time of the whole span, with its part of HTTP and
    /// pings, over the number of deliveries.
    ///
    /// `delivery_p50_ms` and so on are from just before a publication is sent to when a client has read it.
    /// The client reads its sockets one after the other, so for many connections that is in it, too.
    ///
    /// Example: broker-bench fanout --pid $(pidof broker) --connections 10000 --rate 4
    Fanout(Command<fanout::Fanout>),
    /// Publications back to back: what a delivery costs when there is much to deliver
    ///
    /// As `fanout`, but each of the --publishers sends its next publication as soon as the one before was
    /// answered, until --count have been sent. A server that writes several messages at once to a socket
    /// shows it here.
    ///
    /// `server_cpu_per_delivery_us` is the server's CPU time until all has arrived, over the number of
    /// deliveries. Latencies are those of a server that has more to do than it can at once: publications
    /// are answered before they are delivered.
    ///
    /// Example: broker-bench burst --pid $(pidof broker) --connections 1000 --count 1000
    Burst(Command<burst::Burst>),
    /// Everybody joins one room at once, and everybody sees every join
    ///
    /// All connections subscribe to the room. Then each sends its join, without waiting for anything. The
    /// scenario is over when each has got all joins: 1,000 connections make a million events, 5,000
    /// twenty-five millions.
    ///
    /// `server_cpu_per_event_us` is the server's CPU time from the first join to the last event, over the
    /// number of events.
    ///
    /// `server_memory_peak_bytes` is the most memory the server had meanwhile: what waits for slow readers is
    /// in it.
    ///
    /// Example: broker-bench storm --pid $(pidof broker) --connections 5000
    Storm(Command<storm::Storm>),
    /// Members of rooms vanish at once: how long until all have left, and who else feels it
    ///
    /// Each of --connections joins --rooms-per-connection rooms, which have --members each. Watchers follow
    /// the rooms, a few hundred each. Other connections get publications on a stream that has nothing to do
    /// with it, at --rate. After --before seconds all members' sockets are closed; the server finds that they
    /// are gone, waits for its TTL, and tells the watchers. Every watcher has to hear of every leave.
    ///
    /// `first_leave_s` and `last_leave_s` are from the first socket closed; `leaves_duration_s` is between them.
    ///
    /// `before_p50_ms`, `closing_p50_ms`, `expiry_p50_ms` and so on are of the deliveries on the other stream:
    /// before anything is closed, while sockets are closed, and from 0.1 s before the first leave to the last.
    ///
    /// Example: broker-bench expire --pid $(pidof broker) --connections 10000 --rooms-per-connection 10
    /// --members 100
    Expire(Command<expire::Expire>),
    /// Lists of who is present: what a command costs, and how long its answer takes
    ///
    /// The connections are members of small rooms. Each asks for the list of its room, waits for it, and asks
    /// again: a closed loop, in which a slow server is asked less. With --command-rate all of them together
    /// ask so often a second, as long as there is one that isn't waiting.
    ///
    /// `server_cpu_per_command_us` is the server's CPU time over the number of answers.
    ///
    /// `command_p50_ms` and so on are from the command to its answer.
    ///
    /// Example: broker-bench commands --pid $(pidof broker) --connections 100 --members 10
    Commands(Command<commands::Commands>),
    /// Members that come and go: what a join costs, and a leave
    ///
    /// Each connection joins its room, waits to hear of it, leaves, waits to hear of it, and joins again. The
    /// rooms are of one by default, so that nobody else has to be told; with more --members each command is
    /// told to all of them.
    ///
    /// `server_cpu_per_command_us` is the server's CPU time over the number of joins and leaves.
    ///
    /// `command_p50_ms` and so on are from the command to the event that tells it.
    ///
    /// Example: broker-bench churn --pid $(pidof broker) --connections 100
    Churn(Command<commands::Churn>),
    /// Commands while there are broadcasts: whether one holds up the other
    ///
    /// `fanout` to --connections, and at the same time `commands` of --commanders: members of small rooms
    /// that ask who is present, in a closed loop or at --command-rate.
    ///
    /// `delivery_p50_ms` and `command_p50_ms` and so on are those of the two scenarios. The client looks at the
    /// commanders' sockets first, and at the others 128 at a time, so that it doesn't hold the commands up
    /// itself.
    ///
    /// Example: broker-bench mixed --pid $(pidof broker) --connections 10000 --rate 4 --commanders 10
    Mixed(Command<mixed::Mixed>),
    /// Records that nobody's connection holds: what one takes in memory (broker only)
    ///
    /// Puts --count records with `PUT /api/presence/{stream}/{id}`, which only the broker has, over a few HTTP
    /// connections, 64 requests at a time on each. No WebSocket is opened, so what grows is what a record
    /// takes. They stay until the server is restarted.
    ///
    /// `server_memory_per_record_bytes` is the growth of the server's resident memory, over the number of
    /// records; `server_memory_beside_info_bytes` is that without the info itself.
    ///
    /// `server_cpu_per_record_us` has HTTP in it.
    ///
    /// Example: broker-bench records --pid $(pidof broker) --count 1000000 --streams 1000
    Records(Command<records::Records>),
    /// Several nodes with an engine between them: the way from one to another, and what every node pays
    ///
    /// Nodes and engine run already: every --url is a node with clients, every --pid its process, --engine-pid Redis
    /// or NATS, and --bystander-pid a node without clients: what that costs, every node pays for what happens at all
    /// the others. One after the other: nothing for --idle seconds; publications over HTTP at --rate; joins and leaves
    /// at --rate; joins and leaves of --flat-out connections, each as soon as the one before was told. With --alone, a
    /// server without an engine goes through the same first.
    ///
    /// `publication_p50_ms` and so on are from just before a publication is sent to one node to when a subscriber
    /// at the next one has read it; `own_node_publication_p50_ms` is for a subscriber at the same node;
    /// `alone_publication_p50_ms` at the server without an engine, and `added_publication_p50_ms` is the difference. The
    /// same for `join_p50_ms`, `own_node_join_p50_ms`, `alone_join_p50_ms` and `added_join_p50_ms`.
    ///
    /// An entry is a publication, a join or a leave. `publication_engine_cpu_per_entry_us` is the CPU time of the engine,
    /// over the number of entries; `publication_node_cpu_per_entry_us` that of one node with clients, on average;
    /// `publication_bystander_cpu_per_entry_us` that of one node without. In the same way
    /// `join_engine_cpu_per_entry_us` and `flat_out_engine_cpu_per_entry_us`, and `idle_engine_cpu_core_percent` of a core.
    ///
    /// Example: broker-bench cluster --url $A,$B --rate 5000
    /// --pid 101 --pid 102 --bystander-pid 103 --engine-pid $(pidof redis-server)
    Cluster(Command<cluster::Cluster>),
    /// A node dies, and its members come back to the others: how long until all are there again
    ///
    /// --connections join rooms of --members at the first --url. Watchers at the other nodes follow the rooms. Then
    /// --kill is killed (without it, something else has to end the connections). Each client whose connection has ended
    /// connects to one of the other nodes, joins again and asks for the list of its room; with itself in it, it is back.
    ///
    /// `lost_max_ms` is from the kill to the end of the last connection, `back_p50_ms` and so on from the kill to the
    /// list. `leaves` says how many members the watchers were told of as gone: who is back within the TTL isn't one.
    ///
    /// `rejoin_server_cpu_per_member_us` is of all --pid: those of the nodes that stay, and of the engine.
    ///
    /// Example: broker-bench rejoin --url $A,$B --kill $(pidof -s broker)
    Rejoin(Command<rejoin::Rejoin>),
    /// Serves, instead of measuring: the least a server can do, as a yardstick
    ///
    /// It answers handshakes, confirms subscriptions, and sends each publication to each subscriber with one
    /// write. It has no presence, no pings, and no other clients than this program, so `idle`, `fanout` and
    /// `burst` can be measured with it. What it takes for a delivery is what the kernel takes, and hardly
    /// more.
    ///
    /// Example: broker-bench bare --port 8090
    Bare(crate::bare::Bare),
}

// Not a doc comment, which would be every scenario's help: a scenario with what all of them share.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Command<T: clap::Args> {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) own: T,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) shared: crate::args::Shared,
}
