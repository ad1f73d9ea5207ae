"""A ortografia de tudo o que uma pessoa lê: páginas, cadernos, comentários, corpus.

    python tests/portugues.py                palavras que o dicionário não conhece, e onde
    python tests/portugues.py ARQUIVO …      só nestes arquivos

O dicionário é o pt_BR do hunspell (pacotes `hunspell` e `hunspell-pt-br`). Além dele valem os
nomes de mundo.json e as palavras de palavras_aceitas.txt. Código entre crases, endereços,
fórmulas e identificadores não são prosa.
"""

import ast
import functools
import io
import json
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import enderecos
from pecas import neutralize

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "02-texto-vira-numero" / "corpus"
ACCEPTED = ROOT / "tests" / "palavras_aceitas.txt"
DATA = {"cartilha", "corpus", "dados"}  # as pastas com JSONL que uma pessoa lê
NOT_PROSE = {"id", "errada", "fenomeno", "fato", "tipo", "familia", "correcao", "criterio", "lugar"}
COMMAND = ["hunspell", "-d", "pt_BR", "-l", "-i", "utf-8"]

WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
ACCENTED = re.compile(r"[áàâãéêíóôõúüçÁÀÂÃÉÊÍÓÔÕÚÜÇ]")
# O que, num texto corrido, é código e não português.
CODE = re.compile(
    r"`[^`\n]*`"
    r"|https?://\S+|\b[\w.-]+@[\w.-]+"
    r"|<\|[^|>]*\|>|</?[a-zA-Z][^<>\n]*>"
    r"|\$\$.+?\$\$|(?<![\w\\R])\$(?!\s)[^$\n]+?(?<!\s)\$(?!\w)"
    r"|&\w+;|\\\w+"
    r"|[^\s(\[{]*[_=/\\@#^|~][^\s)\]},;.]*"  # b_c, x=1, pasta/arquivo
    r"|\b\w*\d\w*\b"  # 2048, T4, k1
    r"|\b[^\W\d_]+(?:\.[^\W\d_]+)+\b(?:\([^)]*\))?"  # nn.Linear(...)
    r"|\b[^\W\d_]+\([^)\s]*\)"  # decode(encode(s))
    r"|\.\w{2,8}\b"  # .txt
    r"|\b[^\W\d_]*[a-zà-ü][A-ZÀ-Ü][^\W\d_]*\b"  # LayerNorm
    r"|\b[^\W\d_]\b",  # letras sozinhas
    re.DOTALL,
)


def available() -> bool:
    """O hunspell e o dicionário pt_BR estão nesta máquina?"""
    if not shutil.which("hunspell"):
        return False
    done = subprocess.run(COMMAND, input="casa", capture_output=True, encoding="utf-8")
    return done.returncode == 0


@functools.cache
def listed() -> dict[str, list[str]]:
    """As palavras da lista, por lugar: `''` vale em toda parte; `'bd-0316'`, só nesse documento."""
    found: dict[str, list[str]] = {}
    for line in ACCEPTED.read_text(encoding="utf-8").splitlines():
        place, _, words = line.split("#")[0].rpartition(":")
        found.setdefault(place.strip(), []).extend(words.split())
    return found


@functools.cache
def accepted() -> frozenset[str]:
    """As palavras aceitas em toda parte: as da lista e os nomes da cidade."""
    world = set(WORD.findall((CORPUS / "mundo.json").read_text(encoding="utf-8")))
    parts = {part for word in world for part in word.split("-")}
    return frozenset({*listed()[""], *world, *parts})


def is_accepted(word: str) -> bool:
    """'token' na lista vale para Token e TOKEN; 'Vaswani', só com a maiúscula."""
    return word in accepted() or word.lower() in accepted()


@functools.lru_cache(maxsize=4096)
def words_of(prose: str) -> list[str]:
    """As palavras da prosa, sem o código que há nela."""
    return WORD.findall(CODE.sub(" ", prose))


VERDICTS: dict[str, bool] = {}  # palavra -> o dicionário a conhece?


def ask_dictionary(words: Iterable[str]) -> set[str]:
    """As que o hunspell não conhece. Abri-lo é caro: cada palavra se pergunta uma vez."""
    words = set(words)
    if new := sorted(words - set(VERDICTS)):
        done = subprocess.run(
            COMMAND, input="\n".join(new), capture_output=True, encoding="utf-8", check=True
        )
        missing = set(done.stdout.split())
        VERDICTS.update({word: word not in missing for word in new})
    return {word for word in words if not VERDICTS[word]}


def is_word_to_check(word: str) -> bool:
    """Siglas (GPU) e gritos (goooool) não estão em dicionário nenhum."""
    return not (re.fullmatch(r"[A-Z]{2,6}s?", word) or re.search(r"(\w)\1\1", word))


def unknown(prose: str) -> list[str]:
    """As palavras que ninguém conhece, em ordem de aparição, sem repetir."""
    return unknown_words(words_of(prose))


def unknown_words(words: Iterable[str]) -> list[str]:
    """O mesmo, de palavras já separadas."""
    words = [w for w in dict.fromkeys(words) if is_word_to_check(w)]
    missing = ask_dictionary([*words, *(part for w in words for part in w.split("-"))])
    bad = []
    for word in words:
        pieces = [p for p in [word, *word.split("-")] if p in missing]
        if pieces and not is_accepted(word) and not all(map(is_accepted, pieces)):
            bad.append(word)
    return bad


def without_foreign_titles(text: str) -> str:
    """Tira os itálicos de três palavras ou mais que não são português: títulos de artigos."""
    spans = re.findall(r"(?<![*\w])\*(?![\s*])([^*]+?)(?<![\s*])\*(?![*\w])", text)
    long = {s: [w for w in words_of(s) if len(w) > 1] for s in spans}
    long = {s: words for s, words in long.items() if len(words) >= 3}
    missing = ask_dictionary({w for words in long.values() for w in words}) if long else set()
    for span, words in long.items():
        if sum(w in missing for w in words) * 2 >= len(words):
            text = text.replace(f"*{span}*", " ")
    return text


