//! C2 for buckets that keep versions: each key is a linearizable stack of versions from whose middle some are taken
//! away. A listing shows the whole of it, and a read one version or the newest, with the bytes that were written.
//! [`search`](super::search) looks for an order; since everything is listed at the end, that nothing acknowledged is lost
//! and nothing removed is back (C1) follows from there being one.

use std::collections::{HashMap, HashSet};

use crate::check::Verdict;
use crate::check::search::{self, Item, Model, Search};
use crate::history::versioned::{Listing, Op, Outcome, Shown, Versioned, by_key};
use crate::history::{History, NEVER};

/// The check, over all keys.
pub fn check(history: &History, steps: u64) -> Verdict {
    let keys = by_key(&history.versioned);
    search::verdict(keys.iter().map(|(key, records)| {
        let names = Names::of(records);
        (*key, records.len(), names.and_then(|names| names.search(records)).map(|search| search.run(steps)))
    }))
}

/// A version, whatever its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Version {
    /// The object of this write.
    Object(u64),
    /// The delete marker of the acknowledged record at this place.
    Marker(usize),
    /// A delete marker of unknown outcome, as good as any other.
    SomeMarker,
}

#[derive(Clone, Debug)]
enum Step {
    Add(Version),
    /// Its outcome is known: it may have been gone before.
    Remove(Version),
    /// Its outcome is not known: it matters only where it takes something away.
    Take(Version),
    /// This is the newest.
    Newest(Seen),
    /// This one is there, or not.
    There(Version, bool),
    /// These objects and markers are all there is, newest first, and which of all is the newest.
    All(Vec<Seen>, Vec<Seen>, Option<Seen>),
}

/// What an answer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Version(Version),
    /// A marker of some delete: the answer has no id.
    AnyMarker,
}

/// Which version has which id.
struct Names<'a> {
    ids: HashMap<&'a str, Version>,
    etags: HashMap<&'a str, u64>,
    /// Pairs of versions the first of which some listing shows as older.
    older: HashSet<(Version, Version)>,
}

impl Model for Names<'_> {
    /// Oldest first.
    type State = Vec<Version>;
    type Step = Step;

    fn allows(&self, state: &Vec<Version>, step: &Step) -> bool {
        match step {
            Step::Add(version) => !state.iter().any(|newer| self.older.contains(&(*version, *newer))),
            Step::Remove(_) => true,
            Step::Take(version) => state.contains(version),
            Step::Newest(seen) => Self::is(state.last(), seen),
            Step::There(version, there) => state.contains(version) == *there,
            Step::All(objects, markers, latest) => {
                let of =
                    |markers: bool| state.iter().rev().filter(move |one| matches!(one, Version::Object(_)) != markers);
                let same = |seen: &[Seen], markers| {
                    of(markers).count() == seen.len()
                        && of(markers).zip(seen).all(|(one, seen)| Self::is(Some(one), seen))
                };
                let newest = latest.as_ref().map_or(state.is_empty(), |latest| Self::is(state.last(), latest));
                same(objects, false) && same(markers, true) && newest
            }
        }
    }

    fn change(&self, state: &mut Vec<Version>, step: &Step) {
        match step {
            Step::Add(version) => state.push(*version),
            Step::Remove(version) | Step::Take(version) => state.retain(|one| one != version),
            Step::Newest(_) | Step::There(..) | Step::All(..) => {}
        }
    }

    fn only_looks(step: &Step) -> bool {
        !matches!(step, Step::Add(_) | Step::Remove(_) | Step::Take(_))
    }

    /// What was covered may be listed, and be the newest again once what covers it is gone.
    fn needs_unseen(&self, _: &Step) -> bool {
        true
    }
}

