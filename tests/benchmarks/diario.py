"""O diário de laboratório do capítulo 05: a receita de hoje com uma coisa mudada de cada vez.

    python tests/benchmarks/diario.py [segundos por treino, 60 se nada for dito]
    python tests/benchmarks/diario.py 120 longas     só as de LONG, com mais tempo

Cada linha do diário muda uma coisa na receita de `modern_plan`, `modern_options` e
`make_modern_optimizer`, treina com duas sementes e é medida na validação, ao lado da receita sem
mudança, com quatro. Quantos passos cabem no tempo sai do ritmo de cada variação, medido uma vez,
no relógio de processador, uma thread, com todas se alternando: se a máquina engasga, engasga para
todas. Os treinos correm depois, dois lado a lado. As trocas de peça (norma, posição, ativação,
saída solta, Muon…) estão em escada.py, no outro sentido: do GPT-2 para cá. Grava
resultados/diario.json, ou diario_longas.json.
"""

import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from registro import pecas, save

SECONDS, SEEDS, MORE = 60.0, [0, 1], [0, 1, 2, 3]
PARTS = ("treino", "validacao")
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["GPTConfig", "causal", "check_ids"],
    "05": ["BigramMemory", "ModernAttention", "ModernBlock", "ModernConfig",
           "ModernFeedForward", "ModernGPT", "Muon", "ReluSquared", "TrainConfig",
           "TwoOptimizers", "Evaluation", "evaluate", "get_batch", "learning_rate_at",
           "make_modern_optimizer", "mixed_precision", "modern_options", "modern_plan", "orthogonalize",
           "rms_norm", "rotary_tables", "rotate_halves", "split_roles", "train_step"],
}  # fmt: skip

# nome: (mudanças na planta, mudanças no treino, mudanças no otimizador)
VARIATIONS = {
    "a receita": ({}, {}, {}),
    "vocabulário 1.024": ({"vocab_size": 1024}, {}, {}),
    "vocabulário 4.096": ({"vocab_size": 4096}, {}, {}),
    "três blocos": ({"n_layer": 3}, {}, {}),
    "um bloco": ({"n_layer": 1}, {}, {}),
    "mais estreito: 96 canais": ({"d_model": 96}, {}, {}),
    "mais largo: 192 canais": ({"d_model": 192, "n_head": 6}, {}, {}),
    "duas cabeças": ({"n_head": 2}, {}, {}),
    "janela de 32, lote de 32": ({"context_length": 32}, {"batch_size": 32}, {}),
    "janela de 64, lote de 16": ({"context_length": 64}, {"batch_size": 16}, {}),
    "janela de 256, lote de 4": ({"context_length": 256}, {"batch_size": 4}, {}),
    "lote de 4": ({}, {"batch_size": 4}, {}),
    "lote de 16": ({}, {"batch_size": 16}, {}),
    "sem memória de pares": ({"bigram_size": 0}, {}, {}),
    "memória quatro vezes menor": ({"bigram_size": 4096}, {}, {}),
    "memória quatro vezes maior": ({"bigram_size": 65_536}, {}, {}),
    "dropout 0,1": ({"dropout": 0.1}, {}, {}),
    "meio cosseno até um décimo": ({}, {"decay": "cosine", "min_lr_ratio": 0.1}, {}),
    "sem aquecimento": ({}, {"warmup_steps": 0}, {}),
    "AdamW no lugar de Muon": ({}, {}, {"muon_lr": None}),
    "Muon com cinco passos de Newton–Schulz": ({}, {}, {"muon_steps": 5}),
    "Muon com o dobro da taxa": ({}, {}, {"muon_lr": 0.04}),
    "Muon com metade da taxa": ({}, {}, {"muon_lr": 0.01}),
    "tabelas com a taxa das matrizes": ({}, {}, {"embedding_lr": 0.006}),
    "tabelas com o dobro da taxa": ({}, {}, {"embedding_lr": 0.1}),
    "saída com o dobro da taxa": ({}, {}, {"head_lr": 0.012}),
}
# as que o tempo pode virar: as de tamanho, e as que ganharam da receita na corrida curta
LONG = ["a receita", "vocabulário 1.024", "vocabulário 4.096", "três blocos", "um bloco",
        "mais estreito: 96 canais", "mais largo: 192 canais", "janela de 32, lote de 32",
        "dropout 0,1", "meio cosseno até um décimo", "tabelas com o dobro da taxa",
        "saída com o dobro da taxa"]
