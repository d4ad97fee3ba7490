"""The OpenAPI document as one page to read: no script, no external file, so that it works without the internet."""

import html
import json
import re
from collections.abc import Iterable
from typing import Any, Final

Json = dict[str, Any]

METHODS: Final = ("get", "post", "put", "patch", "delete")
_CODE: Final = re.compile(r"`([^`]+)`")

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5b6675; --line: #d9dee5; --paper: #ffffff; --shade: #f4f6f8;
  --get: #0b6e4f; --post: #8a4b08; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #9aa5b4; --line: #333c48; --paper: #14191f;
  --shade: #1c232b; --get: #58c99b; --post: #e0a458; --link: #7cb7f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin: 2rem 0 .25rem; font-size: 1.05rem; } h4 { margin: 1rem 0 .25rem; font-size: .9rem; color: var(--dim); }
a { color: var(--link); } code, pre { font: .9em/1.45 ui-monospace, monospace; }
code { background: var(--shade); padding: .05em .3em; border-radius: .2em; }
pre { background: var(--shade); padding: .75rem; overflow-x: auto; border-radius: .3em; }
pre code { padding: 0; background: none; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; } .dim { color: var(--dim); } nav ul { columns: 2; padding-left: 1.1rem; }
.method { font-weight: 700; text-transform: uppercase; } .get { color: var(--get); } .post { color: var(--post); }
@media (max-width: 40rem) { nav ul { columns: 1; } }
"""


def documentation_page(document: Json) -> str:
    """The whole page as HTML. Everything of the document is escaped."""
    info = document["info"]
    operations = [
        (method, path, operations[method])
        for path, operations in document["paths"].items()
        for method in METHODS
        if method in operations
    ]
    tags = [tag["name"] for tag in document["tags"]]
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(info['title'])} API</title><style>{STYLE}</style></head><body>",
            f"<header><h1>{_text(info['title'])} API</h1>{_paragraphs(info['description'])}",
            '<p>For tools: <a href="openapi.json">openapi.json</a>.</p></header>',
            _contents(tags, operations),
            *(_tag(tag, operations) for tag in tags),
            '<h2 id="schemas">Schemas</h2>',
            *(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
            '<h2 id="problems">Problem types</h2>',
            _problems(document["x-problem-types"]),
            "</body></html>",
        ]
    )


def _contents(tags: list[str], operations: list[tuple[str, str, Json]]) -> str:
    groups = []
    for tag in tags:
        links = "".join(
            f'<li><a href="#{_text(operation["operationId"])}">{_method(method)} {_text(path)}</a></li>'
            for method, path, operation in operations
            if tag in operation["tags"]
        )
        groups.append(f'<h4><a href="#tag-{_text(tag.lower())}">{_text(tag)}</a></h4><ul>{links}</ul>')
    rest = '<p><a href="#schemas">Schemas</a> · <a href="#problems">Problem types</a></p>'
    return f"<nav>{''.join(groups)}{rest}</nav>"


def _tag(tag: str, operations: list[tuple[str, str, Json]]) -> str:
    own = "".join(
        _operation(method, path, operation) for method, path, operation in operations if tag in operation["tags"]
    )
    return f'<h2 id="tag-{_text(tag.lower())}">{_text(tag)}</h2>{own}'


def _operation(method: str, path: str, operation: Json) -> str:
    return "".join(
        [
            f'<section id="{_text(operation["operationId"])}">',
            f"<h3>{_method(method)} <code>{_text(path)}</code></h3>",
            f"<p><strong>{_text(operation['summary'])}</strong></p>",
            _paragraphs(operation.get("description", "")),
            f'<p class="dim">{_who(operation)}</p>',
            _parameters(operation.get("parameters", [])),
            _request(operation.get("requestBody")),
            _responses(operation["responses"]),
            "<h4>Example</h4>",
            _example(method, path, operation),
            "</section>",
        ]
    )


def _who(operation: Json) -> str:
    if "x-roles" in operation:
        return f"Roles: {_text(', '.join(operation['x-roles']))}. <code>Authorization: Bearer …</code>"
    if operation["security"]:
        return "Signed by an enrolled device."
    return "Open to everybody."


def _parameters(parameters: list[Json]) -> str:
    rows = [
        (
            f"<code>{_text(each['name'])}</code>",
            _text(each["in"]),
            _type(each["schema"]),
            "required" if each["required"] else _default(each["schema"]),
            _inline(each.get("description") or each["schema"].get("description", "")),
        )
        for each in parameters
    ]
    return "<h4>Parameters</h4>" + _table(("Name", "In", "Type", "", ""), rows) if rows else ""


def _request(body: Json | None) -> str:
    if body is None:
        return ""
    types = ", ".join(f"<code>{_text(media_type)}</code>" for media_type in body["content"])
    content = next(iter(body["content"].values()))
    return f"<h4>Body</h4><p>{_type(content['schema'])} as {types}</p>"


def _responses(responses: Json) -> str:
    rows = []
    for status, response in responses.items():
        ((media_type, content),) = response["content"].items()
        problems = content.get("examples", {})
        if problems:
            meaning = "<br>".join(
                f'<a href="#problem-{_text(name)}"><code>{_text(name)}</code></a> {_text(each["summary"])}'
                for name, each in problems.items()
            )
        else:
            meaning = _inline(response["description"])
        shape = _type(content["schema"]) if content["schema"] else f"<code>{_text(media_type)}</code>"
        rows.append((f"<strong>{_text(status)}</strong>", meaning, shape))
    return "<h4>Answers</h4>" + _table(("Status", "Meaning", "Body"), rows)


def _example(method: str, path: str, operation: Json) -> str:
    """The request as a curl command line."""
    query = "&".join(
        f"{each['name']}=…" for each in operation.get("parameters", []) if each["in"] == "query" and each["required"]
    )
    lines = [f'curl -X {method.upper()} "$TRUYVET{path}{"?" + query if query else ""}"']
    if "x-roles" in operation:
        lines.append("-H 'Authorization: Bearer …'")
    lines += [
        f"-H '{each['name']}: …'"
        for each in operation.get("parameters", [])
        if each["in"] == "header" and each["required"]
    ]
    if "requestBody" in operation:
        lines.append("-H 'Content-Type: application/json'")
        content = operation["requestBody"]["content"]["application/json"]
        example = json.dumps(content.get("example", "…"), ensure_ascii=False, indent=2)
        lines.append(f"-d '{example}'")
    command = " \\\n  ".join(lines)
    return f"<pre><code>{_text(command)}</code></pre>"


def _schema(name: str, schema: Json) -> str:
    heading = f'<section id="schema-{_text(name)}"><h3>{_text(name)}</h3>{_paragraphs(schema.get("description", ""))}'
    if "enum" in schema:
        words = ", ".join(f"<code>{_text(word)}</code>" for word in schema["enum"])
        return f"{heading}<p>One of {words}</p></section>"
    required = schema.get("required", [])
    rows = [
        (
            f"<code>{_text(field)}</code>",
            _type(described),
            "required" if field in required else _default(described),
            _inline(described.get("description", "")),
        )
        for field, described in schema.get("properties", {}).items()
    ]
    return f"{heading}{_table(('Field', 'Type', '', ''), rows) if rows else f'<p>{_type(schema)}</p>'}</section>"


def _problems(kinds: list[Json]) -> str:
    rows = []
    for kind in kinds:
        name = kind["type"].rsplit("/", 1)[-1]
        wait = f" Retry after {kind['retry_after_seconds']} s." if kind["retry_after_seconds"] else ""
        rows.append(
            (
                f'<span id="problem-{_text(name)}"><code>{_text(name)}</code></span>',
                str(kind["status"]),
                f"{_text(kind['title'])}.",
                _inline(kind["action"] + wait),
            )
        )
    text = f"<p>Every <code>type</code> begins with <code>{_text(kinds[0]['type'].rsplit('/', 1)[0])}/</code>.</p>"
    return text + _table(("Type", "Status", "Meaning", "What to do"), rows)


def _type(schema: Json) -> str:  # noqa: PLR0911  # one line for each form that a schema takes
    """A schema in a few words, with links to what it names."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{_text(json.dumps(word))}</code>" for word in schema["enum"])
    if schema.get("type") == "array":
        if schema.get("prefixItems"):
            return f"[{', '.join(_type(item) for item in schema['prefixItems'])}]"
        return f"list of {_type(schema['items']) if schema.get('items') else 'anything'}{_limits(schema)}"
    if "contentEncoding" in schema:
        return f"{_text(schema['contentEncoding'])} text"
    return f"{_text(schema.get('type', 'anything'))}{_limits(schema)}"


def _limits(schema: Json) -> str:
    """The bounds of a number, text or list in words."""
    parts = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
            ("minLength", "length ≥"),
            ("maxLength", "length ≤"),
            ("minItems", "items ≥"),
            ("maxItems", "items ≤"),
        )
        if key in schema
    ]
    limits = f' <span class="dim">{_text(", ".join(parts))}</span>' if parts else ""
    pattern = f" <code>{_text(schema['pattern'])}</code>" if "pattern" in schema else ""
    return limits + pattern


def _default(schema: Json) -> str:
    if schema.get("default") is None:
        return '<span class="dim">optional</span>'
    return f"default <code>{_text(json.dumps(schema['default']))}</code>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_text(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _method(method: str) -> str:
    return f'<span class="method {method}">{method}</span>'


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    """Escaped text with `code` as code."""
    return _CODE.sub(r"<code>\1</code>", _text(text))


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
