"""A corrida do capítulo 05: o velocista da seção 16 contra a receita do GPT-2, pelo relógio.

    python tests/benchmarks/corrida.py               o que ainda falta gravar
    python tests/benchmarks/corrida.py --do-zero     tudo de novo (uma hora, dois núcleos)

Os dados, o BPE e a adversária são os de pretreino.py. Correm aqui, na mesma máquina, uma semente
de cada receita por vez:

    velocista  SprintGPT, com sprint_plan, sprint_options e sprint_optimizer
    hoje       a receita da seção 9, só em 120 segundos
    gpt2       a do GPT-2 à moda do nanoGPT, com a taxa escolhida aqui por uma busca como a de lá

O velocista divide o orçamento com um contador: Kneser–Ney de quatro tokens de contexto conta o
treino, e os segundos da contagem saem dos passos da rede. Ficam gravadas a nota da rede sozinha
(`bits_por_byte`) e a da dupla (`dupla`): a mistura das duas previsões, SHARE para o contador, a
mesma em todo orçamento, fixada na validação antes desta gravação. Como controle, em CONTROL a
adversária ganha o mesmo contador sem pagar o tempo dele, e cada rede mistura com a sua melhor
fatia, procurada na validação (`mistura`).

Quantos passos cabem num orçamento sai do ritmo de cada receita, medido uma vez, com todas se
alternando; os segundos que cada treino de fato levou também são gravados. A nota é a do teste. O
velocista de 240 s faz, sozinho, as provas de lacunas, pares mínimos e combinações. Cada treino é
gravado assim que acaba: interrompido, continua, se a tarefa e a máquina ainda são as mesmas.
"""

import contextlib
import io
import json
import math
import sys
import time

import pretreino
import torch
from registro import RESULTS, cores, fingerprint, machine, save

SEEDS = [0, 1, 2]
TIMES = [30, 60, 120, 240]
BUDGETS = {"velocista": TIMES, "hoje": [120], "gpt2": TIMES}
SHARE, ORDER = 0.2, 5                                 # a fatia e os tokens do contador
CONTROL = [120, 240]
SHARES = [i / 20 for i in range(1, 20)]
USED = pretreino.USED | {"05": pretreino.USED["05"] + [
    "SprintGPT", "TrigramMemory", "ValueAttention", "mixed_nats", "sprint_optimizer",
    "sprint_options", "sprint_plan", "token_nats"]}


class Race(pretreino.Bench):
    """Os dados e as definições de pretreino, com o velocista e o seu contador."""

    def __init__(self):
        super().__init__()
        self.ids["velocista"], self.sizes["velocista"] = self.ids["hoje"], self.sizes["hoje"]
        began = time.perf_counter()
        self.counter = self.c05.NGram(self.ids["hoje"]["treino"], ORDER,
                                      self.sizes["hoje"], companies=True)
        self.counting = time.perf_counter() - began
        self.counter_nats = {
            part: torch.tensor(self.counter.nats(self.ids["hoje"][part]), dtype=torch.float64)
            for part in ("validacao", "teste")}

    def build(self, recipe: str, steps: int, seed: int, rate: float | None):
        """(modelo, opções, otimizador) recém-nascidos."""
        if recipe != "velocista":
            return super().build(recipe, steps, seed, rate)
        c = self.c05
        torch.manual_seed(seed)
        model = c.SprintGPT(c.sprint_plan(self.sizes[recipe]))
        options = c.sprint_options(steps, seed)
        return model, options, c.sprint_optimizer(model, options)

    def bits(self, nats: torch.Tensor, part: str) -> float:
        """Os nats de cada token de uma parte, (N,), em bits por byte."""
        return round(nats.sum().item() / self.bytes[part] / math.log(2), 4)

    def pair(self, model, recipe: str, share: float, part: str) -> float:
        """A rede e o contador misturados, em bits por byte."""
        nats = self.c05.token_nats(model, self.ids[recipe][part])
        return self.bits(self.c05.mixed_nats(nats, self.counter_nats[part], share), part)

    def best_pair(self, model, recipe: str) -> dict:
        """A mistura com a fatia que a validação escolhe para esta rede: a nota é do teste."""
        nats = self.c05.token_nats(model, self.ids[recipe]["validacao"])
        costs = {share: self.bits(self.c05.mixed_nats(
            nats, self.counter_nats["validacao"], share), "validacao") for share in SHARES}
        share = min(costs, key=costs.get)
        return {"fatia": share, "dupla": self.pair(model, recipe, share, "teste"),
                "validação": {str(s): cost for s, cost in costs.items()}}

    def run(self, recipe: str, steps: int, seed: int, rate: float | None, part: str):
        """Um treino inteiro: (medidas, modelo). O do velocista traz também a nota da dupla."""
        notes, model = super().run(recipe, steps, seed, rate, part)
        if recipe == "velocista":
            notes["dupla"] = self.pair(model, recipe, SHARE, part)
            notes["segundos"] = round(notes["segundos"] + self.counting, 1)
        return notes, model


