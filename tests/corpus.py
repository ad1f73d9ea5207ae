"""Confere e mede o corpus de Barro Doce.

    python tests/corpus.py               confere tudo e imprime as medidas do cartão
    python tests/corpus.py --carimbar    grava as medidas no cartão, as somas em SHA256SUMS
                                         e no caderno 02 (e sincroniza os que o copiam)
"""

import argparse
import hashlib
import json
import lzma
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

from num2words import num2words

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "02-texto-vira-numero" / "corpus"
PARTS = ("treino", "validacao", "teste")
FIELDS = ("id", "genero", "titulo", "texto")
CHARS = (480, 1800)  # caracteres por documento
MAX_SHARED = 0.15  # fração de 8-gramas que dois documentos podem ter em comum
MAX_DOCS_PER_8GRAM = 15
MAX_OPENING = 0.01  # fração dos documentos com as mesmas cinco palavras de abertura
WORD = re.compile(r"[^\W\d_]+")
MOJIBAKE = re.compile(r"Ã[\x80-\xbf£§©ª¡³º]|Â[\xa0-\xbf]|â€|\ufffd|\ufeff")
STRANGE = re.compile(r"[^\n\x20-\x7eÀ-ÖØ-öø-ÿ—–…“”‘’ºª°½×]")


def words(text: str) -> list[str]:
    """As palavras, em minúsculas."""
    return WORD.findall(text.lower())


def grams(text: str, n: int = 8) -> set[tuple[str, ...]]:
    """Os n-gramas de palavras de um texto, sem repetição."""
    w = words(text)
    return set(zip(*(w[i:] for i in range(n)), strict=False))


def read_part(path: Path) -> tuple[list[dict], list[str]]:
    """As linhas de um JSONL e os problemas de formato."""
    if not path.is_file():
        return [], [f"{path.name}: o arquivo não existe."]
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return [], [f"{path.name}: não está em UTF-8 (byte {error.start})."]
    rows, problems = [], []
    for n, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{path.name}, linha {n}: não é JSON ({error.msg}).")
            continue
        if tuple(row) != FIELDS or not all(isinstance(v, str) and v.strip() for v in row.values()):
            problems.append(f"{path.name}, linha {n}: os campos devem ser {FIELDS}, com texto.")
            continue
        rows.append(row)
    return rows, problems


def check_rows(parts: dict[str, list[dict]], prefix: str = "bd") -> list[str]:
    """Problemas de cada documento e entre documentos. Os ids são `prefix`-0000."""
    problems, ids, texts = [], {}, {}
    for part, rows in parts.items():
        for row in rows:
            where, text = f"{part}/{row['id']}", row["texto"]
            if not re.fullmatch(rf"{prefix}-\d{{4}}", row["id"]):
                problems.append(f"{where}: id fora do formato {prefix}-0000.")
            if row["id"] in ids:
                problems.append(f"{where}: id repetido de {ids[row['id']]}.")
            ids[row["id"]] = where
            if not CHARS[0] <= len(text) <= CHARS[1]:
                problems.append(f"{where}: {len(text)} caracteres, fora de {CHARS}.")
            if MOJIBAKE.search(row["titulo"] + text):
                problems.append(f"{where}: texto com a codificação trocada (mojibake).")
            elif odd := sorted(set(STRANGE.findall(row["titulo"] + text))):
                problems.append(f"{where}: caracteres estranhos: {odd}")
            if unicodedata.normalize("NFC", text) != text:
                problems.append(f"{where}: acentos fora da forma NFC.")
            key = " ".join(words(text))
            if key in texts:
                problems.append(f"{where}: texto repetido de {texts[key]}.")
            texts[key] = where
    return problems


