"""As somas SHA-256 escritas nos cadernos são as dos arquivos de hoje.

    python tests/somas.py                confere
    python tests/somas.py --carimbar     reescreve as que mudaram

Uma soma aparece de dois jeitos: `"02-…/treino.jsonl": "soma"`, num dicionário, ou
`WORLD_SHA256 = "soma"`, com o arquivo dito aqui em FILE_OF.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

import nbformat
import pecas

ROOT = pecas.ROOT
FILE_OF = {
    "WORLD_SHA256": "02-texto-vira-numero/corpus/mundo.json",
    "HISTORY_SHA256": "tests/benchmarks/resultados/historia.json",
    "SENTIMENT_SHA256": "tests/benchmarks/resultados/sentimento.json",
    "ABLATIONS_SHA256": "tests/benchmarks/resultados/ablacoes.json",
    "LADDER_SHA256": "tests/benchmarks/resultados/escada.json",
    "PRETRAINING_SHA256": "tests/benchmarks/resultados/pretreino.json",
    "RACE_SHA256": "tests/benchmarks/resultados/corrida.json",
    "RULER_SHA256": "tests/benchmarks/resultados/regua.json",
    "SPEED_SHA256": "tests/benchmarks/resultados/velocidade.json",
    "DIARY_SHA256": "tests/benchmarks/resultados/diario.json",
    "LONG_DIARY_SHA256": "tests/benchmarks/resultados/diario_longas.json",
    "PRIMER_SHA256": "05-pre-treinamento/cartilha/treino.jsonl",
    "STAGES_SHA256": "tests/benchmarks/resultados/segunda_etapa.json",
    "VAZAO_SHA256": "tests/benchmarks/resultados/vazao.json",
}
HEX = r"[0-9a-f]{64}"
PAIR = re.compile(rf'"(?P<path>[\w./-]+/[\w.-]+)"(?P<gap>\s*:\s*\(?\s*)"(?P<sum>{HEX})"')
NAMED = re.compile(rf'^(?P<name>[A-Z][A-Z0-9_]*)(?P<gap>\s*=\s*\(?\s*)"(?P<sum>{HEX})"', re.M)


def digest(path: str, root: Path) -> str | None:
    """A soma do arquivo, ou None se ele não existe."""
    file = root / path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def renewed(source: str, root: Path) -> tuple[str, list[str]]:
    """(a célula com as somas de hoje, uma frase por soma que estava errada ou sem dono)."""
    problems = []

    def fresh(match: re.Match) -> str:
        groups = match.groupdict()
        name = groups.get("name")
        path = groups.get("path") or FILE_OF.get(name)
        now = path and digest(path, root)
        if now is None:
            problems.append(f"{name or path}: não sei de que arquivo é esta soma")
            return match[0]
        if now != groups["sum"]:
            problems.append(f"a soma de {path} mudou; rode: python tests/somas.py --carimbar")
        return match[0].replace(groups["sum"], now)

    new = NAMED.sub(fresh, PAIR.sub(fresh, source))
    known = {m["sum"] for rule in (PAIR, NAMED) for m in rule.finditer(source)}
    loose = set(re.findall(rf'"({HEX})"', source)) - known
    problems += [f"a soma {s[:8]}… está solta: diga de que arquivo é" for s in sorted(loose)]
    return new, problems


def books(root: Path) -> list[Path]:
    return sorted(root.glob("[0-9][0-9]-*/*.ipynb"))


def check(root: Path = ROOT) -> list[str]:
    """Uma frase por soma errada, sem dono ou solta."""
    return [
        f"{pecas.place(path)}, célula {i}: {problem}"
        for path in books(root)
        for i, source in pecas.code_cells(path)
        for problem in renewed(source, root)[1]
    ]


def stamp(root: Path = ROOT) -> list[str]:
    """Reescreve as somas que mudaram; devolve os cadernos tocados."""
    touched = []
    for path in books(root):
        nb = nbformat.read(path, as_version=4)
        cells = [c for c in nb.cells if c.cell_type == "code"]
        new = [renewed(c.source, root)[0] for c in cells]
        if new != [c.source for c in cells]:
            for cell, source in zip(cells, new, strict=True):
                cell.source = source
            nbformat.write(nb, path)
            touched.append(pecas.place(path))
    return touched


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere as somas escritas nos cadernos.")
    parser.add_argument("--carimbar", action="store_true", help="reescreve as que mudaram")
    if parser.parse_args(argv).carimbar:
        print("\n".join(stamp()) or "Nenhuma soma precisava mudar.")
    problems = check()
    print("\n".join(problems) or "As somas dos cadernos são as dos arquivos.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
