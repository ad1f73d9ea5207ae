"""A história dos modelos de linguagem numa régua: bits por byte na validação do capítulo 01.

    python tests/benchmarks/historia.py [segundos por rede, 120 se nada for dito]

As definições são as do caderno 01. As contagens e os compressores são determinísticos e rodam
uma vez; cada rede (até PARAMETERS parâmetros) treina pelo mesmo tempo com três sementes, uma
de cada vez, em dois núcleos. Grava resultados/historia.json, que o caderno desenha ao lado da
execução curta.
"""

import gzip
import lzma
import math
import sys
import time

from registro import pecas, save

SEEDS = [0, 1, 2]
SECONDS = 120.0
THREADS = 2
PARTS = {p: f"02-texto-vira-numero/corpus/{p}.jsonl" for p in ("treino", "validacao")}
USED = {
    "01": ["ByteBlock", "ByteLSTM", "ByteMLP", "ByteModel", "ByteRNN", "ByteTransformer", "FIM",
           "HISTORY", "KneserNey", "NAMES", "PARAMETERS", "RATES", "added_bits", "bpb",
           "gram_keys", "look_up", "stream_probs", "tempered", "to_stream",
           "train_for", "write"],
}  # fmt: skip


def counting(c, train, val, size) -> dict[str, dict]:
    """Os n-gramas de Kneser–Ney, o modelo uniforme e os compressores."""
    import numpy as np

    uniform = c.bpb(np.full(len(val) - 1, 1 / 256), size)
    measures = {"uniforme": {"execuções": [{"bits_por_byte": round(uniform, 4)}]}}
    for n, name in c.NAMES.items():
        began = time.perf_counter()
        model = c.KneserNey(c.gram_keys(train, n), n)
        bits = c.bpb(model.probs(c.gram_keys(val, n)), size)
        measures[name] = {
            "números": int(sum(np.size(p) for level in model.levels.values() for p in level)),
            "execuções": [{"bits_por_byte": round(bits, 4),
                           "segundos": round(time.perf_counter() - began, 2)}],
        }
    past, new = train.tobytes(), val[1:].tobytes()
    for name, compress in (("gzip", gzip.compress), ("xz", lambda d: lzma.compress(d, preset=9))):
        bits = c.added_bits(compress, past, new)
        measures[name] = {"execuções": [{"bits_por_byte": round(bits, 4)}]}
    return measures


def network(c, name, train, val, size, seed, seconds) -> dict:
    """Uma rede, uma semente: a nota, os passos e uma amostra."""
    import torch

    torch.manual_seed(seed)
    model = c.HISTORY[name]()
    losses = c.train_for(model, train, seconds, c.RATES[name], seed=seed)
    model.eval()
    bits = c.bpb(c.stream_probs(model, val), size)
    if not math.isfinite(bits):
        raise SystemExit(f"{name}, semente {seed}: a nota não é um número.")
    print(f"{name}, semente {seed}: {bits:.3f} bits por byte, {len(losses)} passos",
          file=sys.stderr)
    return {"semente": seed, "bits_por_byte": round(bits, 4), "passos": len(losses),
            "perda_no_fim": round(sum(losses[-50:]) / len(losses[-50:]), 4),
            "amostra": c.write(model.next_probs, "Dona Nair ", 150, 0.7, seed=5)}


def main(argv: list[str]) -> None:
    import corpus
    import numpy as np
    import torch

    seconds = float(argv[0]) if argv else SECONDS
    torch.set_num_threads(THREADS)
    c = pecas.lift(pecas.notebooks()["01"])
    texts = {p: [r["titulo"] + "\n\n" + r["texto"] for r in corpus.load()[0][p]] for p in PARTS}
    train, val = (c.to_stream(texts[p]) for p in PARTS)
    size = sum(len(t.encode("utf-8")) for t in texts["validacao"])
    measures = counting(c, train, val, size)
    as_tensor = [torch.from_numpy(s.astype(np.int64)) for s in (train, val)]
    for name, kind in c.HISTORY.items():
        n_params = sum(p.numel() for p in kind().parameters())
        if n_params > c.PARAMETERS:
            raise SystemExit(f"{name} tem {n_params} parâmetros; o orçamento é {c.PARAMETERS}.")
        runs = [network(c, name, *as_tensor, size, seed, seconds) for seed in SEEDS]
        measures[name] = {"números": n_params, "execuções": runs}
    save("historia", USED, ["torch", "numpy"], sementes=SEEDS,
         tarefa={"segundos": seconds, "parâmetros": c.PARAMETERS, "threads": THREADS,
                 "bytes_de_validação": size,
                 "dados": {"02-texto-vira-numero/corpus": {
                     f"{p}.jsonl": corpus.sums()[f"{p}.jsonl"] for p in PARTS}}},
         medidas=measures)


if __name__ == "__main__":
    main(sys.argv[1:])
