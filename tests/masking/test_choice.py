"""Which values are taken for secrets, of variables that are listed and of those that are not."""

import pytest

from harness.masking import Secrets
from harness.masking.choice import passwords_in, secret_values, secret_variables, unshown

GUESSED = {
    "API_KEY": "k-12345678",
    "APIKEY": "k-12345678",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "KEYS": "one-key,other-key",
    "github_token": "ghp_0123456789",
    "PGPASSWORD": "Tr0ub4dor&3",
    "DB_PASS": "Tr0ub4dor&3",
    "MYSQL_PWD": "Tr0ub4dor&3",
    "MYSECRETVALUE": "not so easy",
    "AWS_SECRET_ACCESS_KEY": "/Rfi/K7MDENGbPxRfiCYEXAMPLEKEY+x",
}
LEFT_ALONE = {
    "PGPASSWORD": "postgres",
    "PASSWORD": "correcthorse",
    "DB_PASSWORD": "short-1",
    "SSH_AUTH_SOCK": "/run/user/1000/keyring/ssh",
    "SSL_KEY": "/etc/ssl/private/server.key",
    "GPG_KEY": "~/.gnupg/key.asc",
    "MAC_KEY": "/Users/me/key.pem",
    "TLS_KEY": "./certs/key.pem",
    "SECRET_KEY_FILE": "certs/server-1.key",
    "PWD": "/Code/Project-1",
    "KEYCLOAK_REALM": "our-realm-1",
    "TOKENIZERS_PARALLELISM": "false-or-true",
    "TOKEN_URL": "https://auth.example.com/oauth/token",
    "COMPASS_MODE": "north-by-north",
    "LOG_LEVEL": "debug-everything",
}


@pytest.mark.parametrize(("name", "value"), GUESSED.items())
def test_guessed(name: str, value: str) -> None:
    assert list(secret_values({name: value}, None)) == [(name, value)]


@pytest.mark.parametrize(("name", "value"), LEFT_ALONE.items())
def test_no_ordinary_word_vanishes(name: str, value: str) -> None:
    assert not list(secret_values({name: value}, None))


@pytest.mark.parametrize("listed", [None, [], ["OTHER"]])
def test_of_an_address_the_password_vanishes_alone(listed: list[str] | None) -> None:
    secrets = Secrets(listed)
    secrets.learn({"DATABASE_URL": "postgresql://me:Pa55%2Fword@127.0.0.1:5432/db"})
    assert secrets.text("postgresql://me:Pa55%2Fword@127.0.0.1:5432/db") == "postgresql://me:***@127.0.0.1:5432/db"
    assert secrets.text("connected with Pa55/word") == "connected with ***"
    assert secrets.text("me at 127.0.0.1") == "me at 127.0.0.1"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("amqp://a:p1@h1,amqp://b:p2@h2/x", ("p1", "p2")),
        ("postgres://user@host/db", ()),
        ("http://host:8080/a@b", ()),
        ("http://u:p@ss@host/", ("p@ss",)),
        ("redis://:only@host", ("only",)),
        ("host=h password=geheim dbname=x", ("geheim",)),
        ("Server=h;Password=Geheim1;", ("Geheim1",)),
        ("jdbc:postgresql://h/db?user=u&password=geheim&x=1", ("geheim",)),
    ],
)
def test_passwords_in_addresses(value: str, found: tuple[str, ...]) -> None:
    assert passwords_in(value) == found


def test_what_is_listed_counts_whatever_it_looks_like_and_nothing_else_does() -> None:
    variables = {"A": "postgres", "MY_KEY_1": "word", "API_KEY": "k-12345678", "U": "http://a:pwd@h", "E": ""}
    listed = ["A", "MY_*", "E", "UNSET"]
    assert list(secret_values(variables, listed)) == [("A", "postgres"), ("MY_KEY_1", "word"), ("E", "")]
    assert list(secret_values(variables, ["U"])) == [("U", "http://a:pwd@h"), ("U", "pwd")]
    assert list(secret_values(variables, [])) == []


def test_values_that_no_message_shows() -> None:
    variables = ["DB_PASSWD", "MY_PASSPHRASE", "API_KEY", "KEYCLOAK_REALM", "SEED", "JOBS"]
    assert unshown(variables, shell=["JOBS"], dotenv=["SEED", "JOBS"]) == {
        "DB_PASSWD",
        "MY_PASSPHRASE",
        "API_KEY",
        "SEED",
    }


def test_variables_of_a_lease() -> None:
    variables = {"ORG": "org-12345678", "ORG_KEY": "sk_12345678", "URL": "http://u:Pa55word@h/"}
    assert secret_variables(variables, []) == {"ORG_KEY", "URL"}
    assert secret_variables(variables, ["ORG"]) == {"ORG", "URL"}
    secrets = Secrets([])
    secrets.learn_given(variables, ["ORG", "URL"])
    assert secrets.text("org-12345678 sk_12345678 http://u:Pa55word@h/") == "*** sk_12345678 http://u:***@h/"
