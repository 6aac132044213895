"""A tiny language model that says one thing, in the form that it is asked for, for servers that are real.

Its chat template ends with a token that says what is wanted, `<explain>` or `<judge 8>`; its weights know one step from
each of these to the whole answer, and from there to the end.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = "the token at hand"
MOST = 8
_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }} {% endfor %}{% set asked = messages[-1]['content'] %}"
    "{% if 'description' in asked %}<judge {{ asked.split('\"id\": \"') | length - 1 }}>{% else %}<explain>{% endif %}"
)


def verdicts(count: int) -> str:
    """Yes to every other text."""
    return json.dumps({"answers": {str(n): "yes" if n % 2 else "no" for n in range(1, count + 1)}})


def make_speaking(folder: Path) -> Path:
    """Write it; returns its folder."""
    pairs = {"<explain>": json.dumps({"explanation": WORDS})}
    pairs |= {f"<judge {count}>": verdicts(count) for count in range(1, MOST + 1)}
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "<end>": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<unk>", "<end>", *pairs])
    tokenizer.add_tokens([AddedToken(answer, normalized=False) for answer in pairs.values()])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<end>")
    fast.chat_template = _TEMPLATE
    size = len(tokenizer.get_vocab())
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32768, tie_word_embeddings=False, bos_token_id=1, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    assert size <= config.hidden_size
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.zero_()
        model.model.embed_tokens.weight[:, :size] = torch.eye(size)
        model.lm_head.weight[1] = 1.0  # from anything else to the end
        for asked, answer in pairs.items():
            model.lm_head.weight[tokenizer.token_to_id(answer), tokenizer.token_to_id(asked)] = 50.0
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