def check_variety(parts: dict[str, list[dict]]) -> list[str]:
    """Quase-duplicatas, frases feitas, aberturas repetidas e equilíbrio de gêneros e partes."""
    rows = [(f"{part}/{r['id']}", r) for part in parts for r in parts[part]]
    if not rows:
        return ["O corpus está vazio."]
    problems, where = [], defaultdict(list)
    sets = [grams(r["texto"]) for _, r in rows]
    for i, s in enumerate(sets):
        for g in s:
            where[g].append(i)
    shared = Counter()
    for g, docs in where.items():
        if len(docs) > MAX_DOCS_PER_8GRAM:
            problems.append(f"O trecho «{' '.join(g)}» está em {len(docs)} documentos.")
        for a in range(len(docs)):
            for b in docs[a + 1 :]:
                shared[docs[a], b] += 1
    for (a, b), n in shared.items():
        share = n / max(1, min(len(sets[a]), len(sets[b])))
        if share > MAX_SHARED:
            problems.append(f"{rows[a][0]} e {rows[b][0]} têm {share:.0%} dos trechos em comum.")
    openings = Counter(" ".join(words(r["texto"])[:5]) for _, r in rows)
    for opening, n in openings.items():
        if n > max(1, MAX_OPENING * len(rows)):
            problems.append(f"{n} documentos abrem com «{opening}».")
    genres = Counter(r["genero"] for _, r in rows)
    if len(genres) < 10:
        problems.append(f"Só há {len(genres)} gêneros; são precisos dez.")
    for genre, n in genres.items():
        if n > 0.3 * len(rows):
            problems.append(f"O gênero {genre} passa de 30 % dos documentos.")
    for part, share in (("treino", 0.9), ("validacao", 0.05), ("teste", 0.05)):
        if abs(len(parts[part]) / len(rows) - share) > 0.015:
            problems.append(f"{part} tem {len(parts[part])} documentos: longe de {share:.0%}.")
    return problems


# ------------------------------------------------------------------ os fatos


def kin(world: dict) -> dict[tuple[str, str], set[str]]:
    """(A, B) -> graus de parentesco em que A pode ser chamado em relação a B."""
    people = {p["id"]: p for p in world["pessoas"]}
    parents = {i: {p[k] for k in ("pai", "mae") if p[k]} for i, p in people.items()}
    for i in people:  # quem é casado com um dos pais também conta
        parents[i] |= {people[q]["conjuge"] for q in parents[i] if people[q]["conjuge"]}
    siblings = {
        (a, b) for a in people for b in people if a != b and parents[a] & parents[b]
    }
    extra = {(e["de"], e["para"]): e["grau"] for e in world["parentescos_extra"]}
    siblings |= {(a, b) for (a, b), g in extra.items() if g == "irmão"}
    siblings |= {(b, a) for a, b in siblings}
    out = defaultdict(set)

    def add(a, b, masculine, feminine):
        out[a, b].add(masculine if people[a]["genero"] == "m" else feminine)

    for child, ps in parents.items():
        for p in ps:
            add(p, child, "pai", "mãe")
            add(child, p, "filho", "filha")
            for g in parents[p]:
                add(g, child, "avô", "avó")
                add(child, g, "neto", "neta")
            for a, b in siblings:
                if b == p:
                    add(a, child, "tio", "tia")
                    add(child, a, "sobrinho", "sobrinha")
                    if people[a]["conjuge"]:
                        add(people[a]["conjuge"], child, "tio", "tia")
                        add(child, people[a]["conjuge"], "sobrinho", "sobrinha")
    for a, b in siblings:
        add(a, b, "irmão", "irmã")
    for i, p in people.items():
        if c := p["conjuge"]:
            add(i, c, "marido", "mulher")
            add(i, c, "marido", "esposa")
    for (a, b), grade in extra.items():
        if grade == "tia":
            out[a, b].add("tia")
            add(b, a, "sobrinho", "sobrinha")
    return out


def short(person: dict) -> str:
    """O nome curto: 'Seu Anselmo' -> 'Anselmo'."""
    return person["chamado"].split()[-1]


