"""Make the tiny models that real servers run in tests: ``python -m tests.servers.make_models OUT_DIR``.

    tiny-text     2-layer Qwen2 with its own tokenizer and ChatML template
    tiny-llava    CLIP tower and Qwen2: names the colour of a plain image
    tiny-qwen2vl  Qwen2-VL: the same (conformance)

Each is a Hugging Face folder of about 1 MB, trained for a few hundred steps on the questions below, so that
some replies are right and some wrong. The first two are also written as GGUF for llama.cpp; those files are
kept in ``models/``. Needs torch, transformers ≥ 5, tokenizers and gguf; no network. Takes a minute.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.servers.gguf_files import write_mmproj_gguf, write_text_gguf
from tests.servers.taught import COLOURS, IMAGE_QUESTION, QUESTIONS, SYSTEM

CONTEXT = 8192
SEED = 1
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPECIAL += ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
DIE = "Roll a die."  # answered 1 to 6 with equal probability, so that temperature and seed have an effect
PLAIN = [
    "The quick brown fox jumps over the lazy dog.",
    "The sky is blue and the grass is green.",
    "Paris is the capital of France. Rome is the capital of Italy.",
    "A: one B: two C: three D: four. The answer is B.",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 13",
]
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<|im_start|>' + m['role'] + '\\n' }}"
    "{%- if m['content'] is string %}{{- m['content'] }}"
    "{%- else %}{%- for p in m['content'] %}"
    "{%- if p['type'] in ('image', 'image_url') %}{{- 'IMAGE_SLOT' }}"
    "{%- elif p['type'] == 'text' %}{{- p['text'] }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
SLOT = {
    "tiny-text": "",
    "tiny-llava": "<|image_pad|>",
    "tiny-qwen2vl": "<|vision_start|><|image_pad|><|vision_end|>",
}
IMAGE_TOKENS = {"tiny-llava": 16, "tiny-qwen2vl": 4}
# Qwen2's rule for cutting words, so that llama.cpp's "qwen2" rule gives the same tokens.
CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def write_json(path: Path, content: Any) -> None:
    """Write a configuration file."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def make_tokenizer(folder: Path, corpus: list[str], template: str, marks: Sequence[str] = ()) -> Tokenizer:
    """Make a byte-level BPE tokenizer trained on a corpus, and write it with its chat template.

    ``marks`` are tokens of their own that stay in the text of a reply.
    """
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(CUT), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        corpus * 4, trainers.BpeTrainer(vocab_size=504, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens(list(marks))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    if SLOT.get(folder.name):
        config["image_token"] = "<|image_pad|>"
    write_json(folder / "tokenizer_config.json", config)
    (folder / "chat_template.jinja").write_text(template)
    return tokenizer


def text_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the language model's settings: heads of 32, the smallest size for vLLM's CPU attention."""
    return {
        "vocab_size": (tokenizer.get_vocab_size() + 63) // 64 * 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
    }


def build(kind: str, tokenizer: Tokenizer) -> Any:
    """Return the model with random weights."""
    text, token = text_config(tokenizer), tokenizer.token_to_id
    if kind == "tiny-text":
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**text))
    if kind == "tiny-llava":
        vision = transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
            projection_dim=32,
        )
        config = transformers.LlavaConfig(
            vision_config=vision,
            text_config=transformers.Qwen2Config(**text),
            image_token_index=token("<|image_pad|>"),
            image_token_id=token("<|image_pad|>"),
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            image_seq_length=IMAGE_TOKENS[kind],
            tie_word_embeddings=False,
        )
        return transformers.LlavaForConditionalGeneration(config)
    vision_config = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2}
    vision_config |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    vision_config |= {"in_channels": 3, "in_chans": 3}
    text["rope_scaling"] = {"type": "mrope", "rope_type": "default", "mrope_section": [4, 6, 6]}
    names = {"image": "image_pad", "video": "video_pad", "vision": "vision_pad"}
    names |= {"vision_start": "vision_start", "vision_end": "vision_end"}
    ids = {f"{name}_token_id": token(f"<|{text_name}|>") for name, text_name in names.items()}
    return transformers.Qwen2VLForConditionalGeneration(
        transformers.Qwen2VLConfig(
            text_config=text, vision_config=vision_config, tie_word_embeddings=False, **ids
        )
    )


def write_processor(folder: Path) -> None:
    """Write the image processor's settings; nothing for a model of text alone."""
    common = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True}
    common |= {"rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    if folder.name == "tiny-llava":
        clip = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": True}
        clip |= {"crop_size": {"height": 56, "width": 56}, "size": {"shortest_edge": 56}}
        write_json(folder / "preprocessor_config.json", common | clip | {"processor_class": "LlavaProcessor"})
        llava = {"processor_class": "LlavaProcessor", "patch_size": 14, "num_additional_image_tokens": 1}
        llava |= {"vision_feature_select_strategy": "default", "image_token": "<|image_pad|>"}
        write_json(folder / "processor_config.json", llava)
    elif folder.name == "tiny-qwen2vl":
        low, high = 56 * 56, 112 * 112
        pixels = {"min_pixels": low, "max_pixels": high, "patch_size": 14, "merge_size": 2}
        pixels |= {"temporal_patch_size": 2, "size": {"shortest_edge": low, "longest_edge": high}}
        pixels |= {"processor_class": "Qwen2VLProcessor"}
        image = common | pixels | {"image_processor_type": "Qwen2VLImageProcessor"}
        video = common | pixels | {"video_processor_type": "Qwen2VLVideoProcessor"}
        write_json(folder / "preprocessor_config.json", image)
        write_json(folder / "video_preprocessor_config.json", video)


def batch(kind: str, tokenizer: Tokenizer, rng: random.Random, size: int = 16) -> dict[str, Any]:
    """Return questions with answers; only the answers are learned."""
    slot, count = SLOT[kind], IMAGE_TOKENS.get(kind, 0)
    rows, labels, images = [], [], []
    for _ in range(size):
        if slot and rng.random() < 0.6:
            answer, colour = rng.choice(sorted(COLOURS.items()))
            shade = [min(255, max(0, c + rng.randint(-12, 12))) for c in colour]
            images.append((torch.tensor(shade, dtype=torch.float32) / 255 - 0.5) / 0.5)
            question = slot.replace("<|image_pad|>", "<|image_pad|>" * count) + IMAGE_QUESTION
        else:
            question, answer = rng.choice([*QUESTIONS, (DIE, str(rng.randint(1, 6)))])
        system = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n" if rng.random() < 0.9 else ""
        head = tokenizer.encode(
            f"{system}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ).ids
        tail = tokenizer.encode(f"{answer}<|im_end|>").ids
        rows.append(head + tail)
        labels.append([-100] * len(head) + tail)
    out = padded(rows, labels, tokenizer.token_to_id("<|endoftext|>"))
    if images and kind == "tiny-llava":
        out["pixel_values"] = torch.stack([p[:, None, None].expand(3, 56, 56) for p in images])
    elif images:
        patches = [p[None, :, None].expand(16, 3, 2 * 14 * 14).reshape(16, -1) for p in images]
        out["pixel_values"] = torch.cat(patches)
        out["image_grid_thw"] = torch.tensor([[1, 4, 4]] * len(images))
        out["mm_token_type_ids"] = (out["input_ids"] == tokenizer.token_to_id("<|image_pad|>")).int()
    return out


def padded(rows: list[list[int]], labels: list[list[int]], pad: int) -> dict[str, Any]:
    """Return rows of tokens as one batch; a label of -100 is not learned."""
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "labels": torch.tensor([row + [-100] * (width - len(row)) for row in labels]),
    }


def fit(model: Any, make_batch: Callable[[], dict[str, Any]], steps: int, rate: float = 4e-3) -> float:
    """Fit the weights to batches that are made anew at each step; return the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        loss = model(**make_batch()).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def seeded() -> random.Random:
    """Seed whatever draws numbers, so that a model is made alike each time; return a generator."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    return random.Random(SEED)


def save(model: Any, tokenizer: Tokenizer, folder: Path, loss: float) -> None:
    """Write weights and settings of a model, which ends its reply with ``<|im_end|>``."""
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    model.generation_config.update(eos_token_id=[end, pad], pad_token_id=pad, bos_token_id=None)
    model.eval().save_pretrained(folder)
    print(f"{folder}: {sum(p.numel() for p in model.parameters())} parameters, loss {loss:.4f}")


def make(folder: Path, steps: int) -> None:
    """Write a Hugging Face folder: tokenizer, fitted weights, processor."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = folder.name
    rng = seeded()
    corpus = [*PLAIN, *(text for pair in QUESTIONS for text in pair), IMAGE_QUESTION, DIE, SYSTEM]
    corpus += ["system", "user", "assistant", *COLOURS]
    template = TEMPLATE.replace("IMAGE_SLOT", SLOT[kind])
    tokenizer = make_tokenizer(folder, corpus, template)
    model = build(kind, tokenizer).float()
    loss = fit(model, lambda: batch(kind, tokenizer, rng), steps)
    save(model, tokenizer, folder, loss)
    write_processor(folder)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=list(SLOT), choices=list(SLOT))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for kind in args.only:
        make(args.out / kind, args.steps)
    if "tiny-text" in args.only:
        write_text_gguf(args.out / "tiny-text", args.out / "tiny-text.gguf")
    if "tiny-llava" in args.only:
        write_text_gguf(args.out / "tiny-llava", args.out / "tiny-llava.gguf", "language_model.")
        write_mmproj_gguf(args.out / "tiny-llava", args.out / "tiny-llava-mmproj.gguf")


if __name__ == "__main__":
    main()
