//! Root: nodes, map, buckets, identities.

use std::collections::BTreeMap;

use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::configuration::{BucketChange, Configuration, Versioning};
use holdfast_wire::heartbeat::{Layout, NodeInfo};
use holdfast_wire::id::{BucketId, BucketName, ClusterId, GroupId, NodeId};
use holdfast_wire::identity::{IdentityChange, IdentityRefusal};
use holdfast_wire::lock::BucketLock;
use holdfast_wire::placement::{GroupPlace, Placement, ShardMap};
use holdfast_wire::request::{RootRefusal, StateConflict};

use super::draft::Draft;
use crate::index::command::{Outcome, RootCommand};
use crate::index::record::Root;

pub fn apply(draft: &mut Draft<'_>, command: RootCommand) -> Outcome {
    let result = match command {
        RootCommand::Genesis { cluster, layout, replicas } => Ok(genesis(draft, cluster, layout, replicas)),
        RootCommand::CreateBucket { name, owner, placement, tags, lock, documents } => {
            let documents = documents.into_iter().collect();
            let configuration = match lock {
                true => Configuration {
                    versioning: Versioning::Enabled,
                    lock: Some(BucketLock::default()),
                    documents,
                    ..Configuration::default()
                },
                false => Configuration { documents, ..Configuration::default() },
            };
            create(draft, name, owner, placement, tags, configuration)
        }
        RootCommand::ActivateBucket { bucket } => by_id(draft, bucket, |state| match state {
            BucketState::Creating | BucketState::Active => Ok(BucketState::Active),
            BucketState::Deleting => Err(RootRefusal::BucketBusy),
        }),
        RootCommand::ChangeBucket { name, change } => change_bucket(draft, &name, change),
        RootCommand::BeginDeleteBucket { name } => match draft.bucket_named(&name) {
            None => Err(RootRefusal::NoSuchBucket),
            Some(bucket) => by_id(draft, bucket.id, |state| match state {
                BucketState::Active | BucketState::Deleting => Ok(BucketState::Deleting),
                BucketState::Creating => Err(RootRefusal::BucketBusy),
            }),
        },
        RootCommand::AbandonDeleteBucket { bucket } => by_id(draft, bucket, |state| match state {
            BucketState::Deleting | BucketState::Active => Ok(BucketState::Active),
            BucketState::Creating => Err(RootRefusal::BucketBusy),
        }),
        RootCommand::RemoveBucket { bucket } => remove_bucket(draft, bucket),
        RootCommand::Join { node } => Ok(join(draft, node)),
        RootCommand::RemoveNode { node } => remove_node(draft, node),
        RootCommand::SetVoters { group, voters } => set_voters(draft, group, voters),
        RootCommand::UpdateNode { node } => update_node(draft, node),
        RootCommand::DrainNode { node, drain } => drain_node(draft, node, drain),
        RootCommand::ChangeIdentities { expect, changes } => change_identities(draft, expect, changes),
        RootCommand::BeginRound => Ok(Outcome::Round(draft.place.position.index)),
    };
    result.unwrap_or_else(Outcome::RootRefused)
}

fn genesis(draft: &mut Draft<'_>, cluster: ClusterId, layout: Layout, replicas: u8) -> Outcome {
    let root = draft.root();
    if root.cluster.is_none() {
        let highest = layout.nodes.iter().map(|node| node.id).max().unwrap_or_default();
        let next_node = root.next_node.max(NodeId(highest.0 + 1));
        let version = draft.place.position.index;
        draft.put_root(Root {
            cluster: Some(cluster),
            replicas,
            next_node,
            layout: Layout { version, copies: replicas, ..layout },
            ..root
        });
    }
    Outcome::Done
}

fn create(
    draft: &mut Draft<'_>,
    name: BucketName,
    owner: String,
    placement: Placement,
    tags: Vec<(String, String)>,
    configuration: Configuration,
) -> Result<Outcome, RootRefusal> {
    if let Some(existing) = draft.bucket_named(&name) {
        return match existing.state {
            BucketState::Active => Err(RootRefusal::BucketExists(Box::new((*existing).clone()))),
            BucketState::Creating if existing.owner == owner => Ok(Outcome::Bucket((*existing).clone())),
            BucketState::Creating | BucketState::Deleting => Err(RootRefusal::BucketBusy),
        };
    }
    let mut root = draft.root();
    let id = root.next_bucket;
    root.next_bucket = BucketId(id.0 + 1);
    draft.put_root(root);
    let bucket = Bucket {
        id,
        name,
        owner,
        created_ms: draft.place.now_ms,
        revision: 1,
        state: BucketState::Creating,
        placement,
        tags,
        configuration,
    };
    draft.put_bucket(bucket.clone());
    Ok(Outcome::Bucket(bucket))
}

