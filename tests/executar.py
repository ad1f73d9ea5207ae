"""Executa cadernos de cima a baixo, no lugar, e deixa as saídas prontas para guardar.

    python tests/executar.py 02 04 05

Uma barra de progresso reescreve a própria linha centenas de vezes; no arquivo guardado ficam
só as linhas que um leitor veria no fim. As figuras ficam com uma paleta de 256 cores, que não se
distingue a olho e pesa menos da metade: o GitHub não mostra um caderno de mais de 3 MB.
"""

import base64
import io
import sys
import time

import nbformat
from nbclient import NotebookClient
from pecas import notebooks
from PIL import Image


def final_view(text: str) -> str:
    """O que sobra na tela: depois de cada retorno de carro, a linha recomeça."""
    lines = [line.split("\r")[-1] if line.strip("\r") else "" for line in text.split("\n")]
    return "\n".join(lines)


def slim(png: str) -> str:
    """A mesma figura (base64) com 256 cores, se assim pesar menos."""
    data, small = base64.b64decode(png), io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True)
    best = min(data, small.getvalue(), key=len)
    return base64.b64encode(best).decode()


def tidy(outputs: list) -> list:
    """Junta os pedaços vizinhos de um mesmo fluxo e guarda só a vista final."""
    merged = []
    for out in outputs:
        last = merged[-1] if merged else None
        if last and out.output_type == last.output_type == "stream" and out.name == last.name:
            last.text += out.text
        else:
            merged.append(out)
    for out in merged:
        if out.output_type == "stream":
            out.text = final_view(out.text)
        elif "image/png" in out.get("data", {}):
            out.data["image/png"] = slim(out.data["image/png"])
    return [o for o in merged if o.output_type != "stream" or o.text.strip()]


def main(numbers: list[str]) -> int:
    books = notebooks()
    for n in numbers or list(books):
        if n not in books:
            print(f"Não há caderno no capítulo {n}. Há: {', '.join(books)}.")
            return 2
        path, began = books[n], time.perf_counter()
        nb = nbformat.read(path, as_version=4)
        folder = {"metadata": {"path": str(path.parent)}}
        NotebookClient(nb, timeout=600, kernel_name="python3", resources=folder).execute()
        for cell in nb.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                cell.outputs = tidy(cell.outputs)
        nbformat.write(nb, path)
        print(f"{path.parent.name}: {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
