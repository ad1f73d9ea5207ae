"""O endereço público do curso: um só, em todo emblema, link e arquivo baixado.

    python tests/enderecos.py                                    confere
    python tests/enderecos.py --carimbar usuario/repositorio     muda (num fork)
    python tests/enderecos.py --carimbar usuario/repositorio --ramo outro
"""

import argparse
import ast
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

REPOSITORY = "vongrossi/fazendo-um-llm-do-zero"
BRANCH = "main"

ROOT = Path(__file__).resolve().parent.parent
SKIP = {".git", ".venv", "__pycache__", ".ipynb_checkpoints", "saida", "node_modules",
        "arquivos-do-curso", ".hypothesis", ".pytest_cache", ".ruff_cache"}  # fmt: skip

# Um endereço dentro de um repositório: dono/nome, ramo e caminho (os dois, se houver).
ADDRESS = re.compile(
    r"https://(?:"
    r"(?:colab\.research\.google\.com/github/|github\.com/)([\w.-]+/[\w.-]+)"
    r"(?:/(?:blob|tree|raw|edit)/([\w.-]+)(?:/([^\s\"'`\\)>#?]*))?)?"
    r"|raw\.githubusercontent\.com/([\w.-]+/[\w.-]+)/([\w.-]+)"
    r"(?:/([^\s\"'`\\)>#?]*))?)"
)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
COURSE_FILE = re.compile(r"\d\d-[a-z0-9-]+/[\w./-]+\.\w+$")


def files(root: Path = ROOT) -> Iterator[Path]:
    """Os arquivos de texto do curso que podem trazer um endereço, em ordem."""
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(set(inside) - SKIP)  # nem entra nas pastas que não são do curso
        for name in sorted(names):
            if Path(name).suffix in {".md", ".ipynb", ".py", ".yml", ".toml", ".svg"}:
                yield Path(folder) / name


def read(path: Path) -> str:
    """O texto, com as quebras de linha que ele tem."""
    return path.read_bytes().decode("utf-8")


def constants(root: Path = ROOT) -> tuple[str, str]:
    """(REPOSITORY, BRANCH) como estão escritos neste arquivo, na pasta `root`."""
    found = {}
    for node in ast.parse(read(root / "tests" / "enderecos.py")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found[node.targets[0].id] = node.value.value
    return found["REPOSITORY"], found["BRANCH"]


def addresses(text: str) -> Iterator[tuple[str, str | None, str | None]]:
    """(repositório, ramo, caminho) de cada endereço do texto."""
    for match in ADDRESS.finditer(text):
        repository, branch, path = match.groups()[:3] if match[1] else match.groups()[3:]
        yield repository.removesuffix(".git").rstrip("."), branch, path and unquote(path)


def markdown(path: Path) -> str:
    """O Markdown de uma página ou de um caderno, sem os blocos de código."""
    text = read(path)
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """Os nomes que o GitHub dá aos títulos de uma página."""
    found: set[str] = set()
    for title in re.findall(r"(?m)^#{1,6}\s+(.*?)\s*#*$", text):
        title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        kept = [c for c in title if c in " -_" or unicodedata.category(c)[0] in "LN"]
        name = slug = "".join(kept).strip().replace(" ", "-")
        n = 0
        while name in found:
            n += 1
            name = f"{slug}-{n}"
        found.add(name)
    return found


def course_files(path: Path) -> Iterator[str]:
    """Os arquivos do curso que o código de um caderno nomeia ('NN-capitulo/arquivo')."""
    for cell in json.loads(read(path))["cells"]:
        if cell["cell_type"] == "code":
            try:
                tree = ast.parse("".join(cell["source"]))
            except SyntaxError:
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if COURSE_FILE.match(node.value):
                        yield node.value


def problems(root: Path = ROOT) -> list[str]:
    """Uma frase por endereço errado, velho ou que não leva a lugar nenhum."""
    repository, branch = constants(root)
    name = repository.split("/")[1]
    found = []
    for path in files(root):
        where = path.relative_to(root).as_posix()
        for repo, at, inside in addresses(read(path)):
            ours = repo == repository
            if not ours and repo.split("/")[1] == name:
                found.append(f"{where}: o endereço é de {repo}, e o curso mora em {repository}.")
            elif ours and at is not None and at != branch:
                found.append(f"{where}: o endereço é do ramo {at}, e o curso está em {branch}.")
            elif ours and inside and not (root / inside.rstrip("/.,;:")).exists():
                found.append(f"{where}: {inside} não existe no repositório.")
        if path.suffix == ".ipynb":
            for inside in course_files(path):
                if not (root / inside).exists():
                    found.append(f"{where}: o código abre {inside}, que não existe.")
        if path.suffix in {".md", ".ipynb"}:
            text = markdown(path)
            for link in LINK.findall(text):
                if re.match(r"[a-z]+:", link):
                    continue
                target, _, anchor = unquote(link).partition("#")
                page = path.parent / target if target else path
                if not page.exists():
                    found.append(f"{where}: o link {link} não leva a lugar nenhum.")
                elif anchor and page.suffix == ".md" and anchor not in anchors(markdown(page)):
                    found.append(f"{where}: {page.name} não tem o título #{anchor}.")
        if path.name == "notebook.ipynb" and path.parent.name[:2].isdigit():
            own = f"/{repository}/blob/{branch}/{path.relative_to(root).as_posix()}"
            if "https://colab.research.google.com/github" + own not in markdown(path):
                found.append(f"{where}: o emblema não abre este caderno ({own}).")
    return found


def stamp(repository: str, branch: str, root: Path = ROOT) -> list[str]:
    """Troca o endereço em todos os arquivos; devolve os que mudaram."""
    old_repository, old_branch = constants(root)
    end = r"(?!(?!\.git\b)[\w.-]*[\w-])"  # o nome acaba aqui (ou só tem um .git depois)
    repo = re.escape(old_repository) + end
    at = re.escape(old_branch) + end
    hosts = r"(https://(?:colab\.research\.google\.com/github/|github\.com/))"
    raw = r"(https://raw\.githubusercontent\.com/)"
    rules = [
        (f"{hosts}{repo}(/(?:blob|tree|raw|edit)/){at}", rf"\g<1>{repository}\g<2>{branch}"),
        (f"{hosts}{repo}", rf"\g<1>{repository}"),
        (f"{raw}{repo}/{at}", rf"\g<1>{repository}/{branch}"),
    ]
    changed = []
    for path in files(root):
        old = new = read(path)
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        if path == root / "tests" / "enderecos.py":
            new = new.replace(f'REPOSITORY = "{old_repository}"', f'REPOSITORY = "{repository}"')
            new = new.replace(f'BRANCH = "{old_branch}"', f'BRANCH = "{branch}"')
        if new != old:
            path.write_bytes(new.encode("utf-8"))
            changed.append(path.relative_to(root).as_posix())
    return changed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere ou troca o endereço do curso.")
    parser.add_argument("--carimbar", metavar="usuario/repositorio")
    parser.add_argument("--ramo", default=BRANCH)
    args = parser.parse_args(argv)
    if args.carimbar:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", args.carimbar):
            parser.error("escreva o endereço como usuario/repositorio")
        if not re.fullmatch(r"[\w.-]+", args.ramo):
            parser.error("o nome do ramo só pode ter letras, algarismos, ponto, _ e -")
        changed = stamp(args.carimbar, args.ramo)
        print("\n".join(changed) or "Nada a mudar.")
    found = problems()
    print("\n".join(found) or f"Todos os endereços levam a {'/'.join(constants())}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
