//! Whether version 2 of a hybrid agrees with pieces that were verified by version 1 alone, since
//! their piece layer was not known (BEP 52).
//!
//! Their roots are found along with their SHA-1. They are held against the piece layer when it
//! comes from a peer; or against the file's own root when all of the file is there, which proves
//! the layer without any peer. Pieces of an earlier run of the process are hashed again for that,
//! while the torrent goes on. A saved state says whether all that is done; if not, and the layers
//! are known when it is read, what it claims is checked first.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{
        bitfield::Bitfield,
        distrust::Distrust,
        geometry::PieceIndex,
        hash::Judgement,
        job::Job,
        merkle::Node,
        storage::{StoreError, Trust},
        trees::{FileTree, Trees},
    },
    torrent::{
        Torrent,
        computation::Computation,
        cx::Cx,
        layer_proof::LayerProof,
        swarm::{Note, Swarm},
    },
};

/// Pieces that are hashed again at a time: less than a check, which has the torrent to itself.
const MAX_OUT: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct FoundRoots {
    /// By piece, until the layer is known.
    found: BTreeMap<u32, Node>,
    /// Pieces that are to be hashed again, and those that workers have.
    again: BTreeSet<u32>,
    out: BTreeSet<u32>,
    /// The layers are to be kept as soon as nothing is left to be hashed again.
    keeping: bool,
    /// Something of what is had could not be hashed again, or is not what version 2 says.
    doubted: bool,
    /// The user was told of a contradiction.
    told: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Again<T> {
    /// A piece is hashed again, by means of this.
    Hash(T),
    /// Nothing is left to be hashed: the layers are kept.
    Keep,
}

impl FoundRoots {
    /// The torrent is opened: nothing is known of its pieces.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All layers are known. Returns whether they may be kept: else a start after this one would
    /// take pieces for verified that were not held against them.
    pub(super) fn may_keep(&mut self) -> bool {
        self.keeping = !self.is_idle();
        !self.keeping
    }

    /// Whether something that is had is still to be held against a layer that is known, or does
    /// not fit it.
    pub(super) fn has_unproven(&self) -> bool {
        self.doubted || !self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.again.is_empty() && self.out.is_empty()
    }

    /// Whether pieces of a file are still to be hashed again.
    fn awaits(&self, tree: &FileTree) -> bool {
        let pieces = tree.first..tree.first.saturating_add(tree.pieces);
        [&self.again, &self.out].iter().any(|set| set.range(pieces.clone()).next().is_some())
    }

    /// A piece is to be hashed again, unless it is being.
    fn add_again(&mut self, piece: u32) {
        if !self.out.contains(&piece) {
            self.again.insert(piece);
        }
    }

    /// Whether the layers are to be kept now.
    fn poll_keep(&mut self) -> bool {
        self.is_idle() && std::mem::take(&mut self.keeping)
    }

    /// What is to be done next. `find` gives what it takes to hash a piece again; `None`: the piece
    /// is not had any more, and need not be.
    fn poll_again<T>(&mut self, find: impl Fn(u32) -> Option<T>) -> Option<Again<T>> {
        while self.out.len() < MAX_OUT
            && let Some(piece) = self.again.pop_first()
        {
            if let Some(found) = find(piece) {
                self.out.insert(piece);
                return Some(Again::Hash(found));
            }
        }
        // Nothing may be left without any answer of a worker.
        self.poll_keep().then_some(Again::Keep)
    }

    /// The roots of the pieces of `tree` that were found.
    fn of(&self, tree: &FileTree) -> impl Iterator<Item = (u32, Node)> + '_ {
        let pieces = tree.first..tree.first.saturating_add(tree.pieces);
        self.found.range(pieces).map(|(&piece, &node)| (piece, node))
    }

    fn forget(&mut self, tree: &FileTree) {
        let after = self.found.split_off(&tree.first);
        let after = after.into_iter().filter(|&(piece, _)| piece >= tree.first + tree.pieces);
        self.found.extend(after);
    }
}

impl Torrent {
    /// A piece that is good by version 1 has this root.
    pub(super) fn handle_root(&mut self, piece: PieceIndex, root: Node, cx: &mut Cx) {
        let Some(trees) = self.swarm.hashes().trees() else { return };
        let Some(tree) = trees.of_piece(piece).copied() else { return };
        match trees.piece(piece) {
            // It has come while the piece was hashed.
            Some(known) if known != root => self.doubt_all(cx),
            Some(_) => {}
            None => {
                self.content.tree_hashes_mut().roots.found.insert(piece.get(), root);
                if !self.lifecycle.is_checking() {
                    self.prove_if_whole(&tree, cx);
                }
            }
        }
    }

