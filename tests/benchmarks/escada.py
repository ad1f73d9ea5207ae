"""A escada do capítulo 05: do GPT-2 ao GPT de hoje, uma troca de cada vez.

    python tests/benchmarks/escada.py [segundos por treino, 30 se nada for dito]

As definições são as do caderno 05. Cada degrau escolhe primeiro a sua taxa de aprendizado entre
RATES: ensaios de SEARCH segundos, em que treina nos documentos de treino menos os últimos HELD e
é medido nesses. Depois treina com a taxa escolhida, em todos os documentos de treino, com três
sementes, e é medido na validação, que não escolheu nada. Quantos passos cabem no tempo sai do
ritmo de cada degrau, medido uma vez, no relógio de processador, com uma thread e todos se
alternando: se a máquina engasga, engasga para todos, e as três sementes dão os mesmos passos.
Os treinos correm depois, dois lado a lado. Grava resultados/escada.json.
"""

import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from registro import pecas, save

SEEDS = [0, 1, 2]
SECONDS, SEARCH = 30.0, 10.0
RATES = [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]
SHAPE = {"context_length": 128, "d_model": 128, "n_head": 4, "n_layer": 2}
VOCABULARY, BATCH = 2048, 8
HELD = 150  # documentos de treino guardados para escolher a taxa
PARTS = {p: f"02-texto-vira-numero/corpus/{p}.jsonl" for p in ("treino", "validacao")}
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["FeedForward", "GELU", "GPT", "GPTConfig", "LayerNorm", "MultiHeadAttention",
           "TransformerBlock", "causal", "check_ids", "init_weights"],
    "05": ["BigramMemory", "Evaluation", "LADDER", "LadderAttention", "Muon", "NoPositions", "RMSNorm",
           "ReluSquared", "TrainConfig", "TwoOptimizers", "WithPairs", "add_pairs",
           "born_quiet", "climb", "climb_and_train", "evaluate", "get_batch", "keep_best",
           "ladder_optimizer", "ladder_options", "learning_rate_at",
           "make_modern_optimizer", "make_optimizer", "mixed_precision", "normalize_qk",
           "orthogonalize", "progress_row", "rms_norm", "rotary_tables", "rotate_halves", "split_roles",
           "swap_activation", "swap_norms", "swap_positions", "train", "train_step", "untie"],
}  # fmt: skip
STATE = {}


def prepare(streams: dict, n_bytes: dict) -> None:
    """O que cada processo faz ao nascer: uma thread, as definições, os dados."""
    import torch

    torch.set_num_threads(1)
    STATE.update({name: torch.from_numpy(ids) for name, ids in streams.items()},
                 c=pecas.lift(pecas.notebooks()["05"]), bytes=n_bytes)


def plan(c):
    return c.GPTConfig(vocab_size=VOCABULARY, **SHAPE)


def paces(laps: int = 3, steps: int = 8) -> list[float]:
    """Segundos de processador por passo de cada degrau: mediana das voltas."""
    c, racers = STATE["c"], []
    for level in range(len(c.LADDER)):
        model = c.climb(level, plan(c))
        options = c.ladder_options(level, 1000, 1e-3, batch_size=BATCH)
        racers.append((model, c.ladder_optimizer(level, model, options), options))
    seen = [[] for _ in racers]
    for lap in range(laps + 1):  # a primeira só esquenta
        for (model, optimizer, options), times in zip(racers, seen, strict=True):
            tools = c.mixed_precision(next(model.parameters()).device)
            began = time.process_time()
            for step in range(lap * steps, (lap + 1) * steps):
                c.train_step(model, optimizer, STATE["train"], step, options, *tools)
            times.append((time.process_time() - began) / steps)
    return [statistics.median(times[1:]) for times in seen]


def measured(level: int, rate: float, seed: int, steps: int, learn: str, judge: str):
    """Um treino e a sua nota: (bits por byte, passos, segundos de processador)."""
    c, began = STATE["c"], time.process_time()
    try:
        model = c.climb_and_train(level, plan(c), STATE[learn], steps, rate, seed, BATCH)
    except ValueError:  # divergiu
        return None, steps, round(time.process_time() - began, 1)
    spent = time.process_time() - began
    score = c.evaluate(model, STATE[judge], STATE["bytes"][judge])
    return round(score.bits_per_byte, 4), steps, round(spent, 1)


def main(argv: list[str]) -> None:
    import corpus

    seconds = float(argv[0]) if argv else SECONDS
    search = min(SEARCH, seconds)
    c = pecas.lift(pecas.notebooks()["05"])
    rows = corpus.load()[0]
    texts = {p: [c.document_text(r) for r in rows[p]] for p in PARTS}
    fast = c.BPETokenizer.train(texts["treino"], VOCABULARY).to_tiktoken()
    parts = {"train": texts["treino"], "most": texts["treino"][:-HELD],
             "kept": texts["treino"][-HELD:], "validation": texts["validacao"]}
    n_bytes = {name: sum(len(t.encode("utf-8")) for t in docs)
               for name, docs in parts.items()}
    arrays = {name: c.token_stream(fast, docs).numpy() for name, docs in parts.items()}
    measures = {}
    prepare(arrays, n_bytes)
    pace = paces()
    print([round(1000 * each) for each in pace], "ms por passo", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(2, get_context("spawn"), prepare, (arrays, n_bytes)) as pool:
        for level, name in enumerate(c.LADDER):
            short, steps = (max(20, round(t / pace[level])) for t in (search, seconds))
            asked = {r: pool.submit(measured, level, r, 100, short, "most", "kept")
                     for r in RATES}
            trials = {r: asked[r].result()[0] for r in RATES}
            finite = {r: bits for r, bits in trials.items() if bits is not None}
            if not finite:
                raise SystemExit(f"O degrau {name!r} divergiu com todas as taxas de {RATES}.")
            best = min(finite, key=finite.get)
            edge = best in (RATES[0], RATES[-1])
            print(f"{level} {name}: {trials}" + edge * " (ponta da grade)", file=sys.stderr,
                  flush=True)
            measures[name] = {"taxa": best, "na_ponta": edge, "passos": steps,
                              "execuções": [],
                              "ensaios": {str(r): bits for r, bits in trials.items()}}
        asked = [(name, seed, pool.submit(measured, level, measures[name]["taxa"], seed,
                                          measures[name]["passos"], "train", "validation"))
                 for seed in SEEDS for level, name in enumerate(c.LADDER)]
        for name, seed, result in asked:
            bits, steps, spent = result.result()
            measures[name]["execuções"].append({
                "semente": seed, "bits_por_byte": bits, "passos": steps, "segundos": spent})
            print(f"{name}, semente {seed}: {bits}, {steps} passos, {spent} s",
                  file=sys.stderr, flush=True)
    levels = enumerate(c.LADDER)
    save("escada", USED, ["torch"], sementes=SEEDS,
         tarefa={"segundos_de_processador": seconds, "segundos_por_ensaio": search,
                 "milissegundos_por_passo": [round(1000 * each, 1) for each in pace],
                 "taxas": RATES, "threads": 1, "processos": 2, "vocabulário": VOCABULARY,
                 "lote": BATCH, "forma": SHAPE,
                 "parâmetros": {n: c.climb(k, plan(c)).num_parameters() for k, n in levels},
                 "dados": {"02-texto-vira-numero/corpus": {
                     f"{p}.jsonl": corpus.sums()[f"{p}.jsonl"] for p in PARTS}}},
         medidas=measures)


if __name__ == "__main__":
    main(sys.argv[1:])
