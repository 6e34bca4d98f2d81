"""How tokens are chosen: compared with a slow plain search that runs all tokens again for each new one, without a cache."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession

from models.fitting import Fitting
from models.manifest import GraphTable, ModelManifest
from models.pipelines import Array, PredictionInvalid
from models.pipelines.decoder_graphs import DecoderOfStates, LoneDecoder, decoder_graphs
from models.pipelines.decoding import Choice, Decoder, Writing, Written, write
from models.pipelines.text_generation import TextGeneration
from models.signature import signature_of
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.example_decoders import END, LAYOUTS, WORDS, plain_scores

TOKENS = st.integers(0, WORDS - 1)
PROMPTS = st.integers(1, 6).flatmap(
    lambda length: st.lists(st.lists(TOKENS, min_size=length, max_size=length), min_size=1, max_size=5)
)
CHOICES = st.builds(
    Choice,
    max_new_tokens=st.integers(1, 8),
    ends=st.just((END,)),
    beams=st.integers(1, 4),
    no_repeat=st.sampled_from([0, 0, 2, 3]),
)
SAMPLES = st.builds(
    Choice,
    max_new_tokens=st.integers(1, 8),
    ends=st.just((END,)),
    temperature=st.floats(0.1, 2.0),
    top_p=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**32 - 1),
)


@cache
def parts(layout: str) -> tuple[Any, Any, frozenset[str]]:
    """The run, parameters and names of graphs of a layout."""
    graphs, said = LAYOUTS[layout]
    table = manifest_table("text-generation", **said)
    if "model" not in graphs:
        table["graphs"] = {name: {"file": f"{name}.onnx"} for name in graphs}
    made = TextGeneration.load(ModelManifest.model_validate(table), lambda path: path.encode())
    specs = decoder_graphs(frozenset(graphs), made.parameters)
    sessions = {name: InferenceSession(graph.SerializeToString()) for name, graph in graphs.items()}
    fittings = {
        name: Fitting(GraphTable.model_validate({}), specs[name], signature_of(session))
        for name, session in sessions.items()
    }

    def run(feeds: Mapping[str, Array], graph: str = "model") -> dict[str, Array]:
        session = sessions[graph]
        names = [each.name for each in session.get_outputs()]
        return fittings[graph].run(
            lambda fed: dict(zip(names, session.run(names, dict(fed)), strict=True)), feeds
        )

    return run, made.parameters, frozenset(graphs)


def decoder(layout: str, prompts: Sequence[Sequence[int]]) -> Decoder:
    run, parameters, names = parts(layout)
    ids = np.array(prompts, np.int64)
    if "encoder" in names:
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return DecoderOfStates(run, parameters, names, feeds)
    return LoneDecoder(run, parameters, ids)


def logs_after(layout: str, prompt: Sequence[int], tokens: Sequence[int]) -> Array:
    """The logarithms [V] of the probabilities of what follows, by plain numpy."""
    return _logs_after(layout, tuple(prompt), tuple(tokens))


@lru_cache(maxsize=1000)
def _logs_after(layout: str, prompt: tuple[int, ...], tokens: tuple[int, ...]) -> Array:
    start = LAYOUTS[layout][1].get("start")
    begins = start if isinstance(start, list) else [start]
    scores = plain_scores(
        [*prompt, *tokens] if start is None else [*begins, *tokens], None if start is None else prompt
    )
    shifted = scores - scores.max()
    logs: Array = shifted - np.log(np.exp(shifted).sum())
    return logs


def allowed(tokens: Sequence[int], token: int, length: int) -> bool:
    """Whether `token` makes no run of `length` tokens that stands there already."""
    grown = [*tokens, token]
    runs = [tuple(grown[at : at + length]) for at in range(len(grown) - length + 1)]
    return not length or len(set(runs)) == len(runs)


def plain_search(layout: str, prompt: Sequence[int], choice: Choice) -> Written:
    """Beam search, written as plainly as can be."""
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[Written] = []
    while live:
        every = [
            (total + float(logs_after(layout, prompt, tokens)[token]), place, token, tokens)
            for place, (total, tokens) in enumerate(live)
            for token in range(WORDS)
            if allowed(tokens, token, choice.no_repeat)
        ]
        every.sort(key=lambda each: (-each[0], each[1], each[2]))
        live = []
        for rank, (total, _, token, tokens) in enumerate(every):
            grown, first = [*tokens, token], rank < choice.beams
            if token in choice.ends:
                ended += [Written(tuple(tokens), total, "end")] if first else []
            elif len(grown) == choice.max_new_tokens:
                ended += [Written(tuple(grown), total, "length")] if first else []
            elif len(live) < choice.beams:
                live.append((total, grown))
        ended = sorted(ended, key=mean, reverse=True)[: choice.beams]
        if len(ended) == choice.beams and live and live[0][0] / len(live[0][1]) <= mean(ended[-1]):
            break
        if choice.beams == 1 and ended:
            break
    return ended[0]


def mean(written: Written) -> float:
    """The mean logarithm of a token's probability, that of the ending one included."""
    return written.log_probability / (len(written.tokens) + (written.finish == "end"))