    /// A check is over: files that it found whole are proven.
    pub(super) fn prove_whole_files(&mut self, cx: &mut Cx) {
        let Some(trees) = self.swarm.hashes().trees().filter(|trees| !trees.is_complete()) else {
            return;
        };
        let unknown = |tree: &&FileTree| tree.has_layer() && trees.layer(tree).is_none();
        let files: Vec<_> = trees.files().iter().filter(unknown).copied().collect();
        files.iter().for_each(|tree| self.prove_if_whole(tree, cx));
    }

    /// If a file is whole, and something of it was verified since the torrent was opened, its
    /// pieces are held against its root. What only a saved state vouches for is not hashed at
    /// every start.
    fn prove_if_whole(&mut self, tree: &FileTree, cx: &mut Cx) {
        // The last of those has the rest of this done, once and not once a piece.
        if self.content.tree_hashes_mut().roots.awaits(tree) {
            return;
        }
        let (geometry, have) = (self.swarm.geometry(), self.swarm.have());
        let pieces = tree.first..tree.first.saturating_add(tree.pieces);
        // Backwards: what is fetched in order lacks its end.
        let mut lacks = pieces.clone().rev().filter_map(|piece| geometry.piece(piece).ok());
        if lacks.any(|piece| !have.has(piece)) {
            return;
        }
        let Some(trees) = self.swarm.hashes().trees() else { return };
        let roots = &mut self.content.tree_hashes_mut().roots;
        let layer: Vec<_> = roots.of(tree).map(|(_, node)| node).collect();
        if layer.len() == tree.pieces as usize {
            let proof = LayerProof::new(*tree, trees.piece_height(), layer);
            cx.job(Computation::Layer(proof).job(self.identity.key()));
        } else if !layer.is_empty() {
            roots.again.extend(pieces.filter(|piece| !roots.found.contains_key(piece)));
        }
    }

    /// A worker has held the pieces of a file against its root.
    pub(crate) fn handle_layer_proof(&mut self, proof: LayerProof, cx: &mut Cx) {
        if !self.lifecycle.is_open() || self.lifecycle.is_pending() {
            return;
        }
        let (tree, layer) = proof.into_layer();
        match layer {
            Some(layer) => self.take_layer(&tree.root, 0, &layer, cx),
            None => {
                // Which piece it is nothing tells.
                self.content.tree_hashes_mut().roots.forget(&tree);
                if let Ok(piece) = self.swarm.geometry().piece(tree.first) {
                    self.swarm.note(Note::Contradiction(piece));
                }
            }
        }
        self.settle(cx);
    }

    /// A part of a piece layer is proven: what was found before must be the same, and what is there
    /// without having been found is hashed again.
    pub(super) fn agree_with_layer(&mut self, root: &Node, index: u32, nodes: &[Node]) -> bool {
        let Some(trees) = self.swarm.hashes().trees() else { return true };
        let (geometry, swarm) = (self.swarm.geometry(), &self.swarm);
        let roots = &mut self.content.tree_hashes_mut().roots;
        let mut agrees = true;
        for tree in trees.of_root(root) {
            let own = (index..tree.pieces).zip(nodes);
            let own =
                own.filter_map(|(nth, node)| Some((geometry.piece(tree.first + nth).ok()?, node)));
            // Of version 2 alone everything was verified by it.
            let by_v1 = |piece| swarm.expected(piece).is_some_and(|hash| hash.sha1().is_some());
            for (piece, node) in own {
                match roots.found.remove(&piece.get()) {
                    Some(found) => agrees &= found == *node,
                    None if trees.piece(piece).is_some() => {}
                    None if swarm.have().has(piece) && by_v1(piece) => {
                        roots.add_again(piece.get());
                    }
                    None => {}
                }
            }
        }
        agrees
    }

    /// Whether both versions of a hybrid have verified all that is had. As long as a piece layer is
    /// not known version 1 may have been alone.
    pub(super) fn is_by_both_versions(&self) -> bool {
        let knows_all = self.swarm.hashes().trees().is_some_and(Trees::is_complete);
        self.is_hybrid() && knows_all && !self.content.has_unproven()
    }

    fn is_hybrid(&self) -> bool {
        let hashes = self.identity.hashes();
        hashes.v1().is_some() && hashes.v2().is_some()
    }

