"""Confere e mede todos os dados do curso: o corpus e os conjuntos que nascem dele
(avaliações, instruções, lacunas, pares mínimos, inícios e preferências).

    python tests/dados.py                confere tudo e imprime as medidas dos cartões
    python tests/dados.py --carimbar     grava as medidas nos cartões e as somas em SHA256SUMS

As linhas de base vêm de tests/benchmarks/conjuntos.py, que se roda quando um arquivo muda.
"""

import argparse
import difflib
import functools
import hashlib
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import corpus as C
import fatos

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "tests" / "benchmarks" / "resultados" / "conjuntos.json"
LABELS = ("positiva", "negativa", "mista")
GRADES = ("exata", "uma_de", "regex", "numero", "livre")
CRITERIA = ("cortesia", "brevidade", "honestidade", "foco")
NOVEL = ("", "frase", "entidade")
GAP = "____"
TEXT, FLAG, LIST = str, bool, list


@dataclass(frozen=True)
class Set:
    """Um conjunto: a pasta, os arquivos por parte e os campos com o seu tipo."""

    name: str
    folder: Path
    files: tuple[str, ...]
    fields: dict[str, type]
    prefix: str  # dos ids
    empty: tuple[str, ...] = ()  # campos de texto que podem ser vazios
    chars: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __hash__(self):
        return hash(self.name)


MEASURES = ROOT / "05-pre-treinamento" / "dados"
SETS = {
    s.name: s
    for s in (
        Set("avaliacoes", ROOT / "06-fine-tuning" / "dados", ("treino", "validacao", "teste"),
            {"id": TEXT, "texto": TEXT, "rotulo": TEXT, "dificil": FLAG, "lugar": TEXT},
            "av", chars={"texto": (40, 360)}),
        Set("instrucoes", ROOT / "07-instruction-tuning" / "dados",
            ("treino", "validacao", "teste"),
            {"id": TEXT, "familia": TEXT, "instrucao": TEXT, "entrada": TEXT, "saida": TEXT,
             "correcao": TEXT, "aceita": LIST, "inedito": TEXT},
            "in", empty=("entrada", "inedito"),
            chars={"instrucao": (5, 260), "saida": (3, 420)}),
        Set("lacunas", MEASURES, ("lacunas",),
            {"id": TEXT, "texto": TEXT, "opcoes": LIST, "resposta": TEXT, "tipo": TEXT,
             "fato": TEXT}, "la", chars={"texto": (20, 240)}),
        Set("pares", MEASURES, ("pares_minimos",),
            {"id": TEXT, "certa": TEXT, "errada": TEXT, "fenomeno": TEXT}, "pm",
            chars={"certa": (12, 140), "errada": (12, 140)}),
        Set("inicios", MEASURES, ("inicios",),
            {"id": TEXT, "inicio": TEXT, "continuacao": TEXT, "genero": TEXT}, "ho",
            chars={"inicio": (15, 240), "continuacao": (30, 420)}),
        Set("preferencias", ROOT / "08-extras" / "09-alinhamento" / "dados",
            ("treino", "teste"),
            {"id": TEXT, "pedido": TEXT, "escolhida": TEXT, "rejeitada": TEXT,
             "criterio": TEXT}, "pr",
            chars={"pedido": (5, 260), "escolhida": (3, 420), "rejeitada": (1, 700)}),
    )
}  # fmt: skip


def plain(text: str) -> str:
    """Minúsculas, só letras e algarismos, um espaço entre palavras: para comparar."""
    return " ".join(re.findall(r"\w+", text.lower()))


def texts_of(row: dict) -> list[str]:
    """Os textos que uma pessoa lê numa linha."""
    keys = ("texto", "instrucao", "entrada", "saida", "certa", "inicio", "continuacao",
            "pedido", "escolhida", "rejeitada")
    return [row[k] for k in keys if row.get(k)]


# ------------------------------------------------------------------ ler