/// Moves a bucket to the state that `next` gives for its present one.
fn by_id(
    draft: &mut Draft<'_>,
    id: BucketId,
    next: impl FnOnce(BucketState) -> Result<BucketState, RootRefusal>,
) -> Result<Outcome, RootRefusal> {
    let mut bucket = (*draft.bucket(id).ok_or(RootRefusal::NoSuchBucket)?).clone();
    let state = next(bucket.state)?;
    if state != bucket.state {
        bucket.state = state;
        bucket.revision += 1;
        draft.put_bucket(bucket.clone());
    }
    Ok(Outcome::Bucket(bucket))
}

fn change_bucket(draft: &mut Draft<'_>, name: &BucketName, change: BucketChange) -> Result<Outcome, RootRefusal> {
    let before = draft.bucket_named(name).ok_or(RootRefusal::NoSuchBucket)?;
    let mut bucket = (*before).clone();
    match bucket.state {
        BucketState::Active => {}
        BucketState::Creating | BucketState::Deleting => return Err(RootRefusal::BucketBusy),
    }
    make(&mut bucket, change).map_err(RootRefusal::BucketState)?;
    if bucket != *before {
        bucket.revision += 1;
        draft.put_bucket(bucket.clone());
    }
    Ok(Outcome::Bucket(bucket))
}

fn make(bucket: &mut Bucket, change: BucketChange) -> Result<(), StateConflict> {
    let configuration = &mut bucket.configuration;
    match change {
        BucketChange::Tags(tags) => bucket.tags = tags,
        BucketChange::Versioning(Versioning::Off) if configuration.versioning != Versioning::Off => {
            return Err(StateConflict::VersioningOff);
        }
        BucketChange::Versioning(Versioning::Suspended) if configuration.lock.is_some() => {
            return Err(StateConflict::Locked);
        }
        BucketChange::Versioning(versioning) => configuration.versioning = versioning,
        BucketChange::Lock(_) if configuration.versioning != Versioning::Enabled => {
            return Err(StateConflict::NotVersioned);
        }
        BucketChange::Lock(lock) => configuration.lock = Some(lock),
        BucketChange::Lifecycle(lifecycle) => configuration.lifecycle = lifecycle,
        BucketChange::Quota(quota) => configuration.quota = quota.filter(|quota| !quota.is_none()),
        BucketChange::Document(kind, Some(text)) => drop(configuration.documents.insert(kind, text)),
        BucketChange::Document(kind, None) => drop(configuration.documents.remove(&kind)),
    }
    Ok(())
}

fn remove_bucket(draft: &mut Draft<'_>, id: BucketId) -> Result<Outcome, RootRefusal> {
    match draft.bucket(id).map(|bucket| bucket.state) {
        None => {}
        Some(BucketState::Deleting | BucketState::Creating) => draft.remove_bucket(id),
        Some(BucketState::Active) => return Err(RootRefusal::BucketBusy),
    }
    Ok(Outcome::Done)
}

fn join(draft: &mut Draft<'_>, mut node: NodeInfo) -> Outcome {
    let mut root = draft.root();
    let nodes = &mut root.layout.nodes;
    if let Some(known) = nodes.iter_mut().find(|known| known.id == node.id && known.name == node.name) {
        // It joined before and asks again.
        let id = known.id;
        if *known != node {
            *known = node;
            change_layout(draft, root, |_| false);
        }
        return Outcome::Joined { node: id };
    }
    let id = root.next_node;
    root.next_node = NodeId(id.0 + 1);
    node.id = id;
    let replaced = nodes.iter().find(|known| known.name == node.name).map(|known| known.id);
    nodes.retain(|known| Some(known.id) != replaced);
    root.layout.draining.retain(|draining| Some(*draining) != replaced);
    let nodes = &mut root.layout.nodes;
    nodes.push(node);
    let replicas = usize::from(root.replicas);
    change_layout(draft, root, |group| {
        let before = group.voters.len();
        if let Some(replaced) = replaced
            && group.voters.contains(&replaced)
        {
            group.voters.retain(|voter| *voter != replaced);
            group.voters.push(id);
            return true;
        }
        if before < replicas {
            group.voters.push(id);
        }
        before < replicas
    });
    Outcome::Joined { node: id }
}

fn remove_node(draft: &mut Draft<'_>, node: NodeId) -> Result<Outcome, RootRefusal> {
    let mut root = draft.root();
    if !root.layout.nodes.iter().any(|known| known.id == node) {
        return Err(RootRefusal::NoSuchNode);
    }
    root.layout.nodes.retain(|known| known.id != node);
    root.layout.draining.retain(|draining| *draining != node);
    unseat(&mut root.layout, node)?;
    change_layout(draft, root, |_| false);
    Ok(Outcome::Done)
}

