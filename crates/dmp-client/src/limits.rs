//! Every number the client decides by, each with where it comes from.

use std::time::Duration;

/// Value cap of a node with default settings, bytes (records.md 5.2).
pub const NODE_MAX_VALUE_BYTES: usize = 2048;
/// TTL cap of a node with default settings, seconds (records.md 5.2).
pub const NODE_MAX_TTL: u64 = 86_400;
/// What is tried, in this order, after a refusal that may be about the TTL (crypto.md 14.1).
pub const TTL_LADDER: [u64; 2] = [3_600, 300];
/// Lifetime of a message when nobody names one, in seconds: a day, so that a recipient who looks in daily finds it (D20).
pub const MESSAGE_TTL: u64 = 86_400;
/// Longest claim lifetime: a node compares with one day on its own clock, so one minute under five is left (records.md 13).
pub const CLAIM_TTL_MAX: u64 = 86_100;
/// Longest own zone that a claim can name, bytes (records.md 13).
pub const CLAIM_ZONE_MAX: usize = 43;
/// Lifetime of own prekeys, seconds (D15: 7 days).
pub const PREKEY_LIFETIME: u64 = 7 * 86_400;
/// How long a private half outlives its prekey's expiry, seconds (D15: 24 h).
pub const PREKEY_GRACE: u64 = 86_400;
/// Fewer published prekeys than this are a reason to publish more: five people may write before the next look.
pub const PREKEYS_LOW: usize = 5;
/// How often own records are published again, seconds: half of the day that a node keeps them, so that there is no gap (D15).
pub const UPKEEP_INTERVAL: u64 = NODE_MAX_TTL / 2;
/// How long upkeep rests after an attempt, seconds: a node that refuses is not asked at every turn of `recv --follow`.
pub const UPKEEP_PAUSE: u64 = 300;
/// Resolvers that are kept as failing from one command to the next: more than anybody configures.
pub const DEMOTIONS_KEPT: usize = 32;
/// Octets of that file that are read: the longest names and addresses of so many, twice.
pub const DEMOTIONS_BYTES: u64 = 32 * 1024;
/// Time for one upkeep: a few UPDATEs, also over a slow line.
pub const UPKEEP_DEADLINE: Duration = Duration::from_secs(15);
/// Attempts to find a prekey id that is not in use (crypto.md 12).
pub const PREKEY_ID_TRIES: usize = 10;
/// Default TTL of identity records, seconds (records.md 5.4).
pub const IDENTITY_TTL: u64 = 86_400;

/// Time for one HTTP write (client.md 4.3).
pub const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of an HTTP error body that are kept for the message (client.md 4.3).
pub const HTTP_REASON_MAX: usize = 200;

/// Bytes of a DNS provider's answer that are read: a page of 100 records of 2 kB, twice escaped, and some.
pub const PROVIDER_ANSWER_MAX: u64 = 1024 * 1024;
/// Times a request goes to a DNS provider that is throttling or busy.
pub const PROVIDER_TRIES: u32 = 4;
/// First pause where the provider names none; doubled each time. Route 53 takes five requests a second.
pub const PROVIDER_WAIT: Duration = Duration::from_secs(1);
/// Longest pause that a provider may ask for: a person is waiting.
pub const PROVIDER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Times a change is made anew because somebody else changed the same name meanwhile.
pub const CONFLICT_TRIES: usize = 8;
/// Records on a page of Cloudflare's list.
pub const CLOUDFLARE_PAGE: u32 = 100;
/// Shortest TTL that Cloudflare takes, seconds.
pub const CLOUDFLARE_TTL: u32 = 60;
/// Records in one change of Route 53 (its quota is 1 000).
pub const ROUTE53_RECORDS: usize = 1_000;
/// Characters of all values in one change of Route 53 (its quota is 32 000).
pub const ROUTE53_CHARACTERS: usize = 32_000;
/// Time for the command that makes a name server read its files again.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// One write to a cluster: until half of the nodes have answered (federation.md 4.3).
pub const CLUSTER_WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// One query to a cluster: until all nodes have answered (federation.md 4.4). Longer than UDP and TCP beside it take, 4.2 s.
pub const CLUSTER_READ_DEADLINE: Duration = Duration::from_secs(5);
/// How long a command that is done waits for nodes that have not answered yet (federation.md W27): as long as nobody minds.
pub const CLUSTER_SETTLE: Duration = Duration::from_secs(1);