def read(path: Path, spec: Set) -> tuple[list[dict], list[str]]:
    """As linhas de um JSONL e os problemas de formato."""
    where = f"{path.parent.parent.name}/{path.name}"
    if not path.is_file():
        return [], [f"{where}: o arquivo não existe."]
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        return [], [f"{where}: não está em UTF-8 (byte {error.start})."]
    rows, problems = [], []
    for n, line in enumerate(lines, 1):
        if not line:
            if n < len(lines):
                problems.append(f"{where}, linha {n}: está vazia.")
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where}, linha {n}: não é JSON ({error.msg}).")
            continue
        found = {k: type(v) for k, v in row.items()} if isinstance(row, dict) else {}
        blank = [k for k, v in found.items()
                 if v is str and not row[k].strip() and k not in spec.empty]
        if found != spec.fields or blank:
            problems.append(f"{where}, linha {n}: os campos devem ser "
                            f"{tuple(spec.fields)}, com conteúdo.")
            continue
        rows.append(row)
    return rows, problems


def load(spec: Set, folder: Path | None = None) -> tuple[dict[str, list[dict]], list[str]]:
    """As partes de um conjunto e os problemas de formato."""
    parts, problems = {}, []
    for part in spec.files:
        parts[part], found = read((folder or spec.folder) / f"{part}.jsonl", spec)
        problems += found
    return parts, problems


# ------------------------------------------------------------------ todos os conjuntos


def key_of(row: dict) -> str:
    """O que não pode se repetir num conjunto."""
    if "instrucao" in row:
        return plain(row["instrucao"] + " " + row["entrada"])
    return plain(row.get("texto") or row.get("certa") or row.get("inicio") or row["pedido"])


def check_rows(spec: Set, parts: dict[str, list[dict]]) -> list[str]:
    """Ids, codificação, caracteres, tamanhos, repetidos; quase iguais em partes diferentes."""
    problems, ids, seen = [], {}, {}
    for part, rows in parts.items():
        for row in rows:
            where = f"{spec.name}/{part}/{row['id']}"
            if not re.fullmatch(rf"{spec.prefix}-\d{{4}}", row["id"]):
                problems.append(f"{where}: id fora do formato {spec.prefix}-0000.")
            if row["id"] in ids:
                problems.append(f"{where}: id repetido de {ids[row['id']]}.")
            ids[row["id"]] = where
            text = "\n".join(texts_of(row))
            if C.MOJIBAKE.search(text):
                problems.append(f"{where}: texto com a codificação trocada (mojibake).")
            elif odd := sorted(set(C.STRANGE.findall(text))):
                problems.append(f"{where}: caracteres estranhos: {odd}")
            if unicodedata.normalize("NFC", text) != text:
                problems.append(f"{where}: acentos fora da forma NFC.")
            for name, (low, high) in spec.chars.items():
                if not low <= len(row[name]) <= high:
                    problems.append(f"{where}: {name} com {len(row[name])} caracteres, "
                                    f"fora de {(low, high)}.")
            if (key := key_of(row)) in seen:
                problems.append(f"{where}: repetido de {seen[key]}.")
            seen[key] = where
    return problems + check_leaks(spec, parts)


def check_leaks(spec: Set, parts: dict[str, list[dict]], share: float = 0.5) -> list[str]:
    """Itens de partes diferentes que têm metade ou mais dos trechos de quatro palavras."""
    problems, index = [], defaultdict(set)
    grams = {}
    for part, rows in parts.items():
        for row in rows:
            where = part, row["id"]
            grams[where] = C.grams(" ".join(texts_of(row)), 4)
            for g in grams[where]:
                index[g].add(where)
    for where, mine in grams.items():
        shared = Counter(other for g in mine for other in index[g] if other[0] != where[0])
        for other, n in shared.items():
            if where < other and n / min(len(mine), len(grams[other])) >= share:
                problems.append(f"{spec.name}: {where[0]}/{where[1]} e {other[0]}/{other[1]} "
                                "são quase o mesmo texto, em partes diferentes.")
    return problems