def check_world(world: dict) -> list[str]:
    """Os fatos concordam entre si: referências, casais, nomes únicos, mapa."""
    problems = []
    people = {p["id"]: p for p in world["pessoas"]}
    places = {x["id"]: x for x in world["lugares"]}
    homes = set(places) | {r["id"] for r in world["ruas"]}
    for p in people.values():
        for key in ("pai", "mae", "conjuge"):
            if p[key] and p[key] not in people:
                problems.append(f"{p['id']}: {key} {p[key]} não existe.")
        if p["conjuge"] and people[p["conjuge"]]["conjuge"] != p["id"]:
            problems.append(f"{p['id']}: o casamento não é dos dois lados.")
        if p["trabalho"] and p["trabalho"] not in places:
            problems.append(f"{p['id']}: trabalho {p['trabalho']} não existe.")
        if p["casa"] not in homes:
            problems.append(f"{p['id']}: casa {p['casa']} não existe.")
        for key in ("pai", "mae"):
            if p[key] in people and people[p[key]]["idade"] - p["idade"] < 16:
                problems.append(f"{p['id']}: a idade não combina com a de {p[key]}.")
    for names in ([short(p) for p in people.values()], [a["nome"] for a in world["animais"]]):
        for name, n in Counter(names).items():
            if n > 1:
                problems.append(f"Há {n} donos do nome {name}.")
    for a in world["animais"]:
        if not set(a["donos"]) <= set(people) or a["mora"] not in homes:
            problems.append(f"{a['nome']}: dono ou morada não existe.")
    for e in world["eventos"]:
        if e["onde"] not in homes or e["responsavel"] not in people:
            problems.append(f"{e['nome']}: lugar ou responsável não existe.")
    for x in world["precos"]:
        if x["onde"] not in places or not x["preco"] > 0:
            problems.append(f"{x['item']}: lugar ou preço impossível.")
    spots = Counter((x["x"], x["y"]) for x in world["lugares"] if x["rua"] != "Praça da Figueira")
    problems += [f"Dois lugares no ponto {s} do mapa." for s, n in spots.items() if n > 1]
    minimum = {"pessoas": 40, "lugares": 20, "eventos": 12}
    problems += [f"Há menos de {n} {k}." for k, n in minimum.items() if len(world[k]) < n]
    return problems


def check_facts(rows: list[dict], world: dict) -> list[str]:
    """Contradições que se deixam ler por padrões: profissão, parentesco, bicho e dono."""
    people = {short(p): p for p in world["pessoas"]}
    relation = kin(world)
    title = r"(?:Seu |Dona |Professora |Doutora |Diretora |Prefeita |Padre |Guarda )?"
    name = rf"{title}({'|'.join(people)})"
    jobs = {p["profissao"] for p in people.values()} - {"estudante", "dona de pousada"}
    degrees = "pai|mãe|filho|filha|irmão|irmã|marido|mulher|esposa|avô|avó|neto|neta|tio|tia"
    job = re.compile(rf"\b{name},? (?:é )?(?:o|a) ({'|'.join(sorted(jobs, key=len)[::-1])})\b")
    family = re.compile(rf"\b{name},? (?:é )?(?:o |a )?({degrees}) d[aoe] {name}\b")
    pets = {a["nome"]: a for a in world["animais"]}
    kinds = {a["bicho"] for a in world["animais"]}
    pet = re.compile(rf"\b({'|'.join(pets)}), [oa] ({'|'.join(kinds)})\b(?: \w+)? d[aoe] {name}\b")
    problems = []
    for row in rows:
        text = row["titulo"] + "\n" + row["texto"]
        for m in job.finditer(text):
            p = people[m[1]]
            if m[2] not in p["profissao"] and p["profissao"] not in m[2]:
                problems.append(f"{row['id']}: «{m[0]}», mas é {p['profissao']}.")
        for m in family.finditer(text):
            a, b = people[m[1]]["id"], people[m[3]]["id"]
            if m[2] not in relation.get((a, b), set()):
                problems.append(f"{row['id']}: «{m[0]}», mas o parentesco é outro.")
        for m in pet.finditer(text):
            animal, owner = pets[m[1]], people[m[3]]
            family_of = {people[short(p)]["familia"] for p in people.values()
                         if p["id"] in animal["donos"]}
            if m[2] != animal["bicho"] or (
                owner["id"] not in animal["donos"] and owner["familia"] not in family_of
            ):
                problems.append(f"{row['id']}: «{m[0]}» não combina com o dono ou o bicho.")
    return problems


