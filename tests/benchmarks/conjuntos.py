"""As linhas de base de cada conjunto de dados: quanto se acerta sem modelo nenhum.

    python tests/benchmarks/conjuntos.py

Lacunas, pares, inícios e preferências: dois trigramas de tokens do capítulo 05 (com recuo e
de Kneser–Ney) contados no treino do corpus. Avaliações: a classe mais comum e a regressão
logística sobre palavras, pares de palavras e trechos de letras. Instruções: copiar a
resposta do pedido de treino mais parecido (TF-IDF). Intervalos de Wilson, 95 %.
"""

import math
import sys
from collections import defaultdict

from registro import pecas, save

VOCAB_SIZE = 2048
USED = {
    "02": ["BPETokenizer", "PATTERN", "PairCounts", "bpe_merge", "document_text", "learn_merges",
           "merge_pair", "split_pieces", "token_stream"],
    "05": ["NGram"],
}  # fmt: skip


def rate(right: list[bool]) -> dict[str, float]:
    """Taxa de acerto com o intervalo de Wilson."""
    from scipy.stats import binomtest

    ci = binomtest(sum(right), len(right)).proportion_ci(method="wilson")
    return {"valor": round(sum(right) / len(right), 4), "de": round(float(ci.low), 4),
            "ate": round(float(ci.high), 4), "itens": len(right)}


def grouped(rows: list[dict], right: list[bool], key) -> dict[str, dict]:
    """A taxa em cada grupo."""
    groups = defaultdict(list)
    for row, ok in zip(rows, right, strict=True):
        groups[key(row)].append(ok)
    return {name: rate(oks) for name, oks in sorted(groups.items())}


class Scorer:
    """A surpresa, em bits, de um texto sob um n-grama de tokens."""

    def __init__(self, ngram, tokenizer):
        self.ngram, self.tokenizer = ngram, tokenizer
        [self.end] = tokenizer.encode("<|fim|>", allowed_special={"<|fim|>"})

    def bits(self, text: str, given: str = "") -> float:
        """Bits de `text` depois de `given`, do começo de um parágrafo."""
        head = self.tokenizer.encode("\n\n" + given)
        ids = [self.end, *head, *self.tokenizer.encode(text)]
        return sum(self.ngram.nats(ids)[len(head):]) / math.log(2)

    def per_byte(self, text: str, given: str = "") -> float:
        return self.bits(text, given) / len(text.encode("utf-8"))


def measure_cloze(score: Scorer, rows: list[dict]) -> dict:
    right = []
    for row in rows:
        bits = {o: score.bits(row["texto"].replace("____", o)) for o in row["opcoes"]}
        right.append(min(bits, key=bits.get) == row["resposta"])
    return {"todas": rate(right), "por_tipo": grouped(rows, right, lambda r: r["tipo"])}


def measure_pairs(score: Scorer, rows: list[dict]) -> dict:
    right = [score.bits(r["certa"]) < score.bits(r["errada"]) for r in rows]
    return {"todos": rate(right), "por_fenomeno": grouped(rows, right, lambda r: r["fenomeno"])}


def measure_preferences(score: Scorer, rows: list[dict]) -> dict:
    right = [score.per_byte(r["escolhida"], r["pedido"] + "\n")
             < score.per_byte(r["rejeitada"], r["pedido"] + "\n") for r in rows]
    return {"todos": rate(right), "por_criterio": grouped(rows, right, lambda r: r["criterio"])}


def measure_prompts(score: Scorer, rows: list[dict]) -> float:
    """Bits por byte das continuações, depois dos inícios."""
    bits = sum(score.bits(" " + r["continuacao"], r["inicio"]) for r in rows)
    return round(bits / sum(len((" " + r["continuacao"]).encode("utf-8")) for r in rows), 4)


