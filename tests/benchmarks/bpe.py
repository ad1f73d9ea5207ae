"""Treinar 2.048 tokens em 1 MB do corpus: o nosso, o Rust dos `tokenizers`, e recontar tudo.

    python tests/benchmarks/bpe.py

Os três recebem os mesmos textos, na mesma execução, e o tempo de cada um inclui cortar o
texto em pedaços. O nosso e o em Rust se alternam; a recontagem sobre as palavras únicas, que
leva quase um minuto, roda uma vez, inteira, e precisa chegar às mesmas fusões.
"""

import json
import sys
import time
from collections import Counter

from registro import cores, pecas, save, spread

VOCAB_SIZE = 2048
N_BYTES = 1_000_000
REPEATS = 7
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "learn_merges", "merge_pair", "split_pieces"]
}


def one_megabyte() -> list[str]:
    """Os primeiros documentos do treino até somar 1 MB; se faltar texto, a validação e o teste."""
    folder = pecas.ROOT / "02-texto-vira-numero" / "corpus"
    texts, size = [], 0
    for part in ("treino", "validacao", "teste"):
        for line in (folder / f"{part}.jsonl").read_text("utf-8").split("\n"):
            if line and size < N_BYTES:
                texts.append(json.loads(line)["texto"])
                size += len(texts[-1].encode("utf-8"))
    if size < N_BYTES:
        raise SystemExit(f"O corpus só tem {size} bytes; este teste pede {N_BYTES}.")
    return texts


def ours(c, texts):
    return c.BPETokenizer.train(texts, VOCAB_SIZE)


def rust(c, texts):
    """O treinador da Hugging Face, com o mesmo corte e o mesmo tamanho."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(c.PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<|fim|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def recount(c, texts) -> list[tuple[int, int]]:
    """A versão clara: a cada fusão, reconta os pares de todas as palavras únicas."""
    pieces = Counter(piece for text in texts for piece in c.split_pieces(text))
    words = {piece: list(piece.encode("utf-8")) for piece in pieces}
    vocab = [bytes([b]) for b in range(256)]
    known = {token: i for i, token in enumerate(vocab)}
    merges = []
    while len(merges) < VOCAB_SIZE - 257:
        counts: Counter = Counter()
        for piece, ids in words.items():
            for pair in zip(ids, ids[1:], strict=False):
                counts[pair] += pieces[piece]
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        token = vocab[best[0]] + vocab[best[1]]
        if token not in known:
            known[token] = len(vocab)
            vocab.append(token)
            merges.append(best)
        for piece, ids in words.items():
            if len(ids) > 1:
                words[piece] = c.merge_pair(ids, best, known[token])
    return merges


def clock(function, *args):
    began = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - began, result


def main() -> None:
    c, texts = pecas.lift(pecas.notebooks()["02"]), one_megabyte()
    seconds = {"nosso": [], "rust": []}
    for repeat in range(REPEATS + 1):
        for name, function in (("nosso", ours), ("rust", rust)):
            took, trained = clock(function, c, texts)
            if repeat:  # a primeira volta só aquece
                seconds[name].append(took)
            if name == "nosso":
                tokenizer = trained
        print(f"volta {repeat}: {took:.2f} s", file=sys.stderr)
    slow, merges = clock(recount, c, texts)
    if [tuple(m) for m in tokenizer.merges] != merges:
        raise SystemExit("A recontagem chegou a outras fusões: há um erro num dos dois.")
    ratios = [a / b for a, b in zip(seconds["nosso"], seconds["rust"], strict=True)]
    save(
        "bpe",
        USED,
        ["tokenizers"],
        sementes="nenhuma: o treino é determinístico",
        tarefa={
            "tokens": VOCAB_SIZE,
            "bytes": sum(len(t.encode("utf-8")) for t in texts),
            "documentos": len(texts),
            "threads_do_rust": cores(),
        },
        medidas={
            "nosso_s": spread(seconds["nosso"]),
            "rust_s": spread(seconds["rust"]),
            "recontagem_s": round(slow, 2),
            "nosso_sobre_rust": spread(ratios),
            "recontagem_sobre_nosso": round(slow / spread(seconds["nosso"])["mediana"], 1),
            "mesmas_fusões_que_a_recontagem": True,
        },
    )


if __name__ == "__main__":
    main()