def same(found: Written, wanted: Written) -> bool:
    return found[0] == wanted[0] and found[2] == wanted[2] and found[1] == pytest.approx(wanted[1], abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25)
@given(prompts=PROMPTS, choices=st.lists(CHOICES, min_size=5, max_size=5))
def test_an_answer_is_that_of_a_plain_search_without_a_cache(
    layout: str, prompts: list[list[int]], choices: list[Choice]
) -> None:
    found = write(decoder(layout, prompts), choices[: len(prompts)])
    wanted = [plain_search(layout, *each) for each in zip(prompts, choices, strict=False)]
    assert all(map(same, found, wanted))


JOINING = st.lists(
    st.tuples(st.lists(TOKENS, min_size=1, max_size=6), CHOICES, st.integers(0, 4)), min_size=1, max_size=6
)


@pytest.mark.parametrize(
    "layout", ["alone, left padding", "alone, without a cache", "behind an encoder, left padding"]
)
@settings(max_examples=25)
@given(joining=JOINING)
def test_an_answer_that_joins_others_between_two_tokens_is_that_of_a_plain_search(
    layout: str, joining: list[tuple[list[int], Choice, int]]
) -> None:
    writing, found = Writing(), dict[int, Written]()
    for number, (prompt, choice, steps) in enumerate(joining):
        for _ in range(steps if writing.numbers else 0):
            found |= writing.step()
        writing.join(decoder(layout, [prompt]), {number: choice})
    settled = [writing.settled()]
    while writing.numbers:
        found |= writing.step()
        settled.append(writing.settled())
    for number, tokens in (each for step in settled for each in step.items()):
        assert found[number].tokens[: len(tokens)] == tokens
    wanted = [plain_search(layout, prompt, choice) for prompt, choice, _ in joining]
    assert all(same(found[number], each) for number, each in enumerate(wanted))


def test_an_answer_that_is_given_up_leaves_the_others_as_they_were() -> None:
    choices = [Choice(9, (END,), beams=beams) for beams in (2, 3, 1)]
    prompts = [[4, 5], [6, 4], [9, 5]]
    wanted = write(decoder("alone", prompts), choices)
    writing, found = Writing(), dict[int, Written]()
    writing.join(decoder("alone", prompts), dict(enumerate(choices)))
    for step in range(9):
        found |= writing.step({1} if step > 1 else ())
    assert sorted(found) == [0, 2]
    assert all(same(found[number], wanted[number]) for number in found)


