"""As peças que um caderno ensina, e a promessa de que suas cópias não mudam.

Uma *definição* é uma função, uma classe ou uma constante EM_MAIÚSCULAS no primeiro nível de uma
célula. Uma célula que começa com `#@title Peças do capítulo NN, sem mudar nada` promete que cada
definição sua é igual (como árvore de sintaxe, sem docstrings nem comentários) à última definição
daquele nome ensinada no capítulo NN.

    python tests/pecas.py                  confere
    python tests/pecas.py --sincronizar    reescreve as cópias a partir da origem
"""

import argparse
import ast
import linecache
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PROMISE = re.compile(r"#@title Peças do capítulo (\d\d), sem mudar nada\s*$")
ALMOST = re.compile(r"#\s*@title\s+Peças", re.IGNORECASE)
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+$")  # T, D e V são contas da lição, não peças

# Nomes que um capítulo posterior ensina de novo, melhorados, e por quê.
TAUGHT_AGAIN: dict[tuple[str, str], str] = {
    ("04", "MultiHeadAttention"): "recebe a planta inteira e ganha a gaveta (KV cache)",
}


@dataclass(frozen=True)
class Definition:
    """Uma peça: nome, texto como está na célula, e árvore sem docstrings."""

    name: str
    source: str
    tree: str
    cell: int
    promise: str | None  # o capítulo prometido, numa célula de cópia


def notebooks(root: Path = ROOT) -> dict[str, Path]:
    """Cadernos dos capítulos, por número: {'02': caminho, ...}, em ordem."""
    return {p.parent.name[:2]: p for p in sorted(root.glob("[0-9][0-9]-*/notebook.ipynb"))}


def solutions(books: dict[str, Path]) -> list[tuple[str, Path]]:
    """Os solucoes.ipynb ao lado dos cadernos: [('00', caminho), …]."""
    beside = [(n, p.with_name("solucoes.ipynb")) for n, p in books.items()]
    return [(n, p) for n, p in beside if p.is_file()]


def code_cells(path: Path) -> list[tuple[int, str]]:
    """(número da célula, texto) das células de código, com as linhas mágicas neutralizadas."""
    cells = nbformat.read(path, as_version=4).cells
    return [(i, neutralize(c.source)) for i, c in enumerate(cells) if c.cell_type == "code"]


def neutralize(source: str) -> str:
    """Troca as linhas do IPython (%mágica, !comando) por um `pass` na mesma linha.

    Só mexe no que o Python não lê: um `%` no começo de uma linha pode ser uma conta.
    """
    if source.startswith("%%"):
        return "\n".join("pass" for _ in source.splitlines())
    try:
        ast.parse(source)
    except SyntaxError:
        return re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)
    return source


def without_docstrings(node: ast.AST) -> str:
    """A árvore em texto, sem docstrings (os comentários nunca entram nela)."""
    node = ast.parse(ast.unparse(node))
    for n in ast.walk(node):
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and (
            ast.get_docstring(n, clean=False) is not None
        ):
            n.body = n.body[1:] or [ast.Pass()]
    return ast.dump(node)