WEEK = ("segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo")


def open_days(place: dict) -> set[str]:
    """Os dias da semana em que um lugar abre: 'terça a sábado' -> {'terça', …}."""
    days = place["dias"]
    if days == "todos os dias":
        return set(WEEK)
    if " a " in days:
        first, last = (WEEK.index(d) for d in days.split(" a "))
        return set(WEEK[first : last + 1])
    return {d for d in WEEK if d in days}


def check_places(rows: list[dict], world: dict) -> list[str]:
    """Contradições legíveis de rua, morada, dias de abrir e preço."""
    places = {PLACE_NAMES[x["id"]]: x for x in world["lugares"] if x["id"] in PLACE_NAMES}
    names = "|".join(sorted(map(re.escape, places), key=len, reverse=True))
    streets = {r["nome"].lower(): r["id"] for r in world["ruas"]}
    road = "|".join(streets)
    people = {short(p).lower(): p for p in world["pessoas"]}
    day = f"({'|'.join(WEEK)})s?(?:-feira|s-feiras)?"
    tail = r"(?: (?!fica|mora)[\wà-ü]+){0,3}?"  # «padaria Forno Velho», «oficina da Jurema»
    street = re.compile(rf"\b({names}){tail},? (?:que )?(?:fica|está|funciona) n[ao] ({road})\b")
    home = re.compile(rf"\b({'|'.join(people)}),? (?:que )?mora n[ao] ({road})\b")
    shut = re.compile(rf"\b({names}){tail},? (?:que )?(?:fecha|não abre|nunca abre|está fechad[ao])"
                      rf" (?:toda |n[ao]s? |aos? |às? )+{day}\b")
    opens = re.compile(rf"\b({names}){tail},? (?:que )?(?<!não )(?<!nunca )(?<!só )abre"
                       rf" (?:toda |n[ao]s? |aos? |às? )+{day}\b")
    span = re.compile(rf"\b({names}){tail},? (?:que )?(?:só )?(?:abre|funciona) de {day} a {day}\b")
    items = {x["item"].lower(): x["preco"] for x in world["precos"]}
    values = {num2words(n, lang="pt_BR"): n for n in range(1, 100)}
    spelled = "|".join(sorted(values, key=len, reverse=True))
    cost = re.compile(
        rf"\b({'|'.join(map(re.escape, items))})(?: [\wà-ü]+){{0,4}}? (?:custa|sai por|vale|por|a)"
        rf" (?:só |r\$ ?)*(?:(\d+)(?:,(\d\d))?|({spelled}) rea(?:l|is)(?: e ({spelled}))?)"
        r"(?![\wà-ü]| \w+vos| horas| da )")
    problems = []

    def wrong(row, match, why):
        problems.append(f"{row['id']}: «{match[0]}», mas {why}.")

    for row in rows:
        text = (row["titulo"] + "\n" + row["texto"]).lower()
        for m in street.finditer(text):
            if places[m[1]]["rua"].lower() != m[2]:
                wrong(row, m, f"fica em {places[m[1]]['rua']}")
        for m in home.finditer(text):
            person = people[m[1]]
            lives = {person["casa"]} | {x["rua"] for x in world["lugares"]
                                        if x["id"] == person["casa"]}
            if streets[m[2]] not in lives and m[2] not in {x.lower() for x in lives}:
                wrong(row, m, f"mora em {person['casa']}")
        for m in shut.finditer(text):
            if m[2] in open_days(places[m[1]]):
                wrong(row, m, f"abre {places[m[1]]['dias']}")
        for m in opens.finditer(text):
            if m[2] not in open_days(places[m[1]]):
                wrong(row, m, f"abre {places[m[1]]['dias']}")
        for m in span.finditer(text):
            first, last = WEEK.index(m[2]), WEEK.index(m[3])
            said = set(WEEK[first : last + 1]) if first <= last else set()
            if not said <= open_days(places[m[1]]):
                wrong(row, m, f"abre {places[m[1]]['dias']}")
        for m in cost.finditer(text):
            whole = int(m[2]) if m[2] else values[m[4]]
            cents = int(m[3]) if m[3] else values.get(m[5], 0)
            half = re.search(r"\b(?:metade|mei[oa]|pedaço)\b", text[max(0, m.start() - 30) : m.start()])
            if whole + cents / 100 != items[m[1]] and not half:
                wrong(row, m, f"custa R$ {items[m[1]]:.2f}".replace(".", ","))
    return problems


