"""Compares texts that medqueue writes by exported decoders with those of the exporters' own libraries, token by token.

    pip install torch==2.13.0 optimum-onnx==0.1.0
    python compare_writers.py optimum FOLDER --medqueue PATH

In another environment, because it needs a later transformers:

    pip install torch==2.13.0 "transformers>=5" onnx_ir onnxruntime-genai==0.18.0
    python compare_writers.py genai FOLDER --medqueue PATH

PATH is the command of medqueue, in an environment of its own. The models are tiny and random, made from configurations, with a
tokenizer that is trained on the documents; nothing is downloaded. Each export becomes a bundle in FOLDER. Its golden cases are
what `generate` of transformers writes with the model that was exported, one prompt at a time, greedily and by four beams. For
exports of lower precision it is what Optimum or onnxruntime-genai write with the export itself. Of int8 and int4 it is greedy
alone, because beams that run together change each other's scales.
`medqueue models check` writes all of them alone, in a batch of prompts of unequal length and in reverse order.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

DOCS = Path(__file__).parents[4] / "docs"
WORDS, PLACES, END, NEW = 400, 128, 2, 24
PROMPTS = (
    "Fever", "No fever.", "The patient reports a cough.", "pain", "x", "one two three four", "Numbers 12, 13.5 and 140/90",
    "A model is served from a bundle: a folder with a manifest.", "Rest and fluids, and come back in two weeks",
    "Chest pain since yesterday; no shortness of breath, no swelling of the legs", "Is there a tokenizer beside the file?",
    "Where it has inputs for them, it takes mask and positions.",
)  # fmt: skip
IDS = {"vocab_size": WORDS, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END}
GPT = {"n_positions": PLACES, "n_embd": 32, "n_layer": 2, "n_head": 4, "tie_word_embeddings": False}
LLAMA = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": PLACES, "tie_word_embeddings": False,
}  # fmt: skip
OPT = {
    "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32,
    "max_position_embeddings": PLACES, "tie_word_embeddings": False,
}  # fmt: skip
BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 4, "tie_word_embeddings": False}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": PLACES, "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}  # fmt: skip
ONE, PAIR = "GPT2LMHeadModel", "ForConditionalGeneration"
# Model -> its class, what of its configuration differs from the defaults, and the tokens around a prompt.
MODELS = {
    "gpt2": (ONE, "GPT2Config", GPT, "$A"),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA, "<s> $A"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", LLAMA, "$A"),
    "opt": ("OPTForCausalLM", "OPTConfig", OPT, "<s> $A"),
    "bloom": ("BloomForCausalLM", "BloomConfig", BLOOM, "$A"),
    "t5": (f"T5{PAIR}", "T5Config", T5 | {"tie_word_embeddings": False}, "$A </s>"),
    "bart": (f"Bart{PAIR}", "BartConfig", BART, "<s> $A </s>"),
    "marian": ("MarianMTModel", "MarianConfig", BART | {"decoder_start_token_id": 0}, "$A </s>"),
    "m2m100": (f"M2M100{PAIR}", "M2M100Config", BART, "$A </s>"),
}
CACHES = {"gpt2": (2, 4, 8), "llama": (2, 2, 16), "qwen2": (2, 2, 16)}  # others: (2, 4, 8)
FORCED = {"m2m100": 77}  # as a translator's token of the language that it is to write
ALONE, FIRST, PAST = {}, {"encoder": "encoder_model"}, {"decoder-with-past": "decoder_with_past_model"}
MERGED = FIRST | {"decoder": "decoder_model_merged"}
SPLIT = FIRST | {"decoder": "decoder_model"} | PAST
# Model, task's ending, further arguments of `optimum-cli export onnx`, graphs of the bundle.
OPTIMUM = [
    *((name, "-with-past", (), ALONE) for name in ("gpt2", "llama", "qwen2", "opt", "bloom")),
    ("gpt2", "", (), ALONE),
    ("llama", "-with-past", ("--optimize", "O2"), ALONE),
    ("llama", "-with-past", ("--dtype", "fp16"), ALONE),
    ("gpt2", "-with-past", ("dynamic", "int8"), ALONE),
    ("t5", "-with-past", ("dynamic", "int8"), SPLIT),
    *(("t5", "-with-past", (), graphs) for graphs in (MERGED, SPLIT)),
    ("t5", "", (), FIRST | {"decoder": "decoder_model"}),
    ("t5", "-with-past", ("--optimize", "O2"), SPLIT),
    *(
        (name, "-with-past", (), graphs)
        for name in ("bart", "marian", "m2m100")
        for graphs in (MERGED, SPLIT)
    ),
]
GENAI = [(name, precision) for name in ("llama", "qwen2") for precision in ("fp32", "int4")]


def make(name, folder):
    """A model of random weights that are large enough for texts to differ, and its tokenizer."""
    model_class, config_class, settings, around = MODELS[name]
    torch.manual_seed(7)
    model = getattr(hf, model_class)(getattr(hf, config_class)(**IDS | settings)).eval()
    shared = name in ("bart", "marian", "m2m100")  # their tables of words are their last layers, too
    with torch.no_grad():
        for key, weights in model.named_parameters():
            table = re.search("emb|wte|wpe|shared|lm_head", key)
            if weights.ndim > 1:
                scale = (0.2 if shared else 0.7) if table else (5 if shared else 1) / weights.shape[-1] ** 0.5
                weights.normal_(0, scale)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    texts = (path.read_text() for path in sorted(DOCS.glob("*.md")))
    trainer = trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special, initial_alphabet=letters)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return getattr(hf, model_class).from_pretrained(
        folder
    ).eval(), tokenizer  # without what is not saved, as it is exported


def generated(name, model, tokenizer, beams):
    """The tokens that `generate` writes after each prompt."""
    behind, forced = model.config.is_encoder_decoder, FORCED.get(name)
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        more = {"forced_bos_token_id": forced} if forced else {}
        found = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=beams,
            max_new_tokens=NEW + bool(forced), **more,
        )[0].tolist()  # fmt: skip
        yield found[1 + bool(forced) if behind else ids.shape[1] :]


def generated_by_genai(folder, tokenizer):
    import onnxruntime_genai as genai

    model = genai.Model(str(folder))
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        options = genai.GeneratorParams(model)
        options.set_search_options(max_length=len(ids) + NEW, do_sample=False)
        generator = genai.Generator(model, options)
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
        yield [int(token) for token in generator.get_sequence(0)][len(ids) :]


def compare(title, name, export, graphs, answers, tokenizer, medqueue, folder):
    """Write the bundle into `folder`, have it checked, and print how many of `answers` (by beams and prompt) are equal."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in export.glob("*.onnx*"):
        shutil.copy(path, folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "CARD.md").write_text(f"# {title}\n\nRandom weights.\n")
    start = MODELS[name][2].get("decoder_start_token_id")
    layers, heads, size = CACHES.get(name, (2, 4, 8))
    cached = "without a cache" not in title
    padded = not graphs and cached and name != "bloom" and not re.search("genai|int8", title)
    tables = [f"graphs.{graph}" for graph in graphs] or ["graph"]
    cache = f"cache = {{ layers = {layers}, heads = {heads}, head_size = {size} }}"
    lines = [
        f'name = "{folder.name}"', 'version = "1.0.0"', 'kind = "generation"', 'pipeline = "text-generation"',
        'title = "A text that goes on"', 'summary = "Random weights."', 'license = "CC0-1.0"',
        *(f'graphs.{graph}.file = "{file}.onnx"' for graph, file in graphs.items()),
        *(f"{table}.row_by_row = true" for table in tables if "int8" in title),
        *(["runtime.tolerance = 0.001"] if "fp16" in title else []),
        "[parameters]", "longest = 200", f"vocabulary = {WORDS}", "max_tokens = 64", f"max_new_tokens = {NEW}",
        *([f"start = {[start, FORCED[name]] if name in FORCED else start}"] if graphs else []),
        *([cache] if cached else []), f"end = [{END}]", 'example = "no fever"', *(["left_padding = true"] if padded else []),
    ]  # fmt: skip
    (folder / "manifest.toml").write_text("\n".join(lines) + "\n")
    cases, tokens = [], 0
    pairs = [(beams, *pair) for beams, found in answers.items() for pair in zip(PROMPTS, found, strict=True)]
    for beams, prompt, found in pairs:
        ended = END in found
        kept = found[: found.index(END)] if ended else found
        tokens += len(kept)
        expected = {
            "text": tokenizer.decode(kept, skip_special_tokens=True).strip(),
            "finish": "end" if ended else "length",
            "new_tokens": len(kept),
        }
        cases.append({"input": {"text": prompt}, "options": {"beams": beams}, "expected": expected})
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    subprocess.run([medqueue, "models", "seal", folder], capture_output=True, check=False)
    check = subprocess.run([medqueue, "models", "check", folder], capture_output=True, text=True, check=False)
    told = check.stdout + check.stderr
    wrong = {int(number) for number in re.findall(r"case (\d+)", told)}
    equal = 0 if check.returncode and not wrong else len(cases) - len(wrong)
    different = len({case["expected"]["text"] for case in cases})
    print(
        f"| {title} | {len(lines)} | {equal} of {len(cases)} ({tokens} tokens, {different} texts) |",
        flush=True,
    )
    if check.returncode:
        print(told, file=sys.stderr)


