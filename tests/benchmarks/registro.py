"""O que todo experimento longo grava: comando, sementes, versões, máquina, data, e o
resumo das definições que usou. Se uma delas mudar, o resultado já não é dela."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "resultados"
sys.path.insert(0, str(HERE.parent))

import pecas  # noqa: E402


def fingerprint(used: dict[str, list[str]], root: Path = pecas.ROOT) -> str:
    """SHA-256 das definições (árvores sem docstrings nem comentários) que os capítulos ensinam.

    used: {'02': ['BPETokenizer', …]}. Levanta ValueError se uma delas não existe mais.
    """
    books, parts = pecas.notebooks(root), []
    for chapter, names in sorted(used.items()):
        taught = pecas.taught(books[chapter])
        for name in sorted(names):
            if name not in taught:
                raise ValueError(f"O capítulo {chapter} já não ensina {name}.")
            parts.append(f"{chapter} {name} {taught[name].tree}")
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def machine() -> dict:
    """A máquina, sem o nome dela nem caminho nenhum."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "núcleos": cores(),
        "memória_gib": round(memory),
        "sistema": platform.system(),
        "arquitetura": platform.machine(),
    }


def cores() -> int:
    """Os núcleos que este processo pode usar de verdade."""
    return len(os.sched_getaffinity(0))


def versions(*packages: str) -> dict[str, str]:
    return {"python": platform.python_version()} | {
        p: importlib.metadata.version(p) for p in packages
    }


def spread(values: list[float]) -> dict[str, float]:
    """Mediana e extremos, com quatro algarismos."""
    short = [float(f"{v:.4g}") for v in values]
    return {
        "mediana": float(f"{statistics.median(values):.4g}"),
        "mínimo": min(short),
        "máximo": max(short),
        "repetições": len(short),
    }


def save(name: str, used: dict[str, list[str]], packages: list[str], **fields) -> Path:
    """Grava resultados/NAME.json e o mostra."""
    script = Path(sys.argv[0]).name
    result = {
        "comando": " ".join(["python", f"tests/benchmarks/{script}", *sys.argv[1:]]),
        "data": datetime.date.today().isoformat(),
        "máquina": machine(),
        "versões": versions(*packages),
        "definições": {"usadas": used, "sha256": fingerprint(used)},
        **fields,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps(result, ensure_ascii=False, indent=2) + "\n"
    temporary = path.with_suffix(".json.parcial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    print(text)
    return path
