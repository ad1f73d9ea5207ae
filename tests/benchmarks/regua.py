"""A régua do capítulo 05: o que um modelo sabe e escreve quando chega a cada nota.

    python tests/benchmarks/regua.py [passos do treino mais longo, 1500 se nada for dito]

As definições e a receita são as do caderno 05. Um treino inteiro (a primeira semente) é parado
em instantes marcados e medido na validação inteira; na primeira vez que passa por um dos LEVELS
de bits por byte, grava-se o degrau: passos, tokens, segundos, lacunas, pares mínimos, cópia e um
texto, sempre da mesma semente e sem escolha. Depois, treinos *completos* de 1/8, 1/4, 1/2 e 1
vezes os passos, com três sementes, dizem a nota que se espera de quem leu tantos tokens. Os
segundos são de processador, uma thread por treino, só dos passos (sem as medidas); correm dois
processos lado a lado. Grava resultados/regua.json.
"""

import contextlib
import dataclasses
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from registro import pecas, save

SEEDS = [1891, 1892, 1893]
STEPS, PARTS_OF = 1500, [8, 4, 2, 1]
LEVELS = [4.0, 3.5, 3.0, 2.5, 2.2, 2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.45, 1.4, 1.35, 1.3]
LOOKS = 40  # instantes em que o treino longo é medido; mais juntos no começo
WRITTEN, LENGTH = 24, 130  # textos por degrau para a cópia, e tokens em cada um
PARTS = {p: f"02-texto-vira-numero/corpus/{p}.jsonl" for p in ("treino", "validacao")}
SETS = ("lacunas", "pares_minimos")
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["GPTConfig", "KVCache", "causal", "check_ids"],
    "05": ["BigramMemory", "ModernAttention", "ModernBlock", "ModernConfig",
           "ModernFeedForward", "ModernGPT", "Muon", "ReluSquared", "TrainConfig",
           "TwoOptimizers", "cloze_accuracy", "cloze_marks", "copied_share", "draw",
           "Evaluation", "evaluate", "filter_logits", "generate", "get_batch", "learning_rate_at",
           "make_modern_optimizer", "mixed_precision", "modern_options", "modern_plan",
           "orthogonalize", "pad_right", "pair_accuracy",
           "pair_marks", "penalize", "prompt_ids", "rate", "rates", "rms_norm", "rotary_tables",
           "rotate_halves", "sample", "sampled_interval", "score_windows", "seeded", "split_roles",
           "text_nats", "train_step", "wilson", "word_grams"],
}  # fmt: skip
STATE = {}
TURN = contextlib.nullcontext  # troque-a para ceder a máquina entre grupos de treinos


def prepare(data: dict) -> None:
    """O que cada processo faz ao nascer: uma thread, as definições, os dados."""
    import torch

    torch.set_num_threads(1)
    c = pecas.lift(pecas.notebooks()["05"])
    texts = data["textos"]
    tokenizer = c.BPETokenizer.train(texts["treino"], 2048)
    streams = {p: c.token_stream(tokenizer, texts[p]) for p in PARTS}
    sizes = {p: sum(len(t.encode("utf-8")) for t in texts[p]) for p in PARTS}
    STATE.update(data, c=c, tokenizer=tokenizer, ids=streams, bytes=sizes,
                 known=c.word_grams(texts["treino"]),
                 words={w for t in texts["treino"] for w in re.findall(r"\w+", t.lower())})


def measures(model) -> dict:
    """O que se mede num degrau, além da nota."""
    import torch

    c, tokenizer = STATE["c"], STATE["tokenizer"]
    start = c.prompt_ids(tokenizer).repeat(WRITTEN, 1)
    ids = c.generate(model, start, LENGTH, 0.9, top_p=0.95,
                     generator=torch.Generator().manual_seed(1))
    texts = [tokenizer.decode(row[1:].tolist()).split("<|fim|>")[0] for row in ids]
    words = [w for t in texts for w in re.findall(r"\w+", t.lower())]
    try:
        copied = c.copied_share(texts, STATE["known"])
    except ValueError:  # nenhum texto tem oito palavras
        copied = None
    return {
        "lacunas": c.cloze_accuracy(model, tokenizer, STATE["lacunas"])["todas"],
        "pares": c.pair_accuracy(model, tokenizer, STATE["pares_minimos"])["todos"],
        "cópia": copied,
        "palavras_do_corpus": round(sum(w in STATE["words"] for w in words)
                                    / max(1, len(words)), 4),
        "amostra": c.sample(model, tokenizer),
    }