# ------------------------------------------------------------------ combinações

# Como o corpus chama cada lugar: um pedaço do nome que não se confunde com outro.
PLACE_NAMES = {
    "praca": "praça", "coreto": "coreto", "igreja": "igreja", "prefeitura": "prefeitura",
    "jornal": "a voz do barro", "relojoaria": "relojoaria", "farmacia": "farmácia",
    "padaria": "padaria", "sapataria": "sapataria", "barbearia": "barbearia",
    "posto": "posto de saúde", "mercearia": "mercearia", "restaurante": "panela de barro",
    "sorveteria": "sorveteria", "tecidos": "arco-íris", "escola": "escola",
    "biblioteca": "biblioteca", "museu": "museu", "cinema": "cine lua",
    "clinica": "patas e penas", "correio": "correio", "rodoviaria": "jardineira",
    "oficina": "oficina", "radio": "rádio melado", "campo": "campo do pirão",
    "ponte": "ponte do melado", "olaria": "olaria", "chacara_okada": "chácara okada",
    "sitio_boa_espera": "boa espera", "cachoeira": "cachoeira",
    "chacara_das_abelhas": "chácara das abelhas", "pousada": "pousada", "mirante": "mirante",
}  # fmt: skip


def mentions(row: dict, world: dict) -> set[tuple[str, str]]:
    """(pessoa, lugar) que um documento põe juntos."""
    text = row["titulo"] + " " + row["texto"]
    seen, low = set(WORD.findall(text)), text.lower()
    people = [p["id"] for p in world["pessoas"] if short(p) in seen]
    places = [i for i, name in PLACE_NAMES.items() if name in low]
    return {(p, x) for p in people for x in places}


def combinations(parts: dict[str, list[dict]], world: dict) -> list[dict]:
    """Os pares de pessoa e lugar que só a parte de teste junta, e em que documentos.

    Quem trabalha no lugar não conta: isso o treino diz de outros jeitos.
    """
    own = {(p["id"], p["trabalho"]) for p in world["pessoas"]}
    known = {c for part in ("treino", "validacao") for r in parts[part] for c in mentions(r, world)}
    found = defaultdict(list)
    for row in parts["teste"]:
        for c in mentions(row, world) - known - own:
            found[c].append(row["id"])
    return [{"pessoa": p, "lugar": x, "documentos": ids} for (p, x), ids in sorted(found.items())]


def check_combinations(parts: dict[str, list[dict]], folder: Path = FOLDER) -> list[str]:
    """`combinacoes.json` lista exatamente os pares que só o teste junta."""
    world = json.loads((folder / "mundo.json").read_text(encoding="utf-8"))
    path = folder / "combinacoes.json"
    if not path.is_file():
        return ["combinacoes.json: o arquivo não existe."]
    now, written = combinations(parts, world), json.loads(path.read_text(encoding="utf-8"))
    if written != now:
        return ["combinacoes.json: não é o que as partes dizem; rode --carimbar."]
    documents = {d for c in now for d in c["documentos"]}
    if len(documents) < 0.4 * len(parts["teste"]):
        return [f"combinacoes.json: só {len(documents)} documentos de teste têm um par inédito."]
    return []


