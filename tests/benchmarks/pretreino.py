"""O GPT de hoje contra a receita do GPT-2, pelo relógio: 30, 60, 120 e 240 segundos.

    python tests/benchmarks/pretreino.py               o que ainda falta gravar
    python tests/benchmarks/pretreino.py --do-zero     tudo de novo (uma hora, dois núcleos)
    python tests/benchmarks/pretreino.py --ate 120     só os orçamentos até 120 segundos

Três receitas com as definições dos cadernos, o mesmo corpus e, nas duas primeiras, o mesmo BPE:

    hoje    ModernGPT, com modern_plan e modern_options
    gpt2    o GPT do capítulo 04 no jeito do nanoGPT para CPU: quatro blocos de 128 canais,
            janelas de 64, lotes de 12, AdamW, aquecimento, meio cosseno até um décimo, uma
            taxa só, escolhida por busca
    letras  a mesma, lendo letras

Quantos passos cabem num orçamento sai do ritmo de cada receita, medido uma vez, com as três se
alternando na mesma máquina; os segundos que cada treino de fato levou também são gravados. As
taxas de `gpt2` e de `letras` saem de uma busca própria: RATES, uma semente, os passos que cabem
em SEARCH segundos, medida na validação. A nota é a do teste. O modelo de 240 s da receita de
hoje responde também às lacunas e aos pares mínimos, com o modelo base e o trigrama ao lado. Cada
treino é gravado assim que acaba: interrompido, continua.
"""

import contextlib
import io
import json
import math
import statistics
import sys
import time

import torch
from registro import RESULTS, cores, fingerprint, pecas, save

SEEDS = [0, 1, 2]
BUDGETS = {"hoje": [30, 60, 120, 240], "gpt2": [30, 60, 120, 240], "letras": [120]}
RATES, SEARCH = [1e-3, 2e-3, 4e-3, 8e-3], 60
VOCABULARY = 2048
PARTS = ("treino", "validacao", "teste")
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "04": ["FeedForward", "GELU", "GPT", "GPTConfig", "LayerNorm", "MultiHeadAttention",
           "TransformerBlock", "causal", "check_ids", "init_weights"],
    "05": ["BigramMemory", "ModernAttention", "ModernBlock", "ModernConfig",
           "ModernFeedForward", "ModernGPT", "Muon", "ReluSquared", "TrainConfig",
           "DEEDS", "Evaluation", "NGram", "PLACES", "PLACE_KEYS", "TwoOptimizers", "cloze_accuracy",
           "cloze_marks", "combination_exam", "combination_gap", "combination_rows",
           "compare", "deed_rows", "evaluate", "get_batch", "keep_best",
           "learning_rate_at", "load_model", "make_modern_optimizer", "make_optimizer",
           "mixed_precision", "modern_options", "modern_plan", "orthogonalize",
           "pad_right", "pair_accuracy", "pair_marks", "progress_row",
           "rate", "rates", "rms_norm", "rotary_tables", "rotate_halves", "sampled_interval", "score_windows",
           "seen_pairs", "split_roles", "text_nats", "train", "train_step", "wilson"],
}  # fmt: skip


class Letters:
    """O texto em letras: um id por letra do treino, 0 para o fim, 1 para as nunca vistas."""

    def __init__(self, texts):
        self.ids = {c: i + 2 for i, c in enumerate(sorted(set("".join(texts))))}
        self.vocab_size = len(self.ids) + 2

    def stream(self, texts):
        flat = [0]
        for text in texts:
            flat += [self.ids.get(c, 1) for c in text] + [0]
        return torch.tensor(flat)