def run(seed: int, steps: int, rungs: bool) -> dict:
    """Um treino inteiro; com `rungs`, parado e medido pelo caminho."""
    import torch

    c, ids = STATE["c"], STATE["ids"]
    options = c.modern_options(steps, seed)
    torch.manual_seed(seed)
    model = c.ModernGPT(c.modern_plan(STATE["tokenizer"].vocab_size))
    optimizer = c.make_modern_optimizer(model, options)
    tools = c.mixed_precision(torch.device("cpu"))
    per_step = options.batch_size * options.accumulation * model.config.context_length
    looks = {max(1, round(steps * (k / LOOKS) ** 2)) for k in range(1, LOOKS + 1)}
    left, found, curve, recent, seconds = list(LEVELS), [], [], [], 0.0
    for step in range(1, steps + 1):
        began = time.process_time()
        recent.append(c.train_step(model, optimizer, ids["treino"], step - 1, options, *tools))
        seconds += time.process_time() - began
        if step != steps and not (rungs and step in looks):
            continue
        bits = c.evaluate(model, ids["validacao"], STATE["bytes"]["validacao"]).bits_per_byte
        row = {"passo": step, "tokens": step * per_step, "segundos": round(seconds, 1),
               "bits_por_byte": round(bits, 4),
               "perda_de_treino": round(sum(recent) / len(recent), 4)}
        curve, recent = [*curve, row], []
        crossed = [level for level in left if bits <= level]
        better = not found or bits < found[-1]["bits_por_byte"]
        if rungs and (crossed or (step == steps and better)):
            left = [level for level in left if bits > level]
            found.append({"nível": crossed[-1] if crossed else None} | row | measures(model))
            model.train()
            print(f"degrau {found[-1]['nível']}: {bits:.3f}", file=sys.stderr, flush=True)
    return {"semente": seed, "passos": steps, "curva": curve, "degraus": found,
            "parâmetros": model.num_parameters()}


def main(argv: list[str]) -> None:
    import corpus
    import dados

    steps = int(argv[0]) if argv else STEPS
    c = pecas.lift(pecas.notebooks()["05"])
    rows = corpus.load()[0]
    data = {"textos": {p: [c.document_text(r) for r in rows[p]] for p in PARTS},
            "lacunas": dados.load(dados.SETS["lacunas"])[0]["lacunas"],
            "pares_minimos": dados.load(dados.SETS["pares"])[0]["pares_minimos"]}
    jobs = [(seed, steps // part, part == 1 and seed == SEEDS[0])
            for part in reversed(PARTS_OF) for seed in SEEDS]
    with ProcessPoolExecutor(2, get_context("spawn"), prepare, (data,)) as pool, TURN():
        asked = [pool.submit(run, *job) for job in jobs]
        done = [each.result() for each in asked]
    long = next(r for r in done if r["degraus"])
    trainings = [{"passos": steps // part, "tokens": done_[0]["curva"][-1]["tokens"],
                  "execuções": [{"semente": r["semente"]} | {
                      k: r["curva"][-1][k] for k in ("bits_por_byte", "segundos")}
                      for r in done_]}
                 for part in PARTS_OF
                 if (done_ := [r for r in done if r["passos"] == steps // part])]
    files = {f"{p}.jsonl": corpus.sums()[f"{p}.jsonl"] for p in PARTS}
    save("regua", USED, ["torch"], sementes=SEEDS,
         tarefa={"planta": dataclasses.asdict(c.modern_plan(2048)),
                 "treino": dataclasses.asdict(c.modern_options(steps, SEEDS[0])),
                 "passos": steps, "threads": 1, "processos": 2, "textos_por_degrau": WRITTEN,
                 "parâmetros": long["parâmetros"], "níveis": LEVELS,
                 "dados": {"02-texto-vira-numero/corpus": files}},
         medidas={"degraus": long["degraus"], "curva": long["curva"], "treinos": trainings})


if __name__ == "__main__":
    main(sys.argv[1:])
