import pytest

from harness.planning.substitute import references, substitute

VALUES = {"web": {"port": "80", "host": "h", "url": "http://h:80"}, "a-b_1": {"port": "1"}}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("serve --port {port} --db {web.url}", "serve --port 99 --db http://h:80"),
        ("{web.host}:{web.port}{a-b_1.port}", "h:801"),
        ("${port} ${web.port} $HOME", "${port} ${web.port} $HOME"),
        ('{"port": {"x": 1}} { port } {Port} {} {{', '{"port": {"x": 1}} { port } {Port} {} {{'),
        ("{other.port} {web.prot} {a-b_1.url} {url}", "{other.port} {web.prot} {a-b_1.url} {url}"),
        ("{{port}}", "{99}"),
        ("awk '{print}' {a,b}.py", "awk '{print}' {a,b}.py"),
    ],
)
def test_only_known_places_are_filled(text: str, result: str) -> None:
    assert substitute(text, {"port": "99"}, VALUES) == result


def test_values_are_not_substituted_again() -> None:
    assert substitute("{port}", {"port": "{web.port}"}, VALUES) == "{web.port}"


def test_references_are_the_places_of_services() -> None:
    text = "{db.url} ${no.port} {port} {web.port} {web.other} {db.url}"
    assert references(text) == [("db", "url"), ("web", "port"), ("db", "url")]