class Bench:
    """Dados e definições, uma vez só."""

    def __init__(self):
        import corpus

        self.c02, self.c04, self.c05 = (
            pecas.lift(pecas.notebooks()[n]) for n in ("02", "04", "05"))
        self.parts, self.sums = corpus.load()[0], corpus.sums()
        texts = {p: [self.c02.document_text(r) for r in self.parts[p]] for p in PARTS}
        self.texts = texts["treino"]
        self.bytes = {p: sum(len(t.encode()) for t in ts) for p, ts in texts.items()}
        self.tokenizer = self.c02.BPETokenizer.train(texts["treino"], VOCABULARY)
        letters = Letters(texts["treino"])
        tokens = {p: self.c02.token_stream(self.tokenizer, ts) for p, ts in texts.items()}
        by_letter = {p: letters.stream(ts) for p, ts in texts.items()}
        self.ids = {"hoje": tokens, "gpt2": tokens, "letras": by_letter}
        self.sizes = {"hoje": VOCABULARY, "gpt2": VOCABULARY, "letras": letters.vocab_size}

    def build(self, recipe: str, steps: int, seed: int, rate: float | None):
        """(modelo, opções, otimizador) recém-nascidos."""
        c, V = self.c05, self.sizes[recipe]
        torch.manual_seed(seed)
        if recipe == "hoje":
            model = c.ModernGPT(c.modern_plan(V))
            options = c.modern_options(steps, seed)
            return model, options, c.make_modern_optimizer(model, options)
        model = self.c04.GPT(self.c04.GPTConfig(V, 64, 128, 4, 4))
        options = c.TrainConfig(steps=steps, batch_size=12, learning_rate=rate, seed=seed,
                                embedding_lr_scale=1.0, min_lr_ratio=0.1,
                                warmup_steps=min(100, steps // 10), eval_every=steps,
                                checkpoint_every=steps)
        return model, options, c.make_optimizer(model, options)

    def paces(self, recipes, laps: int = 8, seconds: float = 2.5) -> dict[str, float]:
        """Segundos por passo de cada receita, em modelos que se jogam fora.

        As receitas se alternam, e fica a mediana das voltas: se a máquina engasga, engasga
        para todas.
        """
        tools, racers, laps_of = self.c05.mixed_precision(torch.device("cpu")), {}, {}
        for recipe in recipes:
            racers[recipe], laps_of[recipe] = self.build(recipe, 100_000, 99, 1e-3), []
        for lap in range(laps + 1):
            for recipe, (model, options, optimizer) in racers.items():
                step, began = 0, time.perf_counter()
                while step < 4 or time.perf_counter() - began < seconds:
                    self.c05.train_step(model, optimizer, self.ids[recipe]["treino"],
                                        1000 * lap + step, options, *tools)
                    step += 1
                if lap:  # a primeira volta esquenta
                    laps_of[recipe].append((time.perf_counter() - began) / step)
        return {recipe: statistics.median(times) for recipe, times in laps_of.items()}

    def run(self, recipe: str, steps: int, seed: int, rate: float | None, part: str):
        """Um treino inteiro: (medidas, modelo)."""
        ids, began = self.ids[recipe], time.perf_counter()
        model, options, optimizer = self.build(recipe, steps, seed, rate)
        self.c05.train(model, ids["treino"], options, progress=False, optimizer=optimizer)
        spent = time.perf_counter() - began
        model.eval()
        score = self.c05.evaluate(model, ids[part], self.bytes[part]).bits_per_byte
        return {"semente": seed, "bits_por_byte": round(score, 4), "passos": steps,
                "segundos": round(spent, 1), "época": round(
                    steps * options.batch_size * model.config.context_length / len(ids["treino"]), 2)}, model

    def marks(self, model) -> dict:
        """Lacunas, pares mínimos e combinações guardadas, com intervalo."""
        import dados

        c, both = self.c05, (model, self.tokenizer)
        cloze = dados.load(dados.SETS["lacunas"])[0]["lacunas"]
        pairs = dados.load(dados.SETS["pares"])[0]["pares_minimos"]
        folder = pecas.ROOT / "02-texto-vira-numero" / "corpus"
        world, held_out = (json.loads((folder / name).read_text(encoding="utf-8"))
                           for name in ("mundo.json", "combinacoes.json"))
        return {"lacunas": c.cloze_accuracy(*both, cloze),
                "pares": c.pair_accuracy(*both, pairs),
                "combinações": {
                    "prova cruzada": c.combination_exam(*both, self.texts, world, held_out),
                    "documentos": c.combination_gap(*both, self.parts["teste"], held_out)}}


def search(bench: Bench, recipe: str, steps: int) -> dict:
    """A taxa da receita antiga, escolhida na validação, com passos iguais para todas."""
    notes = {str(rate): bench.run(recipe, steps, SEEDS[0], rate, "validacao")[0]
             for rate in RATES}
    return {"validação": notes,
            "taxa": min(RATES, key=lambda r: notes[str(r)]["bits_por_byte"])}


def previous(again: bool) -> dict:
    """As medidas já gravadas com estas mesmas definições, ou um quadro vazio."""
    path = RESULTS / "pretreino.json"
    if not again and path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["definições"]["sha256"] == fingerprint(USED):
            return old["medidas"]
    return {"segundos_por_passo": {}, "busca": {}, "receitas": {name: {} for name in BUDGETS},
            "provas": {}}


def shown(taken: dict) -> str:
    """Uma taxa, ou uma diferença de taxas, com o intervalo, em porcentagem."""
    value, low, high = (f"{100 * taken[k]:.1f}" for k in ("valor", "de", "ate"))
    return f"{value} [{low}; {high}]"


def report(scores: dict, speed: dict) -> list[str]:
    """As linhas das provas e da velocidade, para a nota."""
    lines = [f"{name}: lacunas {shown(m['lacunas']['todas'])}  pares "
             f"{shown(m['pares']['todos'])}  novo - visto "
             f"{shown(m['combinações']['prova cruzada']['diferença'])}"
             for name, m in scores.items()]
    for size, m in speed.items():
        ratio = m["nosso_sobre_transformers"]
        lines.append(f"{size}: {m['ao_lado']['nosso']['mediana']:.0f} tokens/s, "
                     f"{ratio['mediana']:.2f} x transformers "
                     f"[{ratio['mínimo']:.2f}; {ratio['máximo']:.2f}]")
    return lines


def main(arguments: list[str]) -> int:
    torch.set_num_threads(cores())
    bench, out = Bench(), previous("--do-zero" in arguments)

    def keep():
        with contextlib.redirect_stdout(io.StringIO()):
            write()

    def write():
        save("pretreino", USED, ["torch", "numpy"], sementes=SEEDS,
             tarefa={"orçamentos": BUDGETS, "vocabulário": VOCABULARY, "busca_s": SEARCH,
                     "dados": {n: h for n, h in bench.sums.items() if n.endswith(".jsonl")}},
             medidas=out)

    out["segundos_por_passo"] = out["segundos_por_passo"] or bench.paces(BUDGETS)

    def steps_in(recipe: str, seconds: float) -> int:
        return max(20, round(seconds / out["segundos_por_passo"][recipe]))

    for recipe in ("gpt2", "letras"):
        if recipe not in out["busca"]:
            out["busca"][recipe] = search(bench, recipe, steps_in(recipe, SEARCH))
            print(recipe, out["busca"][recipe], flush=True)
            keep()
    limit = float(arguments[arguments.index("--ate") + 1]) if "--ate" in arguments else 240
    for seconds in sorted({b for budgets in BUDGETS.values() for b in budgets if b <= limit}):
        for seed in SEEDS:
            for recipe, budgets in BUDGETS.items():
                done = out["receitas"][recipe].setdefault(str(seconds), [])
                if seconds not in budgets:
                    del out["receitas"][recipe][str(seconds)]
                    continue
                if any(run["semente"] == seed for run in done):
                    continue
                rate = out["busca"].get(recipe, {}).get("taxa")
                notes, model = bench.run(recipe, steps_in(recipe, seconds), seed, rate, "teste")
                if recipe == "hoje" and seconds == 240:
                    notes |= bench.marks(model)
                done.append(notes)
                print(recipe, seconds, notes["bits_por_byte"], notes["passos"], notes["segundos"],
                      flush=True)
                keep()
    if "trigrama" not in out["provas"]:
        ngram = bench.c05.NGram(bench.ids["hoje"]["treino"], 3, VOCABULARY)
        out["provas"]["trigrama"] = bench.marks(ngram)
        keep()
    if "modelo base" not in out["provas"]:
        folder = pecas.ROOT / "05-pre-treinamento" / "modelo"
        if folder.is_dir():
            base, _ = bench.c05.load_model(folder)
            score = bench.c05.evaluate(base, bench.ids["hoje"]["teste"], bench.bytes["teste"])
            out["provas"]["modelo base"] = bench.marks(base) | {
                "bits_por_byte": round(score.bits_per_byte, 4)}
        keep()
    table = out["receitas"]
    for seconds, runs in table["hoje"].items():
        ours, plain = (sum(r["bits_por_byte"] for r in t) / len(t)
                       for t in (runs, table["gpt2"][seconds]))
        print(f"{seconds:>4} s: hoje {ours:.3f}  gpt2 {plain:.3f}  razão {ours / plain:.3f}")
    scores = {f"hoje, 240 s, semente {run['semente']}": run
              for run in table["hoje"].get("240", [])} | out["provas"]
    path = RESULTS / "velocidade.json"
    speed = json.loads(path.read_text("utf-8"))["medidas"] if path.is_file() else {}
    print(*report(scores, speed), sep="\n")
    return 0 if all(math.isfinite(r["bits_por_byte"]) for r in table["hoje"]["30"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