def check_world(spec: Set, parts: dict[str, list[dict]], world: dict) -> list[str]:
    """Contradições dos fatos, nos textos que se dão por verdade."""
    rows = []
    for part in parts.values():
        for row in part:
            good = [t for k, t in row.items()
                    if isinstance(t, str) and k not in ("errada", "rejeitada", "id")]
            rows.append({"id": row["id"], "titulo": "", "texto": "\n".join(good)})
    return [f"{spec.name}: {p}" for p in C.check_facts(rows, world)]


# ------------------------------------------------------------------ cada conjunto


def check_reviews(parts: dict[str, list[dict]], world: dict) -> list[str]:
    """Rótulos, lugares, equilíbrio e tamanho das avaliações."""
    problems = []
    places = {x["id"] for x in world["lugares"]} | {f"evento:{e['id']}" for e in world["eventos"]}
    for part, rows in parts.items():
        for row in rows:
            if row["rotulo"] not in LABELS:
                problems.append(f"{row['id']}: rótulo «{row['rotulo']}» não existe.")
            if row["lugar"] not in places:
                problems.append(f"{row['id']}: lugar «{row['lugar']}» não existe.")
        count = Counter(r["rotulo"] for r in rows)
        share = count["positiva"] / max(1, count["positiva"] + count["negativa"])
        if not 0.45 <= share <= 0.55:
            problems.append(f"avaliacoes/{part}: {share:.0%} de positivas entre positivas e "
                            "negativas, fora de 45 % a 55 %.")
        if count["mista"] < 0.1 * len(rows):
            problems.append(f"avaliacoes/{part}: só {count['mista']} mistas.")
    total, test = sum(map(len, parts.values())), parts["teste"]
    hard = sum(r["dificil"] for r in test)
    if total < 2400 or len(test) < 400 or hard < 100:
        problems.append(f"avaliacoes: {total} ao todo, {len(test)} no teste, {hard} difíceis no "
                        "teste; o mínimo é 2.400, 400 e 100.")
    return problems


@functools.cache
def number_words() -> tuple[dict[str, int], re.Pattern]:
    """Os números por extenso de 0 a 100, e o padrão que acha um número num texto."""
    from num2words import num2words

    names = {plain(num2words(n, lang="pt_BR")): n for n in range(101)} | {
        "uma": 1, "duas": 2, "quatorze": 14, "vinte e uma": 21, "vinte e duas": 22,
        "trinta e uma": 31, "trinta e duas": 32, "quarenta e uma": 41, "quarenta e duas": 42,
    }
    words = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return names, re.compile(rf"\d+(?:[.,]\d+)?|\b(?:{words})\b")


def number_in(text: str) -> float | None:
    """O único ou o último número de uma resposta, em algarismos ou por extenso até cem."""
    names, pattern = number_words()
    found = pattern.findall(text.lower())
    if not found:
        return None
    last = found[-1]
    return float(names[last]) if last in names else float(last.replace(",", "."))


def grade(answer: str, item: dict) -> bool:
    """Se uma resposta passa na correção de um item.

    item["correcao"] é "exata", "uma_de", "regex", "numero" ou "livre"; item["aceita"], a
    lista dos textos, padrões ou números que passam. Quem devolve a entrada inteira não
    respondeu, diga o padrão o que disser. Levanta ValueError se a correção não existe, ou
    se o que ela aceita não serve.
    """
    kind, accepts = item["correcao"], item["aceita"]
    given = plain(item.get("entrada", ""))
    if kind == "regex" and len(given.split()) >= 5 and given in plain(answer):
        return False
    if kind == "livre" and not accepts:
        return bool(answer.strip())
    if kind not in GRADES[:-1] or not accepts or not all(isinstance(a, str) for a in accepts):
        raise ValueError(f"a correção «{kind}» com {accepts} não serve.")
    if kind in ("exata", "uma_de"):
        return plain(answer) in map(plain, accepts)
    if kind == "numero":
        try:
            return number_in(answer) in [float(a) for a in accepts]
        except ValueError as error:
            raise ValueError(f"a correção pede um número, e tem {accepts}.") from error
    try:
        return any(re.search(a, answer, flags=re.IGNORECASE) for a in accepts)
    except re.error as error:
        raise ValueError(f"o padrão {accepts} não é válido: {error}.") from error