@pytest.mark.parametrize("layout", ["alone", "behind an encoder, merged"])
@settings(max_examples=25)
@given(prompts=PROMPTS, choices=st.lists(SAMPLES, min_size=5, max_size=5))
def test_a_sample_is_drawn_from_the_nucleus_by_its_seed_alone(
    layout: str, prompts: list[list[int]], choices: list[Choice]
) -> None:
    together = write(decoder(layout, prompts), choices[: len(prompts)])
    for prompt, choice, found in zip(prompts, choices, together, strict=False):
        assert same(found, write(decoder(layout, [prompt]), [choice])[0])
        for place, token in enumerate(found.tokens):
            heated = logs_after(layout, prompt, found.tokens[:place]) / choice.temperature
            shares = np.exp(heated) / np.exp(heated).sum()
            assert shares[shares > shares[token]].sum() < choice.top_p + 1e-6


def test_samples_are_as_frequent_as_their_probability() -> None:
    choices = [Choice(1, (END,), temperature=0.7, seed=seed) for seed in range(2000)]
    found = write(decoder("alone", [[4, 5]] * 2000), choices)
    drawn = np.bincount([each.tokens[0] if each.tokens else END for each in found], minlength=WORDS) / 2000
    heated = np.exp(logs_after("alone", [4, 5], []) / 0.7)
    np.testing.assert_allclose(drawn, heated / heated.sum(), atol=0.04)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_beams_of_four_at_eight_rows_are_those_of_single_runs(layout: str) -> None:
    prompts = np.random.default_rng(8).integers(0, WORDS, (8, 5)).tolist()
    choice = Choice(max_new_tokens=10, ends=(END,), beams=4)
    together = write(decoder(layout, prompts), [choice] * 8)
    assert all(
        same(found, write(decoder(layout, [prompt]), [choice])[0])
        for found, prompt in zip(together, prompts, strict=True)
    )
    assert len({each.tokens for each in together}) > 4


class Counting:
    """A decoder that likes token 1 best and then 0; it notes how many sequences run."""

    def __init__(self, rows: int) -> None:
        self.rows = [rows]

    def begin(self) -> Array:
        return np.tile([1.0, 2.0, 0.5], (self.rows[0], 1))

    def go_on(self, parents: Sequence[int], tokens: Sequence[int]) -> Array:
        assert len(parents) == len(tokens)
        self.rows.append(len(parents))
        return np.tile([1.0, 2.0, 0.5], (len(parents), 1))


def test_what_has_ended_leaves_the_run() -> None:
    made = Counting(3)
    found = write(made, [Choice(length, (2,)) for length in (1, 2, 4)])
    assert [len(each.tokens) for each in found] == [1, 2, 4]
    assert made.rows == [3, 2, 1, 1]


def test_a_stop_word_ends_an_answer() -> None:
    choice = Choice(9, (2,), stops=lambda tokens: list(tokens[-2:]) == [1, 1])
    assert write(Counting(1), [choice])[0][::2] == ((1, 1), "stop")


def test_no_run_of_tokens_is_written_twice() -> None:
    [found] = write(Counting(1), [Choice(6, (2,), no_repeat=2)])
    pairs = list(zip(found.tokens, found.tokens[1:], strict=False))
    assert len(set(pairs)) == len(pairs)
    assert found.tokens[:3] == (1, 1, 0)


def test_of_equal_scores_the_first_token_is_chosen() -> None:
    class Level(Counting):
        def begin(self) -> Array:
            return np.zeros((self.rows[0], 3))

    assert write(Level(1), [Choice(1, (2,))])[0].tokens == (0,)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_name_their_row(wrong: float) -> None:
    class Spoilt(Counting):
        def begin(self) -> Array:
            scores = super().begin()
            scores[1, 0] = wrong
            return scores

    with pytest.raises(PredictionInvalid) as invalid:
        write(Spoilt(3), [Choice(2, (2,))] * 3)
    assert invalid.value.rows == (1,)


def test_a_decoder_that_loses_rows_is_no_answer() -> None:
    with pytest.raises(PredictionInvalid, match="1 rows for 2"):
        write(Counting(1), [Choice(2, (2,))] * 2)