STATE = {}


def prepare() -> None:
    """O que cada processo faz ao nascer: uma thread, as definições, os dados."""
    import corpus
    import torch

    torch.set_num_threads(1)
    books = pecas.notebooks()
    c02, parts = pecas.lift(books["02"]), corpus.load()[0]
    texts = {p: [c02.document_text(r) for r in parts[p]] for p in PARTS}
    STATE.update(c=pecas.lift(books["05"]), c02=c02, texts=texts, tokens={},
                 bytes=sum(len(t.encode()) for t in texts["validacao"]))


def tokens(vocab_size: int) -> dict:
    """Treino e validação com um vocabulário deste tamanho."""
    if vocab_size not in STATE["tokens"]:
        tokenizer = STATE["c02"].BPETokenizer.train(STATE["texts"]["treino"], vocab_size)
        STATE["tokens"][vocab_size] = {
            p: STATE["c02"].token_stream(tokenizer, STATE["texts"][p]) for p in PARTS}
    return STATE["tokens"][vocab_size]


def born(name: str, steps: int, seed: int):
    """(modelo, opções, otimizador, tokens) recém-nascidos de uma variação."""
    import torch

    c, (plan, pace, rates) = STATE["c"], VARIATIONS[name]
    config = replace(c.modern_plan(2048), **plan)
    torch.manual_seed(seed)
    model = c.ModernGPT(config)
    options = c.modern_options(steps, seed, **pace)
    return (model, options, c.make_modern_optimizer(model, options, **rates),
            tokens(config.vocab_size))


def go(model, options, optimizer, ids, first: int, last: int) -> float:
    """Passos de `first` a `last`; devolve os segundos de processador."""
    tools = STATE["c"].mixed_precision(next(model.parameters()).device)
    began = time.process_time()
    for step in range(first, last):
        STATE["c"].train_step(model, optimizer, ids["treino"], step, options, *tools)
    return time.process_time() - began


def paces(names: list[str], laps: int = 3, steps: int = 5) -> dict[str, float]:
    """Segundos de processador por passo de cada variação: mediana das voltas."""
    prepare()
    racers, seen = {}, {name: [] for name in names}
    for name in names:
        racers[name] = born(name, 10_000, 99)
        go(*racers[name], 0, 2)  # esquenta
    for lap in range(laps):
        for name, racer in racers.items():
            seen[name].append(go(*racer, 2 + lap * steps, 2 + (lap + 1) * steps) / steps)
    return {name: statistics.median(times) for name, times in seen.items()}


def trial(name: str, seed: int, steps: int) -> tuple[str, dict]:
    """Um treino inteiro e a sua nota na validação: (nome, medidas)."""
    model, options, optimizer, ids = born(name, steps, seed)
    try:
        spent = go(model, options, optimizer, ids, 0, steps)
        score = STATE["c"].evaluate(model.eval(), ids["validacao"], STATE["bytes"])
    except ValueError:  # divergiu
        return name, {"semente": seed, "bits_por_byte": None, "passos": steps}
    return name, {"semente": seed, "bits_por_byte": round(score.bits_per_byte, 4),
                  "passos": steps, "segundos": round(spent, 1)}


def main(arguments: list[str]) -> int:
    import corpus

    seconds = float(arguments[0]) if arguments else SECONDS
    long = arguments[1:] == ["longas"]
    names = LONG if long else list(VARIATIONS)
    jobs = [(name, seed) for name in names
            for seed in (MORE if name == "a receita" else SEEDS)]
    out = {name: [] for name in names}
    pace = paces(names)
    steps = [max(20, round(seconds / pace[name])) for name, _ in jobs]
    print({name: round(1000 * each) for name, each in pace.items()}, flush=True)
    with ProcessPoolExecutor(2, get_context("spawn"), prepare) as pool:
        for name, notes in pool.map(trial, *zip(*jobs, strict=True), steps):
            out[name].append(notes)
            print(name, notes, flush=True)
    save("diario_longas" if long else "diario", USED, ["torch", "numpy"], sementes=MORE,
         tarefa={"segundos": seconds, "milissegundos_por_passo": {
             name: round(1000 * each, 1) for name, each in pace.items()}, "dados": {
             n: h for n, h in corpus.sums().items() if n.endswith(".jsonl")}}, medidas=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