# --- a prosa de cada tipo de arquivo ---------------------------------------------------


def of_markdown(text: str) -> str:
    """Sem blocos de código, diagramas, fórmulas e endereços de links."""
    text = re.sub(r"<!--.*?-->|^[>\s]*(```|~~~).*?^[>\s]*\1", " ", text, flags=re.DOTALL | re.M)
    text = re.sub(r"\]\([^)\s]*(?:\s+\"([^\"]*)\")?\)", r"] \1 ", text)
    text = re.sub(r"</?[a-zA-Z]+\b([^<>]*)>", alt_text, text)
    return without_foreign_titles(text)


def alt_text(match: re.Match) -> str:
    """De uma etiqueta HTML, só o que se lê."""
    return " ".join(["", *re.findall(r"(?:alt|title)=\"([^\"]*)\"", match[1]), ""])


def is_code(text: str) -> bool:
    """Um pedaço de programa, ou uma expressão regular, guardado num texto."""
    if re.search(r"\[[^\]]*[A-Za-zÀ-ÿ]-|\(\?|\\[dwsbn]|\.\*", text):
        return True
    if not re.search(r"\n|^(?:import|from|def|class|assert) ", text):
        return False
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def strings(tree: ast.AST) -> Iterator[str]:
    """As mensagens (textos com espaço e algum acento) e as docstrings."""
    inside_f = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else " 0 " for v in node.values]
            text = "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if id(node) in inside_f else node.value
        if " " in text.strip() and ACCENTED.search(text) and not is_code(text):
            yield text


def identifiers(tree: ast.AST) -> set[str]:
    """Os nomes que o programa usa: num comentário dele, são nomes, não palavras."""
    found = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(value := getattr(node, field, None), str):
                found.update(value.split("."))
    return found


def of_python(source: str, names: set[str] | None = None) -> str:
    """Comentários, docstrings e mensagens, sem os nomes do programa."""
    source = neutralize(source)
    tree = ast.parse(source)
    names = identifiers(tree) if names is None else names
    prose = []
    for token in tokenize.generate_tokens(io.StringIO(source + "\n").readline):
        if token.type == tokenize.COMMENT:
            text = re.sub(r"^#\s*(?:noqa|fmt:|type:|!|@param|@markdown).*", "", token.string)
            prose.append(re.sub(r"^#\s*(?:@title)?", "", text))
    prose += strings(tree)
    return "\n".join(
        re.sub(r"[^\W\d_]+", lambda m: " " if m[0] in names else m[0], CODE.sub(" ", text))
        for text in prose
    )


def of_notebook(path: Path) -> Iterator[tuple[str, str]]:
    """(onde, prosa) de cada célula."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    names = set().union(*(identifiers(ast.parse(neutralize(sources[i]))) for i in code))
    for i, source in enumerate(sources):
        yield f"célula {i}", of_python(source, names) if i in code else of_markdown(source)


def of_row(row: dict) -> Iterator[str]:
    """Os textos de uma linha de dados; chaves, padrões e a frase errada de um par ficam fora."""
    for key, value in row.items():
        if isinstance(value, str) and key not in NOT_PROSE:
            yield value
    yield from row.get("opcoes", [])


def prose_of(path: Path) -> Iterator[tuple[str, str]]:
    """(onde, prosa) de um arquivo."""
    if path.suffix == ".ipynb":
        yield from of_notebook(path)
    elif path.suffix == ".jsonl":
        for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
            row = json.loads(line)
            yield row.get("id", ""), "\n".join(of_row(row))
    else:
        text = path.read_text(encoding="utf-8")
        yield "", of_python(text) if path.suffix == ".py" else of_markdown(text)


def pages(root: Path = ROOT) -> list[Path]:
    """Tudo o que se lê: páginas, cadernos, código dos testes e o corpus."""
    found = [p for p in enderecos.files(root) if p.suffix in {".md", ".ipynb", ".py"}]
    found.remove(root / "tests" / "test_portugues.py")  # os erros plantados são dele
    return found + sorted(p for p in root.glob("[0-9][0-9]-*/**/*.jsonl") if p.parent.name in DATA)


def prepare(paths: Iterable[Path]) -> None:
    """Pergunta ao dicionário, de uma vez só, tudo o que aparece nestes arquivos."""
    words: set[str] = set()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":  # as imagens gravadas não são palavras
            text = "\n".join("".join(c["source"]) for c in json.loads(text)["cells"])
        words.update(WORD.findall(text))
    ask_dictionary(words | {part for word in words for part in word.split("-")})


def check(paths: Iterable[Path]) -> dict[str, list[str]]:
    """palavra -> onde aparece."""
    paths = list(paths)
    prepare(paths)
    found: dict[str, list[str]] = {}
    for path in paths:
        parts = list(prose_of(path))
        bad = set(unknown_words(w for _, prose in parts for w in words_of(prose)))
        for where, prose in parts if bad else []:
            for word in bad & set(words_of(prose)) - set(listed().get(where, [])):
                found.setdefault(word, []).append(f"{path.relative_to(ROOT)} {where}".strip())
    return found


def main(args: list[str]) -> int:
    if not available():
        print("Instale o hunspell e o dicionário: apt-get install hunspell hunspell-pt-br")
        return 2
    found = check([Path(a).resolve() for a in args] or pages())
    for word, places in sorted(found.items()):
        print(f"{word}: {'; '.join(places[:3])}{' …' if len(places) > 3 else ''}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