# ------------------------------------------------------------------ medidas

TRAITS = {  # o que se conta nos documentos, por palavras que o denunciam
    "com fala": re.compile(r"(?m)^— |[“»] (?:disse|perguntou|respondeu)|^[A-Z]\w+(?: \w+)? — "),
    "com pergunta": re.compile(r"\?"),
    "na primeira pessoa": re.compile(r"\b(?:[Ee]u|[Mm]inha|[Mm]eu|comigo|nós|nossa|nosso)\b"),
    "que falam com «você»": re.compile(r"\b[Vv]ocês?\b"),
    "com hora": re.compile(r"\b\d{1,2}h(?:\d\d)?\b|\bàs (?:uma|duas|três|quatro|cinco|seis|sete|oito"
                           r"|nove|dez|onze|doze)\b|meio-dia"),
    "com preço": re.compile(r"R\$|\brea(?:l|is)\b|centavos"),
    "com data": re.compile(r"\b(?:de|em) (?:janeiro|fevereiro|março|abril|maio|junho|julho|agosto"
                           r"|setembro|outubro|novembro|dezembro)\b"),
    "com subjuntivo": re.compile(r"\b(?:talvez|[Ee]mbora|para que|espero que|se (?:eu |ele |ela )?"
                                 r"(?:fosse|tivesse|pudesse|chover|quiser|puder|der|for)"
                                 r"|quando (?:\w+ )?(?:chegar|vier|puder|quiser|for|tiver))\b"),
}  # fmt: skip


def measures(parts: dict[str, list[dict]]) -> str:
    """As medidas do cartão, em Markdown."""
    rows = [r for part in parts.values() for r in part]
    tokens = Counter(w for r in rows for w in words(r["texto"]))
    train = "\n".join(r["texto"] for r in parts["treino"]).encode()
    bigrams = [b for r in rows for b in zip(words(r["texto"]), words(r["texto"])[1:], strict=False)]
    genres = Counter(r["genero"] for r in rows)
    lines = ["| parte | documentos | bytes | palavras |", "|---|---|---|---|"]
    for part, items in parts.items():
        size = sum(len(r["texto"].encode()) for r in items)
        count = sum(len(words(r["texto"])) for r in items)
        lines.append(f"| `{part}.jsonl` | {len(items)} | {size} | {count} |")
    stories = [r for r in rows if r["genero"] == "história"]
    talk = sum("— " in r["texto"] for r in stories) / max(1, len(stories))
    lengths = sorted(len(r["texto"]) for r in rows)
    xz = len(lzma.compress(train, preset=9)) / len(train)
    lines += [
        "",
        f"- Palavras distintas: {len(tokens)}; só uma vez: {sum(c == 1 for c in tokens.values())}.",
        f"- Caracteres por documento: mediana {lengths[len(lengths) // 2]}, "
        f"de {lengths[0]} a {lengths[-1]}.",
        f"- Bigramas distintos: {len(set(bigrams)) / len(bigrams):.0%} de {len(bigrams)}.",
        f"- `xz -9` do texto de treino: {xz:.3f} do tamanho.".replace("0.", "0,"),
        f"- Histórias com diálogo: {talk:.0%} de {len(stories)}.",
        "- Documentos " + "; ".join(
            f"{name}: {sum(bool(p.search(r['texto'])) for r in rows) / max(1, len(rows)):.0%}"
            for name, p in TRAITS.items()) + ".",
        "- Gêneros: " + "; ".join(f"{g} {n}" for g, n in genres.most_common()) + ".",
    ]
    return "\n".join(lines)