/// Providers used per command (federation.md 3.2).
pub const PROVIDERS_MAX: usize = 3;
/// Providers of feeds whose zone is asked whether it speaks for them: twice as many as are used, so that as many may be made up.
pub const PROVIDERS_CONFIRMED: usize = 2 * PROVIDERS_MAX;
/// How long a list of providers is used without asking again, seconds: the pause between two rounds of a node (federation.md 2.3).
pub const PROVIDERS_KEPT: u64 = 300;
/// How long a provider that worked is preferred to unknown ones, seconds: a week.
pub const PROVIDERS_PROVEN: u64 = 7 * 86_400;
/// Zones of providers that are remembered because they worked.
pub const PROVIDERS_REMEMBERED: usize = 16;
/// Zones that the directory asks at a time: as many as a node does.
pub const DIRECTORY_ZONES_IN_FLIGHT: usize = 8;
/// Resolvers that the directory asks at a time, one query each: the thirteen and a few, so that one that is silent holds up nobody.
pub const DIRECTORY_CHECKS_IN_FLIGHT: usize = 16;
/// Age in seconds below which the directory calls a heartbeat fresh (federation.md 2.13).
pub const DIRECTORY_FRESH: u64 = 600;
/// Nodes that the directory draws: more are a ball of wool.
pub const DIRECTORY_GRAPH_NODES: usize = 40;
/// Queries in flight during one receive run (client.md 11).
pub const QUERIES_IN_FLIGHT: usize = 16;
/// Chunk queries in flight for one message (client.md 10.5).
pub const CHUNKS_IN_FLIGHT: usize = 8;
/// One receive run, unless the caller says otherwise (client.md 11).
pub const RECEIVE_DEADLINE: Duration = Duration::from_secs(60);
/// Time for clearing away what delivered messages leave in the zone: one UPDATE each, and a look if one was refused.
pub const CLEAR_DEADLINE: Duration = Duration::from_secs(10);
/// Claims and manifests deleted after one run: as many as fit one UPDATE over TCP with room to spare.
pub const CLEARED_PER_RUN: usize = 64;
/// The same where each takes a request of its own: a bearer token has ten a second, and the next message needs them too.
pub const CLEARED_ONE_BY_ONE: usize = 8;
/// How old a manifest in the own zone is before its recipient deletes it, seconds: its sender reads it back at once (D21), and is given
/// time for retries.
pub const SENDER_READ_BACK: u64 = 60;
/// New claims looked at in one run (client.md 10.3).
pub const CLAIMS_PER_RUN: usize = 64;
/// New claims looked at in one run from one key (client.md 10.3).
pub const CLAIMS_PER_SENDER: usize = 16;
/// Queries spent in one run on senders that nobody pinned (client.md 10.3).
pub const STRANGER_QUERIES_PER_RUN: usize = 256;
/// Queries spent in one run on one of them: a quarter, which is three of the longest messages that they may leave.
pub const STRANGER_QUERIES_PER_SENDER: usize = STRANGER_QUERIES_PER_RUN / 4;
/// Queries spent in one run on the messages of one contact: 100 messages of the usual six to eight chunks; the rest comes with the next.
pub const QUERIES_PER_SENDER: usize = 1024;
/// Queries spent in one run on messages altogether: what 16 in flight can do before the deadline at an eighth of a second each.
pub const MESSAGE_QUERIES_PER_RUN: usize = 8 * QUERIES_PER_SENDER;
/// Messages of one sender that are fetched at a time, so that a flood of one does not hold up the others'.
pub const MESSAGES_IN_FLIGHT: usize = 8;
/// Chunk queries without an answer that are asked once more for one message (client.md 10.5): the "small constant" beside its n.
pub const CHUNKS_ASKED_AGAIN: usize = 16;
/// Rows of the quarantine that are judged again at a time.
pub const RECONSIDERED_IN_FLIGHT: usize = 8;
/// Longest message of a stranger that is fetched, bytes before encryption: twice what a node with default caps carries (3 732).
pub const QUARANTINE_MESSAGE_BYTES: usize = 8 * 1024;
/// Waiting messages of one stranger: as many as one run follows claims of one key.
pub const QUARANTINE_ROWS_PER_SENDER: usize = CLAIMS_PER_SENDER;
/// Waiting messages of all strangers together: a page that a person can still work through.
pub const QUARANTINE_ROWS: usize = 500;
/// Octets of the rows of all strangers together, encrypted as they lie in the store: room for 500 short messages or about 240 of the
/// longest.
pub const QUARANTINE_BYTES: usize = 4 * 1024 * 1024;
/// How long a stranger's message waits, seconds: 90 days, three times the longest life of a message.
pub const QUARANTINE_AGE: u64 = 90 * 86_400;
/// Shortest wait between two looks of somebody who keeps looking, whatever the configuration says.
pub const FOLLOW_WAIT_MIN: Duration = Duration::from_secs(1);
/// Shortest time for a last look before the end of following.
pub const FOLLOW_RUN_MIN: Duration = Duration::from_secs(5);
/// By how much a wait varies, in parts of a thousand: a tenth each way.
pub const FOLLOW_JITTER: u32 = 100;
/// How long a receive run waits for another one to end before it gives up.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Octets of a lock file that are read: who may write in the home may have written anything.
pub const LOCK_TEXT_MAX: u64 = 256;
/// How often a waiting run looks.
pub const LOCK_POLL: Duration = Duration::from_millis(100);
/// Time for reading a published manifest back (D21).
pub const READ_BACK_DEADLINE: Duration = Duration::from_secs(5);
/// How long one process may work on an outbox entry before another may take it: longer than any attempt, which ends after
/// [`OUTBOX_DEADLINE`] (seconds).
pub const OUTBOX_LEASE_SECS: u64 = 120;
/// Entries that one pass over the outbox takes up: a recovered node is not met with everything at once.
pub const OUTBOX_PASS_MAX: usize = 8;
/// Time for one pass over the outbox: publishing (two transports of 5 s, once repeated), then claims and read-back.
pub const OUTBOX_DEADLINE: Duration = Duration::from_secs(60);
/// Wait after the first failed attempt, seconds; it doubles with each further one.
pub const OUTBOX_BACKOFF_SECS: u64 = 30;
/// Longest wait between attempts, seconds: a node that was away for a day is met within the hour.
pub const OUTBOX_BACKOFF_MAX_SECS: u64 = 3_600;
/// Attempts at claims and read-back after one publication: with the doubling wait about an hour. The message can be found without.
pub const OUTBOX_NOTICE_TRIES: u32 = 8;
/// How long a row that is over stays in the outbox after the message's expiry, seconds (30 days: the longest life of a message).
pub const OUTBOX_KEPT_SECS: u64 = 30 * 86_400;
/// Rows of the outbox; older ones that are over and expired go first.
pub const OUTBOX_KEPT_MAX: i64 = 1_000;
/// Chunks on their way at once where each needs a request of its own (client.md 8.6).
pub const CHUNK_WRITES_IN_FLIGHT: usize = 8;
/// Wait before the one repetition of a chunk that the node could not take.
pub const CHUNK_RETRY_WAIT: Duration = Duration::from_millis(500);
/// Longest lifetime that a message may be given, seconds (D20: 30 days).
pub const MESSAGE_TTL_MAX: u64 = 30 * 86_400;
/// How long a value cap that the node named is believed, seconds: the operator may have raised it since.
pub const LEARNT_CAP_SECS: u64 = 86_400;
/// How often a send chooses again when another process takes the prekey first.
pub const PREKEY_CHOICES: usize = 8;
/// How long a caller waits for a message to be seen or announced, unless told otherwise.
pub const SEND_WAIT: Duration = Duration::from_secs(60);
/// First pause between looks while waiting for that; it doubles.
pub const SEND_WAIT_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between looks.
pub const SEND_WAIT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a store operation waits for another process (client.md 5.1).
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Work of scrypt for the passphrase of a backup, log2 of N: what the age program takes, 256 MiB and about a second.
pub const BACKUP_WORK: u8 = 18;
/// The most work that a backup may ask for: 4 GiB and some fifteen seconds; what the age program accepts too.
pub const BACKUP_WORK_MAX: u8 = 22;