impl<'a> Names<'a> {
    /// An error where an id has two versions, or a version two ids.
    fn of(records: &[&'a Versioned]) -> Result<Self, String> {
        let mut names = Self { ids: HashMap::new(), etags: HashMap::new(), older: HashSet::new() };
        for record in records {
            if let Op::Put { write, etag } = &record.op {
                names.etags.insert(etag, *write);
            }
        }
        let mut bearers: HashMap<Version, &str> = HashMap::new();
        let mut name =
            |id: &'a str, version: Version| match (bearers.insert(version, id), names.ids.insert(id, version)) {
                _ if id.is_empty() => Err(format!("{version:?} has no id")),
                (Some(other), _) if other != id => Err(format!("{version:?} has the ids {other} and {id}")),
                (_, Some(other)) if other != version => Err(format!("{id} is {other:?} and {version:?}")),
                _ => Ok(()),
            };
        for (at, record) in records.iter().enumerate() {
            let mut object = |id: &'a str, etag: &str| match names.etags.get(etag) {
                Some(write) => name(id, Version::Object(*write)),
                None => Err(format!("{id} has the entity tag {etag}, which nobody wrote")),
            };
            match (&record.op, &record.outcome) {
                (Op::Put { etag, .. }, Outcome::Made(id)) => object(id, etag)?,
                (Op::Mark, Outcome::Made(id)) => name(id, Version::Marker(at))?,
                (_, Outcome::Saw(Shown::Object { fault: Some(fault), version, .. })) => {
                    return Err(format!("{version}: {fault}"));
                }
                (_, Outcome::Saw(Shown::Object { version, etag, .. })) => object(version, etag)?,
                (_, Outcome::Listed(listing)) => {
                    listing.objects.iter().try_for_each(|(id, etag)| object(id, etag))?;
                }
                _ => {}
            }
        }
        for record in records {
            let Outcome::Listed(listing) = &record.outcome else { continue };
            let objects: Vec<&str> = listing.objects.iter().map(|(id, _)| id.as_str()).collect();
            let markers: Vec<&str> = listing.markers.iter().map(String::as_str).collect();
            for ids in [objects, markers] {
                let versions: Vec<Version> = ids.iter().filter_map(|id| names.ids.get(id)).copied().collect();
                for (at, newer) in versions.iter().enumerate() {
                    names.older.extend(versions[at + 1..].iter().map(|older| (*older, *newer)));
                }
            }
        }
        Ok(names)
    }

    fn is(one: Option<&Version>, seen: &Seen) -> bool {
        match (one, seen) {
            (None, Seen::Nothing) => true,
            (Some(one), Seen::Version(seen)) => one == seen,
            (Some(Version::Marker(_) | Version::SomeMarker), Seen::AnyMarker) => true,
            _ => false,
        }
    }

    /// A version that an answer names: a marker of unknown outcome where nobody was told this id.
    fn version(&self, id: &str) -> Seen {
        Seen::Version(self.ids.get(id).copied().unwrap_or(Version::SomeMarker))
    }

    fn all(&self, listing: &Listing) -> Result<Step, String> {
        let objects = listing.objects.iter().map(|(id, _)| self.version(id)).collect();
        let markers = listing.markers.iter().map(|id| self.version(id)).collect();
        let latest = match &listing.latest[..] {
            [] if listing.objects.is_empty() && listing.markers.is_empty() => None,
            [id] => Some(self.version(id)),
            ids => return Err(format!("{} versions are the newest", ids.len())),
        };
        Ok(Step::All(objects, markers, latest))
    }

    fn items(&self, records: &[&'a Versioned]) -> Result<Vec<Item<'a, Step>>, String> {
        let mut items = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let record: &'a Versioned = record;
            let known = !matches!(record.outcome, Outcome::Unknown(_));
            let step = match (&record.op, &record.outcome) {
                (_, Outcome::Failed(_)) => continue,
                (Op::Put { write, .. }, _) => Step::Add(Version::Object(*write)),
                (Op::Mark, _) => Step::Add(if known { Version::Marker(at) } else { Version::SomeMarker }),
                // Clients remove what has an id that is known.
                (Op::Remove(id), _) => {
                    let version = *self.ids.get(id.as_str()).ok_or(format!("{id} is nobody's"))?;
                    if known { Step::Remove(version) } else { Step::Take(version) }
                }
                (Op::Read(None), Outcome::Saw(shown)) => Step::Newest(match shown {
                    Shown::Nothing => Seen::Nothing,
                    Shown::Marker => Seen::AnyMarker,
                    Shown::Object { version, .. } => self.version(version),
                }),
                (Op::Read(Some(id)), Outcome::Saw(shown)) => {
                    let asked = *self.ids.get(id.as_str()).ok_or(format!("{id} is nobody's"))?;
                    let right = match shown {
                        Shown::Nothing => true,
                        Shown::Marker => matches!(asked, Version::Marker(_)),
                        Shown::Object { version, .. } => version == id,
                    };
                    if !right {
                        return Err(format!("asked for {id}, got {shown:?}"));
                    }
                    Step::There(asked, *shown != Shown::Nothing)
                }
                (Op::List, Outcome::Listed(listing)) => self.all(listing)?,
                (op, outcome) => return Err(format!("{op:?} has the outcome {outcome:?}")),
            };
            let end = if known { record.end } else { NEVER };
            let any = matches!(step, Step::Add(Version::SomeMarker)).then_some(0);
            items.push(Item { step, start: record.start, end, known, any, said: record });
        }
        Ok(items)
    }

    fn search(self, records: &[&'a Versioned]) -> Result<Search<'a, Self>, String> {
        let mut items = self.items(records)?;
        narrow(&mut items);
        Ok(Search::new(self, items))
    }
}

impl Step {
    /// What it shows to be there.
    fn shows(&self) -> Vec<Seen> {
        match self {
            Self::Newest(seen) => vec![*seen],
            Self::There(version, true) => vec![Seen::Version(*version)],
            Self::All(objects, markers, latest) => objects.iter().chain(markers).chain(latest).copied().collect(),
            Self::There(_, false) | Self::Add(_) | Self::Remove(_) | Self::Take(_) => Vec::new(),
        }
    }
}

/// Takes away orders that cannot be: what was seen has come before it was seen, whether acknowledged or not, and went
/// after that, since nobody can remove what has yet to get its id. An unknown put, or marker, of which nothing was ever seen can be left out: whatever looked while it was the
/// newest, or listed, would have shown it.
fn narrow(items: &mut Vec<Item<'_, Step>>) {
    // When it was first seen at the latest, and last seen at the earliest.
    let mut seen: HashMap<Version, (u64, u64)> = HashMap::new();
    let mut markers = false;
    for item in items.iter() {
        for shown in item.step.shows() {
            match shown {
                Seen::Version(Version::SomeMarker) | Seen::AnyMarker => markers = true,
                Seen::Version(version) => {
                    let (first, last) = seen.entry(version).or_insert((item.end, item.start));
                    *first = item.end.min(*first);
                    *last = item.start.max(*last);
                }
                Seen::Nothing => {}
            }
        }
    }
    items.retain_mut(|item| match item.step {
        Step::Add(Version::SomeMarker) => markers,
        Step::Add(version) => {
            if let Some((first, _)) = seen.get(&version) {
                item.end = item.end.min(*first);
                item.known = true;
            }
            item.known
        }
        Step::Remove(version) | Step::Take(version) => {
            if let Some((_, last)) = seen.get(&version) {
                item.start = item.start.max(*last);
            }
            true
        }
        _ => true,
    });
}

#[cfg(test)]
mod tests;
