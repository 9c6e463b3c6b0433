//! Connected components on one thread: a forest of vertices, in which each edge puts two trees together.
//!
//! After Galler & Fischer, "An improved equivalence algorithm" (1964), with halved ways to the roots.

/// The vertices that edges lead to or from, each with the least vertex of its component.
pub fn connected_components(edges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let count = edges.iter().map(|(source, target)| source.max(target) + 1).max().unwrap_or(0);
    let mut parents: Vec<u32> = (0..count).collect();
    let mut is_there = vec![false; count as usize];
    for (source, target) in edges {
        (is_there[*source as usize], is_there[*target as usize]) = (true, true);
        let (one, other) = (root(&mut parents, *source), root(&mut parents, *target));
        // The least one is the root.
        parents[one.max(other) as usize] = one.min(other);
    }
    let there = (0..count).filter(|vertex| is_there[*vertex as usize]);
    there.map(|vertex| (vertex, root(&mut parents, vertex))).collect()
}

fn root(parents: &mut [u32], mut vertex: u32) -> u32 {
    while parents[vertex as usize] != vertex {
        let parent = parents[vertex as usize];
        parents[vertex as usize] = parents[parent as usize];
        vertex = parent;
    }
    vertex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_by_its_least_vertex() {
        let edges = [(7, 5), (5, 6), (9, 1), (1, 1), (3, 9)];
        assert_eq!(connected_components(&edges), [(1, 1), (3, 1), (5, 5), (6, 5), (7, 5), (9, 1)]);
        assert_eq!(connected_components(&[]), []);
        // A long way to the root.
        let chain: Vec<(u32, u32)> = (0..10_000).map(|vertex| (vertex + 1, vertex)).rev().collect();
        assert!(connected_components(&chain).iter().all(|(_, component)| *component == 0));
    }
}
