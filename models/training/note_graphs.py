"""The graphs of a writer of notes: an encoder, which makes the plan of a note, and a decoder, which emits it token by token.

Their tensors have the names of Optimum's exports. The decoder's cache holds how far in the plan it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from models.training.encoders import padded
from models.training.export import OPSET, parity, save
from models.training.note_writing import Planner
from models.variants.eight_bits import with_int8_weights

LEAST = 1e-8  # of a probability whose logarithm is taken
NOTHING = -50.0  # the logarithm for what cannot follow


class PlanDecoder(nn.Module):
    """The decoder's graph: emits a plan. Of the ids [N,T] the last counts; the cache [N,1,P,1] holds places in the plan.

    What follows is the next of the plan, as surely as the plan says; otherwise the one behind it. Scores are logarithms of
    probabilities, [N,1,V].
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def forward(  # noqa: PLR0917 - as many as the graph has inputs
        self,
        ids: Tensor,
        plans: Tensor,
        mask: Tensor,
        own_mask: Tensor,
        places: Tensor,
        key: Tensor,
        value: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        planned, sure = plans[..., 0].round().to(torch.int64), plans[..., 1]
        most = mask.sum(1, keepdim=True) - 1
        token, begins = ids[:, -1:], places[:, -1:] == 0
        columns = torch.cumsum(torch.ones_like(key[0, 0, :, 0], dtype=torch.int64), 0) - 1
        before = key[:, 0, :, 0] * own_mask.index_select(1, columns)
        past = (
            torch.cat([torch.zeros_like(sure[:, :1]), before], 1)
            .amax(1, keepdim=True)
            .round()
            .to(torch.int64)
        )
        follows = token == planned.gather(1, torch.minimum(past, most))
        place = torch.where(begins, torch.zeros_like(past), torch.where(follows, past + 1, past + 2))
        place = torch.minimum(place, most)
        following = torch.minimum(place + 1, most)
        chance = sure.gather(1, place)
        scores = torch.zeros_like(sure[:, :1]).expand(-1, self.vocabulary)
        scores = scores.scatter_add(1, planned.gather(1, place), chance)
        scores = scores.scatter_add(1, planned.gather(1, following), 1 - chance)
        logs = torch.where(scores > 0, torch.log(scores.clamp(min=LEAST)), NOTHING)
        reached = (place + torch.zeros_like(ids)).to(key.dtype)[:, None, :, None]
        return logs[:, None, :], torch.cat([key, reached], 2), torch.cat([value, reached], 2)


def write_graphs(folder: Path, planner: Planner, dialogues: Sequence[Sequence[int]]) -> float:
    """Write encoder.onnx and decoder.onnx; the gap of their float32 forms to the model, on some dialogues."""
    planner.eval()
    ids, mask = padded(dialogues)
    free = {0: "rows", 1: "tokens"}
    gap = _written(
        folder / "encoder.onnx",
        planner,
        {"input_ids": ids, "attention_mask": mask},
        ["last_hidden_state"],
        [free, free],
    )
    with torch.no_grad():
        plans = planner(ids, mask)
    decoder_graph = PlanDecoder(planner.wording.vocabulary)
    rows = len(dialogues)
    key = torch.zeros(rows, 1, 3, 1)
    key[:, 0, 2, 0] = 1
    asked = plans[:, 1:2, 0].long()
    places = torch.full((rows, 1), 2)
    feeds = {
        "input_ids": asked, "encoder_hidden_states": plans, "encoder_attention_mask": mask,
        "decoder_attention_mask": torch.ones(rows, 4, dtype=torch.int64), "position_ids": places,
        "past_key_values.0.decoder.key": key, "past_key_values.0.decoder.value": key,
    }  # fmt: skip
    names = ["logits", "present.0.decoder.key", "present.0.decoder.value"]
    fresh, before = {0: "rows", 1: "fresh"}, {0: "rows", 2: "before"}
    dynamic = [fresh, free, free, {0: "rows", 1: "total"}, fresh, before, before]
    return max(gap, _written(folder / "decoder.onnx", decoder_graph, feeds, names, dynamic))


def traced(
    model: nn.Module,
    feeds: Mapping[str, Tensor],
    path: Path,
    names: Sequence[str],
    dynamic: Sequence[Mapping[int, str]],
) -> None:
    """Write a model as it runs on an example: the rules are thousands of small steps, whose shapes another way of exporting
    reasons about for minutes. Dimensions of one name are equal, which is not checked here."""
    out = BytesIO()
    torch.onnx.export(
        model.eval(), tuple(feeds.values()), out, input_names=list(feeds), output_names=list(names),
        dynamic_axes={name: dict(each) for name, each in zip(feeds, dynamic, strict=True)},
        dynamo=False, opset_version=OPSET, do_constant_folding=False,
    )  # fmt: skip
    save(onnx.load_from_string(out.getvalue()), path)


def _written(
    path: Path,
    model: nn.Module,
    feeds: Mapping[str, Tensor],
    names: Sequence[str],
    dynamic: Sequence[Mapping[int, str]],
) -> float:
    traced(model, feeds, path, names, dynamic)
    with torch.no_grad():
        given = model(*feeds.values())
    every = given if isinstance(given, tuple) else (given,)
    wanted = {name: each.numpy() for name, each in zip(names, every, strict=True)}
    gap = parity(path, {name: each.numpy() for name, each in feeds.items()}, wanted)
    save(with_int8_weights(onnx.load(str(path))), path)
    return gap
