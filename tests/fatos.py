"""Onde cada fato de `mundo.json` é dito no corpus: documentos e jeitos de dizer.

    python tests/fatos.py            imprime os fatos menos ditos e o resumo
    python tests/fatos.py CHAVE      mostra as passagens que contam para um fato

Um fato conta num documento quando, em frases seguidas (até 450 letras), aparecem o nome de quem
(ou do que) se fala e as palavras do que se diz: a maioria dos radicais do valor, ou um
dos sinônimos listados. Não é leitura: a passagem pode falar das mesmas coisas sem
afirmar o fato. A precisão se mede lendo uma amostra; o cartão do corpus diz quanto deu.
"""

import json
import re
import sys
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from num2words import num2words

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "02-texto-vira-numero" / "corpus"
WINDOW = 450  # caracteres de frases seguidas
SHARE = 0.6  # fração dos radicais do valor que precisa aparecer
MIN_DOCS, MIN_WORDINGS = 8, 4
STOP = set(
    "para pelo pela como quando onde todo toda todos todas cada mais menos muito muita outra "
    "outro antes depois qualquer gente mesma mesmo propria proprio qual seus suas tudo entre "
    "ate que com uma dos das aos era foi ser ter tem esta estao fica deste esse essa ainda "
    "esta nunca sobre".split()
)
# Outros jeitos comuns de dizer um valor; a chave é o começo da chave do fato.
SAME = {
    "dias:todos os dias": r"todo dia|todos os dias|dia e noite|sempre abert|domingo a domingo",
    "dias:segunda a sexta": r"segunda (?:a|ate) sexta|dias? de semana|fim de semana|sabado|domingo",
    "dias:segunda a sabado": r"segunda (?:a|ate)|menos (?:no |aos )?domingo|domingo",
    "dias:terca a domingo": r"terca (?:a|ate)|segunda",
    "dias:terca a sabado": r"terca (?:a|ate)|segunda|domingo",
    "dias:quarta a domingo": r"quarta (?:a|ate)|segunda|terca",
    "dias:quarta a sabado": r"quarta (?:a|ate)|segunda|terca|domingo",
    "dias:quinta a domingo": r"quinta (?:a|ate)|segunda|terca|quarta",
    "dias:sexta e sabado": r"sexta|sabado",
    "dias:sabado": r"sabado",
    "dias:domingo": r"domingo",
}
KINDS = {
    "casa": "onde mora", "comida": "comida preferida", "detalhe": "detalhe de lugar ou festa",
    "dias": "dias de abrir", "dono": "bicho e dono", "historia": "história da cidade",
    "jeito": "jeito de ser", "mania": "mania", "preco": "preço", "profissao": "profissão",
    "quando": "data de festa", "rua": "rua de lugar", "sonho": "sonho",
}  # fmt: skip
SPOUSE = r"marido|mulher|espos[ao]|casad[ao]s?|casal|casaram|casou|casamento"
CHILD = r"pai|mae|filh[ao]s?|papai|mamae|pais"


def norm(text: str) -> str:
    """Minúsculas, sem acentos."""
    return unicodedata.normalize("NFD", text.lower()).encode("ascii", "ignore").decode()


def stems(text: str) -> list[str]:
    """Os radicais (cinco letras) das palavras de conteúdo, na ordem, sem repetição."""
    found = [w for w in re.findall(r"[a-z0-9]+", norm(text)) if w not in STOP]
    long = [w[:5] for w in found if len(w) > 3]
    return list(dict.fromkeys(long if len(long) > 1 else [w[:5] for w in found if len(w) > 2]))


def sentences(text: str) -> list[str]:
    """As frases de um texto; o travessão de fala não separa frases."""
    return [s for s in re.split(r"(?<=[.!?…])\s+|\n+", text) if s.strip()]


