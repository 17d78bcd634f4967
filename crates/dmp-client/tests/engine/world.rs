//! A small world: one imagined DNS, a clock that jumps, people with stores, and servers that fail on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::{
    Applied, Capacity, ClaimNotice, ClaimSender, Clock, Counted, Lookup, Message, Operation,
    Pending, Reader, Watcher, Writer,
};
use dmp_client::ops::{
    self, FetchRequest, Place, Profile, PublishRequest, ReceiveReport, ReceiveRequest,
    RefreshRequest, SendError, SendReport, SendRequest, Session,
};
use dmp_client::store::{NewContact, Store};
use dmp_client::writer::MemoryZone;
use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_core::record::Versions;
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// The first second of every test.
pub(crate) const NOW: UnixTime = UnixTime::new(1_800_000_000);

/// Runs a test on one thread with virtual time: a sleep costs nothing and still comes after everything that is ready.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

/// The runtime's virtual clock, counted from [`NOW`].
pub(crate) struct TestClock {
    start: Instant,
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        NOW.saturating_add(self.start.elapsed().as_secs())
    }

    fn sleep(&self, duration: Duration) -> Pending<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A counter as a source of randomness: deterministic, never the same twice.
pub(crate) struct CountingRng(pub(crate) u64);

impl TryRng for CountingRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(value ^ (value >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let value = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for CountingRng {}

/// Bytes that are decided beforehand; running out is a failing test.
pub(crate) struct ScriptedRng(pub(crate) Vec<u8>);

impl TryRng for ScriptedRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        panic!("no number is scripted")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        panic!("no number is scripted")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let rest = self.0.split_off(bytes.len());
        bytes.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

impl TryCryptoRng for ScriptedRng {}

/// What the test does to a write.
pub(crate) type Verdict = Box<dyn Fn(&Operation) -> Result<(), WriteError> + Send>;

/// The world and its faults.
pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) zone: MemoryZone,
    /// Names below these are not answered, after the five seconds that a resolver waits.
    pub(crate) dead: Mutex<BTreeSet<String>>,
    /// Names that are not answered the first time.
    pub(crate) flaky: Mutex<BTreeSet<String>>,
    /// Every query in order.
    pub(crate) queries: Mutex<Vec<String>>,
    /// Queries in flight now and at most.
    in_flight: AtomicUsize,
    pub(crate) most_in_flight: AtomicUsize,
    /// What long work counted, in order.
    pub(crate) counted: Mutex<Vec<(Counted, usize, usize)>>,
    /// How long an answer takes.
    pub(crate) latency: Mutex<Duration>,
    /// Judges every write; one refused operation refuses its request.
    pub(crate) verdict: Mutex<Verdict>,
    /// Values that one name holds at most.
    pub(crate) values_per_name: AtomicUsize,
    /// The most operations that one request carries.
    pub(crate) request_size: AtomicUsize,
    /// Whether one request carries one operation, and how long it takes.
    pub(crate) singly: Mutex<Option<Duration>>,
    /// Requests on their way now and at most.
    writes_in_flight: AtomicUsize,
    pub(crate) most_writes_in_flight: AtomicUsize,
    /// Every stored operation in order.
    pub(crate) written: Mutex<Vec<Operation>>,
    /// Every claim in order; an entry of `dead` also silences its zone.
    pub(crate) claims: Mutex<Vec<ClaimNotice>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let clock = Arc::new(TestClock {
            start: Instant::now(),
        });
        Arc::new(Self {
            zone: MemoryZone::new(clock.clone()),
            clock,
            dead: Mutex::default(),
            flaky: Mutex::default(),
            queries: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            counted: Mutex::default(),
            latency: Mutex::default(),
            verdict: Mutex::new(Box::new(|_| Ok(()))),
            values_per_name: AtomicUsize::new(64),
            request_size: AtomicUsize::new(usize::MAX),
            singly: Mutex::default(),
            writes_in_flight: AtomicUsize::new(0),
            most_writes_in_flight: AtomicUsize::new(0),
            written: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    pub(crate) fn person(self: &Arc<Self>, name: &str, zone: &str) -> Person {
        let seed = Sha256::digest(format!("{name}@{zone}"));
        self.person_with(name, zone, Identity::from_seed(seed.into()), None)
    }

    pub(crate) fn person_with(
        self: &Arc<Self>,
        name: &str,
        zone: &str,
        identity: Identity,
        home: Option<PathBuf>,
    ) -> Person {
        let store = match home {
            Some(home) => Store::open(&home, &identity, NOW).unwrap(),
            None => Store::in_memory(&identity, NOW).unwrap(),
        };
        let rng = identity
            .signing_public()
            .as_bytes()
            .iter()
            .fold(0u64, |seed, byte| seed.rotate_left(7) ^ u64::from(*byte));
        Person {
            world: Arc::clone(self),
            profile: Profile::new(name, Zone::parse(zone).unwrap()),
            identity,
            store,
            rng: CountingRng(rng),
        }
    }

    pub(crate) fn kill(&self, zone: &str) {
        self.dead.lock().unwrap().insert(zone.to_owned());
    }

    pub(crate) fn revive(&self, zone: &str) {
        self.dead.lock().unwrap().remove(zone);
    }

    pub(crate) fn judge_writes(
        &self,
        verdict: impl Fn(&Operation) -> Result<(), WriteError> + Send + 'static,
    ) {
        *self.verdict.lock().unwrap() = Box::new(verdict);
    }

    /// The stored operations since the last call.
    pub(crate) fn take_written(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.written.lock().unwrap())
    }

    /// The queries since the last call.
    pub(crate) fn take_queries(&self) -> Vec<String> {
        std::mem::take(&mut *self.queries.lock().unwrap())
    }

    /// Every live name that starts like this.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        self.zone
            .live_names()
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    /// A node refuses the whole request for one value too many.
    fn check_room(&self, request: &[Operation]) -> Result<(), WriteError> {
        let mut names: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for operation in request {
            if let Operation::Add { owner, value, .. } = operation {
                let values = names
                    .entry(owner.as_str())
                    .or_insert_with(|| self.zone.query(owner.as_str()).into_iter().collect());
                values.insert(value.clone());
                if values.len() > self.values_per_name.load(Ordering::Relaxed) {
                    return Err(refused());
                }
            }
        }
        Ok(())
    }

    fn is_dead(&self, name: &str) -> bool {
        self.dead
            .lock()
            .unwrap()
            .iter()
            .any(|zone| name == zone || name.ends_with(&format!(".{zone}")))
    }
}

impl Reader for World {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_in_flight.fetch_max(now, Ordering::Relaxed);
            self.queries.lock().unwrap().push(owner.to_string());
            let latency = *self.latency.lock().unwrap();
            let lost =
                self.is_dead(owner.as_str()) || self.flaky.lock().unwrap().remove(owner.as_str());
            let answer = if lost {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Lookup::Unreachable("no answer".to_owned())
            } else {
                tokio::time::sleep(latency).await;
                self.zone.txt(owner).await
            };
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }
}

