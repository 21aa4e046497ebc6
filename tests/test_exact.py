"""The exact top-k, against a plain sort of float64 scores: any screen, any filter, any number of ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.errors import SettingsError
from recgan.recommenders.topk import exact
from recgan.recommenders.topk import screen as screening
from recgan.recommenders.topk.exact import best_blocks, best_items
from recgan.recommenders.topk.small import SmallScreen

SCREENS = ("int8", "float32")


def plain(vectors, factors, k, allowed, seen=None):
    """The answer by its definition: float64 scores rounded to float32, sorted, of equal ones the earlier item first."""
    rows = np.full((len(vectors), k), -1)
    for user, vector in enumerate(vectors.astype(np.float64)):
        scores = np.einsum("d,id->i", vector, factors.astype(np.float64)).astype(np.float32)
        open_items = allowed.copy()
        if seen is not None:
            open_items[seen[user]] = False
        items = np.flatnonzero(open_items)
        best = items[np.argsort(-scores[items], kind="stable")][:k]
        rows[user, : len(best)] = best
    return rows


def found(*arguments, **options):
    blocks = list(best_blocks(*arguments, **options))
    starts = np.cumsum([0, *(len(block.rows) for block in blocks)])
    assert [block.start for block in blocks] == starts[:-1].tolist()
    return np.concatenate([block.rows for block in blocks]), np.concatenate([block.scores for block in blocks])


@pytest.fixture
def crowd(monkeypatch):
    """How many users were scored in full because the screen left too much."""
    counted = []
    whole = exact._scored_in_full

    def counting(vectors, *rest):
        counted.append(len(vectors))
        return whole(vectors, *rest)

    monkeypatch.setattr(exact, "_scored_in_full", counting)
    return counted


def world(kind, users=300, items=5000, dim=24, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(users, dim)).astype(np.float32)
    factors = rng.normal(size=(items, dim)).astype(np.float32)
    if kind == "twins":  # every item is there eight times: ties right at the k-th place
        factors = factors[rng.integers(0, items // 8, items)]
    elif kind == "popular":  # a bias that outweighs all the rest, and few items that are far above
        vectors[:, 0] = 1
        factors[:, 0] = 30 * rng.pareto(1.5, items)
        factors[:, 1:] *= 0.1
    elif kind == "sizes":  # users and items of very different lengths, zeros among them
        vectors *= np.exp(rng.normal(0, 4, (users, 1))).astype(np.float32)
        factors *= np.exp(rng.normal(0, 2, (items, 1))).astype(np.float32)
        vectors[7], factors[11] = 0, 0
    elif kind == "sorted":  # a catalogue by category: what is good for a user lies side by side
        factors = factors[np.argsort(factors[:, 0])] + 3 * np.sort(factors[:, :1], axis=0)
    elif kind == "close":  # hardly distinguishable: scores that float32 sums cannot order
        factors = (factors[:1] + 1e-6 * factors).astype(np.float32)
    return vectors, factors


class TestExact:
    @pytest.mark.parametrize("screen", SCREENS)
    @pytest.mark.parametrize("kind", ["plain", "twins", "popular", "sizes", "sorted", "close"])
    def test_the_list_is_the_plain_sort_whatever_the_screen(self, kind, screen):
        vectors, factors = world(kind)
        rng = np.random.default_rng(1)
        allowed = rng.random(len(factors)) < 0.9
        best = plain(vectors, factors, 10, allowed)
        # Most of what a user would be shown is known to him.
        seen = [
            np.unique(np.concatenate([row[rng.random(10) < 0.7], rng.integers(0, len(factors), 20)])) for row in best
        ]
        rows, scores = found(vectors, factors, 10, allowed=allowed, seen=seen, screen=screen)
        np.testing.assert_array_equal(rows, plain(vectors, factors, 10, allowed, seen))
        exact_scores = np.einsum("ud,ukd->uk", vectors.astype(np.float64), factors[rows].astype(np.float64))
        np.testing.assert_array_equal(scores, exact_scores.astype(np.float32))

    @pytest.mark.parametrize("screen", SCREENS)
    @pytest.mark.parametrize("users", [40, 257])
    @pytest.mark.parametrize("dim", [1, 2])
    def test_one_factor_as_popularity_has_and_a_block_of_one_user(self, screen, users, dim):
        rng = np.random.default_rng(0)
        vectors, factors = rng.normal(size=(users, dim)).astype(np.float32), rng.normal(size=(4000, dim))
        allowed = np.ones(4000, dtype=bool)
        rows, _ = found(vectors, factors.astype(np.float32), 3, allowed=allowed, screen=screen)
        np.testing.assert_array_equal(rows, plain(vectors, factors.astype(np.float32), 3, allowed))

    @settings(max_examples=25, deadline=None)
    @given(
        items=st.integers(700, 3000),
        dim=st.integers(1, 9),
        k=st.integers(1, 6),
        share=st.floats(0.3, 1),
        whole=st.booleans(),
        seed=st.integers(0, 99),
    )
    def test_any_shape(self, items, dim, k, share, whole, seed):
        rng = np.random.default_rng(seed)
        vectors, factors = (rng.normal(size=(n, dim)).astype(np.float32) for n in (40, items))
        if whole:  # small whole numbers: ties everywhere
            vectors, factors = np.round(vectors), np.round(factors)
        allowed = rng.random(items) < share
        seen = [np.flatnonzero(rng.random(items) < rng.choice([0, 0.01, 0.9])) for _ in vectors]
        expected = plain(vectors, factors, k, allowed, seen)
        for screen in SCREENS:
            rows, _ = found(vectors, factors, k, allowed=allowed, seen=seen, screen=screen)
            np.testing.assert_array_equal(rows, expected)

    @pytest.mark.parametrize("screen", SCREENS)
    def test_the_screen_bounds_the_scores(self, screen):
        for kind in ("plain", "popular", "sizes", "close"):
            vectors, factors = world(kind, users=40)
            packed = screening.Packed(factors, np.arange(len(factors)), vectors, screen)
            bounds = packed.bounds(packed.balanced(vectors))
            true = vectors.astype(np.float64) @ factors.astype(np.float64).T
            largest = true[:, packed.rows].reshape(len(vectors), packed.chunks, -1).max(axis=2).T
            unit = bounds.unit.numpy().astype(np.float64)
            lower = bounds.lower[: packed.chunks].numpy() * unit
            width = 2 * np.repeat(bounds.error.numpy(), screening._TILE_CHUNKS, axis=0)[: packed.chunks] * unit
            assert (lower <= largest).all()
            assert (largest <= lower + width).all()

    def test_few_chunks_are_left_to_be_scored(self, monkeypatch):
        """What makes it fast: the screen turns away nearly everything."""
        vectors, factors = world("plain", items=40_000)
        looked = []
        reaching = screening.Packed._reaching

        def counting(packed, users, known, mask, k):
            looked.append(mask.mean())
            return reaching(packed, users, known, mask, k)

        monkeypatch.setattr(screening.Packed, "_reaching", counting)
        for screen in SCREENS:
            list(best_blocks(vectors, factors, 5, allowed=np.ones(40_000, dtype=bool), screen=screen))
        assert max(looked) < 0.03

    def test_users_whose_items_all_tie_are_scored_in_full(self, crowd):
        vectors, factors = world("plain", users=64)
        vectors[:, 0] = 0
        vectors[5] = 0  # all items are alike to this user
        rows, _ = found(vectors, factors, 7, allowed=np.ones(5000, dtype=bool))
        np.testing.assert_array_equal(rows[5], np.arange(7))
        np.testing.assert_array_equal(rows, plain(vectors, factors, 7, np.ones(5000, dtype=bool)))
        assert crowd == [1]

    def test_a_user_who_has_seen_nearly_everything_gets_what_is_left(self):
        vectors, factors = world("plain", users=64)
        seen = [np.arange(4) for _ in vectors]
        seen[3] = np.delete(np.arange(5000), [17, 4000])
        seen[4] = np.arange(5000)
        rows, scores = found(vectors, factors, 5, allowed=np.ones(5000, dtype=bool), seen=seen)
        assert sorted(rows[3, :2]) == [17, 4000]
        assert rows[3, 2:].tolist() == [-1] * 3
        assert rows[4].tolist() == [-1] * 5
        assert np.isneginf(scores[4]).all()
        items = list(best_items(vectors, factors, 5, allowed=np.ones(5000, dtype=bool), seen=seen))
        assert [len(rows) for rows, _ in items] == [5, 5, 5, 2, 0] + [5] * 59

    def test_one_user_gets_the_list_that_he_gets_among_all(self):
        vectors, factors = world("close")
        together, scores = found(vectors, factors, 9, allowed=np.ones(5000, dtype=bool))
        for user in (0, 123, 299):
            rows, alone = found(vectors[user : user + 1], factors, 9, allowed=np.ones(5000, dtype=bool))
            np.testing.assert_array_equal(rows[0], together[user])
            np.testing.assert_array_equal(alone[0], scores[user])

    def test_pieces_and_threads_change_nothing(self, monkeypatch):
        vectors, factors = world("popular", users=700)
        allowed = np.ones(5000, dtype=bool)
        whole = found(vectors, factors, 10, allowed=allowed, threads=1)
        for module, sizes in (
            (exact, {"_PAIRS": 50, "_BLOCK_USERS": 90, "_DENSE_VALUES": 10_000}),
            (screening, {"_PIECE": 7, "_SLICE": 50}),
        ):
            for name, value in sizes.items():
                monkeypatch.setattr(module, name, value)
        parts = found(vectors, factors, 10, allowed=allowed, threads=3)
        np.testing.assert_array_equal(parts[0], whole[0])
        np.testing.assert_array_equal(parts[1], whole[1])

    def test_an_answer_that_is_not_taken_to_its_end_leaves_the_threads_as_they_were(self):
        vectors, factors = world("plain", users=2000)
        torch.set_num_threads(2)
        try:
            blocks = best_blocks(vectors, factors, 3, allowed=np.ones(5000, dtype=bool))
            assert next(blocks).start == 0
            blocks.close()
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(1)

    def test_nothing_allowed_and_senseless_k(self):
        vectors, factors = world("plain", users=50)
        rows, _ = found(vectors, factors, 3, allowed=np.zeros(5000, dtype=bool))
        assert rows.shape == (50, 0)
        rows, _ = found(vectors, factors, 10**15, allowed=np.arange(5000) < 4)
        np.testing.assert_array_equal(rows, plain(vectors, factors, 4, np.arange(5000) < 4))
        with pytest.raises(SettingsError, match="k=0"):
            next(best_blocks(vectors, factors, 0, allowed=np.ones(5000, dtype=bool)))


class TestSmallRequests:
    @pytest.mark.parametrize("users", [1, 5])
    @pytest.mark.parametrize("kind", ["plain", "twins", "popular", "sizes", "sorted", "close"])
    def test_the_list_is_the_plain_sort_and_little_is_scored(self, kind, users, crowd, monkeypatch):
        vectors, factors = world(kind)
        rng = np.random.default_rng(1)
        small = SmallScreen(factors, vectors)
        allowed = rng.random(len(factors)) < 0.6
        vectors = vectors[:users]
        best = plain(vectors, factors, 20, allowed)
        seen = [np.unique(np.concatenate([row[:12], rng.integers(0, len(factors), 20)])) for row in best]
        scored = []
        settled = exact._settled
        monkeypatch.setattr(exact, "_settled", lambda users, *rest: scored.append(len(users)) or settled(users, *rest))
        rows, scores = found(vectors, factors, 20, allowed=allowed, seen=seen, small=small)
        np.testing.assert_array_equal(rows, plain(vectors, factors, 20, allowed, seen))
        exact_scores = np.einsum("ud,ukd->uk", vectors.astype(np.float64), factors[rows].astype(np.float64))
        np.testing.assert_array_equal(scores, exact_scores.astype(np.float32))
        assert not crowd  # nobody is scored in full
        if kind in ("plain", "sorted", "sizes"):
            assert sum(scored) < 0.1 * users * len(factors)

    @settings(max_examples=40, deadline=None)
    @given(
        items=st.integers(1, 900),
        dim=st.integers(1, 9),
        k=st.integers(1, 30),
        share=st.floats(0, 1),
        whole=st.booleans(),
        seed=st.integers(0, 99),
    )
    def test_any_catalogue_filter_and_k(self, items, dim, k, share, whole, seed):
        rng = np.random.default_rng(seed)
        vectors, factors = rng.normal(size=(3, dim)), rng.normal(size=(items, dim))
        if whole:  # many ties, and exact zeros
            vectors, factors = np.round(vectors), np.round(factors)
        vectors, factors = vectors.astype(np.float32), factors.astype(np.float32)
        allowed = rng.random(items) < share
        seen = [np.flatnonzero(rng.random(items) < 0.3) for _ in range(3)]
        rows, scores = found(
            vectors, factors, k, allowed=allowed, seen=seen, small=SmallScreen(factors, np.empty((0, dim), np.float32))
        )
        np.testing.assert_array_equal(rows, plain(vectors, factors, rows.shape[1], allowed, seen))
        assert rows.shape[1] == min(k, allowed.sum())
        assert (scores[rows < 0] == -np.inf).all()

    def test_more_users_than_are_scored_at_a_time(self, monkeypatch):
        vectors, factors = world("plain")
        monkeypatch.setattr(exact, "_DENSE_VALUES", 2 * len(factors))
        allowed = np.ones(len(factors), dtype=bool)
        rows, _ = found(vectors[:7], factors, 5, allowed=allowed, small=SmallScreen(factors, vectors))
        np.testing.assert_array_equal(rows, plain(vectors[:7], factors, 5, allowed))

    def test_the_coarse_scores_are_within_their_bounds_of_the_exact_ones(self):
        # All but the best would be lost unseen if a bound were too small: here each item is asked for as the only one.
        vectors, factors = world("popular", users=3, items=640)
        small = SmallScreen(factors, vectors)
        for user in range(3):
            order = np.argsort(-(factors.astype(np.float64) @ vectors[user].astype(np.float64)), kind="stable")
            for place in range(0, 600, 7):
                shut = np.zeros(len(factors), dtype=bool)
                shut[order[:place]] = True
                assert order[place] in small.candidates(vectors[user : user + 1], 1, shut, None)[0]

    @pytest.mark.parametrize("size", [1e-37, 10**-37.5, 1e-40, 1e-44, 1e37])
    def test_users_of_any_length(self, size):
        _, factors = world("plain", items=3000)
        factors[640:1280] = 0
        small = SmallScreen(factors, np.empty((0, 24), np.float32))
        vectors = (world("plain", users=3)[0] * size).astype(np.float32)
        rows, _ = found(vectors, factors, 5, allowed=np.ones(3000, dtype=bool), small=small)
        np.testing.assert_array_equal(rows, plain(vectors, factors, 5, np.ones(3000, dtype=bool)))

    @pytest.mark.parametrize("size", [1e-19, 1e-21, 1e-23, 1e-25])
    def test_scores_that_are_rounded_to_nothing_are_ties(self, size):
        vectors, factors = world("plain", users=4)
        vectors, factors = (vectors * size).astype(np.float32), (factors * size).astype(np.float32)
        allowed = np.ones(len(factors), dtype=bool)
        rows, _ = found(vectors, factors, 5, allowed=allowed, small=SmallScreen(factors, vectors))
        np.testing.assert_array_equal(rows, plain(vectors, factors, 5, allowed))

    def test_where_few_items_are_admitted_they_alone_are_scored(self, crowd):
        vectors, factors = world("plain", users=1)
        small = SmallScreen(factors, vectors)
        allowed = np.zeros(len(factors), dtype=bool)
        allowed[::20] = True
        rows, _ = found(vectors, factors, 5, allowed=allowed, small=small)
        np.testing.assert_array_equal(rows, plain(vectors, factors, 5, allowed))
        assert crowd == [1]
