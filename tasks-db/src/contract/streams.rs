use neartime_model::{FileKey, Generation, Span};

use super::bench::{Bench, LEASE, at, file, source_name};
use crate::{
    Checkpoint, DueRule, InitialPosition, Position, ReadFrom, Registered, Registration, ShardClaim, ShardDeclaration,
    ShardId, ShardLease, ShardRequest, StreamId, TasksError,
};

fn stream() -> StreamId {
    StreamId { source: source_name("events"), stream: "clicks".into() }
}

fn shard(name: &str, parents: &[&str]) -> ShardDeclaration {
    let id = |name: &str| ShardId(name.into());
    ShardDeclaration { shard: id(name), parents: parents.iter().map(|parent| id(parent)).collect() }
}

fn request(worker: &str, max_shards: u32) -> ShardRequest {
    ShardRequest { stream: stream(), worker: worker.into(), lease: LEASE, max_shards }
}

fn after(sequence: &str, sub_sequence: Option<u64>) -> Checkpoint {
    let position = Position { sequence: sequence.into(), sub_sequence };
    Checkpoint { position: Some(position), behind: Some(Span::from_secs(5)) }
}

fn one_file(name: &str) -> Registration {
    let due = DueRule::End { delay: Span::from_mins(3) };
    let files = vec![file("p/", "2018-08-01T10:40:00Z", name, "v1")];
    Registration { source: source_name("events"), due, files }
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(result: Result<T, TasksError>) {
    assert!(matches!(result, Err(TasksError::ShardLeaseLost { .. })), "{result:?}");
}

impl Bench {
    async fn with_shards(self, names: &[&str]) -> Self {
        let bench = self.declared().await;
        let shards: Vec<_> = names.iter().map(|name| shard(name, &[])).collect();
        bench.declare(&shards, InitialPosition::Horizon).await;
        bench
    }

    async fn declare(&self, shards: &[ShardDeclaration], initial: InitialPosition) -> Vec<String> {
        let mut new = self.db.declare_shards(&stream(), shards, initial).await.unwrap();
        new.sort();
        new.into_iter().map(|shard| shard.0).collect()
    }

    async fn take(&self, worker: &str) -> Option<ShardClaim> {
        self.db.claim_shard(&request(worker, 100)).await.unwrap()
    }

    async fn take_name(&self, worker: &str) -> Option<String> {
        self.take(worker).await.map(|claim| claim.lease.shard.0)
    }

    async fn take_all(&self, worker: &str) -> Vec<ShardLease> {
        let mut leases = Vec::new();
        while let Some(claim) = self.take(worker).await {
            leases.push(claim.lease);
        }
        leases
    }
}

pub(super) async fn new_shards_begin_where_they_must(bench: Bench) {
    let bench = bench.declared().await;
    let first = [shard("0", &[]), shard("1", &["gone"])];
    assert_eq!(bench.declare(&first, InitialPosition::Latest).await, ["0", "1"]);
    assert_eq!(bench.declare(&first, InitialPosition::Horizon).await, Vec::<String>::new());
    bench.clock.advance(Span::from_mins(10));
    // Latest is when it was declared, not when it is first read.
    assert_eq!(bench.take("w").await.unwrap().from, ReadFrom::At(Bench::START));
    assert_eq!(bench.take("w").await.unwrap().from, ReadFrom::At(Bench::START));
    // What a split makes is read from its start, also where the parent was gone before it was seen.
    let split = [shard("0", &[]), shard("1", &["gone"]), shard("2", &["0"]), shard("3", &["never seen"])];
    assert_eq!(bench.declare(&split, InitialPosition::Latest).await, ["2", "3"]);
    let child = bench.take("w").await.unwrap();
    assert_eq!((child.lease.shard.0.as_str(), child.from), ("3", ReadFrom::Horizon));
    assert_eq!(bench.take("w").await, None, "the parent of 2 is not finished");
    // Another source's place in the same stream is its own.
    let other = StreamId { source: source_name("other"), ..stream() };
    let start = at("2018-07-01T00:00:00Z");
    bench.db.declare_shards(&other, &split, InitialPosition::At(start)).await.unwrap();
    let rows = bench.db.shards().await.unwrap();
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().filter(|row| row.stream == other).all(|row| row.from == ReadFrom::At(start)));
}

