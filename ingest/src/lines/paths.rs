//! Where the wanted values stand: the paths of all columns as a tree of keys.

use super::name::{Ends, Name};
use crate::source::{Column, Origin};

/// What a key of an object leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The key's number among all keys of the paths.
    pub(crate) key: usize,
    /// The slot of its own value, if that is wanted.
    pub(crate) slot: Option<usize>,
    /// The node of the keys wanted inside its value.
    pub(crate) child: Option<usize>,
    /// Slots at or below it.
    pub(crate) below: usize,
}

/// One key of an object that leads to a wanted value.
#[derive(Debug)]
struct Key {
    name: Name,
    target: Target,
}

/// The keys wanted of one object.
#[derive(Debug, Default)]
struct Node {
    keys: Vec<Key>,
    /// Bit n is set if a key of n bytes (63: or more) is wanted, which spares most comparisons.
    lengths: u64,
}

impl Node {
    fn find(&self, name: &[u8]) -> Option<Target> {
        let ends = Ends::of(name);
        let is_it = |key: &&Key| key.name.is(name, ends);
        self.keys.iter().find(is_it).map(|key| key.target)
    }
}

/// The paths of all columns as a tree of keys; columns with the same path share a slot.
#[derive(Debug)]
pub(crate) struct Paths {
    nodes: Vec<Node>,
    keys: usize,
    slots: usize,
}

/// Where a column finds its value: in a slot, and from there on along `rest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) rest: Vec<Step>,
}

/// A step of a path behind its first `[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the elements of a list.
    Each,
    /// To the member of an object.
    Key(Vec<u8>),
}

impl Paths {
    /// The node of the line's own object.
    pub(crate) const ROOT: usize = 0;

    /// Lays out the paths of `columns`; the places are in their order.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> (Self, Vec<Place>) {
        let mut paths = Self { nodes: vec![Node::default()], keys: 0, slots: 0 };
        let places = columns
            .into_iter()
            .map(|column| {
                let steps = steps(column);
                let each = steps.iter().position(|step| *step == Step::Each).unwrap_or(steps.len());
                Place { slot: paths.slot(&steps[..each]), rest: steps[each..].to_vec() }
            })
            .collect();
        paths.count_below(Self::ROOT);
        (paths, places)
    }

    /// How many values are wanted of a line.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// How many keys lead to them.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// The key called `name` in the object of `node`.
    #[inline(always)]
    pub(crate) fn find(&self, node: usize, name: &[u8]) -> Option<Target> {
        let node = &self.nodes[node];
        // Nearly all keys that nobody wants are done with here.
        if node.lengths & length_bit(name) == 0 { None } else { node.find(name) }
    }

    /// The slot of the value that the keys `steps` lead to.
    fn slot(&mut self, steps: &[Step]) -> usize {
        let (last, way) = steps.split_last().expect("a path begins with a key");
        let mut node = Self::ROOT;
        for step in way {
            let at = self.entry(node, step);
            node = match self.nodes[node].keys[at].target.child {
                Some(child) => child,
                None => {
                    self.nodes.push(Node::default());
                    let child = self.nodes.len() - 1;
                    self.nodes[node].keys[at].target.child = Some(child);
                    child
                }
            };
        }
        let at = self.entry(node, last);
        let next = self.slots;
        let slot = *self.nodes[node].keys[at].target.slot.get_or_insert(next);
        self.slots = self.slots.max(slot + 1);
        slot
    }

    /// The position of a key in `node`, made if it is not there.
    fn entry(&mut self, node: usize, step: &Step) -> usize {
        let Step::Key(name) = step else { unreachable!("paths are cut before their first []") };
        let keys = &mut self.nodes[node].keys;
        if let Some(at) = keys.iter().position(|key| key.name.text() == name.as_slice()) {
            return at;
        }
        let target = Target { key: self.keys, ..Target::default() };
        keys.push(Key { name: Name::new(name), target });
        self.keys += 1;
        self.nodes[node].lengths |= length_bit(name);
        self.nodes[node].keys.len() - 1
    }

    fn count_below(&mut self, node: usize) -> usize {
        let mut sum = 0;
        for at in 0..self.nodes[node].keys.len() {
            let child = self.nodes[node].keys[at].target.child.map_or(0, |child| self.count_below(child));
            let target = &mut self.nodes[node].keys[at].target;
            target.below = child + usize::from(target.slot.is_some());
            sum += target.below;
        }
        sum
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

/// The steps of a column's path.
fn steps(column: &Column) -> Vec<Step> {
    let key = |name: &str| Step::Key(name.as_bytes().to_vec());
    match &column.origin {
        Origin::Name => vec![key(&column.name)],
        Origin::Steps(steps) => steps.iter().map(|step| key(step)).collect(),
        Origin::Path(path) => {
            let mut steps = Vec::new();
            for step in path.split('.') {
                let name = step.trim_end_matches("[]");
                steps.push(key(name));
                steps.extend(std::iter::repeat_n(Step::Each, (step.len() - name.len()) / 2));
            }
            steps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ColumnKind;

    fn column(name: &str, origin: Origin) -> Column {
        Column::new(name, ColumnKind::String).from(origin)
    }

    #[test]
    fn columns_with_the_same_path_share_a_slot() {
        let columns = [
            column("a.b", Origin::Name),
            column("x", Origin::Path("a.b".to_owned())),
            column("y", Origin::Steps(vec!["a".to_owned(), "b".to_owned()])),
            column("z", Origin::Path("items[].tags[].name".to_owned())),
        ];
        let (paths, places) = Paths::new(&columns);
        let slots: Vec<_> = places.iter().map(|place| place.slot).collect();
        assert_eq!(slots, [0, 1, 1, 2]);
        assert_eq!((paths.slots(), paths.keys()), (3, 4));
        let key = |name: &str| Step::Key(name.as_bytes().to_vec());
        assert_eq!(places[3].rest, [Step::Each, key("tags"), Step::Each, key("name")]);
        let a = paths.find(Paths::ROOT, b"a").unwrap();
        assert_eq!(a.below, 1);
        assert_eq!(paths.find(Paths::ROOT, b"b"), None);
    }
}