@dataclass(frozen=True)
class Fact:
    """Um fato: quem aparece (`names`, todos) e o que se diz (`value`, radicais ou padrão)."""

    key: str
    says: str
    names: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    pattern: str = ""

    def found_in(self, text: str) -> bool:
        """Se o trecho, já sem acentos, diz o fato."""
        names, values = _compiled(self)
        if not all(n.search(text) for n in names):
            return False
        hits = sum(v.search(text) is not None for v in values)
        return hits >= max(1, round(SHARE * len(values)))


@cache
def _compiled(fact: Fact) -> tuple[list[re.Pattern], list[re.Pattern]]:
    values = [fact.pattern] if fact.pattern else fact.value
    return [[re.compile(rf"\b(?:{x})" + end) for x in group]
            for group, end in ((fact.names, r"\b"), (values, ""))]


def money(value: float) -> str:
    """Padrão com os jeitos de escrever um preço: R$ 4,50, quatro reais e cinquenta…"""
    reais, cents = int(value), round(100 * (value - int(value)))
    word = [norm(num2words(n, lang="pt_BR")) for n in (reais, cents)]
    forms = [rf"{reais},{cents:02d}", rf"{reais} reais", rf"{word[0]} rea(?:l|is)"]
    if cents:
        forms = [forms[0], rf"{word[0]} (?:reais )?e {word[1]}", rf"{reais} (?:reais )?e {cents}"]
        forms += [rf"{word[1]} centavos"] if not reais else []
        forms += [rf"{word[0]} (?:reais )?e meio"] if cents == 50 else []
    else:
        forms += [rf"(?:custa\w*|por|cobr\w+|paga\w*|sao|e) (?:so )?{word[0]}\b"]
    return "|".join(forms)


def facts(world: dict) -> list[Fact]:
    """Todos os fatos que `mundo.json` afirma, com o padrão que os reconhece."""
    people = {p["id"]: p for p in world["pessoas"]}
    places = {x["id"]: x for x in world["lugares"]}
    where = {k: v["nome"] for k, v in places.items()} | {r["id"]: r["nome"] for r in world["ruas"]}
    name = {i: norm(p["chamado"].split()[-1]) for i, p in people.items()}
    alias = {i: place_names(p) for i, p in places.items()}
    out: list[Fact] = []

    def add(key, says, names=(), value="", pattern=""):
        out.append(Fact(key, says, tuple(names), tuple(stems(value)), pattern))

    for i, p in people.items():
        who = p["chamado"]
        work = "|".join(s + r"\w*" for s in stems(p["profissao"].split(" ")[0]))
        if p["profissao"] == "estudante":
            work = r"estud\w*|alun[ao]s?|escola|turma|aula|sala|professora|licao|recreio|prova"
        elif p["trabalho"]:
            work += "|" + alias[p["trabalho"]]
        add(f"{i}.profissao", f"{who}: {p['profissao']}", [name[i]], pattern=work)
        home = alias.get(p["casa"]) or norm(where[p["casa"]])
        add(f"{i}.casa", f"{who} mora: {where[p['casa']]}", [name[i]], pattern=home)
        for key in ("comida", "mania", "sonho", "jeito"):
            add(f"{i}.{key}", f"{key} de {who}: {p[key]}", [name[i]], p[key])
        for key in ("pai", "mae"):
            if q := p[key]:
                add(f"{i}.{key}", f"{who}: {key} {people[q]['chamado']}", [name[i], name[q]],
                    pattern=CHILD)
        if (q := p["conjuge"]) and i < q:
            add(f"{i}.conjuge", f"{who} e {people[q]['chamado']} são casados",
                [name[i], name[q]], pattern=SPOUSE)
    for e in world["parentescos_extra"]:
        grade = "tia|sobrinho" if e["grau"] == "tia" else "irma[os]"
        add(f"{e['de']}.{e['para']}", f"{e['grau']}: {e['de']} e {e['para']}",
            [name[e["de"]], name[e["para"]]], pattern=grade)
    for a in world["animais"]:
        pet = norm(a["nome"]).split(",")[0]
        owners = "|".join(name[o] for o in a["donos"])
        add(f"{a['nome']}.dono", f"{a['nome']}: {a['bicho']} de {owners}", [pet, owners],
            pattern=norm(a["bicho"]) if a["bicho"] != "gansos" else "ganso")
        add(f"{a['nome']}.mania", f"{a['nome']} {a['mania']}", [pet], a["mania"])
    for i, x in places.items():
        add(f"{i}.detalhe", f"{x['nome']}: {x['detalhe']}", [alias[i]], x["detalhe"])
        add(f"{i}.dias", f"{x['nome']} abre: {x['dias']}", [alias[i]],
            pattern=SAME["dias:" + norm(x["dias"])])
        if norm(x["rua"]) != norm(x["nome"]):
            add(f"{i}.rua", f"{x['nome']}: {x['rua']}", [alias[i]], pattern=norm(x["rua"]))
    for e in world["eventos"]:
        event = event_names(e)
        add(f"{e['id']}.quando", f"{e['nome']}: {e['quando']}", [event],
            re.sub(r"\d+ de ", "", e["quando"]))
        add(f"{e['id']}.detalhe", f"{e['nome']}: {e['detalhe']}", [event], e["detalhe"])
    for x in world["precos"]:
        item = [s + r"\w*" for s in stems(x["item"]) if s not in ("entra", "troca", "alugu")]
        add(f"preco.{x['item']}", f"{x['item']} custa {x['preco']}", item, pattern=money(x["preco"]))
    for n, line in enumerate(world["historia"]):
        add(f"historia.{n}", line, value=line)
    return out


