"""Tokenizers built here, one of each kind that treats 'A' in its own way."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

LETTERS = string.ascii_uppercase
# How GPT-2 and Qwen2 cut a text before merging: only the second lets '(A' become one token.
GPT2_SPLITS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2_SPLITS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPECIALS = ["<unk>", "<s>", "</s>", "<|start|>", "<|end|>"]


def wrap(tokenizer: Any, **options: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=["<|start|>", "<|end|>"],
        **options,
    )


def byte_level(*merges: tuple[str, str], skip: str = "", splits: str = GPT2_SPLITS) -> Any:
    """Byte-level BPE; each merge is a token of its own, the characters of ``skip`` have none."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokens = [*SPECIALS, *sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(skip))]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(splits), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return wrap(tokenizer)


def spaced(letters: str = LETTERS) -> list[tuple[str, str]]:
    return [("Ġ", letter) for letter in letters]


def metaspace(scheme: str, *, begin: bool = False, spaced: str = LETTERS, bare: str = LETTERS) -> Any:
    """SentencePiece's manner: '▁' for a space, a dummy one before text, and bytes for what is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    pieces = dict.fromkeys(SPECIALS, 0.0)
    pieces |= {f"<0x{byte:02X}>": -9.0 for byte in range(256)}
    pieces |= dict.fromkeys("▁:()." + string.ascii_lowercase + bare, -4.0)
    pieces |= {"▁" + letter: -5.0 for letter in spaced}
    pieces |= {"▁Answer": -3.0, "Answer": -3.5}
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return wrap(tokenizer)


def word_piece(*, lowercase: bool = False) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    characters = string.ascii_letters + ":().\n"
    tokens = [*SPECIALS, *characters, *("##" + c for c in string.ascii_letters), "assistant", "Answer"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return wrap(tokenizer)


def byte_pieces() -> Any:
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer(extra_ids=0, additional_special_tokens=["<|start|>", "<|end|>"])


def sentence_piece(folder: Path, *, keep_spaces: bool) -> Any:
    """A slow tokenizer around the original SentencePiece library, with Llama's handling of spaces or T5's."""
    import sentencepiece
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    lines = [f"Answer: {a} (is {b}) or {b}{a}." for a in LETTERS for b in LETTERS]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "pieces"),
        vocab_size=420,
        hard_vocab_limit=False,
        model_type="bpe",
        byte_fallback=True,
        user_defined_symbols=["<|start|>", "<|end|>"],
        normalization_rule_name="identity" if keep_spaces else "nmt_nfkc",
        remove_extra_whitespaces=not keep_spaces,
        minloglevel=2,
    )
    return SentencePieceBackend(
        vocab_file=str(folder / "pieces.model"), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