def check_instructions(parts: dict[str, list[dict]], pretraining: str = "") -> list[str]:
    """Famílias, correção que aceita a resposta e recusa outras, ineditismo da prova."""
    problems = []
    rows = [r for p in parts.values() for r in p]
    families = defaultdict(list)
    for row in rows:
        families[row["familia"]].append(row)
    if len(rows) < 3000 or len(families) < 15 or len(parts["teste"]) < 400:
        problems.append(f"instrucoes: {len(rows)} itens, {len(families)} famílias, "
                        f"{len(parts['teste'])} na prova; o mínimo é 3.000, 15 e 400.")
    for row in rows:
        try:
            if not grade(row["saida"], row):
                problems.append(f"{row['id']}: a própria resposta não passa na correção.")
            if row["correcao"] != "livre" and grade("", row):
                problems.append(f"{row['id']}: a correção aceita uma resposta vazia.")
        except ValueError as error:
            problems.append(f"{row['id']}: {error}")
        if row["inedito"] not in NOVEL:
            problems.append(f"{row['id']}: inédito «{row['inedito']}» não existe.")
    for row in parts["teste"]:
        if row["correcao"] == "livre":
            problems.append(f"{row['id']}: a prova não pode ter correção livre.")
    return problems + check_exam(parts, families, pretraining)


def check_exam(parts, families, pretraining: str) -> list[str]:
    """O que a prova promete: respostas que não se copiam, pedidos e entidades inéditos."""
    problems = []
    train = [r for part, rows in parts.items() if part != "teste" for r in rows]
    seen = "\n".join(plain(" | ".join((r["instrucao"], r["entrada"], r["saida"]))) for r in train)
    seen += "\n" + pretraining
    vocabulary, requests = defaultdict(set), defaultdict(list)
    for r in train:
        text = " ".join((r["instrucao"], r["entrada"], r["saida"]))
        vocabulary[r["familia"]] |= {fatos.norm(w) for w in C.words(text)}
        requests[r["familia"]].append(set(C.words(r["instrucao"])))
    for row in parts["teste"]:
        if plain(row["saida"]) in seen:
            problems.append(f"{row['id']}: a resposta está, letra por letra, no treino.")
        # Toda recusa serve a quem deve recusar; o que não serve é uma resposta de outra família.
        refuses = row["familia"] == "recusa"
        others = [r["saida"] for name, items in families.items() for r in items
                  if (name == row["familia"]) != refuses and r["id"] != row["id"]]
        try:
            passed = sum(grade(o, row) for o in others)
        except ValueError:
            continue
        if passed > 0.2 * len(others):
            problems.append(f"{row['id']}: a correção aceita {passed} respostas de outros itens.")
        if row["inedito"] == "frase":
            mine = set(C.words(row["instrucao"]))
            near = max((len(mine & o) / len(mine | o) for o in requests[row["familia"]]),
                       default=0)
            if near > 0.8:
                problems.append(f"{row['id']}: o pedido «inédito» é quase igual a um do treino.")
        if row["inedito"] == "entidade":
            text = " ".join((row["instrucao"], row["entrada"], row["saida"]))
            mine = {fatos.norm(w) for w in C.words(text) if len(w) > 2}
            if not mine - vocabulary[row["familia"]]:
                problems.append(f"{row['id']}: não há entidade inédita, só palavras do treino.")
    novel = Counter(r["inedito"] for r in parts["teste"])
    for kind in NOVEL[1:]:
        if novel[kind] < 80:
            problems.append(f"instrucoes: só {novel[kind]} itens da prova são de «{kind}» inédita.")
    return problems