def place_names(place: dict) -> str:
    """Os jeitos de chamar um lugar: o nome próprio ou o substantivo comum."""
    common = {
        "praca": "praca", "jornal": "jornal|voz do barro", "posto": "posto(?: de saude)?",
        "tecidos": "loja de tecidos|arco-iris", "clinica": "clinica|patas e penas",
        "rodoviaria": "jardineira", "oficina": "oficina", "campo": "campo(?: do pirao)?|campinho",
        "chacara_okada": "okada|horta|chacara", "sitio_boa_espera": "boa espera|sitio",
        "chacara_das_abelhas": "abelhas|chacara", "restaurante": "restaurante|panela de barro",
        "cinema": "cine(?:ma)?(?: lua)?", "rio": "rio(?: melado)?", "museu": "museu|estacao",
        "mirante": "mirante|morro", "radio": "radio", "feira": "feira",
    }
    return common.get(place["id"], norm(place["nome"]).split()[0])


def event_names(event: dict) -> str:
    """Os jeitos de chamar uma festa."""
    common = {
        "folia": "folia|reis", "carnaval": "carnaval|bonecos", "aniversario": "aniversario",
        "festa_do_barro": "festa do barro", "mutirao": "mutirao", "festa_junina": "junina|sao joao",
        "pipas": "pipas?", "pijama": "pijama", "primavera": "primavera|desfile",
        "rolima": "rolima", "bolos": "concurso|bolos", "final": "final|campeonato",
        "natal": "natal", "sino": "sino",
    }
    return common[event["id"]]


def passages(documents: "_Documents", fact: Fact) -> list[tuple[str, str]]:
    """(id, trecho) de cada documento em que o fato é dito: um trecho por documento."""
    named = set(range(len(documents)))
    for name in fact.names:
        named &= _mentions(documents, name)
    out = []
    for i in sorted(named):
        key, whole, windows = documents[i]
        if fact.found_in(whole):  # depressa: o documento inteiro precisa trazer tudo
            hit = next((w for w in windows if fact.found_in(w)), None)
            if hit:
                out.append((key, hit))
    return out


