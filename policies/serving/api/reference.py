"""The page that documents the API, made of its OpenAPI description: nothing on it is loaded from anywhere else."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
code { background: #f3f3f3; padding: .1em .3em } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid #ddd }
h3 { margin-top: 2rem } h3 code { font-size: 1rem } summary { cursor: pointer }
"""


def page_of(api: Mapping[str, Any]) -> str:
    """Return the page, HTML."""
    body = [
        f"<h1>{escape(api['info']['title'])}</h1><p>Version {escape(api['info']['version'])}. Every request but for "
        "this page carries the token that <code>gwm serve</code> printed, <code>Authorization: Bearer TOKEN</code>. "
        "<code>docs/serve.md</code> has examples, the binary form of answers and the socket; "
        "<a href=openapi.json>openapi.json</a> is for programs.</p>"
    ]
    heading = ""
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            (tag,) = operation["tags"]
            if tag != heading:
                body.append(f"<h2>{escape(tag.capitalize())}</h2>")
                heading = tag
            body += operation_of(path, method, operation, api["components"]["schemas"])
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>The API of gwm serve</title><style>{_STYLE}</style>"
    )
    return page + "\n".join(body) + "</html>\n"


def operation_of(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """What can be asked at a path."""
    yield f"<h3><code>{method.upper()} {escape(path)}</code></h3><p>{escape(operation['description'])}</p>"
    rows = [
        (parameter["name"], parameter["schema"], parameter.get("required", False))
        for parameter in operation.get("parameters", ())
    ]
    body = operation.get("requestBody")
    if body is not None:
        schema = schemas[body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
        needed = schema.get("required", ())
        rows += [(name, field, name in needed) for name, field in schema["properties"].items()]
    if rows:
        cells = [
            f"<tr><td><code>{escape(name)}</code>{'' if needed else '?'}<td>{escape(type_of(field, schemas))}"
            f"<td>{escape(field.get('description', ''))}</tr>"
            for name, field, needed in rows
        ]
        yield f"<table>{''.join(cells)}</table>"


def type_of(field: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """What a field may be, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        inner = schemas[name]["properties"]
        return f"{name} {{{', '.join(inner)}}}"
    if "anyOf" in field:
        return " or ".join(type_of(option, schemas) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(map(repr, field["enum"]))
    if "const" in field:
        return repr(field["const"])
    if field.get("type") == "array":
        return f"[{type_of(field['items'], schemas)}, ...]"
    return str(field.get("type", "anything"))