def measure_reviews(parts: dict[str, list[dict]]) -> dict:
    """A classe mais comum e três sacos de palavras; C escolhido na validação."""
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, dev, test = ([r for r in parts[p]] for p in ("treino", "validacao", "teste"))
    features = {
        "palavras": dict(ngram_range=(1, 1)),
        "palavras e pares": dict(ngram_range=(1, 2), sublinear_tf=True),
        "trechos de letras": dict(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    }

    def fit(model):
        return model.fit([r["texto"] for r in train], [r["rotulo"] for r in train])

    def right(model, rows):
        guess = model.predict([r["texto"] for r in rows])
        return [bool(g == r["rotulo"]) for g, r in zip(guess, rows, strict=True)]

    models = {"a classe mais comum": fit(make_pipeline(TfidfVectorizer(), DummyClassifier()))}
    for name, options in features.items():
        tries = [fit(make_pipeline(TfidfVectorizer(**options),
                                   LogisticRegression(C=c, max_iter=2000, class_weight=w)))
                 for c in (1, 3, 10, 30, 100) for w in (None, "balanced")]
        models[f"regressão logística, {name}"] = max(tries, key=lambda m: sum(right(m, dev)))
    hard = [r for r in test if r["dificil"]]
    return {name: {"todas": rate(right(m, test)), "difíceis": rate(right(m, hard))}
            for name, m in models.items()}


def measure_instructions(parts: dict[str, list[dict]]) -> dict:
    """A resposta do pedido de treino mais parecido, corrigida como qualquer outra."""
    import dados
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = parts["treino"] + parts["validacao"]
    test = parts["teste"]

    def request(row):
        return row["instrucao"] + "\n" + row["entrada"]

    space = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    known = space.fit_transform([request(r) for r in train])
    nearest = (space.transform([request(r) for r in test]) @ known.T).argmax(axis=1)
    answers = [train[int(i)]["saida"] for i in nearest.A1]
    right = [dados.grade(a, r) for a, r in zip(answers, test, strict=True)]
    return {"todas": rate(right), "por_familia": grouped(test, right, lambda r: r["familia"]),
            "por_inedito": grouped(test, right, lambda r: r["inedito"] or "nenhum")}


def main() -> None:
    import corpus
    import dados

    chapters = {n: pecas.lift(pecas.notebooks()[n]) for n in ("02", "05")}
    c02, c05 = chapters["02"], chapters["05"]
    texts = [c02.document_text(r) for r in corpus.load()[0]["treino"]]
    tokenizer = c02.BPETokenizer.train(texts, VOCAB_SIZE)
    ids = c02.token_stream(tokenizer, texts).tolist()
    scorers = {
        "trigrama com recuo": Scorer(c05.NGram(ids, 3, VOCAB_SIZE), tokenizer),
        "trigrama de Kneser–Ney": Scorer(c05.NGram(ids, 3, VOCAB_SIZE, companies=True), tokenizer),
    }
    sets = {name: dados.load(spec)[0] for name, spec in dados.SETS.items()}
    cloze, pairs = sets["lacunas"]["lacunas"], sets["pares"]["pares_minimos"]
    prompts = sets["inicios"]["inicios"]
    preferences = [r for p in sets["preferencias"].values() for r in p]
    measures = {
        "lacunas": {m: measure_cloze(s, cloze) for m, s in scorers.items()},
        "pares": {m: measure_pairs(s, pairs) for m, s in scorers.items()},
        "inicios": {m: measure_prompts(s, prompts) for m, s in scorers.items()},
        "preferencias": measure_preferences(scorers["trigrama de Kneser–Ney"], preferences),
        "avaliacoes": measure_reviews(sets["avaliacoes"]),
        "instrucoes": measure_instructions(sets["instrucoes"]),
    }
    save("conjuntos", USED, ["scikit-learn", "numpy"], sementes=[],
         tarefa={"vocabulário": VOCAB_SIZE, "dados": inputs()}, medidas=measures)


def inputs() -> dict[str, dict[str, str]]:
    """As somas dos arquivos que entram na medida: se um muda, o resultado não vale mais."""
    import corpus
    import dados

    folders = {s.folder.relative_to(dados.ROOT).as_posix(): dados.sums(s.folder)
               for s in dados.SETS.values()}
    train = {"treino.jsonl": corpus.sums()["treino.jsonl"]}
    return dict(sorted({**folders, "02-texto-vira-numero/corpus": train}.items()))


if __name__ == "__main__":
    sys.exit(main())
