"""O sentimento das avaliações: sacos de palavras contra codificadores, cinco sementes.

    python tests/benchmarks/sentimento.py [passos de leitura, 6000 se nada for dito]

As definições são as do caderno 03. Os sacos são determinísticos; a força deles sai da
validação. Cada semente treina um codificador sorteado e outro que antes leu, por lacunas, o
corpus e os textos das avaliações de treino, sem os rótulos. Grava os rótulos previstos na
prova e na validação, um algarismo por avaliação, e o caderno refaz as contas deles.
Duas sementes rodam lado a lado, uma thread cada uma.
"""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from registro import pecas, save

SEEDS = [0, 1, 2, 3, 4]
STEPS = 6000
VOCAB_SIZE = 2048
REVIEW_COPIES = 3
PARTS = ("treino", "validacao", "teste")
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "03": ["Encoder", "EncoderBlock", "GapReader", "GapSymbols", "IGNORE", "LABELS",
           "MultiHeadAttention", "ReviewReader", "TransformerConfig", "accuracy",
           "bag_of_words", "bag_vocabulary", "calm_embeddings", "causal_mask", "check_heads", "check_input",
           "check_mask", "check_symbols", "choose_bag", "fit_logistic", "fit_steps",
           "gap_loss", "mask_tokens", "merge_heads", "pad_reviews", "random_windows",
           "review_scores", "review_words", "split_heads", "think", "train_gaps",
           "train_reviews"],
}  # fmt: skip


def digits(scores) -> str:
    """Os rótulos previstos, um algarismo por avaliação."""
    return "".join(str(i) for i in scores.argmax(1).tolist())


def data(c) -> dict:
    """Tudo o que uma semente usa: ids, rótulos, o fluxo para as lacunas, a planta."""
    import corpus
    import torch

    read = {p: [json.loads(line) for line in
                (pecas.ROOT / f"06-fine-tuning/dados/{p}.jsonl").read_text("utf-8").splitlines()]
            for p in PARTS}  # fmt: skip
    texts = {p: [r["texto"] for r in rows] for p, rows in read.items()}
    labels = {p: torch.tensor([c.LABELS.index(r["rotulo"]) for r in rows])
              for p, rows in read.items()}  # fmt: skip
    train = [c.document_text(row) for row in corpus.load()[0]["treino"]]
    tokenizer = c.BPETokenizer.train(train, VOCAB_SIZE)
    symbols = c.GapSymbols(tokenizer.vocab_size)
    stream = c.token_stream(tokenizer, train + REVIEW_COPIES * texts["treino"])
    ids = {p: c.pad_reviews(rows, tokenizer, symbols.pad, 96) for p, rows in texts.items()}
    return {"texts": texts, "labels": labels, "ids": ids, "stream": stream, "symbols": symbols}


def plan(c, symbols, dropout: float = 0.0):
    return c.TransformerConfig(symbols.size, context_length=96, d_model=64, n_head=4,
                               n_layer=2, dropout=dropout)  # fmt: skip


def one_seed(seed: int, steps: int) -> dict:
    """Os dois codificadores de uma semente."""
    import torch

    torch.set_num_threads(1)
    c = pecas.lift(pecas.notebooks()["03"])
    d = data(c)
    config, began = plan(c, d["symbols"]), time.perf_counter()
    reader, losses = c.train_gaps(config, d["stream"], d["symbols"], steps, seed=seed)
    found = {"semente": seed, "perda_da_leitura": round(sum(losses[-100:]) / 100, 4),
             "segundos_de_leitura": round(time.perf_counter() - began, 1)}  # fmt: skip
    for name, start in (("codificador sorteado", None), ("codificador que leu", reader.encoder)):
        model = c.train_reviews(d["ids"]["treino"], d["labels"]["treino"], config, d["symbols"],
                                seed=seed, start=start)  # fmt: skip
        scores = {p: c.review_scores(model, d["ids"][p]).log_softmax(1)
                  for p in ("validacao", "teste")}  # fmt: skip
        found[name] = {p: s.tolist() for p, s in scores.items()}
        right = c.accuracy(scores["validacao"], d["labels"]["validacao"])
        print(f"semente {seed}, {name}: {right:.3f} na validação", file=sys.stderr, flush=True)
    return found


def main(argv: list[str]) -> None:
    import corpus
    import torch

    steps = int(argv[0]) if argv else STEPS
    c = pecas.lift(pecas.notebooks()["03"])
    d = data(c)
    notes, forces = {}, {}
    for name, pairs in (("saco de palavras", False), ("saco com pares", True)):
        forces[name], scores = c.choose_bag(d["texts"], d["labels"], pairs)
        notes[name] = {p: scores[p].log_softmax(1)[None] for p in ("validacao", "teste")}
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(one_seed, SEEDS, [steps] * len(SEEDS)))
    nets = ("codificador sorteado", "codificador que leu")
    for name in nets:
        notes[name] = {p: torch.tensor([run[name][p] for run in runs])
                       for p in ("validacao", "teste")}  # (S, N, 3)
    partner = max(nets, key=lambda name: sum(
        c.accuracy(run, d["labels"]["validacao"]) for run in notes[name]["validacao"]))
    notes["os dois juntos"] = {p: notes["saco de palavras"][p] + notes[partner][p]
                               for p in ("validacao", "teste")}  # fmt: skip

    def gathered(part: str) -> dict[str, list[str]]:
        return {name: [digits(run) for run in both[part]] for name, both in notes.items()}

    save("sentimento", USED, ["torch", "numpy"], sementes=SEEDS,
         tarefa={"passos_de_leitura": steps, "threads": 1, "ao_mesmo_tempo": 2,
                 "dados": {"02-texto-vira-numero/corpus/treino.jsonl":
                           corpus.sums()["treino.jsonl"]}},
         medidas={"forças": forces, "na_dupla": partner,
                  "leitura": [{k: run[k] for k in ("semente", "perda_da_leitura",
                                                   "segundos_de_leitura")} for run in runs],
                  "validação": gathered("validacao"), "prova": gathered("teste")})  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