def check_cloze(rows: list[dict], world: dict) -> list[str]:
    """Uma lacuna, quatro opções, uma certa segundo os fatos, as outras não."""
    known = {f.key: f for f in fatos.facts(world)}
    problems = []
    for row in rows:
        where, options = row["id"], row["opcoes"]
        if row["texto"].count(GAP) != 1:
            problems.append(f"{where}: o texto precisa de uma só lacuna {GAP}.")
        if len(options) != 4 or len({plain(o) for o in options}) != 4:
            problems.append(f"{where}: são precisas quatro opções diferentes.")
        if row["resposta"] not in options:
            problems.append(f"{where}: a resposta não está entre as opções.")
        if row["fato"] not in known:
            problems.append(f"{where}: o fato «{row['fato']}» não existe em mundo.json.")
            continue
        truth = fatos.norm(known[row["fato"]].says)
        said = truth + " " + fatos.norm(row["texto"])
        right = fits(row["resposta"], said)
        wrong = [o for o in options if o != row["resposta"] and fits(o, truth)]
        if not right:
            problems.append(f"{where}: «{row['resposta']}» não combina com o fato {row['fato']}.")
        if wrong:
            problems.append(f"{where}: «{wrong[0]}» também combina com o fato {row['fato']}.")
        if plain(row["resposta"]) in plain(row["texto"]):
            problems.append(f"{where}: a frase já diz a resposta.")
    if len(rows) < 300:
        problems.append(f"lacunas: só {len(rows)}; o mínimo é 300.")
    place = Counter(r["opcoes"].index(r["resposta"]) for r in rows if r["resposta"] in r["opcoes"])
    if place and max(place.values()) > 0.4 * len(rows):
        problems.append("lacunas: a resposta certa está quase sempre na mesma posição.")
    return problems


def fits(option: str, truth: str) -> bool:
    """Se uma opção está entre as palavras de um fato, por radicais ou algarismos."""
    from num2words import num2words

    text = fatos.norm(option)
    numbers = re.findall(r"\d+(?:[.,]\d+)?", truth)
    for n in numbers:
        value = float(n.replace(",", "."))
        whole = int(value)
        truth += " " + fatos.norm(num2words(whole, lang="pt_BR"))
        if cents := round(100 * (value - whole)):
            truth += f" {whole},{cents:02d} " + fatos.norm(num2words(cents, lang="pt_BR"))
    mine = [w[:5] for w in re.findall(r"[a-z0-9]+", text) if len(w) > 2 or w.isdigit()]
    mine = [w for w in mine if w not in ("reais", "centa", "seu", "dona", "para")]
    words = {w[:5] for w in re.findall(r"[a-z0-9]+", truth)}
    return bool(mine) and sum(w in words for w in mine) >= 0.6 * len(mine)


def difference(good: str, bad: str) -> tuple[list[str], list[str]]:
    """O miolo em que duas frases diferem, em palavras."""
    a, b = good.split(), bad.split()
    match = difflib.SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes()
    changed = [op for op in match if op[0] != "equal"]
    if not changed:
        return [], []
    i1, i2 = changed[0][1], changed[-1][2]
    j1, j2 = changed[0][3], changed[-1][4]
    return a[i1:i2], b[j1:j2]