def name_of(node: ast.stmt) -> str | None:
    """O nome que o comando define, se for uma definição."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    target = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target = node.target
    if isinstance(target, ast.Name) and CONSTANT.match(target.id):
        return target.id
    return None


def span(node: ast.stmt) -> tuple[int, int]:
    """Primeira e última linha (de 1), com os decoradores."""
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno


def definitions(path: Path) -> list[Definition]:
    """Todas as definições de um caderno, na ordem das células."""
    found = []
    for i, source in code_cells(path):
        lines = source.splitlines()
        promise = PROMISE.match(lines[0]) if lines else None
        for node in ast.parse(source).body:
            if name := name_of(node):
                first, last = span(node)
                text = "\n".join(lines[first - 1 : last])
                found.append(
                    Definition(
                        name, text, without_docstrings(node), i, promise and promise.group(1)
                    )
                )
    return found


def taught(path: Path) -> dict[str, Definition]:
    """O que o caderno ensina: a última definição de cada nome, fora das células de cópia."""
    return {d.name: d for d in definitions(path) if d.promise is None}


def place(path: Path) -> str:
    """Como se diz onde está: a pasta e, se não é o caderno do capítulo, o arquivo."""
    return path.parent.name + ("" if path.name == "notebook.ipynb" else f"/{path.name}")


def broken_promises(books: dict[str, Path]) -> list[str]:
    """Uma frase por cópia que mudou, sem origem, ou redefinida sem aviso."""
    origin = {n: taught(p) for n, p in books.items()}
    problems = []
    solved = solutions(books)
    for n, path in [*books.items(), *solved]:
        solves = (n, path) in solved  # resolve os buracos do seu capítulo, com os nomes dele
        for i, source in code_cells(path):
            first_line = source.splitlines()[0] if source else ""
            if ALMOST.match(first_line) and not PROMISE.match(first_line):
                problems.append(
                    f"{place(path)}, célula {i}: a promessa se escreve assim, letra por "
                    f"letra: #@title Peças do capítulo NN, sem mudar nada"
                )
        for d in definitions(path):
            where = f"{place(path)}, célula {d.cell}: {d.name}"
            if d.promise is None and solves:
                continue
            if d.promise is None:
                for m in [m for m in origin if m < n and d.name in origin[m]]:
                    if (n, d.name) not in TAUGHT_AGAIN:
                        problems.append(
                            f"{where} já foi ensinada no capítulo {m}. Copie-a numa célula de "
                            f"promessa, dê outro nome, ou diga o motivo em TAUGHT_AGAIN."
                        )
            elif d.promise > n or (d.promise == n and not solves) or d.promise not in origin:
                problems.append(f"{where} promete o capítulo {d.promise}, que não vem antes.")
            elif d.name not in origin[d.promise]:
                problems.append(f"{where} não é ensinada no capítulo {d.promise}.")
            elif d.tree != origin[d.promise][d.name].tree:
                problems.append(
                    f"{where} mudou em relação ao capítulo {d.promise}. "
                    f"Rode: python tests/pecas.py --sincronizar"
                )
    return problems


def synchronize(books: dict[str, Path]) -> list[str]:
    """Reescreve cada cópia a partir da origem; devolve o que mudou."""
    changed = []
    solved = solutions(books)
    for n, path in [*books.items(), *solved]:
        newest = n if (n, path) in solved else str(int(n) - 1).zfill(2)  # até onde se herda
        nb = nbformat.read(path, as_version=4)
        touched = False
        for i, cell in enumerate(nb.cells):
            first_line = cell.source.splitlines()[0] if cell.source else ""
            promise = PROMISE.match(first_line) if cell.cell_type == "code" else None
            if not promise or promise.group(1) > newest or promise.group(1) not in books:
                continue
            origin = taught(books[promise.group(1)])
            lines = cell.source.splitlines()
            for node in reversed(ast.parse(neutralize(cell.source)).body):
                name = name_of(node)
                if name in origin:
                    first, last = span(node)
                    lines[first - 1 : last] = origin[name].source.splitlines()
            new = "\n".join(lines)
            if new != cell.source:
                cell.source, touched = new, True
                changed.append(f"{place(path)}, célula {i}")
        if touched:
            nbformat.write(nb, path)
    return changed


def is_import(node: ast.stmt) -> bool:
    """Importações, também as que se protegem com try/except."""
    if isinstance(node, ast.Try):
        return all(is_import(n) for n in node.body)
    return isinstance(node, (ast.Import, ast.ImportFrom))


def hangs(node: ast.stmt, module: types.ModuleType) -> bool:
    """`Classe.método = …`: pendurar algo numa classe já definida também é defini-la."""
    if not isinstance(node, ast.Assign):
        return False
    targets = [t for each in node.targets for t in getattr(each, "elts", [each])]
    return all(
        isinstance(t, ast.Attribute)
        and isinstance(t.value, ast.Name)
        and isinstance(getattr(module, t.value.id, None), type)
        for t in targets
    )


def lift(path: Path, name: str | None = None) -> types.ModuleType:
    """Um módulo com as importações e as definições de um caderno, sem executar o resto."""
    module = types.ModuleType(name or f"caderno_{path.parent.name[:2]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    for i, source in code_cells(path):
        where = f"{path.parent.name}[{i}]"
        # Para que um erro mostre a linha da célula, e inspect.getsource funcione.
        linecache.cache[where] = (len(source), None, source.splitlines(True), where)
        for node in ast.parse(source).body:
            if is_import(node) or name_of(node) or hangs(node, module):
                exec(compile(ast.Module([node], []), where, "exec"), module.__dict__)
    return module


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere as peças copiadas entre cadernos.")
    parser.add_argument("--sincronizar", action="store_true", help="reescreve as cópias")
    args = parser.parse_args(argv)
    books = notebooks()
    if args.sincronizar:
        changed = synchronize(books)
        print("\n".join(changed) or "Nenhuma cópia precisava mudar.")
    problems = broken_promises(books)
    print("\n".join(problems) or f"Promessa mantida em {len(books)} cadernos.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