def skews(parts: dict[str, list[dict]], world: dict) -> str:
    """Quantas vezes cada gênero aparece em cada profissão: contado, não equilibrado."""
    text = "\n".join(r["texto"] for rows in parts.values() for r in rows)
    count = Counter(WORD.findall(text))
    people = [p for p in world["pessoas"] if p["profissao"] != "estudante"]
    total = {g: sum(count[short(p)] for p in world["pessoas"] if p["genero"] == g) for g in "mf"}
    lines = [
        f"- Menções a pessoas pelo nome: {total['f']} a mulheres e meninas, "
        f"{total['m']} a homens e meninos.",
        f"- Pronomes: {count['ela'] + count['Ela']} «ela» e {count['ele'] + count['Ele']} «ele».",
        "",
        "| profissão | gênero | menções |",
        "|---|---|---|",
    ]
    for p in sorted(people, key=lambda p: -count[short(p)]):
        gender = "feminino" if p["genero"] == "f" else "masculino"
        lines.append(f"| {p['profissao']} | {gender} | {count[short(p)]} |")
    return "\n".join(lines)


def load(folder: Path = FOLDER) -> tuple[dict[str, list[dict]], list[str]]:
    """As três partes e os problemas de formato."""
    parts, problems = {}, []
    for part in PARTS:
        parts[part], found = read_part(folder / f"{part}.jsonl")
        problems += found
    return parts, problems


def check(folder: Path = FOLDER) -> list[str]:
    """Todos os problemas do corpus e dos fatos."""
    parts, problems = load(folder)
    world = json.loads((folder / "mundo.json").read_text(encoding="utf-8"))
    problems += check_world(world) + check_rows(parts) + check_variety(parts)
    problems += check_combinations(parts, folder)
    rows = [r for p in parts.values() for r in p]
    return problems + check_facts(rows, world) + check_places(rows, world)


def sums(folder: Path = FOLDER) -> dict[str, str]:
    """SHA-256 dos arquivos do corpus, por nome."""
    names = [f"{p}.jsonl" for p in PARTS] + ["mundo.json", "combinacoes.json"]
    return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}


def between(text: str, mark: str, new: str) -> str:
    """Troca o que está entre `<!-- mark -->` e `<!-- /mark -->`."""
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    if not re.search(pattern, text, flags=re.S):
        raise ValueError(f"O cartão não tem a marca <!-- {mark} -->.")
    return re.sub(pattern, lambda m: f"{m[1]}{new}\n{m[2]}", text, flags=re.S)


def card(parts: dict[str, list[dict]], folder: Path = FOLDER) -> str:
    """O cartão com as medidas de agora."""
    world = json.loads((folder / "mundo.json").read_text(encoding="utf-8"))
    text = (folder / "README.md").read_text(encoding="utf-8")
    return between(between(text, "medidas", measures(parts)), "vieses", skews(parts, world))


def stamp(folder: Path = FOLDER) -> None:
    """Grava medidas e somas onde elas são citadas."""
    import pecas
    import somas

    parts, _ = load(folder)
    world = json.loads((folder / "mundo.json").read_text(encoding="utf-8"))
    pairs = ",\n ".join(json.dumps(c, ensure_ascii=False) for c in combinations(parts, world))
    (folder / "combinacoes.json").write_text(f"[{pairs}]\n", encoding="utf-8")
    import fatos

    rows = [r for p in parts.values() for r in p]
    text = between(card(parts, folder), "fatos", fatos.summary(fatos.coverage(rows, world)))
    (folder / "README.md").write_text(text, encoding="utf-8")
    lines = [f"{h}  {n}\n" for n, h in sums(folder).items()]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    somas.stamp()
    pecas.synchronize(pecas.notebooks())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere e mede o corpus de Barro Doce.")
    parser.add_argument("--carimbar", action="store_true", help="grava medidas e somas")
    args = parser.parse_args(argv)
    parts, _ = load()
    if args.carimbar:
        stamp()
    problems = check()
    print(measures(parts))
    print("\n".join(problems) or "Nenhum problema.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