def check_pairs(rows: list[dict], corpus_text: str, total: int = 600,
                each: int = 30) -> list[str]:
    """Pares que diferem num só lugar, doze fenômenos, nenhuma frase no corpus."""
    problems = []
    seen = {}
    for row in rows:
        good, bad = difference(row["certa"], row["errada"])
        if not (good or bad):
            problems.append(f"{row['id']}: as duas frases são iguais.")
        if len(good) > 2 or len(bad) > 2:
            problems.append(f"{row['id']}: as frases diferem em mais de duas palavras.")
        for name in ("certa", "errada"):
            key = plain(row[name])
            if key in corpus_text:
                problems.append(f"{row['id']}: a frase {name} está no corpus.")
            if key in seen:
                problems.append(f"{row['id']}: frase repetida de {seen[key]}.")
            seen[key] = row["id"]
    count = Counter(r["fenomeno"] for r in rows)
    if len(rows) < total or len(count) < 12:
        problems.append(
            f"pares: {len(rows)} em {len(count)} fenômenos; o mínimo é {total} em 12.")
    problems += [f"pares: {name} só tem {n}." for name, n in count.items() if n < each]
    return problems


def check_prompts(rows: list[dict], corpus_text: str) -> list[str]:
    """Inícios que o corpus não tem."""
    problems = [f"{r['id']}: o {k} está no corpus." for r in rows
                for k in ("inicio", "continuacao") if plain(r[k]) in corpus_text]
    if len(rows) < 200:
        problems.append(f"inicios: só {len(rows)}; o mínimo é 200.")
    return problems


def check_preferences(parts: dict[str, list[dict]]) -> list[str]:
    """Critérios conhecidos, respostas diferentes, quem é breve é mais curto."""
    problems = []
    rows = [r for p in parts.values() for r in p]
    for row in rows:
        if row["criterio"] not in CRITERIA:
            problems.append(f"{row['id']}: critério «{row['criterio']}» não existe.")
        if plain(row["escolhida"]) == plain(row["rejeitada"]):
            problems.append(f"{row['id']}: as duas respostas são iguais.")
        if row["criterio"] == "brevidade" and len(row["escolhida"]) >= len(row["rejeitada"]):
            problems.append(f"{row['id']}: a escolhida por brevidade não é a mais curta.")
    count = Counter(r["criterio"] for r in rows)
    if len(rows) < 500 or min(count[c] for c in CRITERIA) < 100:
        problems.append(f"preferencias: {len(rows)} ao todo ({dict(count)}); o mínimo é 500, e "
                        "100 de cada critério.")
    return problems


def primer_rows() -> list[dict]:
    """Os textos da cartilha da segunda etapa do modelo base, que também os lê no treino."""
    import cartilha

    return [r for rows in cartilha.load()[0].values() for r in rows]


def check(folder_of=lambda spec: spec.folder) -> list[str]:
    """Todos os problemas de todos os conjuntos."""
    world = json.loads((C.FOLDER / "mundo.json").read_text(encoding="utf-8"))
    docs, _ = C.load()
    docs["cartilha"] = primer_rows()
    everything = "\n".join(plain(r["titulo"] + " " + r["texto"]) for p in docs.values() for r in p)
    training = "\n".join(plain(r["titulo"] + " " + r["texto"])
                         for r in docs["treino"] + docs["cartilha"])
    problems = []
    for spec in SETS.values():
        parts, found = load(spec, folder_of(spec))
        problems += found
        if found and not all(parts.values()):
            continue
        problems += check_rows(spec, parts) + check_world(spec, parts, world)
        rows = [r for p in parts.values() for r in p]
        problems += {
            "avaliacoes": lambda p=parts: check_reviews(p, world),
            "instrucoes": lambda p=parts: check_instructions(p, training),
            "lacunas": lambda r=rows: check_cloze(r, world),
            "pares": lambda r=rows: check_pairs(r, everything),
            "inicios": lambda r=rows: check_prompts(r, everything),
            "preferencias": lambda p=parts: check_preferences(p),
        }[spec.name]()
    return problems + check_blind()


# ------------------------------------------------------------------ a segunda rotulagem


def blind_labels() -> dict[str, str]:
    """id -> rótulo de quem leu as avaliações da prova sem ver o primeiro rótulo."""
    path = SETS["avaliacoes"].folder / "rotulagem_cega.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    return {row["id"]: row["rotulo"] for row in map(json.loads, lines)}