    /// The torrent is opened, and the saved state does not say that both versions have verified
    /// what it claims: as far as version 2 is known now, that is checked. Returns why, if there is
    /// any.
    pub(super) fn doubt_one_version(
        &self,
        have: &mut Bitfield,
        check: &mut Bitfield,
    ) -> Option<Distrust> {
        let is_trusted = self.lifecycle.trust() == Trust::Files;
        let trees = self.swarm.hashes().trees().filter(|_| self.is_hybrid() && !is_trusted)?;
        // A file of one piece has no layer, so its hash was known before. Before all layers are
        // known such files are not hashed at each start.
        let was_unknown = |piece: PieceIndex| {
            trees.is_complete() || trees.of_piece(piece).is_some_and(FileTree::has_layer)
        };
        let mut pieces = 0;
        for piece in self.swarm.geometry().pieces() {
            if have.has(piece) && trees.piece(piece).is_some() && was_unknown(piece) {
                have.unset(piece);
                check.set(piece);
                pieces += 1;
            }
        }
        (pieces > 0).then_some(Distrust::OneVersion { pieces })
    }

    /// Version 2 says of something that is there that it should be different: everything is checked
    /// by both, and what they contradict each other in is told.
    pub(super) fn doubt_all(&mut self, cx: &mut Cx) {
        self.content.tree_hashes_mut().roots.doubted = true;
        if self.lifecycle.end().is_some() {
            return;
        }
        log::error!("the versions of {} may contradict each other", self.content.name());
        // What is known of layers is, after the check, too.
        if let Some(trees) = self.swarm.hashes().trees().cloned() {
            self.content.set_trees(trees);
        }
        self.distrust_all(cx);
    }

    /// Hashes again what waits for it; called at the end of every input.
    pub(super) fn verify_again(&mut self, cx: &mut Cx) {
        if !self.lifecycle.is_open() || self.lifecycle.is_pending() || self.swarm.is_quiet() {
            return;
        }
        let find = |swarm: &Swarm, nth| {
            let piece =
                swarm.geometry().piece(nth).ok().filter(|&piece| swarm.have().has(piece))?;
            Some((piece, swarm.expected(piece)?))
        };
        while let Some(hashes) = self.content.tree_hashes()
            && let Some(again) = hashes.roots.poll_again(|nth| find(&self.swarm, nth))
        {
            match again {
                Again::Hash((piece, expected)) => {
                    self.swarm.begin_job();
                    let len = self.swarm.geometry().piece_len(piece);
                    cx.job(Job::Check { torrent: self.identity.key(), piece, expected, len });
                }
                Again::Keep => self.keep_layers(cx),
            }
        }
    }

    /// A piece was hashed again.
    pub(super) fn handle_verified_again(
        &mut self,
        piece: PieceIndex,
        result: Result<Judgement, StoreError>,
        root: Option<Node>,
        cx: &mut Cx,
    ) {
        let roots = &mut self.content.tree_hashes_mut().roots;
        roots.out.remove(&piece.get());
        match result {
            Ok(Judgement::Good) => {
                if let Some(root) = root {
                    self.handle_root(piece, root, cx);
                }
            }
            Ok(Judgement::Bad | Judgement::Contradiction) => return self.doubt_all(cx),
            Err(error) => {
                // It says nothing of the piece: the layers are not kept, so that the next start
                // asks for them, and looks again.
                log::warn!("piece {} was not held against its layer: {error}", piece.get());
                (roots.keeping, roots.doubted) = (false, true);
                if error.is_changed() {
                    self.files_changed(&error, cx);
                }
            }
        }
        if self.content.tree_hashes_mut().roots.poll_keep() {
            self.keep_layers(cx);
        }
    }

    /// A check found a piece in which the versions contradict each other. The first is told of.
    pub(super) fn note_contradiction(&mut self, piece: PieceIndex) {
        let roots = &mut self.content.tree_hashes_mut().roots;
        if !std::mem::replace(&mut roots.told, true) {
            self.swarm.note(Note::Contradiction(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_kept_though_the_last_pieces_are_gone() {
        let mut roots = FoundRoots::default();
        roots.again.extend([1, 2, 5, 7]);
        assert!(!roots.may_keep());
        let even = |piece| (piece % 2 == 0).then_some(piece);
        assert_eq!(roots.poll_again(even), Some(Again::Hash(2)));
        // A worker has one, and the others are gone.
        assert_eq!(roots.poll_again(even), None);
        roots.out.clear();
        assert_eq!((roots.poll_again(even), roots.poll_again(even)), (Some(Again::Keep), None));
        // Nothing is left without any worker.
        roots.again.insert(3);
        assert!(!roots.may_keep());
        assert_eq!((roots.poll_again(even), roots.poll_again(even)), (Some(Again::Keep), None));
    }
}
