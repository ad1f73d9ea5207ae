"""Quanto vale mais texto: o modelo do capítulo 05 com os primeiros 200 KB e com tudo.

    python tests/benchmarks/quanto_texto.py

A receita da seção 9 do caderno (só o corpus muda), os passos que cabem em quarenta segundos de dois
núcleos, o mesmo tokenizador (o do corpus inteiro, para que só o texto de treino mude), duas
sementes. Fica a melhor de seis avaliações na validação: com 200 KB o treino relê o texto muitas
vezes, e o seu melhor momento vem bem antes do fim. Mede a parte de teste em bits por byte, as
lacunas e os pares mínimos, e guarda três amostras de cada, as três primeiras, sem escolher.
"""

import dataclasses
import json
import math
import sys
import time

import torch
from conjuntos import grouped, rate
from registro import cores, pecas, save
from torch.nn import functional as F

VOCAB_SIZE = 2048
SEEDS = (1891, 1892)
SIZES = {"200 KB": 200_000, "corpus inteiro": math.inf}
STEPS = 480
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["GPTConfig", "KVCache", "causal", "check_ids"],
    "05": ["BigramMemory", "Evaluation", "ModernAttention", "ModernBlock", "ModernConfig",
           "ModernFeedForward", "ModernGPT", "Muon", "ReluSquared", "TrainConfig",
           "TwoOptimizers", "evaluate", "filter_logits", "generate", "get_batch", "keep_best",
           "learning_rate_at", "make_modern_optimizer", "make_optimizer", "mixed_precision", "modern_options",
           "modern_plan", "orthogonalize", "penalize", "progress_row", "rms_norm", "rotary_tables",
           "rotate_halves", "seeded", "split_roles", "train", "train_step"],
}  # fmt: skip


@torch.no_grad()
def bits(model, tokenizer, text: str) -> float:
    """A surpresa, em bits, de um parágrafo que começa um documento (até o contexto)."""
    [end] = tokenizer.encode("<|fim|>", allowed_special={"<|fim|>"})
    head = tokenizer.encode("\n\n")
    ids = torch.tensor([end, *head, *tokenizer.encode(text)])[None]
    ids = ids[:, -model.config.context_length - 1:]
    logits = model(ids[:, :-1])
    return float(F.cross_entropy(logits[0], ids[0, 1:], reduction="sum")) / math.log(2)


def main() -> None:
    import corpus
    import dados

    torch.set_num_threads(cores())
    books = {n: pecas.lift(pecas.notebooks()[n]) for n in ("02", "05")}
    c02, c05 = books["02"], books["05"]
    parts, _ = corpus.load()
    texts = {p: [c02.document_text(r) for r in rows] for p, rows in parts.items()}
    tokenizer = c02.BPETokenizer.train(texts["treino"], VOCAB_SIZE)
    ids = {p: c02.token_stream(tokenizer, t) for p, t in texts.items()}
    size = {p: sum(len(t.encode()) for t in ts) for p, ts in texts.items()}
    cloze = dados.load(dados.SETS["lacunas"])[0]["lacunas"]
    pairs = dados.load(dados.SETS["pares"])[0]["pares_minimos"]
    out = {}
    for name, limit in SIZES.items():
        some, total = [], 0
        for t in texts["treino"]:
            if total >= limit:
                break
            some.append(t)
            total += len(t.encode())
        runs = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            model = c05.ModernGPT(c05.modern_plan(tokenizer.vocab_size))
            options = c05.modern_options(STEPS, seed, eval_every=STEPS // 6)
            start = time.perf_counter()
            c05.train(model, c02.token_stream(tokenizer, some),
                      options, ids["validacao"], size["validacao"], progress=False,
                      optimizer=c05.make_modern_optimizer(model, options))
            seconds = time.perf_counter() - start
            model.eval()
            test = c05.evaluate(model, ids["teste"], size["teste"])
            filled = [min(r["opcoes"], key=lambda o: bits(
                model, tokenizer, r["texto"].replace("____", o))) == r["resposta"]
                for r in cloze]
            agreed = [bits(model, tokenizer, r["certa"]) < bits(model, tokenizer, r["errada"])
                      for r in pairs]
            samples = []
            for k in range(3):
                g = torch.Generator().manual_seed(k)
                end = ids["teste"][:1][None]
                drawn = c05.generate(model, end, 160, temperature=0.7, top_k=40, generator=g,
                                     stop_id=int(end))
                samples.append(tokenizer.decode(drawn[0, 1:].tolist()).replace("<|fim|>", ""))
            runs.append({"semente": seed, "segundos": round(seconds),
                         "bits_por_byte": round(test.bits_per_byte, 4), "lacunas": rate(filled),
                         "lacunas_por_tipo": grouped(cloze, filled, lambda r: r["tipo"]),
                         "pares": rate(agreed),
                         "pares_por_fenomeno": grouped(pairs, agreed, lambda r: r["fenomeno"]),
                         "amostras": samples})
            print(name, json.dumps(runs[-1], ensure_ascii=False)[:200], flush=True)
        out[name] = {"bytes": total, "execuções": runs}
    save("quanto_texto", USED, ["torch", "numpy"], sementes=list(SEEDS),
         tarefa={"planta": dataclasses.asdict(c05.modern_plan(VOCAB_SIZE)),
                 "treino": dataclasses.asdict(c05.modern_options(STEPS)),
                 "vocabulário": VOCAB_SIZE,
                 "dados": {"02-texto-vira-numero/corpus": {
                     n: h for n, h in corpus.sums().items() if n.endswith(".jsonl")}}},
         medidas=out)


if __name__ == "__main__":
    sys.exit(main())