def kappa(first: list[str], second: list[str]) -> float:
    """O κ de Cohen entre duas rotulagens."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(first, second))


def agreement() -> dict[str, float]:
    """κ na prova inteira e na parte difícil."""
    rows, blind = load(SETS["avaliacoes"])[0]["teste"], blind_labels()
    out = {}
    for name, part in (("todas", rows), ("difíceis", [r for r in rows if r["dificil"]])):
        out[name] = kappa([r["rotulo"] for r in part], [blind[r["id"]] for r in part])
    return out


def check_blind() -> list[str]:
    """A segunda rotulagem cobre a prova e concorda com a primeira."""
    path = SETS["avaliacoes"].folder / "rotulagem_cega.jsonl"
    if not path.is_file():
        return [f"{path.name}: o arquivo não existe."]
    blind = blind_labels()
    ids = {r["id"] for r in load(SETS["avaliacoes"])[0]["teste"]}
    if set(blind) != ids or not set(blind.values()) <= set(LABELS):
        return ["rotulagem_cega: não cobre exatamente a prova, com rótulos que existem."]
    found = agreement()
    return [f"rotulagem_cega: κ de {k:.2f} em {part}; o mínimo é 0,85."
            for part, k in found.items() if k < 0.85]


# ------------------------------------------------------------------ medidas e cartões


def table(head: list[str], rows: list[list]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def pct(x: float) -> str:
    return f"{100 * x:.1f}".replace(".", ",") + " %"


def dec(x: float, digits: int = 2) -> str:
    return f"{x:.{digits}f}".replace(".", ",")


def interval(x: dict) -> str:
    """Uma medida com intervalo: 61,2 % [55,0 %; 67,1 %]."""
    return f"{pct(x['valor'])} [{pct(x['de'])}; {pct(x['ate'])}]"


def results() -> dict:
    """As linhas de base gravadas por tests/benchmarks/conjuntos.py."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))["medidas"]


def card_reviews() -> str:
    parts, _ = load(SETS["avaliacoes"])
    rows = [[f"`{part}.jsonl`", len(items), *(sum(r["rotulo"] == x for r in items) for x in LABELS),
             sum(r["dificil"] for r in items)] for part, items in parts.items()]
    text = table(["parte", "itens", *LABELS, "difíceis"], rows)
    words = Counter(w for p in parts.values() for r in p for w in C.words(r["texto"]))
    lengths = sorted(len(r["texto"]) for p in parts.values() for r in p)
    k, base = agreement(), results()["avaliacoes"]
    text += (f"\n\n- Caracteres por avaliação: mediana {lengths[len(lengths) // 2]}, de "
             f"{lengths[0]} a {lengths[-1]}. Palavras distintas: {len(words)}.\n"
             f"- κ de Cohen entre as duas rotulagens da prova: {dec(k['todas'])}; na parte "
             f"difícil, {dec(k['difíceis'])}.\n\n")
    return text + table(
        ["linha de base (acerto na prova)", "todas", "difíceis"],
        [[name, interval(x["todas"]), interval(x["difíceis"])] for name, x in base.items()])


def card_instructions() -> str:
    parts, _ = load(SETS["instrucoes"])
    count = {p: Counter(r["familia"] for r in rows) for p, rows in parts.items()}
    base = results()["instrucoes"]
    scores = {f: interval(x) for f, x in base["por_familia"].items()}
    rows = [[f"`{f}`", *(count[p][f] for p in parts), scores.get(f, "—")]
            for f in sorted(count["treino"])]
    rows.append(["**todas**", *(len(r) for r in parts.values()), interval(base["todas"])])
    text = table(["família", *parts, "vizinho mais próximo, na prova"], rows)
    kinds = Counter(r["correcao"] for r in parts["teste"])
    novel = Counter(r["inedito"] or "nenhum" for r in parts["teste"])
    text += "\n\n- Correção da prova: " + "; ".join(f"{k} {n}" for k, n in kinds.most_common())
    text += ".\n- Inédito na prova: " + "; ".join(f"{k} {n}" for k, n in novel.most_common())
    by = base["por_inedito"]
    text += ".\n- A linha de base por tipo: " + "; ".join(
        f"{k} {interval(v)}" for k, v in by.items()) + "."
    return text


