//! Finds steps that wait for each other.

use petgraph::{
    algo::kosaraju_scc,
    graph::{DiGraph, NodeIndex},
};

/// Groups of steps that wait for each other, in order of definition; `before` lists what each step waits for.
pub(super) fn find_cycles(before: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut graph = DiGraph::<(), ()>::with_capacity(before.len(), 0);
    let nodes: Vec<_> = before.iter().map(|_| graph.add_node(())).collect();
    for (to, from) in before.iter().enumerate().flat_map(|(to, all)| all.iter().map(move |from| (to, *from)))
    {
        if let (Some(from), Some(to)) = (nodes.get(from), nodes.get(to)) {
            graph.add_edge(*from, *to, ());
        }
    }
    let waits_for_itself = |step: usize| before.get(step).is_some_and(|all| all.contains(&step));
    let groups = kosaraju_scc(&graph).into_iter().filter_map(|group| {
        let mut steps: Vec<usize> = group.into_iter().map(NodeIndex::index).collect();
        steps.sort_unstable();
        let cyclic = steps.len() > 1 || steps.first().is_some_and(|step| waits_for_itself(*step));
        cyclic.then_some(steps)
    });
    let mut cycles: Vec<Vec<usize>> = groups.collect();
    cycles.sort_unstable();
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_steps_that_wait_for_each_other_is_found() {
        let none: [Vec<usize>; 0] = [];
        assert_eq!(find_cycles(&[vec![], vec![0], vec![0, 1]]), none);
        assert_eq!(find_cycles(&[vec![], vec![1]]), [vec![1]]);
        assert_eq!(
            find_cycles(&[vec![], vec![3, 0], vec![1], vec![2], vec![5], vec![4]]),
            [vec![1, 2, 3], vec![4, 5]]
        );
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let chain: Vec<Vec<usize>> =
            (0..10_000_usize).map(|at| at.checked_sub(1).into_iter().collect()).collect();
        assert!(find_cycles(&chain).is_empty());
    }
}
