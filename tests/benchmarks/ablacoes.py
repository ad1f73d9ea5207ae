"""As ablações do capítulo 04: o GPT sem uma peça de cada vez, depois de um minuto de treino.

    python tests/benchmarks/ablacoes.py [segundos por treino, 60 se nada for dito]

As definições são as do caderno 04. Primeiro, cada variante escolhe a sua taxa de aprendizado
entre RATES: ensaios de SEARCH segundos, em que treina nos documentos de treino menos os últimos
HELD e é medida nesses. Depois treina com a taxa escolhida, em todos os documentos de treino, com
três sementes, e é medida na validação, que não escolheu nada. O relógio é o de processador de
cada processo, com uma thread; correm dois processos lado a lado. Grava resultados/ablacoes.json.
"""

import contextlib
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from registro import pecas, save

SEEDS = [0, 1, 2]
SECONDS, SEARCH = 60.0, 8.0
RATES = [1e-3, 3e-3, 1e-2]
HELD = 150  # documentos de treino guardados para escolher a taxa
BINS = 20  # pontos da curva de treino que se gravam: médias de trechos iguais
PARTS = {p: f"02-texto-vira-numero/corpus/{p}.jsonl" for p in ("treino", "validacao")}
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["ABLATED", "ABLATION", "AblatedBlock", "FeedForward", "GELU", "GPT", "GPTConfig",
           "LayerNorm", "MultiHeadAttention", "TransformerBlock", "ablated_gpt", "causal", "check_ids",
           "born_alike", "depth_gradients", "held_out_loss", "init_weights",
           "next_token_loss", "train_ablated", "unigram_loss"],
}  # fmt: skip
STATE = {}
TURN = contextlib.nullcontext  # troque-a para ceder a máquina entre grupos de treinos


def prepare(streams: dict) -> None:
    """O que cada processo faz ao nascer: uma thread, as definições, os dados."""
    import torch

    torch.set_num_threads(1)
    STATE.update({name: torch.from_numpy(ids) for name, ids in streams.items()},
                 c=pecas.lift(pecas.notebooks()["04"]))


def short(loss: float) -> float | None:
    """Quatro casas; None quando deixou de ser número (o JSON não tem nan)."""
    return round(loss, 4) if math.isfinite(loss) else None


def trial(name: str, rate: float, seconds: float) -> float | None:
    """Um ensaio de taxa: a perda nos documentos de treino guardados."""
    c = STATE["c"]
    model = c.born_alike(name, seed=100)
    c.train_ablated(model, STATE["most"], rate, seed=100, cpu_seconds=seconds)
    return short(c.held_out_loss(model, STATE["kept"]))


def run(name: str, rate: float, seed: int, seconds: float) -> dict:
    """Um treino: o que se mede ao nascer, a curva e a perda na validação."""
    import torch

    c = STATE["c"]
    model = c.born_alike(name, seed)
    first = c.held_out_loss(model, STATE["validation"])
    T = c.ABLATION.context_length
    rows = STATE["train"][: 8 * (T + 1)].view(8, T + 1)
    slopes = c.depth_gradients(model, rows)
    losses = c.train_ablated(model, STATE["train"], rate, seed, cpu_seconds=seconds)
    edges = torch.linspace(0, len(losses), BINS + 1).long().tolist()
    curve = [short(sum(losses[a:b]) / (b - a)) if b > a else None
             for a, b in zip(edges, edges[1:], strict=False)]
    return {"semente": seed, "primeira_perda": short(first),
            "gradientes": [float(f"{s:.4g}") for s in slopes], "passos": len(losses),
            "perda_na_validação": short(c.held_out_loss(model, STATE["validation"])),
            "curva": curve}


def main(argv: list[str]) -> None:
    import corpus

    seconds = float(argv[0]) if argv else SECONDS
    search = min(SEARCH, seconds)
    c = pecas.lift(pecas.notebooks()["04"])
    rows = corpus.load()[0]
    texts = {p: [c.document_text(r) for r in rows[p]] for p in PARTS}
    fast = c.BPETokenizer.train(texts["treino"][:400], c.ABLATION.vocab_size).to_tiktoken()
    streams = {"train": c.token_stream(fast, texts["treino"]),
               "most": c.token_stream(fast, texts["treino"][:-HELD]),
               "kept": c.token_stream(fast, texts["treino"][-HELD:]),
               "validation": c.token_stream(fast, texts["validacao"])}
    unigram = c.unigram_loss(streams["train"], streams["validation"], c.ABLATION.vocab_size)
    arrays, measures = {name: ids.numpy() for name, ids in streams.items()}, {}
    with ProcessPoolExecutor(2, get_context("spawn"), prepare, (arrays,)) as pool:
        for name in c.ABLATED:
            with TURN():
                asked = {r: pool.submit(trial, name, r, search) for r in RATES}
                found = {r: asked[r].result() for r in RATES}
            finite = {r: loss for r, loss in found.items() if loss is not None}
            print(f"{name}: {found}", file=sys.stderr, flush=True)
            measures[name] = {"taxa": min(finite, key=finite.get), "execuções": [],
                              "ensaios": {str(r): v for r, v in found.items()}}
        for seed in SEEDS:
            for half in (list(c.ABLATED)[:4], list(c.ABLATED)[4:]):
                with TURN():
                    asked = {n: pool.submit(run, n, measures[n]["taxa"], seed, seconds)
                             for n in half}
                    done = {n: asked[n].result() for n in half}
                for name, result in done.items():
                    measures[name]["execuções"].append(result)
                    print(f"{name}, semente {seed}: {result['perda_na_validação']}, "
                          f"{result['passos']} passos", file=sys.stderr, flush=True)
    save("ablacoes", USED, ["torch"], sementes=SEEDS,
         tarefa={"segundos_de_processador": seconds, "segundos_por_ensaio": search,
                 "taxas": RATES, "threads": 1, "processos": 2,
                 "parâmetros": c.born_alike("completo").num_parameters(),
                 "ln_V": round(math.log(c.ABLATION.vocab_size), 4), "só_contar": short(unigram),
                 "dados": {"02-texto-vira-numero/corpus": {
                     f"{p}.jsonl": corpus.sums()[f"{p}.jsonl"] for p in PARTS}}},
         medidas=measures)


if __name__ == "__main__":
    main(sys.argv[1:])
