"""Draw docs/architecture.svg from the imports in the code: `python docs/draw_architecture.py`.

A box is a folder or module of the package; an arrow leads to what it imports. Arrows that follow
from others are left out.
"""

import ast
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("keras_deep_emotion", "tfds_builders")
HIDDEN = {"__init__", "__main__"}  # the lazy surface, and the start of the command line
WIDTH, HEIGHT, GAP, STEP = 216, 66, 18, 118  # pixels


def room_of(module: str) -> str | None:
    """The box that a module belongs to; None if it is not ours."""
    package, _, inside = module.partition(".")
    if package == "tfds_builders":
        return package
    return inside.partition(".")[0] if package in PACKAGES and inside else None


def read_rooms() -> tuple[dict[str, str], dict[str, set[str]]]:
    """({room: first sentence of its docstring}, {room: rooms that it imports})."""
    titles: dict[str, str] = {}
    imports: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            room = room_of(".".join(parts))
            if room is None or room in HIDDEN:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if room not in titles or parts[-2:] in ((room, "__init__"), (package, room)):
                titles[room] = title_of(ast.get_docstring(tree) or "", room)
            for node in ast.walk(tree):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                found = {room_of(name) for name in names if name} - {None, room, *HIDDEN}
                imports.setdefault(room, set()).update(found)
    return titles, imports


def title_of(docstring: str, room: str) -> str:
    """The first sentence of a docstring, without the room's own name at its beginning."""
    first = docstring.partition("\n")[0].partition(". ")[0].rstrip(".")
    name, colon, rest = first.partition(": ")
    return rest[:1].upper() + rest[1:] if colon and name.lower() == room else first


def levels_of(imports: dict[str, set[str]]) -> dict[str, int]:
    """Level of each room: 0 if it imports none, else one above the highest that it imports."""
    levels: dict[str, int] = {}

    def level(room):
        if room not in levels:
            levels[room] = max((level(one) + 1 for one in imports[room]), default=0)
        return levels[room]

    for room in imports:
        level(room)
    return levels


def reduced(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports that do not follow from others (transitive reduction)."""

    def reachable(room):
        return imports[room].union(*map(reachable, imports[room]))

    return {
        room: {one for one in direct if all(one not in reachable(two) for two in direct - {one})}
        for room, direct in imports.items()
    }


def places_of(levels: dict[str, int], arrows: dict[str, set[str]]) -> dict[str, tuple[float, int]]:
    """Center of each box, rows from the top level down; boxes lie below those that import them."""
    top, places = max(levels.values()), {}
    widest = max(list(levels.values()).count(level) for level in set(levels.values()))
    for level in range(top, -1, -1):
        rooms = [room for room in sorted(levels) if levels[room] == level]
        above = {
            room: [places[one][0] for one in places if room in arrows[one]] or [0.0]
            for room in rooms
        }
        rooms.sort(key=lambda room: sum(above[room]) / len(above[room]))
        start = (widest - len(rooms)) * (WIDTH + GAP) / 2 + GAP + WIDTH / 2
        for place, room in enumerate(rooms):
            y = (top - level) * STEP + GAP + HEIGHT // 2
            places[room] = (start + place * (WIDTH + GAP), y)
    return places


def draw() -> str:
    """The picture, SVG."""
    titles, imports = read_rooms()
    levels, arrows = levels_of(imports), reduced(imports)
    places = places_of(levels, arrows)
    width = int(max(x for x, _ in places.values()) + WIDTH / 2 + GAP)
    height = max(y for _, y in places.values()) + HEIGHT // 2 + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#5b7083"/></marker>',
    ]
    for room in sorted(arrows):
        x, y = places[room]
        for target in sorted(arrows[room]):
            to_x, to_y = places[target]
            # An arrow past a row bends around the box that may lie there.
            bend = (WIDTH * 0.75 if to_x >= x else -WIDTH * 0.75) if to_y - y > STEP else 0
            lines.append(
                f'<path d="M{x:.0f} {y + HEIGHT / 2:.0f}C{x + bend:.0f} {y + 74:.0f} '
                f'{to_x + bend:.0f} {to_y - 84:.0f} {to_x:.0f} {to_y - HEIGHT / 2:.0f}" '
                'fill="none" stroke="#5b7083" stroke-width="1.3" marker-end="url(#tip)"/>'
            )
    for room, (x, y) in sorted(places.items()):
        left, top = x - WIDTH / 2, y - HEIGHT / 2
        lines.append(
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
            'fill="#eaf2fa" stroke="#0072b2"/>'
        )
        lines.append(
            f'<text x="{x:.0f}" y="{top + 17:.0f}" text-anchor="middle" font-size="14" '
            f'font-weight="600">{escape(room)}</text>'
        )
        for number, text in enumerate(textwrap.wrap(titles[room], 37)):
            lines.append(
                f'<text x="{x:.0f}" y="{top + 31 + 13 * number:.0f}" text-anchor="middle" '
                f'font-size="10.5" fill="#333">{escape(text)}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")
