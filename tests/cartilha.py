"""Confere e mede a Cartilha da Professora Marta, o texto da segunda etapa do modelo base.

    python tests/cartilha.py               confere tudo e imprime as medidas do cartão
    python tests/cartilha.py --carimbar    grava as medidas no cartão e as somas em SHA256SUMS
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import corpus
import dados

FOLDER = corpus.ROOT / "05-pre-treinamento" / "cartilha"
PARTS = ("treino", "validacao")
SIDES = ("certa", "errada")
EXAM = dados.Set("prova", FOLDER, ("prova",), {
    "id": dados.TEXT, "certa": dados.TEXT, "errada": dados.TEXT, "fenomeno": dados.TEXT}, "pv",
    chars={"certa": (12, 140), "errada": (12, 140)})
GENRES = {"ditado", "história", "conversa", "diário", "carta", "conselhos", "redação", "recado",
          "notícia", "causo", "receita", "regras", "planos", "lembranças"}  # fmt: skip
TRIGGERS = {  # o que pede subjuntivo, e o que separa o verbo do sujeito
    "para que": r"\bpara que\b", "embora": r"\bembora\b(?!,|\.|!)", "talvez": r"\btalvez\b",
    "antes que": r"\bantes que\b", "até que": r"\baté que\b", "tomara que": r"\btomara que\b",
    "é preciso que": r"\bé preciso que\b", "caso": r"\bcaso (?!d[aeo]s?\b)",
    "duvido que": r"\bduvid\w+ (?:de )?que\b", "por mais que": r"\bpor (?:mais|menos) que\b",
    "pedir que": r"\b(?:pe[çd]\w+|mand\w+|deix\w+) que\b",
}  # fmt: skip


def load(folder: Path = FOLDER) -> tuple[dict[str, list[dict]], list[str]]:
    """As duas partes e os problemas de formato."""
    parts, problems = {}, []
    for part in PARTS:
        parts[part], found = corpus.read_part(folder / f"{part}.jsonl")
        problems += found
    return parts, problems


def exams() -> dict[str, str]:
    """frase de prova (só letras, minúsculas) -> id. Os dois lados dos pares, e as quatro opções."""
    found = {}
    for row in dados.load(dados.SETS["pares"])[0]["pares_minimos"] + exam()[0]:
        for side in SIDES:
            found[dados.plain(row[side])] = row["id"]
    for row in dados.load(dados.SETS["lacunas"])[0]["lacunas"]:
        for option in row["opcoes"]:
            found[dados.plain(row["texto"].replace(dados.GAP, option))] = row["id"]
    return found


def check_exams(rows: list[dict], asked: dict[str, str]) -> list[str]:
    """Nenhuma frase das provas está na cartilha."""
    problems = []
    for row in rows:
        text = dados.plain(row["texto"])
        problems += [f"{row['id']}: tem uma frase da prova {name}."
                     for sentence, name in asked.items() if sentence in text]
    return problems


def exam() -> tuple[list[dict], list[str]]:
    """Os pares da prova de reserva, `prova.jsonl`, e os problemas de formato."""
    rows, problems = dados.read(FOLDER / "prova.jsonl", EXAM)
    return rows, problems + dados.check_rows(EXAM, {"prova": rows})


def check_exam(rows: list[dict], texts: str) -> list[str]:
    """As regras dos pares, os mesmos fenômenos da outra prova, e nenhuma frase dela."""
    other = dados.load(dados.SETS["pares"])[0]["pares_minimos"]
    problems = dados.check_pairs(rows, texts, total=300, each=18)
    names, asked = ({r["fenomeno"] for r in group} for group in (rows, other))
    if names != asked:
        problems.append(f"prova: fenômenos que não são os da outra: {sorted(names ^ asked)}.")
    known = {dados.plain(r[side]): r["id"] for r in other for side in SIDES}
    return problems + [
        f"{r['id']}: a frase {side} é a de {known[dados.plain(r[side])]}."
        for r in rows for side in SIDES if dados.plain(r[side]) in known]


def check_variety(parts: dict[str, list[dict]], others: list[dict]) -> list[str]:
    """Nem quase-duplicatas (na cartilha ou com o corpus), nem frases feitas, nem molde."""
    rows = [r for part in parts.values() for r in part]
    problems, where = [], {}
    for row in others:
        for gram in corpus.grams(row["texto"]):
            where.setdefault(gram, set()).add(row["id"])
    for row in rows:
        mine = corpus.grams(row["texto"])
        shared = Counter(other for gram in mine for other in where.get(gram, ()))
        problems += [f"{row['id']} e {other} têm {n / len(mine):.0%} dos trechos em comum."
                     for other, n in shared.items() if n > corpus.MAX_SHARED * len(mine)]
        for gram in mine:
            where.setdefault(gram, set()).add(row["id"])
    problems += [f"O trecho «{' '.join(g)}» está em {len(ids)} documentos."
                 for g, ids in where.items() if len(ids) > corpus.MAX_DOCS_PER_8GRAM]
    for row in rows:
        if row["genero"] not in GENRES:
            problems.append(f"{row['id']}: o gênero {row['genero']} não é da cartilha.")
    lines = Counter(line for row in rows if row["genero"] == "ditado"
                    for line in map(dados.plain, row["texto"].splitlines()) if line)
    problems += [f"A frase «{line}» está em {n} ditados." for line, n in lines.items() if n > 1]
    share = len(parts["validacao"]) / max(1, len(rows))
    if not 0.03 <= share <= 0.07:
        problems.append(f"validacao tem {share:.0%} dos documentos: longe de 5 %.")
    return problems


def check_combinations(rows: list[dict], world: dict, held_out: list[dict]) -> list[str]:
    """A cartilha não junta nenhum par de pessoa e lugar guardado para o teste do corpus."""
    secret = {(pair["pessoa"], pair["lugar"]) for pair in held_out}
    return [f"{row['id']}: junta {person} e {place}, par guardado para o teste."
            for row in rows for person, place in sorted(corpus.mentions(row, world) & secret)]


def check(folder: Path = FOLDER) -> list[str]:
    """Todos os problemas da cartilha."""
    parts, problems = load(folder)
    world, held_out = (json.loads((corpus.FOLDER / name).read_text(encoding="utf-8"))
                       for name in ("mundo.json", "combinacoes.json"))
    rows = [r for part in parts.values() for r in part]
    others = [r for part in corpus.load()[0].values() for r in part]
    asked, found = exam()
    texts = "\n".join(dados.plain(r["titulo"] + " " + r["texto"]) for r in rows + others)
    return (problems + found + check_exam(asked, texts) + corpus.check_rows(parts, "cm") + check_variety(parts, others)
            + check_exams(rows, exams()) + check_combinations(rows, world, held_out)
            + corpus.check_facts(rows, world) + corpus.check_places(rows, world))


def triggers(rows: list[dict]) -> Counter:
    """Quantas vezes cada gatilho de TRIGGERS aparece."""
    text = "\n".join(row["texto"].lower() for row in rows)
    return Counter({name: len(re.findall(rule, text)) for name, rule in TRIGGERS.items()})


def overlap(rows: list[dict], n: int = 4) -> float:
    """Fração dos n-gramas de palavras das frases certas dos pares que os documentos têm."""
    known = set().union(*(corpus.grams(row["texto"], n) for row in rows))
    asked = [g for row in dados.load(dados.SETS["pares"])[0]["pares_minimos"]
             for g in corpus.grams(row["certa"], n)]
    return sum(g in known for g in asked) / len(asked)


def measures(parts: dict[str, list[dict]]) -> str:
    """As medidas do cartão, em Markdown."""
    rows = [r for part in parts.values() for r in part]
    book = [r for part in corpus.load()[0].values() for r in part]
    words = Counter(w for r in rows for w in corpus.words(r["texto"]))
    lines = ["| parte | documentos | bytes | palavras |", "|---|---|---|---|"]
    for part, items in parts.items():
        size = sum(len(r["texto"].encode()) for r in items)
        count = sum(len(corpus.words(r["texto"])) for r in items)
        lines.append(f"| `{part}.jsonl` | {len(items)} | {size} | {count} |")
    here, there = triggers(rows), triggers(book)
    genres = Counter(r["genero"] for r in rows)
    known = {w for r in book for w in corpus.words(r["texto"])}
    lines += [
        "",
        f"- Palavras distintas: {len(words)}, das quais {len(set(words) - known)} não estão no "
        "corpus.",
        "- Gêneros: " + "; ".join(f"{g} {n}" for g, n in genres.most_common()) + ".",
        f"- Trechos de quatro palavras das frases certas dos pares mínimos: "
        f"{dados.pct(overlap(rows))} estão na cartilha, {dados.pct(overlap(book))} no corpus.",
        "",
        "| gatilho | na cartilha | no corpus |",
        "|---|---|---|",
        *(f"| {name} | {here[name]} | {there[name]} |" for name in TRIGGERS),
    ]
    return "\n".join(lines)


def card(parts: dict[str, list[dict]], folder: Path = FOLDER) -> str:
    """O cartão com as medidas de agora."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return corpus.between(text, "medidas", measures(parts))


def stamp(folder: Path = FOLDER) -> None:
    """Grava medidas e somas."""
    (folder / "README.md").write_text(card(load(folder)[0], folder), encoding="utf-8")
    (folder / "SHA256SUMS").write_text(dados.manifest(folder), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere e mede a cartilha de gramática.")
    parser.add_argument("--carimbar", action="store_true", help="grava medidas e somas")
    if parser.parse_args(argv).carimbar:
        stamp()
    problems = check()
    print(measures(load()[0]))
    print("\n".join(problems) or "Nenhum problema.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