def card_measures() -> str:
    base = results()
    cloze = load(SETS["lacunas"])[0]["lacunas"]
    pairs = load(SETS["pares"])[0]["pares_minimos"]
    prompts = load(SETS["inicios"])[0]["inicios"]
    kinds = Counter(r["tipo"] for r in cloze)
    lines = [f"**`lacunas.jsonl`**: {len(cloze)} questões de quatro opções, sobre "
             f"{len({r['fato'] for r in cloze})} fatos; acaso 25 %.", ""]
    names = list(base["lacunas"])
    lines.append(table(["tipo", "itens", *names],
                       [[k, n, *(interval(base["lacunas"][m]["por_tipo"][k]) for m in names)]
                        for k, n in kinds.most_common()]
                       + [["**todas**", len(cloze),
                           *(interval(base["lacunas"][m]["todas"]) for m in names)]]))
    count = Counter(r["fenomeno"] for r in pairs)
    names = list(base["pares"])
    lines += ["", f"**`pares_minimos.jsonl`**: {len(pairs)} pares em {len(count)} fenômenos; "
              "acaso 50 %.", "",
              table(["fenômeno", "pares", *names],
                    [[f"`{k}`", n, *(interval(base["pares"][m]["por_fenomeno"][k])
                                     for m in names)] for k, n in sorted(count.items())]
                    + [["**todos**", len(pairs),
                        *(interval(base["pares"][m]["todos"]) for m in names)]]),
              "", f"**`inicios.jsonl`**: {len(prompts)} começos, cada um com uma continuação "
              "escrita junto com ele, para comparar."]
    lines += ["", table(["modelo", "bits por byte da continuação"],
                        [[m, dec(v, 3)] for m, v in base["inicios"].items()])]
    return "\n".join(lines)


def card_preferences() -> str:
    parts, _ = load(SETS["preferencias"])
    base = results()["preferencias"]
    rows = [[c, *(sum(r["criterio"] == c for r in p) for p in parts.values()),
             interval(base["por_criterio"][c])] for c in CRITERIA]
    rows.append(["**todos**", *(len(p) for p in parts.values()), interval(base["todos"])])
    return table(["critério", *parts, "trigrama: a escolhida é a mais provável"], rows)


CARDS = {
    "avaliacoes": card_reviews,
    "instrucoes": card_instructions,
    "lacunas": card_measures,
    "preferencias": card_preferences,
}


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 dos arquivos de uma pasta de dados, por nome."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.glob("*.jsonl"))}


def manifest(folder: Path) -> str:
    return "".join(f"{h}  {n}\n" for n, h in sums(folder).items())


def card(name: str) -> str:
    """O cartão do conjunto, com as medidas de agora."""
    text = (SETS[name].folder / "README.md").read_text(encoding="utf-8")
    return C.between(text, "medidas", CARDS[name]())


def stamp() -> None:
    """Grava medidas e somas nos cartões."""
    for name in CARDS:
        folder = SETS[name].folder
        (folder / "README.md").write_text(card(name), encoding="utf-8")
        (folder / "SHA256SUMS").write_text(manifest(folder), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere e mede os conjuntos de dados.")
    parser.add_argument("--carimbar", action="store_true", help="grava medidas e somas")
    args = parser.parse_args(argv)
    if args.carimbar:
        C.stamp()
        stamp()
    problems = C.check() + check()
    print(f"## corpus\n\n{C.measures(C.load()[0])}")
    for name in CARDS:
        if RESULTS.is_file():
            print(f"\n## {name}\n\n{CARDS[name]()}")
    print("\n".join(problems) or "\nNenhum problema.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
