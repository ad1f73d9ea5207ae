"""Velocidade do treino e da escrita: a escada do laço ingênuo, a `transformers`, a gaveta em lote.

    python tests/benchmarks/velocidade.py

As definições são as do caderno 05. Três medidas, em duas formas (a *casa*, a da página; a *avenida*,
de janela oito vezes mais comprida com o mesmo número de tokens por lote): tokens úteis por segundo
em cada degrau da escada STAIRS, sobre o primeiro; o nosso GPT-2 e o GPT de hoje ao lado do
`GPT2LMHeadModel` com os mesmos pesos, o mesmo lote e o mesmo otimizador; e a escrita em lotes, com
a gaveta e relendo tudo. As voltas se alternam, e cada razão é a de uma mesma volta. O teto é o da
melhor multiplicação de matrizes da mesma execução. Grava resultados/velocidade.json.
"""

import os
import statistics
import sys

import torch
from registro import cores, pecas, save, spread

SEED = 1891
LAPS = 40
WRITING_LAPS = 5
SIZES = {  # a planta, e quantas janelas por lote
    "casa": ({"context_length": 64, "d_model": 128, "n_head": 4, "n_layer": 4}, 8),
    "avenida": ({"context_length": 512, "d_model": 128, "n_head": 4, "n_layer": 4}, 1),
}
BATCHES = [1, 4, 16, 64]
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["FeedForward", "GELU", "GPT", "GPTConfig", "HuggingFaceGPT", "KVCache", "LayerNorm",
           "MultiHeadAttention", "TransformerBlock", "causal", "check_count", "check_ids",
           "forward_flops", "init_weights", "read_next"],
    "05": ["BigramMemory", "ModernAttention", "ModernBlock", "ModernConfig", "ModernFeedForward",
           "ModernGPT", "NaiveAttention", "ReluSquared", "STAIRS", "TrainConfig", "climb_stairs",
           "filter_logits", "generate_batch", "get_batch", "make_optimizer",
           "mixed_precision",
           "naive_optimizer", "padded_rows", "peak_flops", "race_step", "rms_norm",
           "rotary_tables", "rotate_halves", "token_race", "wait_for", "with_naive_attention",
           "writing_speed"],
}  # fmt: skip


def ratios(speed: dict[str, list[float]], first: str) -> dict[str, dict]:
    """Cada corredor sobre `first`, volta a volta: mediana, extremos e repetições."""
    return {name: spread([a / b for a, b in zip(values, speed[first], strict=True)])
            for name, values in speed.items()}


def against_hub(c, gpt, options, ids, end_id: int) -> dict[str, list[float]]:
    """Tokens por segundo do nosso GPT-2, do deles e do GPT de hoje, volta a volta."""
    theirs = c.HuggingFaceGPT(gpt)
    with torch.no_grad():
        some = ids[None, : gpt.config.context_length]
        torch.testing.assert_close(theirs.eval()(some), gpt.eval()(some), atol=1e-4, rtol=1e-4)
    modern = c.ModernGPT(c.ModernConfig(**vars(gpt.config)))
    racers = {"nosso": gpt, "transformers": theirs, "de hoje": modern}
    runners = {name: (m.train(), c.make_optimizer(m, options), False)
               for name, m in racers.items()}
    return c.token_race(runners, ids, end_id, LAPS, options)


def writing(c, config) -> dict:
    """Tokens por segundo ao escrever, por tamanho de lote, com a gaveta e sem."""
    torch.manual_seed(SEED)
    model, n = c.ModernGPT(config).eval(), min(63, config.context_length - 1)
    c.writing_speed(model, 1, n, True)
    return {how: {str(B): spread([c.writing_speed(model, B, n, cached)
                                  for _ in range(WRITING_LAPS)])
                  for B in (BATCHES if cached else BATCHES[:3])}
            for how, cached in (("gaveta", True), ("relendo", False))}


def measure(c, size: dict, batch: int, ids, end_id: int, vocab_size: int) -> dict:
    torch.manual_seed(SEED)
    gpt = c.GPT(c.GPTConfig(vocab_size, **size))
    options = c.TrainConfig(steps=10_000, batch_size=batch, learning_rate=1e-4, seed=SEED)
    stairs = c.climb_stairs(gpt, ids, end_id, LAPS, options)
    print("escada", {k: round(statistics.median(v)) for k, v in stairs.items()}, file=sys.stderr)
    speed = against_hub(c, gpt, options, ids, end_id)
    print({k: round(statistics.median(v)) for k, v in speed.items()}, file=sys.stderr)
    peak, T = c.peak_flops(torch.device("cpu"), 20), gpt.config.context_length
    per_token = 3 * c.forward_flops(gpt.config, T) / T
    useful = (c.padded_rows(ids, end_id, T)[1] >= 0).float().mean().item()
    names = list(stairs)
    return {
        **size,
        "lote": batch,
        "parâmetros": gpt.num_parameters(),
        "escada": ratios(stairs, names[0]),
        "degraus": {name: ratios({k: stairs[k] for k in (before, name)}, before)[name]
                    for before, name in zip(names, names[1:], strict=False)},
        "tokens_úteis_por_s": {name: spread(values) for name, values in stairs.items()},
        "posições_úteis": round(useful, 4),
        "ao_lado": {name: spread(values) for name, values in speed.items()},
        "nosso_sobre_transformers": spread(
            [a / b for a, b in zip(speed["nosso"], speed["transformers"], strict=True)]),
        "fração_do_teto": {name: round(per_token * statistics.median(values) / peak, 3)
                           for name, values in speed.items()},
        "teto_gflops": round(peak / 1e9, 1),
        "escrita": writing(c, c.ModernConfig(vocab_size, **size)),
    }


def main() -> None:
    import corpus

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(cores())
    c = pecas.lift(pecas.notebooks()["05"])
    texts = [c.document_text(row) for row in corpus.load()[0]["treino"]]
    tokenizer = c.BPETokenizer.train(texts, 2048)
    ids = c.token_stream(tokenizer, texts)
    end_id = tokenizer.special_tokens["<|fim|>"]
    save("velocidade", USED, ["torch", "transformers"], sementes=[SEED],
         tarefa={"voltas": LAPS, "voltas_da_escrita": WRITING_LAPS,
                 "threads": torch.get_num_threads(), "vocabulário": tokenizer.vocab_size},
         medidas={name: measure(c, *size, ids, end_id, tokenizer.vocab_size)
                  for name, size in SIZES.items()})


if __name__ == "__main__":
    main()
