"""Write a tiny model's Hugging Face folder as the GGUF files that llama.cpp reads."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a folder by name."""
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def write_text_gguf(folder: Path, target: Path, prefix: str = "") -> None:
    """Write a folder's language model as an F32 GGUF file; ``prefix`` is the prefix of its tensors."""
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    writer = gguf.GGUFWriter(target, "qwen2")
    writer.add_name(target.stem)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tokenizer(writer, folder, config["vocab_size"])
    for name, values in read_weights(folder).items():
        if name.startswith(prefix):
            writer.add_tensor(gguf_name(name.removeprefix(prefix)), np.ascontiguousarray(values))
    finish(writer, target)


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, size: int) -> None:
    """Write vocabulary, merges and chat template; llama.cpp replaces an image slot by its media marker."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens, kinds = [f"[PAD{i}]" for i in range(size)], [gguf.TokenType.UNUSED] * size
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i], kinds[i] = token, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], kinds[added["id"]] = added["content"], kind
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text().replace("<|image_pad|>", ""))


def gguf_name(name: str) -> str:
    """Return a Qwen2 tensor's name in GGUF."""
    outer = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    inner = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    if name in outer:
        return outer[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    stem, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{inner[stem]}.{kind}"


def write_mmproj_gguf(folder: Path, target: Path) -> None:
    """Write the vision tower and projector of a LLaVA folder as llama.cpp's ``mmproj`` file."""
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    weights = read_weights(folder)
    layers = vision["num_hidden_layers"] - 1  # LLaVA uses the features before the last layer
    writer = gguf.GGUFWriter(target, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_bool("clip.use_gelu", False)  # CLIP uses quick GELU
    writer.add_string("clip.projector_type", "mlp")
    for name in ("image_size", "patch_size", "projection_dim"):
        writer.add_uint32(f"clip.vision.{name}", vision[name])
    writer.add_uint32("clip.vision.embedding_length", vision["hidden_size"])
    writer.add_uint32("clip.vision.feed_forward_length", vision["intermediate_size"])
    writer.add_uint32("clip.vision.attention.head_count", vision["num_attention_heads"])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision.get("layer_norm_eps", 1e-5))
    writer.add_uint32("clip.vision.block_count", layers)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for source, name in vision_names(layers, weights).items():
        writer.add_tensor(name, np.ascontiguousarray(weights[source]))
    finish(writer, target)


def vision_names(layers: int, weights: dict[str, np.ndarray]) -> dict[str, str]:
    """Return the names of the vision tensors in GGUF, by their names in the folder."""
    tower = "vision_tower."
    if f"{tower}embeddings.class_embedding" not in weights:
        tower += "vision_model."
    names = {
        f"{tower}embeddings.class_embedding": "v.class_embd",
        f"{tower}embeddings.patch_embedding.weight": "v.patch_embd.weight",
        f"{tower}embeddings.position_embedding.weight": "v.position_embd.weight",
    }
    parts = {
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_out": "self_attn.out_proj",
        "ln1": "layer_norm1",
        "ln2": "layer_norm2",
        "ffn_up": "mlp.fc1",
        "ffn_down": "mlp.fc2",
    }
    for kind in ("weight", "bias"):
        names[f"{tower}pre_layrnorm.{kind}"] = f"v.pre_ln.{kind}"
        names[f"multi_modal_projector.linear_1.{kind}"] = f"mm.0.{kind}"
        names[f"multi_modal_projector.linear_2.{kind}"] = f"mm.2.{kind}"
        for i in range(layers):
            for out, source in parts.items():
                names[f"{tower}encoder.layers.{i}.{source}.{kind}"] = f"v.blk.{i}.{out}.{kind}"
    return names


def finish(writer: gguf.GGUFWriter, target: Path) -> None:
    """Write the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(target)