def previous(again: bool, task: dict) -> dict:
    """As medidas já gravadas com estas definições, tarefa e máquina, ou um quadro vazio."""
    path = RESULTS / "corrida.json"
    if not again and path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if (old["definições"]["sha256"], old["tarefa"], old["máquina"]) == (
                fingerprint(USED), task, machine()):
            return old["medidas"]
    return {"segundos_por_passo": {}, "busca": {}, "receitas": {name: {} for name in BUDGETS}}


def read(name: str) -> dict:
    """As medidas de um resultado gravado."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["medidas"]


def mean(runs: list[dict], key: str = "bits_por_byte") -> float:
    return sum(run[key] for run in runs) / len(runs)


def main(arguments: list[str]) -> int:
    torch.set_num_threads(cores())
    race, stamp = Race(), fingerprint(USED)
    task = {"orçamentos": BUDGETS, "vocabulário": pretreino.VOCABULARY,
            "busca_s": pretreino.SEARCH, "fatia do contador": SHARE,
            "ordem do contador": ORDER, "controle": CONTROL,
            "dados": {n: h for n, h in race.sums.items() if n.endswith(".jsonl")}}
    out = previous("--do-zero" in arguments, task)

    def keep():
        assert fingerprint(USED) == stamp, "as definições mudaram durante a corrida"
        with contextlib.redirect_stdout(io.StringIO()):
            save("corrida", USED, ["torch", "numpy"], sementes=SEEDS, tarefa=task, medidas=out)

    if not out["segundos_por_passo"]:
        out["segundos_por_passo"] = race.paces(BUDGETS)
        out["segundos_da_contagem"] = round(race.counting, 2)
        out["contador"] = race.bits(race.counter_nats["teste"], "teste")
        print(out, flush=True)
    if not out["busca"]:
        steps = round(pretreino.SEARCH / out["segundos_por_passo"]["gpt2"])
        out["busca"] = {"gpt2": pretreino.search(race, "gpt2", steps)}
        print(out["busca"], flush=True)
        keep()
    for seconds in TIMES:
        for seed in SEEDS:
            for recipe, budgets in BUDGETS.items():
                if seconds not in budgets:
                    continue
                done = out["receitas"][recipe].setdefault(str(seconds), [])
                if any(run["semente"] == seed for run in done):
                    continue
                left = seconds - (out["segundos_da_contagem"] if recipe == "velocista" else 0)
                steps = max(20, round(left / out["segundos_por_passo"][recipe]))
                rate = out["busca"]["gpt2"]["taxa"] if recipe == "gpt2" else None
                notes, model = race.run(recipe, steps, seed, rate, "teste")
                if recipe != "hoje" and seconds in CONTROL:
                    notes["mistura"] = race.best_pair(model, recipe)
                if recipe == "velocista" and seconds == max(TIMES):
                    notes |= race.marks(model)
                done.append(notes)
                print(recipe, seconds, {k: v for k, v in notes.items()
                                        if not isinstance(v, dict)}, flush=True)
                keep()
    table = out["receitas"]
    for seconds, plain in table["gpt2"].items():
        rival, alone, pair = (mean(plain), mean(table["velocista"][seconds]),
                              mean(table["velocista"][seconds], "dupla"))
        print(f"{seconds:>4} s: velocista {alone:.3f} (razão {alone / rival:.3f})  com o contador "
              f"{pair:.3f} (razão {pair / rival:.3f})  gpt2 {rival:.3f}")
    for seconds in map(str, CONTROL):
        best = {r: sum(run["mistura"]["dupla"] for run in table[r][seconds]) / len(SEEDS)
                for r in ("velocista", "gpt2")}
        print(f"{seconds:>4} s, cada rede com a sua fatia: velocista {best['velocista']:.3f}  "
              f"gpt2 {best['gpt2']:.3f}  razão {best['velocista'] / best['gpt2']:.3f}")
    print(f" 120 s: hoje {mean(table['hoje']['120']):.3f}")
    scores = {f"velocista, 240 s, semente {run['semente']}": run
              for run in table["velocista"]["240"]} | read("pretreino")["provas"]
    print(*pretreino.report(scores, read("velocidade")), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