/// Every group keeps as many voters as root promises: a drain is not to cost a copy.
fn drain_node(draft: &mut Draft<'_>, node: NodeId, drain: bool) -> Result<Outcome, RootRefusal> {
    let mut root = draft.root();
    let Layout { nodes, draining, .. } = &mut root.layout;
    if !nodes.iter().any(|known| known.id == node) {
        return Err(RootRefusal::NoSuchNode);
    }
    if draining.contains(&node) == drain {
        return Ok(Outcome::Done);
    }
    if drain {
        draining.push(node);
        draining.sort_unstable();
        let staying = nodes.iter().filter(|known| !draining.contains(&known.id)).count();
        if staying < usize::from(root.replicas) {
            return Err(RootRefusal::TooFewNodes);
        }
        unseat(&mut root.layout, node)?;
    } else {
        draining.retain(|draining| *draining != node);
    }
    change_layout(draft, root, |_| false);
    Ok(Outcome::Done)
}

/// Gives a node's seats to those that have the fewest.
fn unseat(layout: &mut Layout, node: NodeId) -> Result<(), RootRefusal> {
    let open = layout.nodes.iter().filter(|known| known.id != node && !layout.draining.contains(&known.id));
    let mut seats: BTreeMap<NodeId, usize> = open.map(|known| (known.id, 0)).collect();
    for voter in layout.map.groups.iter().flat_map(|group| &group.voters) {
        if let Some(count) = seats.get_mut(voter) {
            *count += 1;
        }
    }
    for group in layout.map.groups.iter_mut().filter(|group| group.voters.contains(&node)) {
        group.voters.retain(|voter| *voter != node);
        let free = seats.iter().filter(|(id, _)| !group.voters.contains(id));
        if let Some((&id, _)) = free.min_by_key(|&(&id, &count)| (count, id)) {
            group.voters.push(id);
            *seats.entry(id).or_default() += 1;
        }
        if group.voters.is_empty() {
            return Err(RootRefusal::TooFewNodes);
        }
        moved(group);
    }
    Ok(())
}

fn set_voters(draft: &mut Draft<'_>, group: GroupId, mut voters: Vec<NodeId>) -> Result<Outcome, RootRefusal> {
    let root = draft.root();
    let Some(place) = root.layout.map.group(group) else { return Ok(Outcome::None) };
    if voters.is_empty() {
        return Err(RootRefusal::TooFewNodes);
    }
    if !voters.iter().all(|voter| root.layout.nodes.iter().any(|known| known.id == *voter)) {
        return Err(RootRefusal::NoSuchNode);
    }
    voters.sort_unstable();
    voters.dedup();
    if place.voters != voters {
        change_layout(draft, root, |place| {
            let ours = place.group == group;
            if ours {
                place.voters.clone_from(&voters);
            }
            ours
        });
    }
    Ok(Outcome::Done)
}

fn update_node(draft: &mut Draft<'_>, node: NodeInfo) -> Result<Outcome, RootRefusal> {
    let mut root = draft.root();
    let known = root.layout.nodes.iter_mut().find(|known| known.id == node.id).ok_or(RootRefusal::NoSuchNode)?;
    let updated = NodeInfo { name: known.name.clone(), ..node };
    if *known != updated {
        *known = updated;
        change_layout(draft, root, |_| false);
    }
    Ok(Outcome::Done)
}

fn change_identities(draft: &mut Draft<'_>, expect: u64, changes: Vec<IdentityChange>) -> Result<Outcome, RootRefusal> {
    let before = draft.identities();
    if before.version != expect {
        return Err(RootRefusal::Identity(IdentityRefusal::Moved));
    }
    let mut after = before.change(changes).map_err(RootRefusal::Identity)?;
    after.version = draft.place.position.index;
    draft.put_identities(after);
    Ok(Outcome::Done)
}

/// Sets a changed layout: `change` says which groups it changes, too; versions and epochs move.
fn change_layout(draft: &mut Draft<'_>, mut root: Root, mut change: impl FnMut(&mut GroupPlace) -> bool) {
    let Layout { version, nodes, map: ShardMap { epoch, groups }, .. } = &mut root.layout;
    *version = draft.place.position.index;
    epoch.0 += 1;
    nodes.sort_by_key(|node| node.id);
    for group in groups {
        if change(group) {
            moved(group);
        }
    }
    draft.put_root(root);
}

/// A group's voters have changed.
fn moved(group: &mut GroupPlace) {
    group.voters.sort_unstable();
    group.epoch.0 += 1;
}