pub(super) async fn parents_are_read_before_children(bench: Bench) {
    let bench = bench.declared().await;
    // 0 was split into 1 and 2; 1 and 2 were merged into 3.
    let shards = [shard("3", &["1", "2"]), shard("2", &["0"]), shard("1", &["0"]), shard("0", &[])];
    bench.declare(&shards, InitialPosition::Horizon).await;
    let finish = async |claim: ShardClaim| bench.db.finish_shard(&claim.lease, None).await.unwrap();
    let root = bench.take("w").await.unwrap();
    assert_eq!((root.lease.shard.0.as_str(), bench.take_name("w").await), ("0", None));
    finish(root).await;
    let (one, two) = (bench.take("w").await.unwrap(), bench.take("w").await.unwrap());
    assert_eq!((one.lease.shard.0.as_str(), two.lease.shard.0.as_str()), ("1", "2"));
    finish(one).await;
    assert_eq!(bench.take("w").await, None, "one of two parents is not finished");
    finish(two).await;
    assert_eq!(bench.take_name("w").await.as_deref(), Some("3"));
    assert_eq!(bench.take("w").await, None);
}

pub(super) async fn a_checkpoint_and_its_files_are_both_written_or_neither(bench: Bench) {
    let bench = bench.with_shards(&["0"]).await;
    let old = bench.take("w").await.unwrap();
    assert_eq!(old.caught_up_at, None, "nothing was read yet");
    let registration = one_file("one.gz");
    let registered = bench.db.checkpoint(&old.lease, &after("49", Some(2)), Some(&registration)).await.unwrap();
    assert_eq!(registered, Registered { files: 1, created: 1, rearmed: 0 });
    // The answer was lost: again, and nothing changes.
    let again = bench.db.checkpoint(&old.lease, &after("49", Some(2)), Some(&registration)).await.unwrap();
    assert_eq!((again, bench.only().await.generation), (Registered::default(), Generation(1)));
    bench.outlive_lease();
    let new = bench.take("v").await.unwrap();
    assert!(new.lease.fence > old.lease.fence && new.taken_from.is_none());
    assert_eq!(new.from, ReadFrom::After(Position { sequence: "49".into(), sub_sequence: Some(2) }));
    assert_eq!(new.caught_up_at, Some(Bench::START - Span::from_secs(5)));
    // Whoever outlived the lease registers nothing.
    let late = one_file("late.gz");
    assert_lost(bench.db.checkpoint(&old.lease, &after("77", None), Some(&late)).await);
    assert_lost(bench.db.finish_shard(&old.lease, Some(&late)).await);
    assert_lost(bench.db.release_shard(&old.lease).await);
    assert_eq!(bench.only().await.generation, Generation(1));
    let row = bench.db.shards().await.unwrap().remove(0);
    assert_eq!((row.from, row.behind, row.worker.as_deref()), (new.from, Some(Span::from_secs(5)), Some("v")));
    // A page without a new place keeps the old one.
    let idle = Checkpoint { position: None, behind: Some(Span::ZERO) };
    bench.db.checkpoint(&new.lease, &idle, None).await.unwrap();
    let row = bench.db.shards().await.unwrap().remove(0);
    assert_eq!(row.from, ReadFrom::After(Position { sequence: "49".into(), sub_sequence: Some(2) }));
    assert_eq!((row.behind, row.checkpoint_at), (Some(Span::ZERO), Some(bench.db.now().await.unwrap())));
}

pub(super) async fn a_shard_ends_with_its_last_files(bench: Bench) {
    let bench = bench.with_shards(&["0"]).await;
    let claim = bench.take("w").await.unwrap();
    let last = one_file("last.gz");
    assert_eq!(bench.db.finish_shard(&claim.lease, Some(&last)).await.unwrap().files, 1);
    assert_eq!(bench.db.finish_shard(&claim.lease, Some(&last)).await.unwrap().files, 0);
    assert_lost(bench.db.checkpoint(&claim.lease, &after("99", None), Some(&one_file("later.gz"))).await);
    bench.outlive_lease();
    assert_eq!(bench.take("w").await, None);
    let row = bench.db.shards().await.unwrap().remove(0);
    assert!(row.finished_at.is_some() && row.lease.is_none());
    assert_eq!(bench.only().await.generation, Generation(1));
}

