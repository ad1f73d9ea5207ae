"""Os exercícios do curso: cada um espera, aceita a solução e recusa o erro com a dica certa.

    python tests/exercicios.py         confere todos os capítulos

Um capítulo guarda os seus gabaritos em dicionários EXERCISES_… do caderno. O `solucoes.ipynb`
ao lado resolve cada um e traz WRONG = {nome: [(resposta errada, pedaço da dica), …]}.
"""

import ast
import contextlib
import io
import os
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pecas

ROOT = pecas.ROOT
ANSWERS = re.compile(r"EXERCISES_\w+$")
MIN_EXERCISES, MIN_WRONG = 8, 2


@dataclass(frozen=True)
class Solved:
    """O que sobra depois de executar um solucoes.ipynb."""

    names: dict  # tudo o que ele definiu
    said: str  # tudo o que ele imprimiu


def chapters(root: Path = ROOT) -> dict[str, Path]:
    """Os cadernos que têm gabaritos, por número."""
    return {
        n: path
        for n, path in pecas.notebooks(root).items()
        if any(ANSWERS.match(name) for name in pecas.taught(path))
    }


def answers(path: Path) -> dict:
    """Os exercícios que o caderno ensina: nome -> Exercise."""
    module = pecas.lift(path)
    found = {}
    for name in pecas.taught(path):
        if ANSWERS.match(name):
            found |= getattr(module, name)
    return found


def solve(path: Path) -> Solved:
    """Executa as células de um solucoes.ipynb, na pasta dele. Um erro ali sobe."""
    module = types.ModuleType(f"solucoes_{path.parent.name[:2]}")
    sys.modules[module.__name__] = module  # as dataclasses procuram o seu módulo
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            for i, source in pecas.code_cells(path):
                exec(compile(source, f"{path.parent.name}/solucoes[{i}]", "exec"),
                     module.__dict__)  # fmt: skip
    finally:
        os.chdir(before)
    return Solved(vars(module), said.getvalue())


def calls(path: Path) -> dict[str, list[str]]:
    """Os confere("nome", …) de um caderno: nome -> o que a célula imprimiu, guardado nela."""
    nb = nbformat.read(path, as_version=4)
    found: dict[str, list[str]] = {}
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        for node in ast.walk(ast.parse(pecas.neutralize(cell.source))):
            if (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "confere"
                    and node.args and isinstance(node.args[0], ast.Constant)):  # fmt: skip
                found.setdefault(node.args[0].value, []).append(printed)
    return found


def said_by(confere, name: str, answer) -> tuple[object, str]:
    """O veredito do conferidor e o que ele disse."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        verdict = confere(name, answer)
    return verdict, said.getvalue()


def of_one(name: str, exercise, solved: Solved) -> list[str]:
    """O que há de errado num exercício, provado com o conferidor do próprio capítulo."""
    confere, wrong = solved.names["confere"], solved.names.get("WRONG", {})
    problems = []
    cases = isinstance(exercise.expected, list) and all(
        isinstance(c, tuple) and len(c) == 2 and isinstance(c[0], tuple)
        for c in exercise.expected
    )
    for empty in (..., (lambda *args: None) if cases else ...):
        verdict, said = said_by(confere, name, empty)
        if verdict is not None or "à espera" not in said:
            problems.append(f"{name}: o buraco por resolver não fica à espera")
    if f"Exercício {name}: certo." not in solved.said:
        problems.append(f"{name}: as soluções não o mostram certo")
    if len(wrong.get(name, [])) < MIN_WRONG:
        problems.append(f"{name}: menos de {MIN_WRONG} respostas erradas típicas em WRONG")
    general = [text for trigger, text in exercise.hints if trigger is None]
    if len(general) != 1 or exercise.hints[-1][0] is not None:
        problems.append(f"{name}: a dica geral é uma só, e vem por último")
    seen = set()
    for answer, piece in wrong.get(name, []):
        verdict, said = said_by(confere, name, answer)
        seen.add(piece)
        if verdict is not False:
            problems.append(f"{name}: aceita a resposta errada {answer!r}")
        elif piece not in said.split("Dica:")[-1]:
            problems.append(f"{name}: a dica para {answer!r} não é a prometida ({piece})")
        elif any(piece in text for text in general):
            problems.append(f"{name}: {answer!r} só recebe a dica geral")
    if len(seen) < min(2, len(wrong.get(name, []))):
        problems.append(f"{name}: as respostas erradas provam uma dica só")
    return problems


def of_chapter(path: Path) -> list[str]:
    """Todos os defeitos dos exercícios de um capítulo, uma frase cada."""
    solutions = path.with_name("solucoes.ipynb")
    if not solutions.is_file():
        return [f"{path.parent.name}: falta o solucoes.ipynb"]
    exercises, solved, asked = answers(path), solve(solutions), calls(path)
    problems = []
    if len(exercises) < MIN_EXERCISES:
        problems.append(f"só {len(exercises)} exercícios com gabarito")
    for name in exercises:
        waiting = f"Exercício {name}: à espera da sua resposta."
        if not any(waiting in printed for printed in asked.get(name, [])):
            problems.append(f"{name}: o caderno não o mostra à espera")
        problems += of_one(name, exercises[name], solved)
    problems += [f"{name}: está em WRONG, mas não no gabarito"
                 for name in solved.names.get("WRONG", {}) if name not in exercises]  # fmt: skip
    return [f"{path.parent.name}: {p}" for p in problems]


def main() -> int:
    problems = [p for path in chapters().values() for p in of_chapter(path)]
    total = sum(len(answers(path)) for path in chapters().values())
    print("\n".join(problems) or f"{total} exercícios conferidos.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