impl Writer for World {
    fn capacity(&self) -> Capacity {
        match *self.singly.lock().unwrap() {
            Some(_) => Capacity::One,
            None => Capacity::Many,
        }
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let time = *self.singly.lock().unwrap();
            if let Some(time) = time {
                let now = self.writes_in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                self.most_writes_in_flight.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(time).await;
                self.writes_in_flight.fetch_sub(1, Ordering::Relaxed);
            }
            let mut applied = Applied::default();
            let size = self
                .request_size
                .load(Ordering::Relaxed)
                .min(operations.len())
                .max(1);
            for (index, request) in operations.chunks(size).enumerate() {
                let first = index * size;
                let outcome = request
                    .iter()
                    .try_for_each(|operation| (self.verdict.lock().unwrap())(operation))
                    .and_then(|()| self.check_room(request));
                if outcome.is_ok() {
                    self.zone.apply(request).await;
                    self.written.lock().unwrap().extend_from_slice(request);
                }
                let failed = outcome.is_err();
                applied.messages.push(Message {
                    operations: first..first + request.len(),
                    bytes: 0,
                    outcome,
                });
                if failed {
                    break;
                }
            }
            applied
        })
    }
}

impl Watcher for World {
    fn count(&self, what: Counted, done: usize, of: usize) {
        self.counted.lock().unwrap().push((what, done, of));
    }
}

impl ClaimSender for World {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        Box::pin(async move {
            if self.is_dead(notice.zone.as_str()) {
                return Err(WriteError::Unreachable("no answer".to_owned()));
            }
            self.claims.lock().unwrap().push(notice.clone());
            ClaimSender::send(&self.zone, notice).await
        })
    }
}

/// A user of the client.
pub(crate) struct Person {
    pub(crate) world: Arc<World>,
    pub(crate) profile: Profile,
    pub(crate) identity: Identity,
    pub(crate) store: Store,
    pub(crate) rng: CountingRng,
}