pub(super) async fn shards_are_spread_over_the_workers(bench: Bench) {
    let names: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    let bench = bench.with_shards(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(bench.take_all("a").await.len(), 8);
    let stolen = bench.take("b").await.unwrap();
    assert_eq!((stolen.taken_from.as_deref(), stolen.caught_up_at), (Some("a"), None));
    let mut of_b = bench.take_all("b").await;
    of_b.push(stolen.lease);
    assert_eq!(of_b.len(), 4);
    assert_eq!(bench.take_all("a").await, []);
    assert_eq!(bench.take_all("c").await.len(), 2, "until nobody has two more than c");
    // One that stops gives back at once, and none takes more than it may.
    let held = async |worker: &str| {
        let rows = bench.db.shards().await.unwrap();
        rows.iter().filter(|row| row.worker.as_deref() == Some(worker)).count()
    };
    let mut given = 0;
    for lease in &of_b {
        given += usize::from(bench.db.release_shard(lease).await.is_ok());
    }
    assert_eq!((given, held("b").await), (3, 0));
    assert_eq!(bench.db.claim_shard(&request("c", 2)).await.unwrap(), None);
    assert!(bench.db.claim_shard(&request("c", 3)).await.unwrap().is_some());
    assert_eq!(bench.take_all("a").await.len(), 2);
    assert_eq!((held("a").await, held("c").await), (5, 3));
}

pub(super) async fn heartbeats_keep_a_shard(bench: Bench) {
    let bench = bench.with_shards(&["0", "1"]).await;
    let (kept, lost) = (bench.take("w").await.unwrap(), bench.take("w").await.unwrap());
    let mut heart = bench.db.hearts().open().await.unwrap();
    assert_eq!(heart.beat_shards(&[], LEASE).await.unwrap(), []);
    for _ in 0..5 {
        bench.clock.advance(Span::from_secs(45));
        assert_eq!(heart.beat_shards(std::slice::from_ref(&kept.lease), LEASE).await.unwrap(), []);
    }
    let taken = bench.take("v").await.unwrap().lease;
    assert!(taken.shard == lost.lease.shard && taken.fence > lost.lease.fence);
    let both = [kept.lease.clone(), lost.lease.clone()];
    assert_eq!(heart.beat_shards(&both, LEASE).await.unwrap(), [lost.lease]);
    bench.db.finish_shard(&kept.lease, None).await.unwrap();
    assert_eq!(heart.beat_shards(&both[..1], LEASE).await.unwrap(), [kept.lease]);
}

pub(super) async fn shards_that_are_gone_are_forgotten(bench: Bench) {
    let bench = bench.with_shards(&["0", "1"]).await;
    bench.declare(&[shard("2", &["0"])], InitialPosition::Horizon).await;
    let lease = bench.take("w").await.unwrap().lease;
    bench.db.checkpoint(&lease, &after("7", None), None).await.unwrap();
    let present = [ShardId("1".into()), ShardId("2".into())];
    // A list from before the shards were declared proves nothing.
    assert_eq!(bench.db.forget_shards(&stream(), &present, Bench::START).await.unwrap(), []);
    bench.clock.advance(Span::from_secs(1));
    let listed_at = bench.db.now().await.unwrap();
    let gone = bench.db.forget_shards(&stream(), &present, listed_at).await.unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].shard.0.as_str(), gone[0].finished_at), ("0", None), "its rest is lost: a gap");
    assert_lost(bench.db.checkpoint(&lease, &after("8", None), None).await);
    // A child whose parent is gone waits no longer.
    assert_eq!(bench.take_all("w").await.len(), 2);
    let elsewhere = StreamId { stream: "other".into(), ..stream() };
    assert_eq!(bench.db.forget_shards(&elsewhere, &[], listed_at).await.unwrap(), []);
    assert_eq!(bench.db.shards().await.unwrap().len(), 2);
}

pub(super) async fn unregistered_keys_are_found(bench: Bench) {
    let bench = bench.declared().await;
    let registration = one_file("one.gz");
    bench.db.register(&registration).await.unwrap();
    let known = registration.files[0].key.clone();
    let (never, nor) = (FileKey::new("p/never.gz"), FileKey::new("a%2B+ü.gz"));
    let keys = [never.clone(), known.clone(), nor.clone()];
    assert_eq!(bench.db.unregistered(&source_name("events"), &keys).await.unwrap(), [never, nor]);
    assert_eq!(bench.db.unregistered(&source_name("other"), &keys).await.unwrap(), keys);
    assert_eq!(bench.db.unregistered(&source_name("events"), &[]).await.unwrap(), []);
}
