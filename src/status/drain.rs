//! How far a node is with giving everything away. Pure.

use std::fmt;

use super::Status;

/// What a node that is to be drained still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not being drained.
    Stays {
        /// Its name.
        name: String,
    },
    /// It has something left.
    Holds {
        /// Its name.
        name: String,
        /// Groups that it leads.
        leads: usize,
        /// Groups that count its vote, or wait for somebody to take it over.
        votes: usize,
        /// Groups whose data it has still.
        hosts: usize,
    },
    /// It holds nothing: it may be stopped and removed.
    Empty {
        /// Its name.
        name: String,
    },
}

/// How far `node` (name or id) is; `None`: no such node.
pub fn progress(status: &Status, node: &str) -> Option<Progress> {
    let found = status.nodes.iter().find(|known| known.name == node);
    let found = found.or_else(|| status.nodes.iter().find(|known| known.id.to_string() == node))?;
    let name = found.name.clone();
    if !found.draining {
        return Some(Progress::Stays { name });
    }
    let count = |holds: &dyn Fn(&super::Group) -> bool| status.groups.iter().filter(|group| holds(group)).count();
    let leads = count(&|group| group.leader == Some(found.id));
    let votes = count(&|group| group.voters.contains(&found.id));
    let hosts = count(&|group| found.alive && group.members.iter().any(|member| member.node == found.id));
    Some(match (leads, votes, hosts) {
        (0, 0, 0) => Progress::Empty { name },
        _ => Progress::Holds { name, leads, votes, hosts },
    })
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays { name } => write!(f, "{name} is not being drained"),
            Self::Holds { name, leads, votes, hosts } => {
                write!(
                    f,
                    "{name} gives away what it has: it leads {leads} groups, votes in {votes}, keeps data of {hosts}"
                )
            }
            Self::Empty { name } => {
                write!(f, "{name} holds nothing any more: stop it, then `holdfast cluster remove {name}`")
            }
        }
    }
}
