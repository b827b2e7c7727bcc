//! Files of one room that know each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Violations;
use crate::house::House;

type Graph = BTreeMap<usize, BTreeMap<usize, String>>;

/// No file of a room can be reached from itself, parent and descendants aside.
pub(crate) fn within_rooms(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for room in house.rooms() {
        let graph = house.arrows_within(room);
        for files in circles(&graph) {
            let names: Vec<&str> =
                files.iter().map(|file| house.files[*file].path.as_str()).collect();
            let lines: Vec<&str> = files
                .iter()
                .flat_map(|from| graph[from].iter().filter(|(to, _)| files.contains(to)))
                .map(|(_, line)| line.as_str())
                .collect();
            wrong.push(format!(
                "{room}: {} files in a circle: {}\n        {}",
                files.len(),
                names.join(", "),
                lines.join("\n        ")
            ));
        }
    }
    wrong
}

/// The sets of two and more that can all be reached from each other.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<usize>> {
    let reach: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|from| (*from, reachable(graph, *from))).collect();
    reach
        .iter()
        .filter(|(from, reached)| reached.contains(from))
        .map(|(from, reached)| {
            let together = |to: &usize| reach.get(to).is_some_and(|back| back.contains(from));
            reached.iter().copied().filter(together).collect()
        })
        .collect()
}

fn reachable(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for to in graph.get(&at).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(*to) {
                open.push(*to);
            }
        }
    }
    found
}