impl Person {
    pub(crate) fn session(&self) -> Session<'_> {
        Session {
            profile: &self.profile,
            identity: &self.identity,
            store: &self.store,
            reader: &*self.world,
            writer: &*self.world,
            claims: &*self.world,
            clock: &*self.world.clock,
            watcher: &*self.world,
        }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.world.clock.now()
    }

    pub(crate) fn zone(&self) -> &Zone {
        &self.profile.mesh_zone
    }

    pub(crate) fn address(&self) -> String {
        format!("{}@{}", self.profile.username, self.zone())
    }

    /// Publishes identity (versions 1 and 2) and a pool of prekeys.
    pub(crate) async fn publish(&mut self, prekeys: usize) {
        let request = PublishRequest {
            versions: Versions::new([1, 2]).unwrap(),
            ..PublishRequest::default()
        };
        ops::identity_publish(&self.session(), &request)
            .await
            .unwrap();
        self.refresh(prekeys).await;
    }

    pub(crate) async fn refresh(&mut self, count: usize) -> ops::RefreshReport {
        let mut rng = CountingRng(self.rng.0);
        let report = ops::refresh_prekeys(
            &self.session(),
            &RefreshRequest {
                count,
                lifetime: None,
            },
            &mut rng,
        )
        .await
        .unwrap();
        self.rng = rng;
        report
    }

    /// Fetches the identity published at an address and saves it.
    pub(crate) async fn meet(&self, other: &Person) -> ops::Saved {
        let fetched = self.fetch(other).await.unwrap();
        ops::contacts_add_fetched(&self.store, &fetched, self.now()).unwrap()
    }

    pub(crate) async fn fetch(&self, other: &Person) -> Result<ops::Fetched, ops::FetchError> {
        let request = FetchRequest {
            user: other.profile.username.clone(),
            place: Place::Address(other.zone().clone()),
            accept: None,
        };
        ops::identity_fetch(&*self.world, &request, self.now()).await
    }

    /// Knows somebody with both keys, without any look-up.
    pub(crate) fn pin(&self, other: &Person) {
        let mut card = self.card_of(other);
        card.agreement = Some(other.identity.agreement_public());
        self.store.insert_contact(&card, NOW).unwrap().unwrap();
    }

    /// Knows somebody by the signing key only.
    pub(crate) fn pin_signing_only(&self, other: &Person) {
        self.store
            .insert_contact(&self.card_of(other), NOW)
            .unwrap()
            .unwrap();
    }

    fn card_of(&self, other: &Person) -> NewContact {
        let mut card = NewContact::new(other.address());
        card.signing = Some(other.identity.signing_public());
        card.zone = Some(other.zone().clone());
        card.remote_username = Some(other.profile.username.clone());
        card
    }

    pub(crate) async fn send(&mut self, to: &Person, text: &str) -> Result<SendReport, SendError> {
        self.send_request(&SendRequest::new(&to.address(), text.as_bytes()))
            .await
    }

    pub(crate) async fn send_request(
        &mut self,
        request: &SendRequest<'_>,
    ) -> Result<SendReport, SendError> {
        let mut rng = CountingRng(self.rng.0);
        let report = ops::send(&self.session(), request, &mut rng).await;
        self.rng = rng;
        report
    }

    pub(crate) async fn receive(&self) -> ReceiveReport {
        self.receive_request(&ReceiveRequest::default()).await
    }

    /// Receives, and looks at what came.
    pub(crate) async fn receive_request(&self, request: &ReceiveRequest) -> ReceiveReport {
        let report = ops::receive(&self.session(), request).await.unwrap();
        let numbers: Vec<_> = report.inbox.iter().map(|message| message.number).collect();
        self.store.mark_shown(&numbers, self.now()).unwrap();
        ops::clear_away(&self.session(), &report).await.unwrap();
        report
    }
}

/// The texts of a run, in order.
pub(crate) fn texts(report: &ReceiveReport) -> Vec<String> {
    report
        .inbox
        .iter()
        .map(|message| String::from_utf8(message.body.clone()).unwrap())
        .collect()
}

/// The codes under which a run dropped things.
pub(crate) fn codes(report: &ReceiveReport) -> BTreeSet<&'static str> {
    report.dropped.iter().map(|dropped| dropped.code).collect()
}

/// A refusal without a word, as the reference node gives it.
pub(crate) fn refused() -> WriteError {
    WriteError::Refused {
        reason: String::new(),
        ttl_cap: None,
    }
}

/// A vector file of the project.
pub(crate) fn vectors(name: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");
    serde_json::from_str(&std::fs::read_to_string(format!("{path}{name}")).unwrap()).unwrap()
}

/// A member of a vector as 32 bytes.
pub(crate) fn bytes32(value: &serde_json::Value) -> [u8; 32] {
    hex::decode(value.as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap()
}