class _Documents(tuple):
    """Tupla que se compara por identidade, para servir de chave de cache depressa."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@cache
def _mentions(documents: "_Documents", name: str) -> set[int]:
    pattern = re.compile(rf"\b(?:{name})\b")
    return {i for i, (_, whole, _) in enumerate(documents) if pattern.search(whole)}


def prepare(rows: list[dict]) -> "_Documents":
    """Cada documento sem acentos: (id, texto, trechos de até WINDOW letras)."""
    out = []
    for row in rows:
        text = row["titulo"] + ".\n" + row["texto"]
        lines = [norm(s) for s in sentences(text)]
        windows = []
        for i in range(len(lines)):
            end, size = i + 1, len(lines[i])
            while end < len(lines) and size + len(lines[end]) <= WINDOW:
                size += len(lines[end])
                end += 1
            windows.append(" ".join(lines[i:end]))
            if end == len(lines):
                break
        out.append((row["id"], norm(text), tuple(windows)))
    return _Documents(out)


def wordings(fact: Fact, found: list[tuple[str, str]]) -> int:
    """Quantos jeitos: trechos que diferem nas palavras em volta das que fazem o fato."""
    pattern = fact.pattern or "|".join(fact.value)
    seen = set()
    for _, text in found:
        m = re.search(rf"\b(?:{pattern})", text)
        before, after = text[: m.start()].split()[-3:], text[m.start() :].split()[:4]
        seen.add(" ".join(before + after))
    return len(seen)


def coverage(rows: list[dict], world: dict) -> dict[str, tuple[int, int]]:
    """Para cada fato: (documentos, jeitos de dizer)."""
    out, documents = {}, prepare(rows)
    for fact in facts(world):
        found = passages(documents, fact)
        out[fact.key] = (len(found), wordings(fact, found))
    return out


def summary(table: dict[str, tuple[int, int]]) -> str:
    """A cobertura em Markdown: quantos fatos de cada tipo, e em quantos documentos estão."""
    groups = defaultdict(list)
    for key, (docs, ways) in table.items():
        kind = key.split(".")[0 if key.startswith(("preco.", "historia.")) else -1]
        groups[KINDS.get(kind, "parentesco")].append((docs, ways))
    lines = ["| fatos | quantos | documentos por fato (o menos dito; mediana) | jeitos de dizer "
             "(mínimo) |", "|---|---|---|---|"]
    for kind, found in sorted(groups.items()):
        docs = sorted(d for d, _ in found)
        lines.append(f"| {kind} | {len(found)} | {docs[0]}; {docs[len(docs) // 2]} "
                     f"| {min(w for _, w in found)} |")
    return "\n".join(lines)


def check_coverage(rows: list[dict], world: dict) -> list[str]:
    """Os fatos ditos em documentos de menos ou sempre do mesmo jeito."""
    return too_few(coverage(rows, world))


def too_few(table: dict[str, tuple[int, int]]) -> list[str]:
    return [
        f"{key}: dito em {docs} documentos e {ways} jeitos (mínimo {MIN_DOCS} e {MIN_WORDINGS})."
        for key, (docs, ways) in table.items()
        if docs < MIN_DOCS or ways < MIN_WORDINGS
    ]


def main(argv: list[str] | None = None) -> int:
    import corpus

    argv = sys.argv[1:] if argv is None else argv
    parts, _ = corpus.load()
    rows = [r for part in parts.values() for r in part]
    world = json.loads((FOLDER / "mundo.json").read_text(encoding="utf-8"))
    if argv:
        for fact in facts(world):
            if fact.key == argv[0]:
                for key, text in passages(prepare(rows), fact):
                    print(key, "|", text)
                return 0
        print(f"Não há o fato {argv[0]}; as chaves são como anselmo.mania.", file=sys.stderr)
        return 2
    table = coverage(rows, world)
    print(summary(table))
    for key, (docs, ways) in sorted(table.items(), key=lambda kv: kv[1])[:40]:
        print(f"  {docs:4} documentos {ways:4} jeitos  {key}")
    problems = too_few(table)
    print("\n".join(problems) or f"Os {len(table)} fatos são ditos o bastante.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