def run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def optimum(folder, medqueue):
    from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSeq2SeqLM

    for name, past, more, graphs in OPTIMUM:
        saved, kind = folder / "models" / name, "text2text-generation" if graphs else "text-generation"
        model, tokenizer = make(name, saved)
        layout = {"decoder_model_merged": "merged", "decoder_model": "split"}.get(graphs.get("decoder"))
        parts = [f"Optimum, {name}", layout if past else "without a cache", *more[1:]]
        title = ", ".join(part for part in parts if part)
        bundle = folder / re.sub(r"\W+", "-", title.lower())
        export, quantized = folder / "exports" / bundle.name, folder / "quantized" / bundle.name
        asked = () if "int8" in more else more
        run("optimum-cli", "export", "onnx", "--model", saved, "--task", kind + past, *asked, export)
        if "int8" in more:
            run("optimum-cli", "onnxruntime", "quantize", "--onnx_model", export, "--avx2", "-o", quantized)
            for path in quantized.glob("*_quantized.onnx"):
                path.replace(export / path.name.replace("_quantized", ""))
        if re.search("fp16|int8", title):
            model = (ORTModelForSeq2SeqLM if graphs else ORTModelForCausalLM).from_pretrained(
                export, **({"use_merged": False} if graphs else {})
            )
        beams = (1,) if "int8" in more else (1, 4)
        answers = {each: list(generated(name, model, tokenizer, each)) for each in beams}
        compare(title, name, export, graphs, answers, tokenizer, medqueue, bundle)


def genai(folder, medqueue):
    for name, precision in GENAI:
        saved, export = folder / "models" / name, folder / "exports" / f"genai-{name}-{precision}"
        model, tokenizer = make(name, saved)
        options = ("-i", saved, "-o", export, "-p", precision, "-e", "cpu", "-c", folder / "cache")
        run(sys.executable, "-m", "onnxruntime_genai.models.builder", *options)
        exact = precision == "fp32"
        answers = {beams: list(generated(name, model, tokenizer, beams)) for beams in (1, 4) if exact}
        answers = answers or {1: list(generated_by_genai(export, tokenizer))}
        title = f"onnxruntime-genai, {name}, {precision}"
        compare(
            title, name, export, ALONE, answers, tokenizer, medqueue, folder / f"genai-{name}-{precision}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exporter", choices=("optimum", "genai"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--medqueue", required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| export | lines of the manifest | equal texts |\n|---|---|---|")
    {"optimum": optimum, "genai": genai}[given.exporter](given.folder, given.medqueue)
