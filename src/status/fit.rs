//! Which nodes are beyond the number that a cluster is to have, where names are numbered as a StatefulSet numbers its pods
//! (`holdfast-0`, `holdfast-1`, …). Pure.

use super::{Node, Status};

/// Why nobody can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNumbered {
    /// A name without a number.
    #[error("node {0} has no number: drain nodes by name (`holdfast cluster drain`)")]
    Name(String),
    /// Two series.
    #[error("nodes {0} and {1} are not numbered together: drain nodes by name (`holdfast cluster drain`)")]
    Series(String, String),
    /// Fewer nodes than copies.
    #[error("{wanted} nodes cannot keep {copies} copies of everything: keep {copies} nodes at least")]
    TooFew {
        /// The number asked for.
        wanted: u64,
        /// What each group should have.
        copies: u8,
    },
}

/// The nodes with the number `count` or a higher one, the highest first.
pub fn beyond(status: &Status, count: u64) -> Result<Vec<&Node>, NotNumbered> {
    if count < u64::from(status.copies) {
        return Err(NotNumbered::TooFew { wanted: count, copies: status.copies });
    }
    let mut numbered = Vec::new();
    for node in &status.nodes {
        let split = node.name.rsplit_once('-').and_then(|(series, number)| Some((series, number.parse().ok()?)));
        let (series, number): (&str, u64) = split.ok_or_else(|| NotNumbered::Name(node.name.clone()))?;
        numbered.push((series, number, node));
    }
    if let Some((first, _, one)) = numbered.first()
        && let Some((.., other)) = numbered.iter().find(|(series, ..)| series != first)
    {
        return Err(NotNumbered::Series(one.name.clone(), other.name.clone()));
    }
    numbered.retain(|(_, number, _)| *number >= count);
    numbered.sort_by_key(|(_, number, _)| std::cmp::Reverse(*number));
    Ok(numbered.into_iter().map(|(.., node)| node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::healthy;

    fn status(names: &[&str]) -> Status {
        let mut status = Status::of(&healthy());
        let model = status.nodes[0].clone();
        let named = |(at, name): (usize, &&str)| Node { id: at as u64, name: (*name).to_owned(), ..model.clone() };
        status.nodes = names.iter().enumerate().map(named).collect();
        status.copies = 3;
        status
    }

    #[test]
    fn the_highest_numbers_go_and_names_without_one_are_left_to_people() {
        let grown = status(&["my-db-0", "my-db-10", "my-db-1", "my-db-2", "my-db-3"]);
        let names =
            |count| beyond(&grown, count).map(|nodes| nodes.iter().map(|node| &node.name[..]).collect::<Vec<_>>());
        assert_eq!(names(3), Ok(vec!["my-db-10", "my-db-3"]));
        assert_eq!(names(11), Ok(vec![]));
        assert_eq!(names(2), Err(NotNumbered::TooFew { wanted: 2, copies: 3 }));
        assert_eq!(beyond(&status(&["a-0", "n1"]), 3), Err(NotNumbered::Name("n1".to_owned())));
        let (one, other) = ("a-0".to_owned(), "b-1".to_owned());
        assert_eq!(beyond(&status(&["a-0", "b-1"]), 3), Err(NotNumbered::Series(one, other)));
    }
}