/// Seconds after its expiry during which a saved token is still sent: clocks differ, the server decides (client.md 5.4).
pub const TOKEN_EXPIRY_GRACE: u64 = 300;
/// How long before a credential expires its owner is told, seconds (client.md 12: 14 days).
pub const CREDENTIAL_NOTICE: u64 = 14 * 86_400;

/// Lifetime of a message to oneself that tests an address, seconds: as long as the test may take and a little more.
pub const SELF_TEST_TTL: u64 = 300;
/// How often the test looks whether it came back.
pub const SELF_TEST_INTERVAL: Duration = Duration::from_secs(3);

/// Time for one HTTP request of the doctor (cli.md 3.7).
pub const DOCTOR_HTTP_TIMEOUT: Duration = Duration::from_secs(4);
/// Time for one query to one resolver of the doctor: as long as a try of a look-up (federation.md 7.4).
pub const DOCTOR_QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds by which clocks may differ before signatures fail (RFC 8945 10: the fudge).
pub const CLOCK_OFF_BADLY: u64 = 300;
/// Seconds by which clocks may differ without a word; an HTTP date is good to a second, the way takes some.
pub const CLOCK_OFF_NOTABLY: u64 = 30;

/// Bytes of an HTTP answer that are read: the answers of registration have a few hundred.
pub const HTTP_ANSWER_MAX: u64 = 64 * 1024;

/// Octets of an operator's key file that are read: the longest form has two labelled lines and a few words.
pub const OPERATOR_KEY_FILE_MAX: u64 = 16 * 1024;

/// Ports where a node's DNS may listen, in the order they are tried (node.md C1).
pub const PROBE_PORTS: [u16; 2] = [5353, 53];
/// Time for one probe (node.md C1).
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Time to look the host up before a probe: one try at one resolver (federation.md 7.4).
pub const PROBE_LOOKUP: Duration = Duration::from_secs(5);
