"""A higiene dos cadernos: cada regra nasceu de uma armadilha em que alguém já caiu.

    python tests/cadernos.py             confere todos
    python tests/cadernos.py CAMINHO …   confere estes
"""

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import enderecos
import nbformat
from pecas import neutralize

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 3_000_000
MAX_COLUMNS = 88
MAX_CODE_IN_A_ROW = 3
MACHINE_PATH = re.compile(
    r"(?<![\w/.])(?:/(?:root|home|tmp|Users|mnt|work|var|opt|content|private)/[\w.-]+"
    r"|[A-Z]:\\\\?(?:Users|Documents)\b|file://)|ipykernel_\d+"
)
STUB = re.compile(
    r"\b(?:FIXME|XXX|[Ll]orem ipsum|[Aa] ser escrit[oa]|[Ee]m construção)\b"
    r"|\bTODO\b(?=\s*[:(\]]|\s*$)|@[A-Z]\d{2}@|NotImplemented",
    re.MULTILINE,
)
MD_IMAGE = re.compile(r"!\[([^\]]*)\]\(\s*<?([^)\s>]+)")
HTML_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
REPOSITORY_MODULES = {p.stem for p in (ROOT / "tests").glob("*.py")} | {"tests"}


def notebooks(root: Path = ROOT) -> list[Path]:
    """Todos os cadernos do curso, também os dos laboratórios e das soluções."""
    return [p for p in enderecos.files(root) if p.suffix == ".ipynb"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def texts(output) -> Iterator[str]:
    """As partes de uma saída que se leem: texto, html, svg, e os erros."""
    if output.output_type == "stream":
        yield output.text
    elif output.output_type == "error":
        yield "\n".join(output.traceback)
    else:
        for kind, value in output.data.items():
            if kind.startswith("text/") or kind == "image/svg+xml":
                yield value if isinstance(value, str) else "".join(value)


def of_the_whole(nb, path: Path, root: Path) -> Iterator[str]:
    """O que se vê no caderno inteiro."""
    try:
        nbformat.validate(nb)
    except nbformat.ValidationError as error:
        yield f"formato inválido: {str(error).splitlines()[0]}"
    if path.stat().st_size > MAX_BYTES:
        yield f"{path.stat().st_size // 1024} KiB: pesado demais para o GitHub mostrar"
    meta = nb.metadata
    if "widgets" in meta:
        yield "metadata.widgets está gravado, e quebra a visão do GitHub"
    if meta.get("kernelspec", {}).get("name") != "python3":
        yield "o kernel precisa ser python3"
    colab = meta.get("colab", {})
    if colab.get("provenance") != [] or colab.get("toc_visible") is not True:
        yield 'faltam os metadados do Colab: {"provenance": [], "toc_visible": true}'
    # Do JSON, porque o nbformat conserta os ids calado ao ler.
    ids = Counter(c.get("id") for c in json.loads(path.read_text("utf-8"))["cells"])
    if repeated := [i for i, n in ids.items() if n > 1 or i is None]:
        yield f"ids de célula que faltam ou se repetem: {repeated}"
    repository, branch = enderecos.REPOSITORY, enderecos.BRANCH
    own = f"{repository}/blob/{branch}/{path.relative_to(root).as_posix()}"
    first = nb.cells[0] if nb.cells else None
    if first is None or first.cell_type != "markdown" or "colab-badge" not in first.source:
        yield "a primeira célula precisa ter o emblema Open in Colab"
    elif f"](https://colab.research.google.com/github/{own})" not in first.source:
        yield f"o emblema não abre este caderno ({own})"
    elif not first.source.lstrip().startswith("# "):
        yield "a primeira célula precisa começar com o título"
    code = [c for c in nb.cells if c.cell_type == "code"]
    counts = [c.get("execution_count") for c in code]
    if counts != list(range(1, len(code) + 1)):
        at = next(i for i, n in enumerate(counts) if n != i + 1)
        yield (
            f"a {at + 1}ª célula de código tem contagem {counts[at]}: não é uma execução só, "
            f"de cima a baixo"
        )


def without_code(text: str) -> str:
    """O Markdown sem os trechos de código."""
    return re.sub(r"```.*?```|`[^`\n]*`", " ", text, flags=re.DOTALL)


def of_markdown(cell) -> Iterator[str]:
    prose = without_code(cell.source)
    for alt, url in MD_IMAGE.findall(prose):
        if not url.startswith(("https://", "attachment:")):
            yield f"imagem relativa quebra no Colab: {url}"
        if len(alt.strip()) < 8:
            yield f"imagem sem texto alternativo de verdade: {url}"
    for tag in HTML_IMAGE.findall(prose):
        if not re.search(r"src\s*=\s*[\"'](?:https://|attachment:)", tag):
            yield f"imagem relativa quebra no Colab: {tag}"
        if not re.search(r"alt\s*=\s*(\"[^\"]{8,}\"|'[^']{8,}')", tag):
            yield f"imagem sem texto alternativo de verdade: {tag}"
    for url in re.findall(r"(?<!!)\[[^\]\n]+\]\(\s*<?([^)\s>]+)", MD_IMAGE.sub("", prose)):
        if not re.match(r"https?://|#|mailto:", url):
            yield f"link relativo não abre no Colab: {url}"
    if prose.count("<details") != prose.count("</details>"):
        yield "há um <details> que não fecha"


def imports_of(tree: ast.AST) -> Iterator[str]:
    """O que o código importa do repositório, por qualquer porta."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if not node.level else ["." + (node.module or "")]
        else:
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
                yield "sys.path"
            continue
        for name in names:
            top = name.split(".")[0]
            if not top or top in REPOSITORY_MODULES or re.match(r"\d\d", top):
                yield name


def of_code(cell) -> Iterator[str]:
    source = cell.source
    if not source.strip():
        yield "célula de código vazia"
        return
    lines = source.splitlines()
    for n, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and "#@param" not in line:  # o Colab o quer numa linha só
            yield f"linha {n} com {len(line)} colunas (o limite é {MAX_COLUMNS})"
    folded = re.match(r"#\s*@title", lines[0])
    if folded:
        if cell.metadata.get("cellView") != "form":
            yield "célula #@title sem cellView: form não fica dobrada no Colab"
        if not cell.metadata.get("jupyter", {}).get("source_hidden"):
            yield "célula #@title sem jupyter.source_hidden não fica dobrada no JupyterLab"
    elif cell.metadata.get("cellView"):
        yield "célula dobrada sem #@title: o leitor não sabe o que há dentro"
    if re.search(r"(?m)^\s*%run\b", source):
        yield "usa %run: o caderno precisa viver sozinho"
    if re.search(r"pip3? install", source) and "IN_COLAB" not in source:
        yield "instala pacotes fora do Colab (use: if IN_COLAB)"
    try:
        tree = ast.parse(neutralize(source))
    except SyntaxError as error:
        yield f"não é Python: {error}"
        return
    for name in imports_of(tree):
        yield f"importa do repositório: {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, (ast.Constant, ast.Tuple)):
            yield f"linha {node.lineno}: este assert não pode falhar"
    yield from of_outputs(cell)


def of_outputs(cell) -> Iterator[str]:
    errors = [o for o in cell.outputs if o.output_type == "error"]
    marks = tags(cell)
    if errors and "raises-exception" not in marks:
        yield f"erro gravado: {errors[0].ename}"
    if "raises-exception" in marks and not errors:
        yield "promete um erro (raises-exception) e não o mostra"
    if "nbval-check-output" in marks:
        if not any(t.strip() for o in cell.outputs for t in texts(o)):
            yield "célula conferida sem texto gravado passa sem conferir nada"
        if any(o.output_type == "stream" and o.name == "stderr" for o in cell.outputs):
            yield "célula conferida com stderr: um aviso a mais a derruba"
    unknown = {t for t in marks if t.startswith("nbval")} - {"nbval-check-output"}
    if unknown:
        yield f"marca do nbval que esconde a célula dos testes: {sorted(unknown)}"
    for output in cell.outputs:
        for text in texts(output):
            for match in MACHINE_PATH.finditer(text):
                yield f"caminho de uma máquina numa saída: {match[0]}"
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            yield "saída de widget: não aparece para quem lê no GitHub"


def without_abstract(source: str, bases: set[str]) -> str:
    """O código sem o `raise NotImplementedError` das classes que outra, na página, completa."""
    parts = re.split(r"(?m)^(?=\S)", source)
    for i, part in enumerate(parts):
        name = re.match(r"class (\w+)", part)
        if name and name[1] in bases:
            parts[i] = part.replace("raise NotImplementedError", "")
    return "".join(parts)


def findings(path: Path, root: Path = ROOT) -> list[str]:
    """Uma frase por defeito do caderno."""
    nb = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    found = list(of_the_whole(nb, path, root))
    sources = [c.source for c in nb.cells if c.cell_type == "code"]
    bases = {m for s in sources for m in re.findall(r"^class \w+\((\w+)\):", s, re.M)}
    row = 0
    for i, cell in enumerate(nb.cells):
        is_code = cell.cell_type == "code"
        found += [f"célula {i}: {t}" for t in (of_code if is_code else of_markdown)(cell)]
        words = without_abstract(cell.source, bases) if is_code else without_code(cell.source)
        found += [f"célula {i}: palavra de rascunho: {m[0]}" for m in STUB.finditer(words)]
        folded = cell.source.startswith("#@title")
        row = row + (not folded) if is_code else 0
        if row == MAX_CODE_IN_A_ROW + 1:
            found.append(f"célula {i}: {row} células de código seguidas sem uma frase")
    return found


def main(args: list[str]) -> int:
    bad = 0
    for path in [Path(a).resolve() for a in args] or notebooks():
        for text in findings(path):
            print(f"{path.relative_to(ROOT)}: {text}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
